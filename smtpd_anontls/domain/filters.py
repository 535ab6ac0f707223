"""What a list of messages, sessions or events is narrowed to: one value for every surface.

The database and the memory answer a filter alike, because both compare texts in the one form
that :func:`indexed` and :func:`folded` give them.  Each kind has terms of its own: ``run``,
``recipient``, ``sender``, ``subject`` and ``header`` are about messages, ``outcome`` and
``remote`` about sessions, ``event_id`` about events.  A term about another kind holds where
something of that kind in the same session meets it: sessions narrowed to a recipient are the
sessions that delivered to it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from smtpd_anontls.domain.instants import parse_instant
from smtpd_anontls.domain.printable import printable
from smtpd_anontls.domain.records import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from smtpd_anontls.domain.records import EventRecord, SessionRecord

# Filters look at so many characters of a subject, an address or a header's value.
INDEXED_CHARACTERS = 512
# ... and at so many header fields of a message.
INDEXED_HEADERS = 64

_SESSION_ID = re.compile(r"[0-9a-f]{16}")
_NUMBER = re.compile(r"[0-9]{1,18}")


def indexed(text: str) -> str:
    """Return the form in which *text* is compared: without controls, cut to what is looked at."""
    cut = text[:INDEXED_CHARACTERS]
    # Nearly every text is printable as it is, and this runs for each header of each message.
    return cut if cut.isprintable() else printable(cut)[:INDEXED_CHARACTERS]


def folded(text: str) -> str:
    """Return the form in which *text* is compared regardless of case."""
    return indexed(text).casefold()[:INDEXED_CHARACTERS]


def matches(pattern: str, text: str) -> bool:
    """Whether *text* is *pattern*, in which ``*`` stands for any run of characters."""
    head, *rest = pattern.split("*")
    if not rest:
        return text == head
    if not text.startswith(head):
        return False
    at = len(head)
    for part in rest[:-1]:
        found = text.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return text.endswith(rest[-1]) and len(text) - len(rest[-1]) >= at


def host_of(endpoint: str) -> str:
    """Return the address of ``address:port``, without the brackets of IPv6."""
    return endpoint.rpartition(":")[0].removeprefix("[").removesuffix("]")


class Mail(Protocol):
    """What the terms about messages look at."""

    @property
    def run(self) -> str | None:
        """Of which run it is."""

    @property
    def sender(self) -> str:
        """The address of MAIL."""

    @property
    def recipients(self) -> tuple[str, ...]:
        """Those of RCPT."""

    @property
    def subject(self) -> str | None:
        """Decoded; None where there is none."""

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """Name and value of each field."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Terms that must all hold; one that is None asks nothing."""

    server: str | None = None
    connector: str | None = None
    session: str | None = None
    run: str | None = None
    recipient: str | None = None  # In any case; * stands for anything.
    sender: str | None = None  # The same; the empty string is the null sender.
    subject: str | None = None  # A part of it, in any case.
    header: str | None = None  # "Name: value": the name in any case, * allowed in the value.
    outcome: Outcome | None = None
    remote: str | None = None  # An address with or without its port; * allowed.
    event_id: int | None = None
    # From an instant on, or after the message or event (a number) or session of this id.
    since: datetime | int | str | None = None

    def __post_init__(self) -> None:
        for term in fields(self):
            value = getattr(self, term.name)
            if isinstance(value, str) and len(value) > INDEXED_CHARACTERS:
                raise ValueError(
                    f"{term.name}: longer than the {INDEXED_CHARACTERS} characters that filters look at"
                )
        if self.header is not None and not self.header.partition(":")[0].strip():
            raise ValueError(f"header: {self.header!r} names no header; write 'Name: value'")
        if self.header is not None and ":" not in self.header:
            raise ValueError(f"header: {self.header!r} asks for no value; write '{self.header}: *' for any")
        if isinstance(self.since, datetime) and self.since.tzinfo is None:
            raise ValueError("since: a time without a time zone")

    @classmethod
    def read(cls, terms: Mapping[str, str | None]) -> Filter:
        """Make a filter of texts, as a command line or a query has them; ValueError says what would do."""
        given = {name: text for name, text in terms.items() if text is not None}
        known = [term.name for term in fields(cls)]
        for name in given:
            if name not in known:
                raise ValueError(f"{name}: there is no such filter; there are {', '.join(known)}")
        values: dict[str, object] = dict(given)
        if "since" in given:
            values["since"] = _read_since(given["since"])
        if "outcome" in given:
            values["outcome"] = _read_outcome(given["outcome"])
        if "event_id" in given:
            values["event_id"] = _read_event_id(given["event_id"])
        return cls(**values)  # type: ignore[arg-type]  # Each value has just been read as its field wants it.

    @property
    def header_name(self) -> str:
        """The name that the header term asks for, in lower case."""
        return folded((self.header or "").partition(":")[0].strip())

    @property
    def header_value(self) -> str:
        """The value that the header term asks for."""
        return indexed((self.header or "").partition(":")[2].strip())

    @property
    def about_messages(self) -> bool:
        """Whether a term is about messages."""
        terms = (self.run, self.recipient, self.sender, self.subject, self.header)
        return any(term is not None for term in terms)

    @property
    def about_sessions(self) -> bool:
        """Whether a term is about sessions."""
        return self.outcome is not None or self.remote is not None

    @property
    def about_events(self) -> bool:
        """Whether a term is about events."""
        return self.event_id is not None

    def since_number(self) -> datetime | int | None:
        """Return where a list of messages or events begins; ValueError where the id is a session's."""
        if isinstance(self.since, str):
            raise ValueError(  # noqa: TRY004 - a user wrote it, no programmer
                f"since: {self.since!r} is the id of a session; ids of this list are numbers"
            )
        return self.since

    def since_session(self) -> datetime | str | None:
        """Return where a list of sessions begins."""
        # The 16 hexadecimal digits of a session can all be decimal.
        return f"{self.since:016d}" if isinstance(self.since, int) else self.since

    def takes_place(self, server: str | None, connector: str | None, session: str | None) -> bool:
        """Whether the terms that say where hold."""
        wanted = ((self.server, server), (self.connector, connector), (self.session, session))
        return all(
            term is None or (found is not None and indexed(term) == indexed(found)) for term, found in wanted
        )

    def takes_message(self, message: Mail) -> bool:
        """Whether the terms about messages hold."""
        return (
            (self.run is None or (message.run is not None and indexed(self.run) == indexed(message.run)))
            and (self.sender is None or matches(folded(self.sender), folded(message.sender)))
            and (
                self.recipient is None
                or _any_matches(folded(self.recipient), map(folded, message.recipients))
            )
            and (self.subject is None or folded(self.subject) in folded(message.subject or ""))
            and (self.header is None or self._takes_headers(message.headers))
        )

    def takes_session(self, session: SessionRecord) -> bool:
        """Whether the terms about sessions hold."""
        if self.outcome is not None and self.outcome is not session.outcome:
            return False
        if self.remote is None:
            return True
        return _any_matches(folded(self.remote), (folded(session.remote), folded(host_of(session.remote))))

    def takes_event(self, event: EventRecord) -> bool:
        """Whether the terms about events hold."""
        return self.event_id is None or self.event_id == event.draft.event_id

    def _takes_headers(self, headers: tuple[tuple[str, str], ...]) -> bool:
        return any(
            folded(name) == self.header_name and matches(self.header_value, indexed(value))
            for name, value in headers[:INDEXED_HEADERS]
        )


EVERYTHING = Filter()


def _any_matches(pattern: str, texts: Iterable[str]) -> bool:
    return any(matches(pattern, text) for text in texts)


def _read_since(text: str) -> datetime | int | str:
    """Read an instant or an id: decimal digits are a number, 16 hexadecimal ones a session."""
    if _NUMBER.fullmatch(text):
        return int(text)
    if _SESSION_ID.fullmatch(text.lower()):
        return text.lower()
    try:
        return parse_instant(text)
    except ValueError:
        raise ValueError(
            f"since: {text!r} is neither a time nor an id; write 2027-06-01T12:00:00Z, or an id of the list"
        ) from None


def _read_outcome(text: str) -> Outcome:
    try:
        return Outcome(text.lower())
    except ValueError:
        raise ValueError(f"outcome: {text!r} is not one of {', '.join(Outcome)}") from None


def _read_event_id(text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"event_id: {text!r} is not a number such as 12013")
    return int(text)
