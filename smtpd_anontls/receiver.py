"""The receiver: the one place that joins the rooms.  No rule lives here.

Each session sees the configuration, the directory and the store as they are when it connects:
the files are looked at (a stat each) at every connection, and read again where they changed.
A watcher would be late for the session that follows a change at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import secrets
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

from smtpd_anontls.announcing import Announcer
from smtpd_anontls.binding import Bindings, bind
from smtpd_anontls.certificates.store import StoreError
from smtpd_anontls.deciding import (
    Surroundings,
    close_directory,
    refuse_useless_ciphers,
    select_at_start,
    warnings_of_the_day,
)
from smtpd_anontls.domain.endpoints import Binding
from smtpd_anontls.domain.faults import Fault, FaultList
from smtpd_anontls.domain.flags import ProtocolLoggingLevel
from smtpd_anontls.domain.limits import Connections, MessageRates
from smtpd_anontls.domain.matching import Bound, NotTaken, match
from smtpd_anontls.domain.records import TlsVerb
from smtpd_anontls.journal.errors import JournalError
from smtpd_anontls.journal.journal import Journal, MemoryJournal
from smtpd_anontls.journal.waiting import Messages
from smtpd_anontls.protocol.replies import TOO_MANY_CONNECTIONS
from smtpd_anontls.protocol_log.log import ProtocolLog
from smtpd_anontls.provisioning import provision
from smtpd_anontls.reloading import LiveSettings
from smtpd_anontls.selection.validity import Moment
from smtpd_anontls.settings.faults import read_faults
from smtpd_anontls.smtp.listener import Listener, ListenError
from smtpd_anontls.smtp.ports import Arrival, DeliveryError, Refusal, Unavailable, Welcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from smtpd_anontls.certificates.stand_ins import StandIns
    from smtpd_anontls.domain.certificate import Certificate
    from smtpd_anontls.domain.connectors import ReceiveConnector, Server
    from smtpd_anontls.domain.events import EventDraft
    from smtpd_anontls.domain.limits import Struck
    from smtpd_anontls.domain.matching import Taken
    from smtpd_anontls.domain.records import EventRecord, MessageRecord, SessionRecord
    from smtpd_anontls.domain.tls_policy import TlsPolicy
    from smtpd_anontls.reloading import Change
    from smtpd_anontls.selection.outcome import Selection
    from smtpd_anontls.settings.values import Loaded, ProtocolLogSettings, Settings
    from smtpd_anontls.smtp.ports import ServerContext, SessionLog

    Observer = Callable[[SessionRecord | MessageRecord | EventRecord], None]

log = logging.getLogger("smtpd_anontls")

# Seconds that open transactions get to finish when the receiver stops.
DRAIN_TIMEOUT = 10.0
_DAY = timedelta(days=1)
# Seconds between looks at the configuration and the calendar while no session comes.
_LOOK_INTERVAL = 1.0


def utc_now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


class Receiver:
    """A running receiver: ``async with Receiver(load_config("config/receive.yaml")) as receiver``."""

    def __init__(
        self,
        loaded: Loaded,
        *,
        on_warning: Callable[[str], None] = log.warning,
        on_made: Callable[[str], None] = log.info,
        clock: Callable[[], datetime] = utc_now,
        chance: Callable[[], float] = random.random,
        stand_ins: StandIns | None = None,  # What stands in for keys that are elsewhere; None: nothing.
    ) -> None:
        """Take a configuration; nothing is opened before the receiver is entered, which is done once."""
        settings = loaded.settings
        self.now = clock
        self._warn = on_warning
        self._on_made = on_made
        self._live = LiveSettings(loaded)
        self.surroundings = Surroundings.of(settings, on_warning=on_warning, stand_ins=stand_ins)
        self.journal: Journal | MemoryJournal = (
            MemoryJournal()
            if settings.capture.url is None
            else Journal(
                settings.capture.url, settings.capture.retention, clock=self.now, on_warning=on_warning
            )
        )
        self.messages = Messages(self.journal)
        self._announcer = Announcer(
            settings.event_log, self.journal, clock=self.now, computer=self._computer, on_warning=on_warning
        )
        self.listener = Listener(self, on_warning=on_warning)
        self.selections_at_start: list[tuple[ReceiveConnector, Selection]] = []
        self.protocol_log = _protocol_log_of(settings.protocol_log, clock=self.now, on_warning=on_warning)
        self._observers: list[Observer] = []
        self._faults = FaultList(settings.faults, chance)
        self._connections = Connections()
        self._rates = MessageRates()
        self._bindings = Bindings()
        self._watch: asyncio.Task[None] | None = None
        self._refreshing = asyncio.Lock()
        # Directories that a changed configuration no longer has, being closed.
        self._retiring: set[asyncio.Task[None]] = set()
        self._no_sessions = asyncio.Event()
        self._stopping = False
        self._warnings_due = self.now() + _DAY

    # -- life

    async def __aenter__(self) -> Self:
        """Open everything, write the events of a start, and listen; one clear error where that cannot be."""
        settings = self._live.settings
        servers = [each.server for each in settings.servers]
        async with contextlib.AsyncExitStack() as opened:
            opened.push_async_callback(self._close_directories)
            refuse_useless_ciphers(settings)
            await provision(settings, now=self.now(), on_made=self._on_made)
            await asyncio.to_thread(self.surroundings.load, servers)
            await asyncio.to_thread(self.surroundings.authentication.load)
            await self.journal.open()
            opened.push_async_callback(self.journal.close)
            await asyncio.to_thread(self._announcer.event_log.open)
            # In a thread: a pipe that nobody reads takes its time to close.
            opened.push_async_callback(asyncio.to_thread, self._announcer.event_log.close)
            if self.protocol_log is not None:
                await asyncio.to_thread(self.protocol_log.open)
                opened.push_async_callback(asyncio.to_thread, self.protocol_log.close)
            await self._announcer.continue_ids()
            moment = Moment(self.now(), at_start=True)
            self._warnings_due = moment.now + _DAY
            self.selections_at_start, events = await select_at_start(self.surroundings, servers, moment)
            await self.surroundings.refuse_keys_elsewhere(self.selections_at_start, settings.text_name)
            for event in events:
                self._announcer.write_placed(event)
            opened.push_async_callback(self.listener.close, DRAIN_TIMEOUT)
            self._bindings = await bind(self.listener, servers, self._bindings)
            self._watch = asyncio.create_task(self._keep_watch())
            self._opened = opened.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Drain the sessions, then close everything; what was acknowledged is durable."""
        async with self._refreshing:
            # From here on no change of the configuration opens anything.
            self._stopping = True
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.wait([self._watch])
        await self._opened.aclose()

    def address(self, connector: str, server: str | None = None) -> tuple[str, int]:
        """Return host and port on which *connector* listens; KeyError where it does not."""
        return self._bindings.address(connector, server)

    @property
    def bound(self) -> tuple[Bound, ...]:
        """The connectors with the bindings under which they really listen."""
        return self._bindings.bound

    @property
    def settings(self) -> Settings:
        """The settings as they hold now; what only a start changes is in them as the file has it."""
        return self._live.settings

    def observe(self, observer: Observer) -> None:
        """Let *observer* be told of each session that ends, each message that is durable and each event.

        It is called in the loop, must not raise, and must not take its time.
        """
        self._observers.append(observer)
        self._announcer.observers.append(observer)

    # -- faults on demand

    @property
    def faults(self) -> FaultList:
        """The faults that are wanted now, with their counts."""
        return self._faults

    def put_faults(self, faults: Iterable[Fault | dict[str, Any]]) -> int:
        """Want exactly *faults* in sessions that begin from now on; return the number of the list.

        Dictionaries have the keys of the configuration; ConfigError says what is wrong with them.
        """
        items = [each.as_json() if isinstance(each, Fault) else each for each in faults]
        return self._faults.replace(read_faults(items))

    def delete_faults(self) -> None:
        """Want none, those of the configuration included."""
        self._faults.replace(())

    # -- what a session asks (smtp.ports.House)

    def new_session_id(self) -> str:
        """Return 64 random bits, unique across nodes."""
        return secrets.token_hex(8)

    def expects_proxy_header(self, arrival: Arrival) -> bool:
        """Whether the peer is a trusted proxy of a connector that listens there."""
        return any(
            trusted.covers(arrival.remote[0])
            for bound in self._bindings.bound
            if bound.connector.proxy_protocol and bound.binding.covers(*arrival.local)
            for trusted in bound.connector.trusted_proxies
        )

    async def welcome(self, arrival: Arrival) -> Welcome | Refusal:
        """Match the connector, count the session, and run both selections; their events are written."""
        await self.refresh()
        # What holds now holds for the whole session; nothing is awaited before all of it is in hand.
        surroundings = self.surroundings
        taken = match(self._bindings.bound, arrival.local, arrival.remote[0])
        if isinstance(taken, NotTaken):
            return Refusal(taken.server, taken.detail)
        server, connector = taken.server, taken.connector
        place = (server.name, connector.name)
        if (struck := self._connections.enter(place, arrival.remote[0], connector)) is not None:
            return Refusal(server, taken.detail, connector, TOO_MANY_CONNECTIONS, struck)
        try:
            return await self._select(arrival, taken, surroundings)
        except BaseException:
            self._connections.leave(place, arrival.remote[0])
            raise

    async def _select(self, arrival: Arrival, taken: Taken, surroundings: Surroundings) -> Welcome:
        server, connector = taken.server, taken.connector
        moment = Moment(self.now())
        selections: list[Selection] = []
        contexts: dict[TlsVerb, ServerContext] = {}
        for verb in TlsVerb:
            selection, context = await surroundings.decide(connector, server, verb, moment)
            if context is not None:
                contexts[verb] = context
            selections.append(selection)
            for draft in selection.events:
                self._announcer.write(
                    draft, connector.transport_role, server.name, connector.name, arrival.session_id
                )
        logons = surroundings.authentication.at(server, connector)
        faults = self._faults.for_session(server.name, connector.name, arrival.remote[0])
        tls = surroundings.tls
        return Welcome(server, connector, taken.detail, tuple(selections), contexts, tls, logons, faults)

    async def another_context(
        self, welcome: Welcome, verb: TlsVerb, thumbprint: str | None, policy: TlsPolicy
    ) -> tuple[Certificate, ServerContext] | Unavailable:
        """Return a certificate that no selection chose, and what presents it: a fault wants it."""
        asked = self.surroundings.another_context
        try:
            return await asked(
                welcome.connector, welcome.server, verb, thumbprint=thumbprint, policy=policy, now=self.now()
            )
        except StoreError as error:
            return Unavailable(str(error))

    def departed(self, arrival: Arrival, welcome: Welcome) -> None:
        """Count the session no longer."""
        self._connections.leave((welcome.server.name, welcome.connector.name), arrival.remote[0])

    def session_log(self, arrival: Arrival, server: Server, connector: ReceiveConnector) -> SessionLog | None:
        """Return the rows of the session in the protocol log, where there is one and the connector wants it."""
        if self.protocol_log is None or connector.protocol_logging_level is ProtocolLoggingLevel.NotUsed:
            return None
        return self.protocol_log.session(
            arrival.session_id,
            f"{server.name}\\{connector.name}",
            str(Binding(*arrival.local)),
            str(Binding(*arrival.remote)),
        )

    def admit_message(self, arrival: Arrival, welcome: Welcome, sender: str) -> Struck | None:
        """Count a message, unless MessageRateLimit strikes."""
        return self._rates.admit(
            (welcome.server.name, welcome.connector.name),
            welcome.connector,
            source=str(arrival.remote[0]),
            sender=sender,
            now=time.monotonic(),
        )

    async def deliver(self, message: MessageRecord, session: SessionRecord | None) -> int:
        """Make a message durable; DeliveryError where the journal could not."""
        try:
            message_id = await self.journal.deliver(message, session)
        except JournalError as error:
            # The journal warns by itself, once for as long as it lasts.
            raise DeliveryError from error
        self.messages.arrived(message)
        self._tell(message)
        return message_id

    def record_event(self, draft: EventDraft, arrival: Arrival, welcome: Welcome) -> None:
        """Write an event of a session."""
        self._announcer.write(
            draft,
            welcome.connector.transport_role,
            welcome.server.name,
            welcome.connector.name,
            arrival.session_id,
        )

    def record_session(self, record: SessionRecord) -> None:
        """Pass an ended session to the journal."""
        self.journal.record_session(record)
        self._tell(record)

    def _tell(self, record: SessionRecord | MessageRecord) -> None:
        for observer in self._observers:
            observer(record)

    def report_fault(self, session_id: str, error: BaseException) -> None:
        """Log a fault of our own with its traceback; the operator needs it, the peer never sees it."""
        log.error("session %s: internal error", session_id, exc_info=error, extra={"session_id": session_id})

    # -- configuration that changes while it runs

    async def refresh(self, *, force: bool = False) -> None:
        """Take over a configuration file that has changed; never raise: what cannot be taken stays as it was."""
        if self._live.is_current() and not force:
            return
        async with self._refreshing:
            # Another session may have done it meanwhile.
            if self._stopping or (self._live.is_current() and not force):
                return
            try:
                await self._take_over(await asyncio.to_thread(self._live.read, force=force))
            except Exception:
                log.exception("the configuration could not be taken over")

    async def alter(self, change: Callable[[Settings], Settings]) -> None:
        """Let *change* of the settings hold from the next session on, until the file changes or is read again.

        What *change* raises comes through, and nothing has changed.
        """
        async with self._refreshing:
            await self._take_over(self._live.altered(change(self._live.settings)))

    async def _take_over(self, change: Change) -> None:
        """Make everything fit *change*, then let it hold all at once: a session sees all of it or nothing."""
        for warning in change.warnings:
            self._warn(warning)
        settings = change.settings
        if settings is None:
            self._live.take(change)
        else:
            surroundings = self.surroundings.adapted_to(settings, on_warning=self._warn)
            servers = [each.server for each in settings.servers]
            bindings = await bind(self.listener, servers, self._bindings, on_failure=self._warn_of_binding)
            if settings.faults != self._live.settings.faults:
                self._faults.replace(settings.faults)
            self._live.take(change)
            if surroundings.directory is not self.surroundings.directory:
                self._retire(self.surroundings)
            self.surroundings, self._bindings = surroundings, bindings
        for event in change.events:
            self._announcer.write_placed(event)

    def _retire(self, surroundings: Surroundings) -> None:
        """Close the directory of *surroundings* when no session can be asking it any more."""

        async def close_later() -> None:
            # Stopping is the other reason to close it, and there are no sessions then.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._no_sessions.wait(), surroundings.longest_decision)
            await close_directory(surroundings.directory)

        task = asyncio.create_task(close_later())
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    async def _close_directories(self) -> None:
        self._no_sessions.set()
        await close_directory(self.surroundings.directory)
        await asyncio.gather(*self._retiring)

    def _warn_of_binding(self, error: ListenError) -> None:
        self._warn(f"{error}; until the next change or SIGHUP the connector goes without it")

    # -- time that passes

    async def _keep_watch(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_INTERVAL)
            await self.refresh()
            try:
                await self._warn_once_a_day()
            except Exception:
                # The edge: a fault of ours today must not be the end of tomorrow's warnings.
                log.exception("the daily check of the certificates failed")

    async def _warn_once_a_day(self) -> None:
        now = self.now()
        # The clock of the world, since that is what certificates go by, and a machine may sleep;
        # one that was set back must not postpone the warnings by more than a day.
        self._warnings_due = min(self._warnings_due, now + _DAY)
        if now < self._warnings_due:
            return
        self._warnings_due = now + _DAY
        servers = [each.server for each in self._live.settings.servers]
        for event in await warnings_of_the_day(self.surroundings, servers, now):
            self._announcer.write_placed(event)

    def _computer(self, server: str | None) -> str:
        """Return the FQDN of *server*, or of the first one for an event that belongs to none."""
        servers = [each.server for each in self._live.settings.servers]
        return next((each.fqdn for each in servers if each.name == server), servers[0].fqdn)


def _protocol_log_of(
    settings: ProtocolLogSettings | None,
    *,
    clock: Callable[[], datetime],
    on_warning: Callable[[str], None],
) -> ProtocolLog | None:
    if settings is None:
        return None
    return ProtocolLog(
        settings.path,
        settings.layout,
        max_age=settings.max_age,
        max_directory_size=settings.max_directory_size,
        max_file_size=settings.max_file_size,
        clock=clock,
        on_warning=on_warning,
    )
