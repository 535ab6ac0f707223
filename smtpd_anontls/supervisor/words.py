"""What supervisor and workers tell each other.  Either end is the same version of this program."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import logging
    from datetime import datetime
    from pathlib import Path

    from smtpd_anontls.binding import Bindings
    from smtpd_anontls.domain.events import EventDraft
    from smtpd_anontls.domain.faults import Fault
    from smtpd_anontls.domain.flags import TransportRole
    from smtpd_anontls.domain.limits import Place, Struck
    from smtpd_anontls.domain.records import Acknowledged, SessionRecord
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
    """The first word to a worker."""

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
class Ready:
    """It serves."""


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


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of the protocol log."""

    rows: tuple[Row, ...]


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


Told: TypeAlias = "SessionRecord | Acknowledged | Happened | Rows | Warned | Logged | Condition"


@dataclass(frozen=True, slots=True)
class Batch:
    """What has gathered, in its order."""

    items: tuple[Any, ...]  # Each is of Told.
