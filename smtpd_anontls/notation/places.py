"""Where each value of a YAML text stands in it, as stretches of characters."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamStartEvent,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_BLOCK_SCALARS = ("|", ">")


class AliasInTheWayError(Exception):
    """What was asked for stands at an anchor, elsewhere in the text."""


class Kind(Enum):
    """How a value is written."""

    SCALAR = auto()
    ALIAS = auto()
    FLOW = auto()  # A list or mapping in brackets.
    BLOCK = auto()  # A list or mapping on lines of its own.


@dataclass
class Place:
    """A value, as the stretch of the text from *start* up to *end*."""

    kind: Kind
    start: int
    end: int
    column: int
    behind: int  # Where the ':' or '-' before it ends.
    style: str | None = None  # Of a scalar: a quote, | or >; None where it is plain.
    keys: list[Place] = field(default_factory=list)
    children: list[Place] = field(default_factory=list)

    @property
    def quote(self) -> str | None:
        """The quotes in which it stands, if any."""
        return self.style if self.style in ("'", '"') else None

    def child(self, position: int) -> Place:
        """Return the item or the value at *position*; AliasInTheWayError where it stands elsewhere."""
        if self.kind is Kind.ALIAS:
            raise AliasInTheWayError
        return self.children[position]


def place_of_document(text: str) -> Place | None:
    """Return the place of the one document in *text*, or None where there is none.

    *text* is one that the reader took; ruamel's YAMLError where ruamel reads it otherwise.
    """
    events = iter(YAML(typ="safe", pure=True).parse(text))
    first = next(event for event in events if not isinstance(event, (StreamStartEvent, DocumentStartEvent)))
    if not isinstance(first, (ScalarEvent, SequenceStartEvent, MappingStartEvent)) or _is_nothing(first):
        return None
    return _place(text, first, events, first.start_mark.index)


def _is_nothing(event: Any) -> bool:
    """Whether the value is null because nothing is written."""
    return isinstance(event, ScalarEvent) and event.start_mark.index == event.end_mark.index


def _place(text: str, event: Any, events: Iterator[Any], behind: int) -> Place:
    """Return the place of the value that begins with *event*."""
    start, end, column = event.start_mark.index, event.end_mark.index, event.start_mark.column
    if isinstance(event, AliasEvent):
        return Place(Kind.ALIAS, start, end, column, behind)
    if isinstance(event, ScalarEvent):
        if start == end:
            return Place(Kind.SCALAR, behind, behind, column, behind)
        if event.style in _BLOCK_SCALARS:
            end = start + len(text[start:end].rstrip())
        return Place(Kind.SCALAR, start, end, column, behind, event.style)
    place = Place(Kind.FLOW if event.flow_style else Kind.BLOCK, start, end, column, behind)
    last = (_items if isinstance(event, SequenceStartEvent) else _pairs)(text, place, events)
    # The end event of a block stands behind the comments that follow it.
    place.end = place.children[-1].end if place.kind is Kind.BLOCK else last.end_mark.index
    return place


def _behind(indicator: str, text: str, start: int) -> int:
    """Return where the next *indicator* ends; only white space and comments stand before it."""
    found = re.compile(rf"(?:\s|#[^\r\n]*(?![^\r\n]))*{indicator}").match(text, start)
    return start if found is None else found.end()


def _items(text: str, place: Place, events: Iterator[Any]) -> Any:
    """Read the items of a list into *place* and return the event that ends it."""
    for event in events:
        if isinstance(event, SequenceEndEvent):
            return event
        before = place.children[-1].end if place.children else place.start
        behind = _behind("-", text, before) if place.kind is Kind.BLOCK else event.start_mark.index
        place.children.append(_place(text, event, events, behind))
    raise AssertionError("every list ends")


def _pairs(text: str, place: Place, events: Iterator[Any]) -> Any:
    """Read the keys and values of a mapping into *place* and return the event that ends it."""
    for event in events:
        if isinstance(event, MappingEndEvent):
            return event
        key = _place(text, event, events, event.start_mark.index)
        place.keys.append(key)
        place.children.append(_place(text, next(events), events, _behind(":", text, key.end)))
    raise AssertionError("every mapping ends")
