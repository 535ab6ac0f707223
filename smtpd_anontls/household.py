"""What a session asks of the house around it (smtp.ports.House), answered from the rooms that are handed over.

Who keeps house opens and closes those rooms, and says what holds when the configuration has changed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from smtpd_anontls.binding import Bindings
from smtpd_anontls.certificates.store import StoreError
from smtpd_anontls.deciding import close_directory
from smtpd_anontls.domain.endpoints import Binding
from smtpd_anontls.domain.flags import ProtocolLoggingLevel
from smtpd_anontls.domain.limits import Connections, MessageRates
from smtpd_anontls.domain.matching import NotTaken
from smtpd_anontls.domain.records import Acknowledged, TlsVerb
from smtpd_anontls.journal.errors import JournalError
from smtpd_anontls.journal.journal import Journal, MemoryJournal
from smtpd_anontls.protocol.replies import TOO_MANY_CONNECTIONS
from smtpd_anontls.protocol_log.log import ProtocolLog
from smtpd_anontls.selection.validity import Moment
from smtpd_anontls.smtp.ports import Arrival, DeliveryError, Refusal, Unavailable, Welcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpd_anontls.deciding import Surroundings
    from smtpd_anontls.domain.certificate import Certificate
    from smtpd_anontls.domain.connectors import ReceiveConnector, Server
    from smtpd_anontls.domain.endpoints import IPAddress
    from smtpd_anontls.domain.events import EventDraft
    from smtpd_anontls.domain.faults import FaultList
    from smtpd_anontls.domain.flags import TransportRole
    from smtpd_anontls.domain.limits import Place, Struck
    from smtpd_anontls.domain.matching import Taken
    from smtpd_anontls.domain.records import EventRecord, MessageRecord, SessionRecord
    from smtpd_anontls.domain.tls_policy import TlsPolicy
    from smtpd_anontls.selection.outcome import Selection
    from smtpd_anontls.settings.values import CaptureSettings, ProtocolLogSettings
    from smtpd_anontls.smtp.ports import ServerContext, SessionLog

    Record = SessionRecord | Acknowledged | EventRecord
    Observer = Callable[[Record], None]

log = logging.getLogger("smtpd_anontls")

# Seconds that open transactions get to finish when the house closes.
DRAIN_TIMEOUT = 10.0


def utc_now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


def journal_of(
    settings: CaptureSettings, *, clock: Callable[[], datetime], on_warning: Callable[[str], None]
) -> Journal | MemoryJournal:
    """Return the journal that *settings* describe; nothing is opened yet."""
    if settings.url is None:
        return MemoryJournal()
    return Journal(settings.url, settings.retention, clock=clock, on_warning=on_warning)


def protocol_log_of(
    settings: ProtocolLogSettings | None,
    *,
    clock: Callable[[], datetime],
    on_warning: Callable[[str], None],
) -> ProtocolLog | None:
    """Return the protocol log that *settings* describe, if any; nothing is opened yet."""
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


class Announces(Protocol):
    """Writes the events of sessions."""

    def write(
        self,
        draft: EventDraft,
        role: TransportRole,
        server: str | None,
        connector: str | None,
        session_id: str | None,
    ) -> None:
        """Write an event; never wait and never raise."""
        ...


class LogsProtocol(Protocol):
    """Has the rows of each session in a protocol log."""

    def session(self, session_id: str, connector_id: str, local: str, remote: str) -> SessionLog:
        r"""Return what takes the rows of a session; *connector_id* is ``SERVER\Connector Name``."""
        ...


class Delivers(Protocol):
    """Keeps what happened."""

    async def deliver(self, message: MessageRecord, session: SessionRecord | None) -> int:
        """Return the message's id once it and *session* are durable; JournalError: nothing is acknowledged."""
        ...

    def record_session(self, record: SessionRecord) -> None:
        """Note what is known of a session now; never wait and never raise."""
        ...


class Limits(Protocol):
    """Counts what sessions share; see domain.limits."""

    async def enter(self, place: Place, source: IPAddress, connector: ReceiveConnector) -> Struck | None:
        """Count one more session of *source*, unless a limit strikes."""
        ...

    def leave(self, place: Place, source: IPAddress) -> None:
        """Count one session less."""
        ...

    async def admit(
        self, place: Place, source: IPAddress, connector: ReceiveConnector, sender: str
    ) -> Struck | None:
        """Count one more message, unless the rate limit strikes."""
        ...


class OwnLimits:
    """The limits of sessions that are all in this process."""

    def __init__(self) -> None:
        self._connections = Connections()
        self._rates = MessageRates()

    async def enter(self, place: Place, source: IPAddress, connector: ReceiveConnector) -> Struck | None:
        """Count one more session of *source*, unless a limit strikes."""
        return self._connections.enter(place, source, connector)

    def leave(self, place: Place, source: IPAddress) -> None:
        """Count one session less."""
        self._connections.leave(place, source)

    async def admit(
        self, place: Place, source: IPAddress, connector: ReceiveConnector, sender: str
    ) -> Struck | None:
        """Count one more message, unless the rate limit strikes."""
        return self._rates.admit(place, connector, source=str(source), sender=sender, now=time.monotonic())


