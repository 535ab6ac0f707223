"""Running the selections: the one place that hands a connector, its server's store and the directory to them.

A session, a start, ``check`` and ``explain`` all come through here, so they show the same trace.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from smtpd_anontls.certificates.store import LocalComputerStore
from smtpd_anontls.directory.file import FileDirectory
from smtpd_anontls.domain.records import TlsVerb
from smtpd_anontls.selection import anonymous_tls, starttls
from smtpd_anontls.selection.validity import expiry_warning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from smtpd_anontls.domain.connectors import ReceiveConnector, Server
    from smtpd_anontls.domain.events import EventDraft
    from smtpd_anontls.domain.flags import TransportRole
    from smtpd_anontls.selection.outcome import Selection
    from smtpd_anontls.selection.validity import Moment
    from smtpd_anontls.settings.values import Settings

_SELECTIONS = {TlsVerb.X_ANONYMOUSTLS: anonymous_tls.select, TlsVerb.STARTTLS: starttls.select}


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the selections of one configuration ask: the directory, and the store of each server."""

    directory: FileDirectory
    stores: Mapping[str, LocalComputerStore]

    @classmethod
    def of(cls, settings: Settings, *, on_warning: Callable[[str], None]) -> Surroundings:
        """Return the surroundings that *settings* describe; nothing is read yet."""
        return cls(
            FileDirectory(settings.directory.path, on_warning=on_warning),
            {
                each.server.name: LocalComputerStore(each.certificate_store, on_warning=on_warning)
                for each in settings.servers
            },
        )

    def adapted_to(self, settings: Settings, *, on_warning: Callable[[str], None]) -> Surroundings:
        """Return the surroundings of changed *settings*; what did not move keeps what it has read."""
        fresh = Surroundings.of(settings, on_warning=on_warning)
        known = {store.folder: store for store in self.stores.values()}
        stores = {name: known.get(store.folder, store) for name, store in fresh.stores.items()}
        same = self.directory.path == fresh.directory.path
        return Surroundings(self.directory if same else fresh.directory, stores)

    async def select(
        self, connector: ReceiveConnector, server: Server, verb: TlsVerb, moment: Moment
    ) -> Selection:
        """Run one selection and measure it."""
        began = time.perf_counter()
        selection = await _SELECTIONS[verb](
            connector,
            server,
            directory=self.directory,
            store=self.stores[server.name],
            moment=moment,
        )
        return replace(selection, duration_ms=(time.perf_counter() - began) * 1000)


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
    selections: list[tuple[ReceiveConnector, Selection]] = []
    events: list[PlacedEvent] = []
    for server in servers:
        for connector in server.connectors:
            if not connector.enabled:
                continue
            for verb in TlsVerb:
                selection = await surroundings.select(connector, server, verb, moment)
                selections.append((connector, selection))
                events.extend(place(draft, connector, selection) for draft in selection.events)
    return selections, list(dict.fromkeys(events))


async def warnings_of_the_day(
    surroundings: Surroundings,
    servers: Iterable[Server],
    moment: Moment,
) -> list[PlacedEvent]:
    """Return events 12017 and 12018 that are due today, placed as at a start."""
    servers = list(servers)
    days = {server.name: server.expiry_warning_days for server in servers}
    selections, _ = await select_at_start(surroundings, servers, moment)
    events = [
        place(draft, connector, selection)
        for connector, selection in selections
        if selection.certificate is not None
        for draft in _due(selection, moment.now, days[selection.server])
    ]
    return list(dict.fromkeys(events))


def _due(selection: Selection, now: datetime, warning_days: int) -> list[EventDraft]:
    assert selection.certificate is not None
    return expiry_warning(selection.verb, selection.certificate, now, warning_days=warning_days)


def place(draft: EventDraft, connector: ReceiveConnector, selection: Selection) -> PlacedEvent:
    """Return where an event of a start or of the daily check is written."""
    named = None if selection.verb is TlsVerb.X_ANONYMOUSTLS else selection.connector
    return PlacedEvent(draft, connector.transport_role, selection.server, named)
