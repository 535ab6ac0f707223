"""The receiver: the one place that joins the rooms.  No rule lives here.

Each session sees the configuration, the directory and the store as they are when it connects:
the files are looked at (a stat each) at every connection, and read again where they changed.
A watcher would be late for the session that follows a change at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Self

from smtpd_anontls.certificates.store import StoreError
from smtpd_anontls.deciding import Surroundings, select_at_start, warnings_of_the_day
from smtpd_anontls.domain.events import source_of
from smtpd_anontls.domain.matching import Bound, NotTaken, match
from smtpd_anontls.domain.records import EventRecord, TlsVerb
from smtpd_anontls.eventlog.jsonl import JsonLinesFile, StandardOutput
from smtpd_anontls.eventlog.log import EventLog
from smtpd_anontls.journal.errors import JournalError
from smtpd_anontls.journal.journal import Journal, MemoryJournal
from smtpd_anontls.provisioning import provision
from smtpd_anontls.reloading import LiveSettings
from smtpd_anontls.selection.validity import Moment
from smtpd_anontls.smtp.listener import Listener
from smtpd_anontls.smtp.ports import Arrival, DeliveryError, Refusal, Welcome

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from smtpd_anontls.deciding import PlacedEvent
    from smtpd_anontls.domain.connectors import ReceiveConnector, Server
    from smtpd_anontls.domain.endpoints import Binding
    from smtpd_anontls.domain.events import EventDraft
    from smtpd_anontls.domain.flags import TransportRole
    from smtpd_anontls.domain.records import MessageRecord, SessionRecord
    from smtpd_anontls.eventlog.log import Sink
    from smtpd_anontls.selection.outcome import Selection
    from smtpd_anontls.settings.values import EventSink, Loaded
    from smtpd_anontls.smtp.ports import ServerContext

log = logging.getLogger("smtpd_anontls")

# Seconds that open transactions get to finish when the receiver stops.
DRAIN_TIMEOUT = 10.0
_DAY = timedelta(days=1).total_seconds()
# Seconds between looks at the configuration while no session comes.
_LOOK_INTERVAL = 1.0
_IN_UNITS_OF_MICROSECONDS = 1_000_000


class Receiver:
    """A running receiver: ``async with Receiver(load_config("config/receive.yaml")) as receiver``."""

    def __init__(
        self,
        loaded: Loaded,
        *,
        on_warning: Callable[[str], None] = log.warning,
        on_made: Callable[[str], None] = log.info,
    ) -> None:
        """Take a configuration; nothing is opened before the receiver is entered."""
        settings = loaded.settings
        self._warn = on_warning
        self._on_made = on_made
        self._live = LiveSettings(loaded)
        self.surroundings = Surroundings.of(settings, on_warning=on_warning)
        self.journal: Journal | MemoryJournal = (
            MemoryJournal()
            if settings.capture.url is None
            else Journal(
                settings.capture.url, settings.capture.retention, clock=self.now, on_warning=on_warning
            )
        )
        self.event_log = EventLog([_sink(each) for each in settings.event_log], on_warning)
        self.listener = Listener(self, on_warning=on_warning)
        self.selections_at_start: list[tuple[ReceiveConnector, Selection]] = []
        self._bound: tuple[Bound, ...] = ()
        self._tasks: list[asyncio.Task[None]] = []
        self._refreshing = asyncio.Lock()
        self._last_event_id = 0

    # -- life

    async def __aenter__(self) -> Self:
        """Open everything, write the events of a start, and listen."""
        settings = self._live.settings
        await provision(settings, now=self.now(), on_made=self._on_made)
        for store in self.surroundings.stores.values():
            await asyncio.to_thread(store.load)
        async with contextlib.AsyncExitStack() as opened:
            await self.journal.open()
            opened.push_async_callback(self.journal.close)
            await asyncio.to_thread(self.event_log.open)
            opened.callback(self.event_log.close)
            moment = Moment(self.now(), at_start=True)
            servers = [each.server for each in settings.servers]
            self.selections_at_start, events = await select_at_start(self.surroundings, servers, moment)
            for event in events:
                self._write_placed(event)
            opened.push_async_callback(self.listener.close, DRAIN_TIMEOUT)
            await self._listen()
            self._tasks = [asyncio.create_task(self._look()), asyncio.create_task(self._daily())]
            self._opened = opened.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Drain the sessions, then close everything; what was acknowledged is durable."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._opened.aclose()

    def address(self, connector: str, server: str | None = None) -> tuple[str, int]:
        """Return host and port on which *connector* listens; KeyError where it does not."""
        for bound in self._bound:
            if bound.connector.name == connector and server in {None, bound.server.name}:
                return str(bound.binding.address), bound.binding.port
        raise KeyError(f"no connector {connector!r} listens")

    @property
    def bound(self) -> tuple[Bound, ...]:
        """The connectors with the bindings under which they really listen."""
        return self._bound

    # -- what a session asks (smtp.ports.House)

    def now(self) -> datetime:
        """Return the time."""
        return datetime.now(UTC)

    def new_session_id(self) -> str:
        """Return 64 random bits, unique across nodes."""
        return secrets.token_hex(8)

    async def welcome(self, arrival: Arrival) -> Welcome | Refusal:
        """Match the connector and run both selections; their events are written."""
        await self.refresh()
        surroundings, settings = self.surroundings, self._live.settings
        taken = match(self._bound, arrival.local, arrival.remote[0])
        if isinstance(taken, NotTaken):
            return Refusal(taken.server, taken.detail)
        server, connector = taken.server, taken.connector
        moment = Moment(self.now())
        selections: list[Selection] = []
        contexts: dict[TlsVerb, ServerContext] = {}
        for verb in TlsVerb:
            selection = await surroundings.select(connector, server, verb, moment)
            if selection.certificate is not None:
                try:
                    contexts[verb] = await surroundings.stores[server.name].context(
                        selection.certificate.thumbprint,
                        settings.tls,
                    )
                except StoreError as error:
                    selection = selection.not_loadable(str(error), server.fqdn_of(connector))
            selections.append(selection)
            for draft in selection.events:
                self._write(draft, connector.transport_role, server.name, connector.name, arrival.session_id)
        return Welcome(server, connector, taken.detail, tuple(selections), contexts, settings.tls)

    async def deliver(self, message: MessageRecord, session: SessionRecord | None) -> int:
        """Make a message durable; DeliveryError where the journal could not."""
        try:
            return await self.journal.deliver(message, session)
        except JournalError as error:
            self._warn(str(error))
            raise DeliveryError from error

    def record_session(self, record: SessionRecord) -> None:
        """Pass an ended session to the journal."""
        self.journal.record_session(record)

    def report_fault(self, session_id: str, error: BaseException) -> None:
        """Log a fault of our own with its traceback; the operator needs it, the peer never sees it."""
        log.error("session %s: internal error", session_id, exc_info=error)

    # -- configuration that changes while it runs

    async def refresh(self, *, force: bool = False) -> None:
        """Take over a configuration file that has changed; a broken one leaves things as they are."""
        if self._live.is_current() and not force:
            return
        async with self._refreshing:
            if self._live.is_current() and not force:
                return
            change = await asyncio.to_thread(self._live.reload, force=force)
            for warning in change.warnings:
                self._warn(warning)
            for event in change.events:
                self._write_placed(event)
            if change.accepted:
                self.surroundings = self.surroundings.adapted_to(self._live.settings, on_warning=self._warn)
                await self._listen()

    async def _listen(self) -> None:
        """Listen on the bindings of all enabled connectors, keeping the sockets that stay."""
        servers = [each.server for each in self._live.settings.servers]
        self._bound = tuple(await self._bind(servers))

    async def _bind(self, servers: list[Server]) -> list[Bound]:
        wanted = [(s, c, b) for s in servers for c in s.connectors if c.enabled for b in c.bindings]
        known = {(b.server.name, b.connector.name): b.binding for b in self._bound}
        fixed = [binding for _, _, binding in wanted if binding.port]
        kept = [known[key] for s, c, b in wanted if not b.port and (key := (s.name, c.name)) in known]
        await self.listener.listen([*fixed, *kept])
        bound = []
        for server, connector, binding in wanted:
            real: Binding | None = binding
            if not binding.port:
                # Port 0 gives each connector a port of its own, which it keeps.
                real = known.get((server.name, connector.name)) or await self.listener.open(binding)
            if real is not None:
                bound.append(Bound(server, connector, real))
        return bound

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_INTERVAL)
            await self.refresh()

    async def _daily(self) -> None:
        while True:
            await asyncio.sleep(_DAY)
            servers = [each.server for each in self._live.settings.servers]
            for event in await warnings_of_the_day(self.surroundings, servers, Moment(self.now())):
                self._write_placed(event)

    # -- events

    def _write_placed(self, event: PlacedEvent) -> None:
        self._write(event.draft, event.role, event.server, event.connector, None)

    def _write(
        self,
        draft: EventDraft,
        role: TransportRole,
        server: str | None,
        connector: str | None,
        session_id: str | None,
    ) -> None:
        now = self.now()
        # Microseconds, and one more where two events share one: increasing over restarts, too.
        self._last_event_id = max(self._last_event_id + 1, int(now.timestamp() * _IN_UNITS_OF_MICROSECONDS))
        record = EventRecord(
            id=self._last_event_id,
            time=now,
            draft=draft,
            source=source_of(role),
            server=server,
            connector=connector,
            session_id=session_id,
        )
        self.event_log.write(record)
        self.journal.record_event(record)


def _sink(wanted: EventSink) -> Sink:
    if wanted.path is None:
        return StandardOutput()
    return JsonLinesFile(wanted.path, max_size=wanted.max_size, keep=wanted.keep)
