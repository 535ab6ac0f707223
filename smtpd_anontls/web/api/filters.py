"""The filters of lists, as query parameters; what nobody knows is refused, never ignored."""

import re
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from smtpd_anontls.domain.filters import INDEXED_CHARACTERS, Filter
from smtpd_anontls.domain.records import Outcome
from smtpd_anontls.web.problems import not_acceptable

MOST_ITEMS = 1000
_ID = re.compile(r"[0-9]{1,18}")
_SESSION_ID = re.compile(r"[0-9a-f]{16}")


def _term(description: str, *examples: str) -> Any:
    return Field(
        default=None, max_length=INDEXED_CHARACTERS, description=description, examples=list(examples) or None
    )


class Terms(BaseModel):
    """Terms that must all hold.

    A term about another kind of thing holds where something of that kind in the same session meets it.
    """

    model_config = ConfigDict(extra="forbid")

    server: str | None = _term("Of this server.", "MBX1")
    connector: str | None = _term("Of this Receive connector.", "Default Frontend MBX1")
    session: str | None = _term("Of this session.", "0123456789abcdef")
    run: str | None = _term("With a message of this run.", "ci-1234")
    recipient: str | None = _term(
        "With this recipient, in any case; * stands for anything.", "*@contoso.test"
    )
    sender: str | None = _term("With this sender, in any case; * stands for anything.", "a@example.test")
    subject: str | None = _term("With this part in the subject, in any case.", "hello")
    header: str | None = _term(
        "With this header field, as `Name: value`; * stands for anything in the value.", "X-Test: 7*"
    )
    since: str | None = _term("From this time on, or behind this id.", "2026-11-25T12:00:00Z", "17")

    def filter(self) -> Filter:
        """Return the filter; ProblemError says which term cannot be read."""
        terms = {name: getattr(self, name) for name in type(self).model_fields if name in _TERMS}
        try:
            wanted = Filter.read({name: None if each is None else str(each) for name, each in terms.items()})
            self.check(wanted)
        except ValueError as error:
            name, _, why = str(error).partition(": ")
            raise not_acceptable("query", name, why) from None
        return wanted

    def check(self, wanted: Filter) -> None:
        """Raise ValueError where *wanted* does not fit the list."""
        wanted.since_number()


class SessionTerms(Terms):
    """Terms of sessions."""

    outcome: Outcome | None = Field(default=None, description="Which ended so.")
    remote: str | None = _term("Of this peer, with or without its port; * stands for anything.", "127.0.0.*")

    def check(self, wanted: Filter) -> None:
        """Raise nothing: a session can be named by a number, too."""
        wanted.since_session()


class EventTerms(Terms):
    """Terms of events."""

    event_id: int | None = Field(
        default=None, ge=0, le=65535, description="With this number.", examples=[12013]
    )


_TERMS = {*Terms.model_fields, *SessionTerms.model_fields, *EventTerms.model_fields}


def _limit() -> Any:
    return Field(default=50, ge=1, le=MOST_ITEMS, description="How many at most.")


def _cursor() -> Any:
    return Field(default=None, max_length=64, description="`next` of the page before.")


class MessagePage(Terms):
    """A page of messages."""

    limit: int = _limit()
    cursor: str | None = _cursor()


class EventPage(EventTerms):
    """A page of events."""

    limit: int = _limit()
    cursor: str | None = _cursor()


class SessionPage(SessionTerms):
    """A page of sessions."""

    limit: int = _limit()
    cursor: str | None = _cursor()


class WaitTerms(Terms):
    """What is waited for."""

    count: int = Field(default=1, ge=1, le=MOST_ITEMS, description="How many messages must be there.")
    timeout: float = Field(default=30.0, ge=0, le=600, description="Seconds; 0 only looks.")


class RemovalTerms(Terms):
    """What is to be removed."""

    all: bool = Field(default=False, description="Needed where no filter narrows it: removes all messages.")


def number_before(cursor: str | None) -> int | None:
    """Return the id that a cursor of messages or events stands for."""
    if cursor is None:
        return None
    if not _ID.fullmatch(cursor):
        raise not_acceptable("query", "cursor", "is none that a list has given")
    return int(cursor)


def session_before(cursor: str | None) -> str | None:
    """Return the id that a cursor of sessions stands for."""
    if cursor is not None and not _SESSION_ID.fullmatch(cursor):
        raise not_acceptable("query", "cursor", "is none that a list has given")
    return cursor
