"""The selections of a start and of the daily check, with their events in their places."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from smtpd_anontls.domain.events import EventId
from smtpd_anontls.domain.records import TlsVerb
from smtpd_anontls.selection.validity import Moment

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from smtpd_anontls.deciding import Surroundings
    from smtpd_anontls.domain.connectors import ReceiveConnector, Server
    from smtpd_anontls.domain.events import EventDraft
    from smtpd_anontls.domain.flags import TransportRole
    from smtpd_anontls.selection.outcome import Selection

_OF_THE_DAY = {EventId.EXPIRES_SOON, EventId.STARTTLS_EXPIRES_SOON}


@dataclass(frozen=True, slots=True)
class PlacedEvent:
    """An event with the place that it is written under."""

    draft: EventDraft
    role: TransportRole
    server: str | None
    connector: str | None


async def select_at_start(
    surroundings: Surroundings,
    servers: Iterable[Server],
    moment: Moment,
) -> tuple[list[tuple[ReceiveConnector, Selection]], list[PlacedEvent]]:
    """Run both selections of every enabled connector, and return them with the events of a start.

    The events of X-ANONYMOUSTLS are written once for each server and transport role, those of
    STARTTLS once for each connector.
    """
    wanted = [
        (connector, server, verb)
        for server in servers
        for connector in server.connectors
        if connector.enabled
        for verb in TlsVerb
    ]
    # Side by side they share what they ask of the directory: one that hangs costs its time-out once.
    decided = await asyncio.gather(*(surroundings.select(*each, moment) for each in wanted))
    selections = [
        (connector, selection) for (connector, _, _), selection in zip(wanted, decided, strict=True)
    ]
    events = [
        place(draft, connector, selection)
        for connector, selection in selections
        for draft in selection.events
    ]
    return selections, list(dict.fromkeys(events))


async def warnings_of_the_day(
    surroundings: Surroundings, servers: Iterable[Server], now: datetime
) -> list[PlacedEvent]:
    """Return events 12017 and 12018 that are due today, placed as at a start."""
    # A start writes them by the selections' own rules; the day asks for nothing else of it.
    _, events = await select_at_start(surroundings, servers, Moment(now, at_start=True))
    return [event for event in events if event.draft.event_id in _OF_THE_DAY]


def place(draft: EventDraft, connector: ReceiveConnector, selection: Selection) -> PlacedEvent:
    """Return where an event of a start or of the daily check is written."""
    named = None if selection.verb is TlsVerb.X_ANONYMOUSTLS else selection.connector
    return PlacedEvent(draft, connector.transport_role, selection.server, named)
