"""What a run found, as values that are written as JSON and read again."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Spread:
    """Several rounds of one figure."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, figures: Sequence[float]) -> Spread:
        """Return the spread of *figures*, of which there is at least one."""
        return cls(statistics.median(figures), min(figures), max(figures))


@dataclass(frozen=True, slots=True)
class Cell:
    """One server at one work: a figure a round in each list."""

    cpu_us: list[float] = field(default_factory=list)  # Of the server, per message or per session.
    per_second: list[float] = field(default_factory=list)  # Messages or sessions by the wall clock.
    p50_ms: list[float] = field(default_factory=list)  # From MAIL to the last 250; empty without messages.
    p99_ms: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)  # Of the senders: near 1 they limit the rate.
    resumed: list[float] = field(default_factory=list)  # The part of the TLS sessions that were.
    tls: str | None = None  # Version and cipher.


@dataclass(frozen=True, slots=True)
class Machine:
    """Where and when a run was made."""

    at: str  # RFC 3339, UTC.
    processor: str
    cores: int
    memory: int  # Octets.
    kernel: str
    python: str
    openssl: str
    node: str | None
    load_average: tuple[float, float]  # Over five minutes, at the begin of the run and at its end.


@dataclass(frozen=True, slots=True)
class Held:
    """Sessions that one process of a server held, idle behind their last EHLO."""

    server: str
    tls: str | None  # The verb.
    sessions: int
    before: int  # Resident octets without them,
    resident: int  # and with them.
    active: int = 0  # So many of them sent messages while the others stayed idle;
    messages: int = 0  # so many in all, every one of them accepted.

    @property
    def mib_per_thousand(self) -> float:
        """MiB for a thousand of them."""
        return (self.resident - self.before) / self.sessions * 1000 / 2**20


@dataclass(slots=True)
class Results:
    """A run."""

    machine: Machine
    rounds: int
    titles: dict[str, str]  # By the names of the servers, in the order of the tables.
    missing: dict[str, str] = field(default_factory=dict)  # Servers that could not be had, and why.
    seconds: float = 0.0  # That the run took.
    descriptors: int = 0  # That a process could have open.
    works: dict[str, dict[str, Cell]] = field(default_factory=dict)  # By work and server.
    held: list[Held] = field(default_factory=list)
    selection_us: list[float] = field(
        default_factory=list
    )  # Both selections of a session; one figure a round.
    selection_anew_us: list[float] = field(default_factory=list)  # The same where nothing is recalled.
    growth: dict[str, dict[int, list[float]]] = field(
        default_factory=dict
    )  # CPU µs per message: by server and sessions at once, one figure a round.
    journal: dict[str, list[tuple[int, float]]] = field(
        default_factory=dict
    )  # By work, with its unit, and the messages that the journal held: CPU time.
    workers: dict[int, Cell] = field(default_factory=dict)  # 1 KB, 100 per connection, by worker processes.


_ADAPTER = TypeAdapter(Results)


def to_json(results: Results) -> str:
    """Return *results* as JSON."""
    return _ADAPTER.dump_json(results, indent=1).decode()


def from_json(text: str) -> Results:
    """Return the results that *text* holds; ValueError where it holds none."""
    return _ADAPTER.validate_json(text)


def ratio(of: Sequence[float], to: Sequence[float]) -> Spread:
    """Return how many times dearer *of* is than *to*, round by round: what both met in a round cancels out."""
    return Spread.of([one / other for one, other in zip(of, to, strict=True)])
