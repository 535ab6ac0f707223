"""Lists of sessions, messages and events: the form that narrows them, and their pages.

The terms are those of domain.filters, so a list shows what the commands and the API would.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from smtpd_anontls.domain.events import CATALOGUE
from smtpd_anontls.domain.filters import EVERYTHING, Filter
from smtpd_anontls.domain.records import Outcome
from smtpd_anontls.web.pages.rendering import words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from smtpd_anontls.domain.records import Json
    from smtpd_anontls.settings.values import Settings

PAGE = 50
HIGHEST_ID = 2**63 - 1  # Of a database.

_NUMBER = re.compile(r"[0-9]{1,19}")
# How the null sender is written, which the filter has as the empty text.
NULL_SENDER = "<>"


@dataclass(frozen=True, slots=True)
class Choice:
    """A value that a field can have."""

    value: str
    text: str


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the form; with choices it is a selection."""

    name: str
    label: str
    value: str = ""
    example: str = ""
    choices: tuple[Choice, ...] = ()
    nothing: str = "any"  # How the choice of none is called.
    hint: str = ""  # What else may be written.

    def filled(self, value: str) -> Field:
        """Return the field with *value* in it."""
        return replace(self, value=value)


@dataclass(frozen=True, slots=True)
class Narrowing:
    """What a list was asked for: the filled form, and the filter that it means."""

    path: str
    fields: tuple[Field, ...]
    wanted: Filter
    before: str | None
    error: str | None

    @classmethod
    def of(cls, path: str, fields: Sequence[Field], query: Mapping[str, str]) -> Narrowing:
        """Read the form *fields* from *query*; a mistake in it is told, and then nothing is narrowed."""
        given = {field.name: query[field.name].strip() for field in fields if query.get(field.name)}
        given = {name: text for name, text in given.items() if text}
        filled = tuple(field.filled(given.get(field.name, "")) for field in fields)
        terms = {
            name: "" if (name, text) == ("sender", NULL_SENDER) else text for name, text in given.items()
        }
        try:
            wanted, error = Filter.read(terms), None
        except ValueError as mistake:
            wanted, error = EVERYTHING, str(mistake)
        return cls(path, filled, wanted, query.get("before") or None, error)

    def mistaken(self, error: str) -> Narrowing:
        """Return what is asked for where a value that can be read does not go with this list."""
        return replace(self, wanted=EVERYTHING, error=error)

    @property
    def narrowed(self) -> bool:
        """Whether anything was asked for."""
        return any(field.value for field in self.fields)

    @property
    def newest_url(self) -> str:
        """The first page of the list."""
        return self.url(None)

    @property
    def url_here(self) -> str:
        """This page of the list."""
        return self.url(self.before)

    def url(self, before: str | None) -> str:
        """Return the address of the page that begins behind the item *before*."""
        terms = {field.name: field.value for field in self.fields if field.value}
        if before is not None:
            terms["before"] = before
        return f"{self.path}?{urlencode(terms)}" if terms else self.path


@dataclass(frozen=True, slots=True)
class Slice:
    """One page of a list as the journal gave it, and where the next one begins."""

    items: list[Json]
    older_url: str | None

    @classmethod
    def of(cls, found: list[Json], narrowing: Narrowing, *, key: Callable[[Json], object]) -> Slice:
        """Cut *found*, which was asked for with one item more than a page has."""
        items = found[:PAGE]
        return cls(items, narrowing.url(str(key(items[-1]))) if len(found) > PAGE else None)


def number_before(narrowing: Narrowing) -> int | None:
    """Return where a list whose ids are numbers goes on."""
    return None if narrowing.before is None else number(narrowing.before)


def number(text: str) -> int | None:
    """Return the id that *text* is; None where it is none."""
    if not _NUMBER.fullmatch(text) or int(text) > HIGHEST_ID:
        return None
    return int(text)


def servers(settings: Settings) -> Field:
    """Return the field for the server; one server is no choice."""
    return Field("server", "Server", choices=_choices(each.server.name for each in settings.servers))


def connectors(settings: Settings) -> Field:
    """Return the field for the Receive connector."""
    names = (connector.name for each in settings.servers for connector in each.server.connectors)
    return Field("connector", "Connector", choices=_choices(names))


def outcomes() -> Field:
    """Return the field for a session's outcome."""
    return Field(
        "outcome",
        "Outcome",
        choices=tuple(Choice(each.value, words(each.value)) for each in Outcome),
    )


def event_ids() -> Field:
    """Return the field for an event id."""
    kinds = sorted(CATALOGUE.values(), key=lambda kind: kind.event_id)
    return Field(
        "event_id",
        "Event",
        choices=tuple(
            Choice(str(kind.event_id.value), f"{kind.event_id.value} {kind.level}") for kind in kinds
        ),
    )


def _choices(names: Iterable[str]) -> tuple[Choice, ...]:
    return tuple(Choice(name, name) for name in dict.fromkeys(names))
