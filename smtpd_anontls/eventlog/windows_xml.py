"""Events as Windows event XML: one ``<Event>`` element a line.

The elements are those that ``wevtutil qe /f:RenderedXml`` prints and Event Viewer saves for an
event of the classic Application log; their order and types are those of the public event schema
([MS-EVEN6] section 2.2.13).  A file of them is read line by line, or as a whole once it stands
between ``<Events>`` and ``</Events>``, as Event Viewer saves it.
"""

from __future__ import annotations

import os
import re
from datetime import UTC
from types import MappingProxyType
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from smtpd_anontls.domain.events import CATALOGUE, Category, Level
from smtpd_anontls.domain.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from smtpd_anontls.domain.records import EventRecord
    from smtpd_anontls.eventlog.lines import LineOf

NAMESPACE = "http://schemas.microsoft.com/win/2004/08/events/event"

# Level as a number, and the upper half of the event identifier of the classic log: the severity of
# its two highest bits, the facility that Exchange's message files have below.  Real records: an error
# of MSExchangeTransport has 49156 and level 2, warning 1035 has 32772 and level 3.
_LEVELS: Mapping[Level, tuple[int, int]] = MappingProxyType(
    {Level.ERROR: (2, 49156), Level.WARNING: (3, 32772), Level.INFORMATION: (4, 16388)}
)
# Exchange numbers its categories, and events in thousands by their category: 1035 has Task 1.
_TASKS: Mapping[Category, int] = MappingProxyType({Category.SMTP_RECEIVE: 1, Category.TRANSPORT_SERVICE: 12})
# What a record of the classic log has: winmeta's "Classic".
_KEYWORDS = "0x80000000000000"

# XML 1.0 has no way to write these two; the controls, which it lacks too, are escaped before.
_NO_CHARACTERS = re.compile("[\ufffe\uffff]")


def event_xml(computer_of: Callable[[str | None], str]) -> LineOf:
    """Return what writes events as XML; *computer_of* gives the FQDN of a server by its name."""
    process_id = os.getpid()

    def line(record: EventRecord) -> str:
        element = _element(record, computer_of(record.server), process_id)
        return element.encode("ascii", "xmlcharrefreplace").decode("ascii") + "\n"

    return line


def _element(record: EventRecord, computer: str, process_id: int) -> str:
    kind = CATALOGUE[record.draft.event_id]
    level, qualifiers = _LEVELS[kind.level]
    inserts = "".join(f"<Data>{_text(insert)}</Data>" for insert in record.draft.inserts)
    return (
        f"<Event xmlns='{NAMESPACE}'><System>"
        f"<Provider Name='{_text(record.source)}'/>"
        f"<EventID Qualifiers='{qualifiers}'>{kind.event_id.value}</EventID>"
        f"<Version>0</Version><Level>{level}</Level><Task>{_TASKS[kind.category]}</Task><Opcode>0</Opcode>"
        f"<Keywords>{_KEYWORDS}</Keywords>"
        f"<TimeCreated SystemTime='{_system_time(record.time)}'/>"
        f"<EventRecordID>{record.id}</EventRecordID>"
        f"{_correlation(record.session_id)}"
        f"<Execution ProcessID='{process_id}' ThreadID='0'/>"
        f"<Channel>Application</Channel><Computer>{_text(computer)}</Computer><Security/></System>"
        f"<EventData>{inserts}</EventData>"
        f"<RenderingInfo Culture='en-US'><Message>{_text(kind.message(record.draft.inserts))}</Message>"
        f"<Level>{kind.level.value}</Level><Opcode>Info</Opcode><Task>{kind.category.value}</Task>"
        f"<Keywords><Keyword>Classic</Keyword></Keywords></RenderingInfo></Event>"
    )


def _correlation(session_id: str | None) -> str:
    """Name the session as the activity that the event belongs to, which is a GUID: its last 16 digits."""
    if session_id is None:
        return "<Correlation/>"
    return f"<Correlation ActivityID='{{00000000-0000-0000-{session_id[:4]}-{session_id[4:]}}}'/>"


def _system_time(instant: datetime) -> str:
    """Return *instant* in the units of 100 ns that Windows counts in."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "0Z"


def _text(text: str) -> str:
    r"""Return *text* as XML has it; what XML cannot say is shown as an escape such as ``\x1b``."""
    shown = _NO_CHARACTERS.sub(lambda found: f"\\u{ord(found[0]):04x}", printable(text))
    return escape(shown, {"'": "&apos;"})
