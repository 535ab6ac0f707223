"""What a session asks of the house around it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeAlias

from smtpd_anontls.protocol import replies

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from ssl import SSLContext

    from OpenSSL.SSL import Context

    from smtpd_anontls.domain.authentication import Authenticated, Identity, Mechanism, TokenExchange
    from smtpd_anontls.domain.certificate import Certificate
    from smtpd_anontls.domain.connectors import ReceiveConnector, Server
    from smtpd_anontls.domain.direct_trust import NotTrusted, Trusted
    from smtpd_anontls.domain.endpoints import IPAddress
    from smtpd_anontls.domain.events import EventDraft
    from smtpd_anontls.domain.faults import SessionFaults
    from smtpd_anontls.domain.limits import Struck
    from smtpd_anontls.domain.records import MessageRecord, SessionRecord, TlsFacts, TlsVerb
    from smtpd_anontls.domain.tls_policy import TlsPolicy
    from smtpd_anontls.protocol.replies import Reply
    from smtpd_anontls.selection.outcome import Selection

    # What a session starts TLS with: the standard one, or pyOpenSSL's where a client certificate is asked for.
    ServerContext: TypeAlias = SSLContext | Context


class DeliveryError(Exception):
    """The message could not be made durable; nothing of it is acknowledged."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A connection that has just been accepted."""

    session_id: str
    local: tuple[IPAddress, int]
    remote: tuple[IPAddress, int]
    proxy: tuple[IPAddress, int] | None = None  # Who passed it on, by a PROXY protocol header.


@dataclass(frozen=True, slots=True)
class Welcome:
    """The connector that takes a session, and what both selections decided for it."""

    server: Server
    connector: ReceiveConnector
    detail: str
    selections: tuple[Selection, ...]
    # One for each verb that is advertised, with exactly the certificate of its selection.
    contexts: Mapping[TlsVerb, ServerContext] = field(repr=False)
    tls: TlsPolicy
    logons: Logons
    faults: SessionFaults | None = None  # None: none can happen to the session.


@dataclass(frozen=True, slots=True)
class Unavailable:
    """There is no such context; *detail* says why."""

    detail: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """Nobody takes the session: no connector, or one that has too many."""

    server: Server | None
    detail: str
    connector: ReceiveConnector | None = None
    reply: Reply = replies.SERVICE_NOT_AVAILABLE
    struck: Struck | None = None


class SessionLog(Protocol):
    """The rows of one session in the protocol log."""

    def connected(self) -> None:
        """Note that the session began."""
        ...

    def permissions(self, names: Sequence[str]) -> None:
        """Note what the sender may do now."""
        ...

    def received(self, line: str) -> None:
        """Note a command; whatever it had of authentication is masked."""
        ...

    def sent(self, lines: Sequence[str], *, ehlo: bool = False) -> None:
        """Note a reply."""
        ...

    def certificate(self, certificate: Certificate, *, remote: bool = False) -> None:
        """Note a certificate that is presented: ours, or the peer's."""
        ...

    def handshake(self, facts: TlsFacts) -> None:
        """Note how a handshake ended."""
        ...

    def information(self, data: str, context: str = "") -> None:
        """Note something else."""
        ...

    def disconnected(self, reason: str) -> None:
        """Note that the session ended."""
        ...


class Logons(Protocol):
    """The ways in which a sender can say to a connector who it is."""

    @property
    def has_keytab(self) -> bool:
        """Whether GSSAPI can be answered."""
        ...

    @property
    def observes(self) -> bool:
        """Whether EXCHANGEAUTH is looked at."""
        ...

    def begin(
        self, mechanism: Mechanism, *, certificate: Certificate | None, security_layer: bool
    ) -> TokenExchange:
        """Return an exchange that has not begun; *certificate* is ours in the TLS session, None in clear.

        *security_layer*: GSSAPI ends with the round of RFC 4752.
        """
        ...

    async def identify(self, mechanism: Mechanism, found: Authenticated) -> Identity:
        """Return who an authenticated sender is, with the groups that follow."""
        ...

    async def recognise(
        self, der: bytes | None, now: datetime
    ) -> tuple[Identity | None, Trusted | NotTrusted]:
        """Return whom a client certificate makes of the client, and why: direct trust."""
        ...


class House(Protocol):
    """Everything outside the wire."""

    def now(self) -> datetime:
        """Return the time."""
        ...

    def new_session_id(self) -> str:
        """Return 16 hexadecimal digits that no other session has."""
        ...

    def expects_proxy_header(self, arrival: Arrival) -> bool:
        """Whether a PROXY protocol header has to come first: its peer is a trusted proxy of the binding."""
        ...

    async def welcome(self, arrival: Arrival) -> Welcome | Refusal:
        """Match the connector, count the session, run both selections, write their events."""
        ...

    async def another_context(
        self, welcome: Welcome, verb: TlsVerb, thumbprint: str | None, policy: TlsPolicy
    ) -> tuple[Certificate, ServerContext] | Unavailable:
        """Return a certificate that no selection chose and what presents it; None: one made for the moment."""
        ...

    def departed(self, arrival: Arrival, welcome: Welcome) -> None:
        """Count the session no longer."""
        ...

    def session_log(self, arrival: Arrival, server: Server, connector: ReceiveConnector) -> SessionLog | None:
        """Return the rows of the session in the protocol log; None where it is not logged."""
        ...

    async def admit_message(self, arrival: Arrival, welcome: Welcome, sender: str) -> Struck | None:
        """Count a message of *sender*, unless the rate limit strikes."""
        ...

    async def deliver(self, message: MessageRecord, session: SessionRecord | None) -> int:
        """Make a message durable and return its id; raise DeliveryError where that failed.

        *session* goes into the same transaction; it is given with a session's first message.
        """
        ...

    def record_event(self, draft: EventDraft, arrival: Arrival, welcome: Welcome) -> None:
        """Write an event of a session."""
        ...

    def record_session(self, record: SessionRecord) -> None:
        """Take note of a session that has ended; never raise, never wait."""
        ...

    def report_fault(self, session_id: str, error: BaseException) -> None:
        """Tell the operator about an error of our own in one session."""
        ...
