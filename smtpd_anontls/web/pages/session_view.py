"""What the pages about sessions show, made from the session objects of the journal."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING

from smtpd_anontls.domain.instants import parse_instant
from smtpd_anontls.domain.records import Outcome
from smtpd_anontls.web.pages.flow import Chart, Offer
from smtpd_anontls.web.pages.rendering import words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from smtpd_anontls.domain.records import Json

# How an outcome strikes the eye; each also has its words and a sign of its own.
_GOOD = {Outcome.COMPLETED}
_CALM = {Outcome.QUIT_WITHOUT_MAIL, Outcome.SHUT_DOWN, Outcome.FAULT_INJECTED}
_WARNING = {Outcome.LIMIT_EXCEEDED, Outcome.TIMEOUT, Outcome.PEER_DISCONNECTED, Outcome.REFUSED}
_TLS_BEGAN, _TLS_FAILED = "TLS began: ", "TLS handshake failed: "
# What records have only since a later version.
_LATER: Mapping[str, object] = MappingProxyType(
    {"proxy": None, "limits": [], "authentications": [], "groups": [], "permissions": [], "faults": []}
)
_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Badge:
    """A word with a colour and a sign."""

    tone: str  # good, calm, warning, bad or live.
    text: str

    @classmethod
    def of_outcome(cls, outcome: str | None) -> Badge:
        """Return how a session's outcome is shown."""
        if outcome is None:
            return cls("live", "running")
        tone = (
            "good"
            if outcome in _GOOD
            else "calm"
            if outcome in _CALM
            else "warning"
            if outcome in _WARNING
            else "bad"
        )
        return cls(tone, words(outcome))


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A line of the list."""

    id: str
    badge: Badge
    detail: str
    started: str
    remote: str
    server: str | None
    connector: str | None
    offers: tuple[Offer, ...]
    protocol: str
    failed: bool  # The handshake.
    authenticated_as: str | None
    messages: tuple[int, ...]
    event_ids: tuple[int, ...]

    @classmethod
    def of(cls, session: Json) -> SessionRow:
        """Return the line of a session object."""
        return cls(
            session["id"],
            Badge.of_outcome(session["outcome"]),
            session["outcome_detail"],
            session["started"],
            session["remote"],
            session["server"],
            session["connector"],
            offers_of(session),
            protocol_of(session),
            session["tls"] is not None and session["tls"]["failure"] is not None,
            session["authenticated_as"],
            tuple(session["messages"]),
            tuple(session["event_ids"]),
        )


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the transcript."""

    offset_ms: int
    mark: str
    who: str
    text: str
    begins_tls: bool
    fails_tls: bool


@dataclass(frozen=True, slots=True)
class Stretch:
    """Lines of the transcript that went over the wire in the same way."""

    encrypted: bool
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class SessionView:
    """Everything about one session."""

    id: str
    badge: Badge
    found: Json  # The session object; a journal may hold sessions from before some of it was recorded.
    charts: tuple[Chart, ...]
    lasted: str
    presented: Json | None
    transcript: tuple[Stretch, ...]

    @classmethod
    def of(cls, session: Json) -> SessionView:
        """Return the view of a session object with its transcript."""
        return cls(
            session["id"],
            Badge.of_outcome(session["outcome"]),
            {**_LATER, **session},
            tuple(Chart.of(each) for each in session["selections"]),
            _lasted(session),
            _presented(session),
            stretches(session["transcript"]),
        )


def offers_of(session: Json) -> tuple[Offer, ...]:
    """Return what became of each verb."""
    return tuple(Chart.of(each).offer(session["verb"]) for each in session["selections"])


def protocol_of(session: Json) -> str:
    """Return what TLS came to, in short; empty where there was none."""
    tls = session["tls"]
    if tls is None:
        return ""
    return "failed" if tls["failure"] else f"{tls['version']}, {tls['cipher']}"


def stretches(rows: list[Json]) -> tuple[Stretch, ...]:
    """Return the transcript, cut where TLS begins."""
    parts: list[tuple[bool, list[Line]]] = [(False, [])]
    for row in rows:
        noted = row["mark"] == "*"
        line = Line(
            row["offset_ms"],
            row["mark"],
            {"C": "client", "S": "server"}.get(row["mark"], "note"),
            row["text"],
            begins_tls=noted and row["text"].startswith(_TLS_BEGAN),
            fails_tls=noted and row["text"].startswith(_TLS_FAILED),
        )
        if line.begins_tls:
            parts.append((True, []))
        parts[-1][1].append(line)
    return tuple(Stretch(encrypted, tuple(lines)) for encrypted, lines in parts if lines)


def _presented(session: Json) -> Json | None:
    """Return the certificate of the handshake, which one of the selections chose."""
    if session["tls"] is None:
        return None
    for selection in session["selections"]:
        certificate: Json | None = selection["certificate"]
        if certificate is not None and certificate["thumbprint"] == session["tls"]["thumbprint"]:
            return certificate
    return None


def _lasted(session: Json) -> str:
    if session["ended"] is None:
        return ""
    length = parse_instant(session["ended"]) - parse_instant(session["started"])
    if length < _MINUTE:
        return f"{length.total_seconds():.3f} s"
    return str(timedelta(seconds=round(length.total_seconds())))