class Household:
    """Answers sessions; subclasses say when what holds is looked at again."""

    def __init__(
        self,
        *,
        surroundings: Surroundings,
        faults: FaultList,
        limits: Limits,
        journal: Delivers,
        announcer: Announces,
        protocol_log: LogsProtocol | None,
        clock: Callable[[], datetime],
    ) -> None:
        """Take the rooms; whoever made them opens and closes them."""
        self.surroundings = surroundings
        self.now = clock
        self._bindings = Bindings()
        self._faults = faults
        self._limits = limits
        self._delivers = journal
        self._announces = announcer
        self._logs_protocol = protocol_log
        self._observers: list[Observer] = []
        # Directories that a changed configuration no longer has, being closed.
        self._retiring: set[asyncio.Task[None]] = set()
        self._no_sessions = asyncio.Event()

    async def refresh(self) -> bool | None:
        """Take over a configuration that has changed; never raise: what cannot be taken stays as it was."""
        raise NotImplementedError

    # -- what holds

    def _hold(self, surroundings: Surroundings, bindings: Bindings) -> None:
        """Let these hold for sessions that begin now."""
        if surroundings.directory is not self.surroundings.directory:
            self._retire(self.surroundings)
        self.surroundings, self._bindings = surroundings, bindings

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
        """Close every directory: no session comes any more."""
        self._no_sessions.set()
        await close_directory(self.surroundings.directory)
        await asyncio.gather(*self._retiring)

    # -- what a session asks (smtp.ports.House)

    def new_session_id(self) -> str:
        """Return 64 random bits, unique across nodes."""
        return secrets.token_hex(8)

    def expects_proxy_header(self, arrival: Arrival) -> bool:
        """Whether the peer is a trusted proxy of a connector that listens there."""
        return self._bindings.trusts(arrival.remote[0], arrival.local)

    async def welcome(self, arrival: Arrival) -> Welcome | Refusal:
        """Match the connector, count the session, and run both selections; their events are written."""
        await self.refresh()
        # What holds now holds for the whole session; nothing is awaited before all of it is in hand.
        surroundings = self.surroundings
        taken = self._bindings.match(arrival.local, arrival.remote[0])
        if isinstance(taken, NotTaken):
            return Refusal(taken.server, taken.detail)
        server, connector = taken.server, taken.connector
        place = (server.name, connector.name)
        if (struck := await self._limits.enter(place, arrival.remote[0], connector)) is not None:
            return Refusal(server, taken.detail, connector, TOO_MANY_CONNECTIONS, struck)
        try:
            return await self._select(arrival, taken, surroundings)
        except BaseException:
            self._limits.leave(place, arrival.remote[0])
            raise

    async def _select(self, arrival: Arrival, taken: Taken, surroundings: Surroundings) -> Welcome:
        server, connector = taken.server, taken.connector
        moment = Moment(self.now())
        selections: list[Selection] = []
        contexts: dict[TlsVerb, ServerContext] = {}
        for selection, context in await surroundings.decide_for_session(connector, server, moment):
            if context is not None:
                contexts[selection.verb] = context
            selections.append(selection)
            for draft in selection.events:
                self._announces.write(
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
        self._limits.leave((welcome.server.name, welcome.connector.name), arrival.remote[0])

    def session_log(self, arrival: Arrival, server: Server, connector: ReceiveConnector) -> SessionLog | None:
        """Return the rows of the session in the protocol log, where there is one and the connector wants it."""
        if self._logs_protocol is None or connector.protocol_logging_level is ProtocolLoggingLevel.NotUsed:
            return None
        return self._logs_protocol.session(
            arrival.session_id,
            f"{server.name}\\{connector.name}",
            str(Binding(*arrival.local)),
            str(Binding(*arrival.remote)),
        )

    async def admit_message(self, arrival: Arrival, welcome: Welcome, sender: str) -> Struck | None:
        """Count a message, unless MessageRateLimit strikes."""
        if welcome.connector.message_rate_limit is None:
            return None
        place = (welcome.server.name, welcome.connector.name)
        return await self._limits.admit(place, arrival.remote[0], welcome.connector, sender)

    async def deliver(self, message: MessageRecord, session: SessionRecord | None) -> int:
        """Make a message durable; DeliveryError where the journal could not."""
        try:
            message_id = await self._delivers.deliver(message, session)
        except JournalError as error:
            # The journal warns by itself, once for as long as it lasts.
            raise DeliveryError from error
        self._acknowledged(message_id, message)
        return message_id

    def _acknowledged(self, message_id: int, message: MessageRecord) -> None:
        """Tell that a message has become durable."""
        if self._observers:
            self._tell(Acknowledged(message_id, len(message.raw), self._seconds_since(message.time)))

    def _seconds_since(self, time: datetime) -> float:
        # A message's time is when its last octet came; a clock may be set back meanwhile.
        return max(0.0, (self.now() - time).total_seconds())

    def record_event(self, draft: EventDraft, arrival: Arrival, welcome: Welcome) -> None:
        """Write an event of a session."""
        self._announces.write(
            draft,
            welcome.connector.transport_role,
            welcome.server.name,
            welcome.connector.name,
            arrival.session_id,
        )

    def record_session(self, record: SessionRecord) -> None:
        """Pass an ended session to the journal."""
        self._delivers.record_session(record)
        self._tell(record)

    def _tell(self, record: Record) -> None:
        for observer in self._observers:
            observer(record)

    def report_fault(self, session_id: str, error: BaseException) -> None:
        """Log a fault of our own with its traceback; the operator needs it, the peer never sees it."""
        log.error("session %s: internal error", session_id, exc_info=error, extra={"session_id": session_id})
