"""Limits over all workers: the supervisor counts, a worker asks it, and only where there is a limit.

A session that came in while its connector had no limit is not counted when it gets one.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import TYPE_CHECKING

from smtpd_anontls.domain.endpoints import parse_address
from smtpd_anontls.domain.limits import Connections, MessageRates
from smtpd_anontls.supervisor.words import Admit, Enter, Leave

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from smtpd_anontls.domain.connectors import ReceiveConnector
    from smtpd_anontls.domain.endpoints import IPAddress
    from smtpd_anontls.domain.limits import Place, Struck
    from smtpd_anontls.settings.values import Settings
    from smtpd_anontls.supervisor.asking import Questions

    Entered = Counter[tuple[Place, str]]


class AskedLimits:
    """The limits as a worker sees them; see household.Limits."""

    def __init__(self, questions: Questions) -> None:
        self._questions = questions
        self._entered: Entered = Counter()

    async def enter(self, place: Place, source: IPAddress, connector: ReceiveConnector) -> Struck | None:
        """Count one more session of *source*, unless a limit strikes."""
        if connector.max_inbound_connection is None and connector.max_inbound_connection_per_source is None:
            return None
        who = str(source)
        asked = self._questions.ask(lambda number: Enter(number, place, who))
        try:
            struck = (await asyncio.shield(asked)).struck
        except asyncio.CancelledError:
            # The session ends while it waits; it may be counted all the same.
            asked.add_done_callback(lambda answered: self._forget(place, who, answered.result().struck))
            raise
        if struck is None:
            self._entered[place, who] += 1
        return struck

    def leave(self, place: Place, source: IPAddress) -> None:
        """Count one session less, if it was counted."""
        key = (place, str(source))
        if key in self._entered:
            self._entered[key] -= 1
            if not self._entered[key]:
                del self._entered[key]
            self._questions.tell(Leave(*key))

    async def admit(
        self, place: Place, source: IPAddress, connector: ReceiveConnector, sender: str
    ) -> Struck | None:
        """Count one more message, unless the rate limit strikes."""
        if connector.message_rate_limit is None:
            return None
        return (await self._questions.ask(lambda number: Admit(number, place, str(source), sender))).struck

    def _forget(self, place: Place, source: str, struck: Struck | None) -> None:
        if struck is None:
            self._questions.tell(Leave(place, source))


class CountedLimits:
    """The limits as the supervisor counts them."""

    def __init__(self, settings: Callable[[], Settings]) -> None:
        """Take what says which settings hold."""
        self._settings = settings
        self._connections = Connections()
        self._rates = MessageRates()

    def enter(self, asked: Enter, entered: Entered) -> Struck | None:
        """Count one more session, in *entered*, too, unless a limit strikes."""
        connector = self._connector(asked.place)
        if connector is None:
            # It has just been removed: a session of before that must not be left out of the count.
            return None
        struck = self._connections.enter(asked.place, parse_address(asked.source), connector)
        if struck is None:
            entered[asked.place, asked.source] += 1
        return struck

    def leave(self, left: Leave, entered: Entered) -> None:
        """Count one session less, if it was counted."""
        key = (left.place, left.source)
        if key in entered:
            entered[key] -= 1
            if not entered[key]:
                del entered[key]
            self._connections.leave(left.place, parse_address(left.source))

    def give_back(self, entered: Entered) -> None:
        """Count all of *entered* no longer: their worker is gone."""
        for place, source in entered.elements():
            self._connections.leave(place, parse_address(source))
        entered.clear()

    def admit(self, asked: Admit) -> Struck | None:
        """Count one more message, unless the rate limit strikes."""
        connector = self._connector(asked.place)
        if connector is None:
            return None
        return self._rates.admit(
            asked.place, connector, source=asked.source, sender=asked.sender, now=time.monotonic()
        )

    def _connector(self, place: Place) -> ReceiveConnector | None:
        every: Iterable[ReceiveConnector] = (
            each
            for server in self._settings().servers
            if server.server.name == place[0]
            for each in server.server.connectors
        )
        return next((each for each in every if each.name == place[1]), None)
