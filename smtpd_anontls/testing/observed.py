"""What a receiver for tests has seen: sessions and events as values that explain themselves."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Self

from smtpd_anontls.domain.instants import parse_instant
from smtpd_anontls.domain.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

Json = dict[str, Any]

# So many of the newest sessions and events are shown where a test has failed, and lines of a transcript.
SHOWN = 10
SHOWN_LINES = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A session, as it ended or as it stands."""

    id: str
    started: datetime
    ended: datetime | None  # None: it is still running.
    server: str | None
    connector: str | None
    local: str  # address:port
    remote: str
    verb: str | None  # The TLS verb that it used.
    tls: Mapping[str, Any] | None
    authenticated_as: str | None
    outcome: str | None  # None: it is still running.
    outcome_detail: str
    selections: tuple[Mapping[str, Any], ...]  # What decided which verbs it was offered.
    event_ids: tuple[int, ...]
    messages: tuple[int, ...]  # Their ids.
    transcript: tuple[str, ...]  # "C: EHLO client.test", "S: 250 …", "*: what happened".
    record: Mapping[str, Any] = field(repr=False)  # All of it, as `session show --json` prints it.

    @classmethod
    def of(cls, record: Json) -> Self:
        """Return the session that *record*, with its transcript, tells of."""
        changed = {
            "started": parse_instant(record["started"]),
            "ended": None if record["ended"] is None else parse_instant(record["ended"]),
            "selections": tuple(record["selections"]),
            "event_ids": tuple(record["event_ids"]),
            "messages": tuple(record["messages"]),
            "transcript": tuple(f"{row['mark']}: {row['text']}" for row in record["transcript"]),
            "record": record,
        }
        return cls(**{each.name: record.get(each.name) for each in fields(cls)} | changed)

    @property
    def advertised(self) -> frozenset[str]:
        """The TLS verbs that it was offered."""
        return frozenset(each["verb"] for each in self.selections if each["advertised"])

    def assert_advertised(self, verb: str) -> None:
        """Fail, and explain why, unless the session was offered *verb*, ``X-ANONYMOUSTLS`` or ``STARTTLS``."""
        __tracebackhide__ = True
        if verb.upper() not in self.advertised:
            raise AssertionError(f"{verb} was not advertised\n{self.explanation()}")

    def assert_not_advertised(self, verb: str) -> None:
        """Fail, and explain why, if the session was offered *verb*."""
        __tracebackhide__ = True
        if verb.upper() in self.advertised:
            raise AssertionError(f"{verb} was advertised\n{self.explanation()}")

    def assert_outcome(self, outcome: str) -> None:
        """Fail, and explain why, unless the session ended like this."""
        __tracebackhide__ = True
        if self.outcome != outcome:
            raise AssertionError(
                f"the outcome is {self.outcome or 'open: it is running'}, not {outcome}\n{self.explanation()}"
            )

    def explanation(self) -> str:
        """Return the session for a person: the steps of its selections, TLS, and the transcript."""
        return "\n".join(map(printable, self._lines()))

    def _lines(self) -> Iterator[str]:
        how = f"{self.outcome}: {self.outcome_detail}" if self.outcome else "running"
        yield f"session {self.id} from {self.remote} on {self.connector or 'no connector'}: {how}"
        for selection in self.selections:
            result = "advertised" if selection["advertised"] else "not advertised"
            yield f"  {selection['verb']}: {result}"
            for step in selection["steps"]:
                yield f"    {'yes' if step['passed'] else 'no':<5}{step['step']:<19}{step['detail']}"
        if self.tls is not None:
            yield f"  {self.verb}: " + (
                self.tls["failure"]
                or f"{self.tls['version']} {self.tls['cipher']}, certificate {self.tls['thumbprint']}"
            )
        if self.event_ids:
            yield f"  events: {', '.join(map(str, self.event_ids))}"
        yield "  transcript:"
        left_out = len(self.transcript) - SHOWN_LINES
        if left_out > 0:
            yield f"    … {left_out} lines before these"
        yield from (f"    {line}" for line in self.transcript[-SHOWN_LINES:])


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An event of the Application log."""

    id: int
    time: datetime
    event_id: int
    level: str
    source: str
    category: str
    symbol: str | None
    message: str
    inserts: tuple[str, ...]
    server: str | None
    connector: str | None
    session_id: str | None  # None: it was written at start.
    thumbprint: str | None

    @classmethod
    def of(cls, record: Json) -> Self:
        """Return the event that *record* tells of."""
        changed = {"time": parse_instant(record["time"]), "inserts": tuple(record["inserts"])}
        return cls(**{each.name: record[each.name] for each in fields(cls)} | changed)

    def __str__(self) -> str:
        """Return it on one line."""
        where = f"session {self.session_id}" if self.session_id else "at start"
        return printable(f"{self.event_id} {self.level} ({where}): {self.message}")


def described(sessions: Iterable[Session], events: Iterable[Event]) -> str:
    """Return the newest of *sessions* and *events*, which come oldest first, for a person."""
    return "\n".join(
        [
            *_newest("session", [each.explanation() for each in sessions]),
            *_newest("event", [f"event {each}" for each in events]),
        ]
    )


def _newest(what: str, texts: list[str]) -> Iterator[str]:
    if not texts:
        yield f"no {what} at all"
    if len(texts) > SHOWN:
        yield f"… {len(texts) - SHOWN} {what}s before these"
    yield from texts[-SHOWN:]
