"""What a session asks of the house around it."""

from __future__ import annotations

from dataclasses import dataclass, field
from ssl import SSLContext
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from smtpd_anontls.domain.connectors import ReceiveConnector, Server
    from smtpd_anontls.domain.endpoints import IPAddress
    from smtpd_anontls.domain.records import MessageRecord, SessionRecord, TlsVerb
    from smtpd_anontls.domain.tls_policy import TlsPolicy
    from smtpd_anontls.selection.outcome import Selection

# What a session starts TLS with; the rooms that pass it on need no more than its name.
ServerContext = SSLContext


class DeliveryError(Exception):
    """The message could not be made durable; nothing of it is acknowledged."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A connection that has just been accepted."""

    session_id: str
    local: tuple[IPAddress, int]
    remote: tuple[IPAddress, int]


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


@dataclass(frozen=True, slots=True)
class Refusal:
    """No connector takes the session."""

    server: Server | None
    detail: str


class House(Protocol):
    """Everything outside the wire."""

    def now(self) -> datetime:
        """Return the time."""
        ...

    def new_session_id(self) -> str:
        """Return 16 hexadecimal digits that no other session has."""
        ...

    async def welcome(self, arrival: Arrival) -> Welcome | Refusal:
        """Match the connector, run both selections, write their events."""
        ...

    async def deliver(self, message: MessageRecord, session: SessionRecord | None) -> int:
        """Make a message durable and return its id; raise DeliveryError where that failed.

        *session* goes into the same transaction; it is given with a session's first message.
        """
        ...

    def record_session(self, record: SessionRecord) -> None:
        """Take note of a session that has ended; never raise, never wait."""
        ...

    def report_fault(self, session_id: str, error: BaseException) -> None:
        """Tell the operator about an error of our own in one session."""
        ...
