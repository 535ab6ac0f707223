"""Faults on demand: where a receiver misbehaves, how, and in which sessions.

A fault is a value: a point of the session, a kind, and conditions that must all hold.  ``FaultList``
holds those that are wanted now and counts their firings; a session takes ``SessionFaults`` from it, the
few that can happen to it at all, or nothing, so that a session without faults asks nobody.

At a point the faults are looked at in the order of the list: a delay or a throttle goes on to the next,
any other stands in place of what would have happened, and is the last.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from smtpd_anontls.domain.filters import folded, matches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from smtpd_anontls.domain.connectors import Seconds
    from smtpd_anontls.domain.endpoints import IPAddress, RemoteIPRange
    from smtpd_anontls.domain.tls_policy import TlsVersion

# RFC 8446 section 6.2: handshake_failure.
HANDSHAKE_FAILURE = 40
_SERVICE_CLOSES = 421


class Point(StrEnum):
    """Where in a session a fault happens."""

    CONNECT = "connect"
    BANNER = "banner"
    EHLO = "ehlo"
    TLS = "tls"
    HANDSHAKE = "handshake"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    END_OF_DATA = "end_of_data"
    ACCEPTED = "accepted"


class Kind(StrEnum):
    """What happens there."""

    REPLY = "reply"
    DELAY = "delay"
    THROTTLE = "throttle"
    DROP = "drop"
    RESET = "reset"
    GARBAGE = "garbage"
    ALERT = "alert"
    STALL = "stall"
    CERTIFICATE = "certificate"
    VERSION = "version"

    @property
    def goes_on(self) -> bool:
        """Whether faults behind it in the list are looked at, too."""
        return self in {Kind.DELAY, Kind.THROTTLE}


class Verb(StrEnum):
    """A command that a fault can be narrowed to, or by which TLS began."""

    EHLO = "EHLO"
    HELO = "HELO"
    STARTTLS = "STARTTLS"
    X_ANONYMOUSTLS = "X-ANONYMOUSTLS"
    AUTH = "AUTH"
    X_EXPS = "X-EXPS"
    DATA = "DATA"
    BDAT = "BDAT"


_IN_SMTP = (Kind.REPLY, Kind.DELAY, Kind.THROTTLE, Kind.DROP, Kind.RESET)
_IN_HANDSHAKE = (
    Kind.DELAY,
    Kind.DROP,
    Kind.RESET,
    Kind.GARBAGE,
    Kind.ALERT,
    Kind.STALL,
    Kind.CERTIFICATE,
    Kind.VERSION,
)
_TLS_VERBS = (Verb.STARTTLS, Verb.X_ANONYMOUSTLS)
_CONTENT = (Verb.DATA, Verb.BDAT, *_TLS_VERBS)
# A command of the point's own, and behind it the verb that TLS may have begun with.
_VERBS: Mapping[Point, tuple[Verb, ...]] = MappingProxyType(
    {
        Point.CONNECT: (),
        Point.BANNER: (),
        Point.EHLO: (Verb.EHLO, Verb.HELO, *_TLS_VERBS),
        Point.TLS: _TLS_VERBS,
        Point.HANDSHAKE: _TLS_VERBS,
        Point.AUTH: (Verb.AUTH, Verb.X_EXPS, *_TLS_VERBS),
        Point.MAIL: _TLS_VERBS,
        Point.RCPT: _TLS_VERBS,
        Point.DATA: _CONTENT,
        Point.END_OF_DATA: _CONTENT,
        Point.ACCEPTED: _CONTENT,
    }
)
_KNOW_RECIPIENTS = (Point.RCPT, Point.DATA, Point.END_OF_DATA, Point.ACCEPTED)
_KNOW_SENDER = (Point.MAIL, *_KNOW_RECIPIENTS)
# Which kind each of these belongs to; None is what it has where it was not given.
_BELONGS = MappingProxyType(
    {
        "code": Kind.REPLY,
        "enhanced": Kind.REPLY,
        "text": Kind.REPLY,
        "octets_per_second": Kind.THROTTLE,
        "alert": Kind.ALERT,
        "thumbprint": Kind.CERTIFICATE,
        "version": Kind.VERSION,
    }
)
# What a kind cannot do without, and an example.
_NEEDS = MappingProxyType(
    {
        Kind.REPLY: ("code", "451"),
        Kind.DELAY: ("seconds", "5"),
        Kind.THROTTLE: ("octets_per_second", "10"),
        Kind.VERSION: ("version", "TLSv1.2"),
    }
)


def kinds_at(point: Point) -> tuple[Kind, ...]:
    """Return the kinds that can happen at *point*."""
    return _IN_HANDSHAKE if point is Point.HANDSHAKE else _IN_SMTP


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What is known at a point of a session when its faults are looked for."""

    point: Point
    verb: str | None = None  # The command.
    secured_by: str | None = None  # The verb that TLS began with; None: in clear.
    sender: str | None = None  # Of MAIL; empty: the null sender, None: not known.
    recipients: tuple[str, ...] = ()  # At RCPT the one that it gives, later all of them.


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault, and when it happens; ``mistakes`` says what of it makes no sense."""

    at: Point
    kind: Kind
    code: int | None = None
    enhanced: str | None = None
    text: str | None = None
    seconds: Seconds | None = None  # Of a delay; with any other kind, how long it is held back.
    octets_per_second: int | None = None
    alert: int | None = None  # None: handshake_failure.
    thumbprint: str | None = None  # None: one that is made for the moment.
    version: TlsVersion | None = None
    # The conditions.
    probability: float = 1.0
    count: int | None = None
    every: int = 1
    recipient: str | None = None
    sender: str | None = None
    remote_ip_ranges: tuple[RemoteIPRange, ...] = ()  # Empty: every peer.
    server: str | None = None
    connector: str | None = None
    verb: Verb | None = None

    def mistakes(self) -> Iterator[tuple[str, str]]:
        """Yield what does not go together: a key, and a clause that says what would do."""
        kinds = kinds_at(self.at)
        if self.kind not in kinds:
            yield "kind", f"{self.kind} cannot happen at {self.at}; choose one of {', '.join(kinds)}"
        for key, kind in _BELONGS.items():
            if kind is not self.kind and getattr(self, key) is not None:
                yield key, f"belongs to kind {kind}; remove it"
        needed, example = _NEEDS.get(self.kind, (None, ""))
        # A delay of no seconds is none.
        if needed is not None and not getattr(self, needed):
            yield needed, f"is what kind {self.kind} needs; write one such as {example}"
        if self.kind is Kind.STALL and self.seconds is not None:
            yield "seconds", "a stall lasts until the peer gives up; remove it"
        for key, points in (("sender", _KNOW_SENDER), ("recipient", _KNOW_RECIPIENTS)):
            if getattr(self, key) is not None and self.at not in points:
                yield key, f"is not known at {self.at}; it is at {', '.join(points)}"
        verbs = _VERBS[self.at]
        if self.verb is not None and self.verb not in verbs:
            choice = f"choose one of {', '.join(verbs)}" if verbs else "remove it"
            yield "verb", f"{self.verb} does not tell sessions apart at {self.at}; {choice}"

    def can_happen_to(self, server: str, connector: str, peer: IPAddress) -> bool:
        """Whether it can happen in a session of *peer* with this connector."""
        return (
            self.server in {None, server}
            and self.connector in {None, connector}
            and (not self.remote_ip_ranges or any(each.covers(peer) for each in self.remote_ip_ranges))
        )

    def is_met_by(self, now: Circumstances) -> bool:
        """Whether point, verb and addresses are those that it asks for."""
        return (
            self.at is now.point
            and (self.verb is None or self.verb in {now.verb, now.secured_by})
            and (self.sender is None or _is_like(self.sender, now.sender))
            and (self.recipient is None or any(_is_like(self.recipient, each) for each in now.recipients))
        )

    @property
    def ends_session(self) -> bool:
        """Whether the session is over with it: RFC 5321 section 3.8 for a reply of 421."""
        if self.kind is Kind.REPLY:
            return self.at is Point.CONNECT or self.code == _SERVICE_CLOSES
        return self.kind in {Kind.DROP, Kind.RESET, Kind.GARBAGE, Kind.ALERT, Kind.STALL}

    @property
    def detail(self) -> str:
        """What it does, as records have it."""
        wait = f", {self.seconds:g} s late" if self.seconds and self.kind is not Kind.DELAY else ""
        return self._deed() + wait

    def _deed(self) -> str:
        match self.kind:
            case Kind.REPLY:
                return " ".join(["reply", str(self.code), *filter(None, (self.enhanced, self.text))])
            case Kind.DELAY:
                return f"delay of {self.seconds or 0:g} s"
            case Kind.THROTTLE:
                return f"throttle to {self.octets_per_second} octets a second"
            case Kind.DROP:
                return "drop of the connection (FIN)"
            case Kind.RESET:
                return "reset of the connection (RST)"
            case Kind.GARBAGE:
                return "garbage in place of the ServerHello"
            case Kind.ALERT:
                return f"fatal alert {self.alert_number}"
            case Kind.STALL:
                return "stall: nothing comes behind the ClientHello"
            case Kind.CERTIFICATE:
                return f"another certificate: {self.thumbprint or 'one made for the moment'}"
            case _:
                return f"{self.version} alone"

    @property
    def alert_number(self) -> int:
        """The number of the alert (RFC 8446 section 6)."""
        return HANDSHAKE_FAILURE if self.alert is None else self.alert

    def as_json(self) -> dict[str, Any]:
        """Return the object that a configuration would have: what differs from its default."""
        shown: dict[str, Any] = {}
        for each in fields(self):
            value = getattr(self, each.name)
            if value != each.default:
                shown[each.name] = _plain(value)
        return shown


@dataclass(frozen=True, slots=True)
class Suffered:
    """A fault that has fired in a session."""

    fault: int  # Its position in the list.
    at: Point
    kind: Kind
    detail: str

    def as_json(self) -> dict[str, Any]:
        """Return the object of the session record."""
        return {"fault": self.fault, "at": self.at.value, "kind": self.kind.value, "detail": self.detail}


class Tally(Protocol):
    """How often the conditions of a fault were met, and how often it fired."""

    @property
    def met(self) -> int:
        """How often they were met."""
        ...

    @property
    def fired(self) -> int:
        """How often it fired."""
        ...

    def count(self, fires: Callable[[int, int], bool]) -> bool:
        """Count that they are met; return whether it fires, which is counted too.

        *fires* is asked with both numbers as they are then; nobody else counts meanwhile.
        """
        ...


@dataclass(slots=True)
class OwnTally:
    """Counted here alone."""

    met: int = 0
    fired: int = 0

    def count(self, fires: Callable[[int, int], bool]) -> bool:
        """Count; see Tally."""
        self.met += 1
        fired = fires(self.met, self.fired)
        self.fired += fired
        return fired


@dataclass(frozen=True, slots=True)
class Numbered:
    """A fault at its position in the list, and its counts."""

    position: int
    fault: Fault
    tally: Tally = field(default_factory=OwnTally)

    @property
    def met(self) -> int:
        """How often its conditions were met."""
        return self.tally.met

    @property
    def fired(self) -> int:
        """How often it fired."""
        return self.tally.fired

    def fires(self, now: Circumstances, chance: Callable[[], float]) -> bool:
        """Whether it happens now, which is counted; *chance* is asked where its probability is less than 1."""
        fault = self.fault

        def decide(met: int, fired: int) -> bool:
            if met % fault.every or (fault.count is not None and fired >= fault.count):
                return False
            return fault.probability >= 1 or chance() < fault.probability

        return fault.is_met_by(now) and self.tally.count(decide)


@dataclass(frozen=True, slots=True)
class SessionFaults:
    """The faults that can happen in one session."""

    faults: tuple[Numbered, ...]
    chance: Callable[[], float] = field(repr=False)

    def at(self, now: Circumstances) -> Iterator[Numbered]:
        """Yield those that happen now: delays and throttles, and at most one that stands in place of more."""
        for each in self.faults:
            if each.fires(now, self.chance):
                yield each
                if not each.fault.kind.goes_on:
                    return


def own_tallies(number: int) -> Sequence[Tally]:
    """Return so many that count here alone."""
    return [OwnTally() for _ in range(number)]


class FaultList:
    """The faults that are wanted now; its number tells one list from the next."""

    def __init__(
        self,
        faults: Iterable[Fault],
        chance: Callable[[], float],
        tallies: Callable[[int], Sequence[Tally]] = own_tallies,
    ) -> None:
        """*chance* gives a number from 0 up to 1, without 1; *tallies* so many that have counted nothing yet."""
        self._chance = chance
        self._tallies = tallies
        self.version = 0
        self.faults = self._numbered(faults)

    def replace(self, faults: Iterable[Fault]) -> int:
        """Want *faults* from now on, counted anew, in sessions that begin now; return the list's number."""
        self.faults = self._numbered(faults)
        self.version += 1
        return self.version

    def _numbered(self, faults: Iterable[Fault]) -> tuple[Numbered, ...]:
        every = tuple(faults)
        tallies = self._tallies(len(every))
        return tuple(map(Numbered, range(len(every)), every, tallies))

    def for_session(self, server: str, connector: str, peer: IPAddress) -> SessionFaults | None:
        """Return the faults that can happen in a session, None where there are none."""
        if not self.faults:
            return None
        mine = tuple(each for each in self.faults if each.fault.can_happen_to(server, connector, peer))
        return SessionFaults(mine, self._chance) if mine else None

    def as_json(self) -> dict[str, Any]:
        """Return the list with its number and its counts."""
        items = [
            {"fault": each.fault.as_json(), "met": each.met, "fired": each.fired} for each in self.faults
        ]
        return {"version": self.version, "items": items}


def _is_like(pattern: str, address: str | None) -> bool:
    return address is not None and matches(folded(pattern), folded(address))


def _plain(value: Any) -> Any:
    """Return *value* as JSON has it."""
    if isinstance(value, tuple):
        return [str(each) for each in value]
    return value if isinstance(value, (int, float)) else str(value)
