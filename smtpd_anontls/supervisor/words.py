"""What supervisor and workers tell each other.  Either end is the same version of this program."""

from __future__ import annotations

from dataclasses import dataclass, fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from smtpd_anontls.domain.records import MessageRecord, SessionRecord

if TYPE_CHECKING:
    import logging
    from datetime import datetime
    from pathlib import Path

    from smtpd_anontls.binding import Bindings
    from smtpd_anontls.domain.events import EventDraft
    from smtpd_anontls.domain.faults import Fault
    from smtpd_anontls.domain.flags import TransportRole
    from smtpd_anontls.domain.limits import Place, Struck
    from smtpd_anontls.notation.snapshot import Snapshot
    from smtpd_anontls.protocol_log.rows import Row
    from smtpd_anontls.settings.values import Settings


# -- from the supervisor


@dataclass(frozen=True, slots=True)
class Holds:
    """What holds from the next session on: all of it, whatever has changed."""

    version: int
    settings: Settings
    watched: Path | None  # The configuration file, as it was when it was read.
    snapshot: Snapshot | None
    bindings: Bindings
    faults_version: int
    faults: tuple[Fault, ...]


@dataclass(frozen=True, slots=True)
class Start:
    """The first word to a worker: what it makes itself ready for.  It serves when it is told what holds then."""

    holds: Holds
    first_message_id: int  # Where no journal gives them.


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a question."""

    question: int
    struck: Struck | None = None


@dataclass(frozen=True, slots=True)
class Drain:
    """Take no more connections and end; sessions get *patience* seconds to end by themselves first."""

    patience: float


# -- from a worker


@dataclass(frozen=True, slots=True)
class Opened:
    """It has opened everything, and can serve."""


@dataclass(frozen=True, slots=True)
class Leaves:
    """It was asked to end by a signal, and does so once another is in its place."""


@dataclass(frozen=True, slots=True)
class Failed:
    """It cannot serve, and ends."""

    reason: str


@dataclass(frozen=True, slots=True)
class Applied:
    """What was told as *version* holds."""

    version: int


@dataclass(frozen=True, slots=True)
class Enter:
    """A session comes, and may be one too many."""

    question: int
    place: Place
    source: str


@dataclass(frozen=True, slots=True)
class Leave:
    """A session that was let in has left."""

    place: Place
    source: str


@dataclass(frozen=True, slots=True)
class Admit:
    """A message comes, and may come too fast."""

    question: int
    place: Place
    source: str
    sender: str


@dataclass(frozen=True, slots=True)
class Refresh:
    """The configuration file is not as it was: read it."""

    question: int


@dataclass(frozen=True, slots=True)
class Happened:
    """An event of a session; the supervisor gives it its id."""

    time: datetime
    draft: EventDraft
    role: TransportRole
    server: str | None
    connector: str | None
    session_id: str | None


class Took(NamedTuple):
    """A message is durable, or discarded where there is no journal."""

    message_id: int
    octets: int
    seconds: float  # From its last octet until then.
    values: tuple[Any, ...]  # See packed_message.


class Ended(NamedTuple):
    """A session has ended, or, without a journal, has delivered its first message."""

    values: tuple[Any, ...]  # See packed_session.


@dataclass(frozen=True, slots=True)
class Warned:
    """Something for the operator."""

    text: str


@dataclass(frozen=True, slots=True)
class Logged:
    """A record of the log, its traceback already a text."""

    record: logging.LogRecord


@dataclass(frozen=True, slots=True)
class Condition:
    """How a worker is: sessions that run, and whether its journal refuses to be written."""

    sessions: int
    journal_failing: bool


Told: TypeAlias = "Took | Ended | Happened | Warned | Logged | Condition"


@dataclass(frozen=True, slots=True)
class Batch:
    """What has gathered, in its order; rows of the protocol log apart."""

    items: tuple[Any, ...]  # Each is of Told.
    rows: tuple[Row, ...] = ()


# Values alone go through pickle twenty times as fast as a frozen dataclass, and there are many of them.
_OF_MESSAGE = tuple(each.name for each in fields(MessageRecord) if each.name != "raw")
_OF_SESSION = tuple(each.name for each in fields(SessionRecord))
packed_message = attrgetter(*_OF_MESSAGE)
packed_session = attrgetter(*_OF_SESSION)


def message_of(values: tuple[Any, ...]) -> MessageRecord:
    """Return the message of packed values, without its octets."""
    return MessageRecord(**dict(zip(_OF_MESSAGE, values, strict=True)))


def session_of(values: tuple[Any, ...]) -> SessionRecord:
    """Return the session of packed values."""
    return SessionRecord(**dict(zip(_OF_SESSION, values, strict=True)))
