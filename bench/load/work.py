"""What senders do, and what came of it, as values: no socket is touched here."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

Address = tuple[str, int]
TlsVerb = Literal["STARTTLS", "X-ANONYMOUSTLS"]

_HEADER = (
    b"From: <sender@example.org>\r\nTo: <recipient@example.com>\r\nSubject: load\r\n"
    b"Message-ID: <load@example.org>\r\n\r\n"
)
_LINE = b"A" * 74 + b"\r\n"
_STUFFED_LINE = 2  # The line of the body that begins with a dot.


@dataclass(frozen=True, slots=True)
class Session:
    """What one session does between its banner and QUIT."""

    messages: int = 1  # None of them: connect, EHLO, TLS, QUIT.
    size: int = 1024  # Octets of a message.
    tls: TlsVerb | None = None
    bdat: bool = False  # BDAT (RFC 3030) instead of DATA.
    pipelining: bool = False  # RFC 2920: the commands of a message in one flight.
    resumes: bool = False  # Offers the TLS session of the one before it.


@dataclass(frozen=True, slots=True)
class Flow:
    """So many sessions, some of them at a time, each made and ended."""

    address: Address
    session: Session
    sessions: int
    at_once: int


@dataclass(frozen=True, slots=True)
class Crowd:
    """So many sessions that are opened, up to the EHLO after TLS, and held."""

    address: Address
    session: Session
    sessions: int


@dataclass(frozen=True, slots=True)
class Active:
    """So many of the sessions that are held send the messages of their session; the others stay idle."""

    sessions: int


@dataclass(frozen=True, slots=True)
class Leave:
    """The sessions that are held say QUIT."""


Order = Flow | Crowd | Active | Leave


@dataclass(slots=True)
class Tally:
    """What came of an order; tallies of several processes add up."""

    began: float = 0.0  # Seconds of the monotonic clock.
    ended: float = 0.0
    cpu: float = 0.0  # Seconds of the senders.
    processes: int = 1
    sessions: int = 0
    messages: int = 0
    resumed: int = 0
    latencies: list[float] = field(default_factory=list)  # Seconds from MAIL to the last 250 of each message.
    tls: str | None = None  # Version and cipher of a session.
    failures: Counter[str] = field(default_factory=Counter)

    @property
    def wall(self) -> float:
        """Seconds from the first step of the first process to the last of the last."""
        return self.ended - self.began

    @property
    def busy(self) -> float:
        """The part of the time in which the senders' processes had a CPU: near 1, they are what limits the rate."""
        return self.cpu / self.wall / self.processes if self.wall else 0.0

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            min(self.began, other.began),
            max(self.ended, other.ended),
            self.cpu + other.cpu,
            self.processes + other.processes,
            self.sessions + other.sessions,
            self.messages + other.messages,
            self.resumed + other.resumed,
            self.latencies + other.latencies,
            self.tls or other.tls,
            self.failures + other.failures,
        )


@dataclass(frozen=True, slots=True)
class Flight:
    """What is sent without waiting, and how many replies it earns."""

    octets: bytes = field(repr=False)
    replies: int


def message_of(size: int) -> bytes:
    """Return a message of *size* octets, at least its header: lines of 76 octets, one of them beginning with a dot."""
    lines, rest = divmod(max(0, size - len(_HEADER)), len(_LINE))
    body = [_LINE] * lines
    if lines > _STUFFED_LINE:
        body[_STUFFED_LINE] = b"." + _LINE[1:]
    return _HEADER + b"".join(body) + (b"B" * (rest - 2) + b"\r\n" if rest >= len(b"\r\n") else b"")


def stuffed(message: bytes) -> bytes:
    """Return a message as DATA carries it, with its end (RFC 5321 section 4.5.2)."""
    return (b"\r\n" + message).replace(b"\r\n.", b"\r\n..")[2:] + b".\r\n"


def flights_of(session: Session) -> tuple[Flight, ...]:
    """Return what a message of *session* puts on the wire."""
    envelope = [b"MAIL FROM:<sender@example.org>\r\n", b"RCPT TO:<recipient@example.com>\r\n"]
    message = message_of(session.size)
    if session.bdat:
        last = b"BDAT %d LAST\r\n" % len(message) + message
    else:
        envelope.append(b"DATA\r\n")
        last = stuffed(message)
    if not session.pipelining:
        return (*(Flight(line, 1) for line in envelope), Flight(last, 1))
    if session.bdat:
        return (Flight(b"".join(envelope) + last, len(envelope) + 1),)
    return (Flight(b"".join(envelope), len(envelope)), Flight(last, 1))


def shared_out(count: int, parts: int) -> list[int]:
    """Return *count* as *parts* numbers that differ by one at most."""
    each, more = divmod(count, parts)
    return [each + (number < more) for number in range(parts)]
