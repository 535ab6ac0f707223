"""What happened, as values: sessions, messages and events, and the JSON that every surface shows."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from smtpd_anontls.domain.events import CATALOGUE
from smtpd_anontls.domain.instants import rfc3339

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from smtpd_anontls.domain.events import EventDraft
    from smtpd_anontls.domain.faults import Suffered

Json = dict[str, Any]


class TlsVerb(StrEnum):
    """The two verbs that start TLS."""

    X_ANONYMOUSTLS = "X-ANONYMOUSTLS"
    STARTTLS = "STARTTLS"


class Outcome(StrEnum):
    """How a session ended."""

    COMPLETED = "completed"
    QUIT_WITHOUT_MAIL = "quit_without_mail"
    NO_CONNECTOR = "no_connector"
    REFUSED = "refused"
    HANDSHAKE_FAILED = "handshake_failed"
    PLAINTEXT_AFTER_TLS_VERB = "plaintext_after_tls_verb"
    AUTHENTICATION_FAILED = "authentication_failed"
    LIMIT_EXCEEDED = "limit_exceeded"
    TIMEOUT = "timeout"
    PEER_DISCONNECTED = "peer_disconnected"
    FAULT_INJECTED = "fault_injected"
    SHUT_DOWN = "shut_down"
    INTERNAL_ERROR = "internal_error"


@dataclass(frozen=True, slots=True)
class ClientHello:
    """What the peer offered in its ClientHello (RFC 8446 section 4.1.2), in its order."""

    versions: tuple[str, ...]
    cipher_suites: tuple[str, ...]
    server_name: str | None

    def as_json(self) -> Json:
        """Return the object of the session record."""
        return {
            "versions": list(self.versions),
            "cipher_suites": list(self.cipher_suites),
            "server_name": self.server_name,
        }


@dataclass(frozen=True, slots=True)
class TlsFacts:
    """A TLS handshake: what was offered, what was chosen, and why it failed if it did."""

    verb: TlsVerb
    thumbprint: str  # Of the certificate that was presented, or was to be.
    version: str | None = None
    cipher: str | None = None
    bits: int | None = None
    resumed: bool = False
    offered: ClientHello | None = None  # None: no complete ClientHello came.
    failure: str | None = None  # A sentence; None: the handshake succeeded.

    def as_json(self) -> Json:
        """Return the ``tls`` object of the session record."""
        return {
            "verb": self.verb.value,
            "thumbprint": self.thumbprint,
            "version": self.version,
            "cipher": self.cipher,
            "bits": self.bits,
            "resumed": self.resumed,
            "offered": None if self.offered is None else self.offered.as_json(),
            "failure": self.failure,
        }


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of the sender to say who it is."""

    verb: str  # AUTH, X-EXPS, or X-ANONYMOUSTLS for a client certificate.
    mechanism: str
    identity: str | None  # Who it is, or claimed to be; None where that could not be read.
    failure: str | None  # Why it failed, for the operator alone; None: it succeeded.
    detail: str  # One readable sentence, without a secret.

    def as_json(self) -> Json:
        """Return the object of the session record."""
        return {
            "verb": self.verb,
            "mechanism": self.mechanism,
            "identity": self.identity,
            "failure": self.failure,
            "detail": self.detail,
        }


class TranscriptRow(NamedTuple):
    """One line of the dialogue: ``C`` what the client said, ``S`` what we said, ``*`` what happened.

    A tuple, since a record has a dozen at least: a frozen dataclass takes 2.5 times as long to make.
    """

    offset_ms: int
    mark: str
    text: str

    def as_json(self) -> Json:
        """Return the row of the session record."""
        return {"offset_ms": self.offset_ms, "mark": self.mark, "text": self.text}


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRecord:
    """A session, whole: the selections are the very objects that decided it."""

    id: str  # 16 hexadecimal digits.
    started: datetime
    ended: datetime | None
    server: str | None
    connector: str | None
    connector_detail: str  # Why this connector, or why none.
    local: str  # address:port
    remote: str
    tls: TlsFacts | None
    authenticated_as: str | None
    outcome: Outcome | None  # None: still running.
    outcome_detail: str
    selections: tuple[Json, ...]
    event_ids: tuple[int, ...]
    messages: tuple[int, ...]
    transcript: tuple[TranscriptRow, ...]
    proxy: str | None = None  # Who passed the connection on by the PROXY protocol.
    limits: tuple[str, ...] = ()  # Those that struck, each as "MaxProtocolErrors: a sentence".
    attempts: tuple[Attempt, ...] = ()
    groups: tuple[str, ...] = ()  # Permission groups of who has authenticated.
    permissions: tuple[str, ...] = ()  # As they held at the end.
    faults: tuple[Suffered, ...] = ()  # Those that were wanted and have fired.

    @property
    def verb(self) -> TlsVerb | None:
        """The TLS verb used, or None."""
        return None if self.tls is None else self.tls.verb

    def as_json(self, *, transcript: bool = False) -> Json:
        """Return the session object; the transcript only where it is asked for."""
        shown: Json = {
            "id": self.id,
            "started": rfc3339(self.started),
            "ended": None if self.ended is None else rfc3339(self.ended),
            "server": self.server,
            "connector": self.connector,
            "connector_detail": self.connector_detail,
            "local": self.local,
            "remote": self.remote,
            "verb": None if self.verb is None else self.verb.value,
            "tls": None if self.tls is None else self.tls.as_json(),
            "authenticated_as": self.authenticated_as,
            "outcome": None if self.outcome is None else self.outcome.value,
            "outcome_detail": self.outcome_detail,
            "selections": list(self.selections),
            "event_ids": list(self.event_ids),
            "messages": list(self.messages),
            "proxy": self.proxy,
            "limits": list(self.limits),
            "authentications": [attempt.as_json() for attempt in self.attempts],
            "groups": list(self.groups),
            "permissions": list(self.permissions),
            "faults": [suffered.as_json() for suffered in self.faults],
        }
        if transcript:
            shown["transcript"] = [row.as_json() for row in self.transcript]
        return shown


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRecord:
    """A message as it was taken; its id is given by the journal."""

    time: datetime
    server: str
    connector: str
    session_id: str
    sender: str  # Empty: the null sender.
    recipients: tuple[str, ...]
    mail_parameters: Mapping[str, str | None] = field(default_factory=dict)
    recipient_parameters: tuple[Mapping[str, str | None], ...] = ()
    subject: str | None = None
    message_id: str | None = None
    run: str | None = None
    verb: TlsVerb | None = None
    headers: tuple[tuple[str, str], ...] = ()
    raw: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A message that has become durable, so that its sender is told 250."""

    message_id: int
    octets: int
    seconds: float  # From its last octet until it was durable.


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRecord:
    """One event of the Application log."""

    id: int  # Increasing.
    time: datetime
    draft: EventDraft
    source: str
    server: str | None
    connector: str | None
    session_id: str | None

    def as_json(self) -> Json:
        """Return the event object: one line of the event log."""
        kind = CATALOGUE[self.draft.event_id]
        return {
            "id": self.id,
            "time": rfc3339(self.time),
            "event_id": kind.event_id.value,
            "level": kind.level.value,
            "source": self.source,
            "category": kind.category.value,
            "symbol": kind.symbol,
            "message": kind.message(self.draft.inserts),
            "inserts": list(self.draft.inserts),
            "server": self.server,
            "connector": self.connector,
            "session_id": self.session_id,
            "thumbprint": self.draft.thumbprint,
        }
