"""What the pages about events show: Event Viewer's columns, and its two forms of the details."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from smtpd_anontls.domain.events import EventDraft, EventId
from smtpd_anontls.domain.instants import parse_instant
from smtpd_anontls.domain.printable import printable
from smtpd_anontls.domain.records import EventRecord
from smtpd_anontls.eventlog.windows_xml import event_xml

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpd_anontls.domain.records import Json

_TONES = {"Error": "bad", "Warning": "warning"}
# Where one element ends and another begins; the line itself has no white space there.
_BETWEEN_ELEMENTS = re.compile(r"><(?=[A-Z/])")


@dataclass(frozen=True, slots=True)
class EventRow:
    """A line of the list."""

    id: int
    event_id: int
    level: str
    tone: str
    time: str
    source: str
    category: str
    server: str | None
    connector: str | None
    session_id: str | None
    message: str

    @classmethod
    def of(cls, event: Json) -> EventRow:
        """Return the line of an event object."""
        return cls(
            event["id"],
            event["event_id"],
            event["level"],
            _TONES.get(event["level"], "calm"),
            event["time"],
            event["source"],
            event["category"],
            event["server"],
            event["connector"],
            event["session_id"],
            event["message"],
        )


@dataclass(frozen=True, slots=True)
class EventView:
    """Everything about one event."""

    row: EventRow
    symbol: str | None
    thumbprint: str | None
    inserts: tuple[str, ...]
    as_json: str
    as_xml: str

    @classmethod
    def of(cls, event: Json, computer_of: Callable[[str | None], str]) -> EventView:
        """Return the view of an event object; *computer_of* gives the FQDN of a server by its name."""
        line = event_xml(computer_of)(record_of(event))
        return cls(
            EventRow.of(event),
            event["symbol"],
            event["thumbprint"],
            tuple(map(printable, event["inserts"])),
            json.dumps(event, indent=2),
            indented(line.strip()),
        )


def record_of(event: Json) -> EventRecord:
    """Return the record that *event* was written from."""
    draft = EventDraft(EventId(event["event_id"]), tuple(event["inserts"]), event["thumbprint"])
    return EventRecord(
        id=event["id"],
        time=parse_instant(event["time"]),
        draft=draft,
        source=event["source"],
        server=event["server"],
        connector=event["connector"],
        session_id=event["session_id"],
    )


def indented(line: str) -> str:
    """Return the one line of an event's XML as an element a line, each as deep as it stands."""
    depth, lines = 0, []
    for element in _BETWEEN_ELEMENTS.sub(">\n<", line).split("\n"):
        closes = element.startswith("</")
        depth -= closes
        lines.append("  " * depth + element)
        depth += not (closes or element.endswith("/>") or "</" in element)
    return "\n".join(lines)
