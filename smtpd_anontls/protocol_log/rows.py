r"""One row of the protocol log, and the header that a file of them begins with.

Public logs of Exchange 2010 to 2019 (``#Version: 14.0.0.0`` and ``15.0.0.0``): five lines of header,
values between commas, in quotation marks where they hold a comma, lines that end with CR LF.  Whatever
a peer sent stands in one value of one row: controls are shown as escapes such as ``\x0d``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from smtpd_anontls.domain.instants import rfc3339
from smtpd_anontls.domain.printable import printable

if TYPE_CHECKING:
    from datetime import datetime

END = b"\r\n"

FIELDS = (
    "date-time",
    "connector-id",
    "session-id",
    "sequence-number",
    "local-endpoint",
    "remote-endpoint",
    "event",
    "data",
    "context",
)

# Characters of one value; a command line has 2,000 at the very most.
LONGEST_VALUE = 4096
_CUT = "…"


class Event(StrEnum):
    """What a row is about."""

    CONNECT = "+"
    DISCONNECT = "-"
    SENT = ">"
    RECEIVED = "<"
    INFORMATION = "*"


@dataclass(frozen=True, slots=True)
class Row:
    """A row, ready to be written."""

    time: datetime
    octets: bytes  # Its line end included, which stands nowhere else in it.


def header(begun: datetime) -> bytes:
    """Return what a file that was begun then starts with."""
    lines = (
        "#Software: Microsoft Exchange Server",
        "#Version: 15.0.0.0",
        "#Log-type: SMTP Receive Protocol Log",
        f"#Date: {rfc3339(begun)}",
        f"#Fields: {','.join(FIELDS)}",
    )
    return b"".join(line.encode() + END for line in lines)


def columns(*values: str) -> str:
    """Return *values* as they stand in a row, commas between them."""
    return ",".join(map(_value, values))


def row(
    time: datetime, event: Event, data: str, context: str, *, ids: str, number: int, endpoints: str
) -> Row:
    """Return a row; *ids* (of the connector and the session) and *endpoints* are columns already."""
    line = f"{rfc3339(time)},{ids},{number},{endpoints},{event.value},{columns(data, context)}"
    return Row(time, line.encode() + END)


def _value(text: str) -> str:
    # First the cut: what is shown is longer, by no more than the length of an escape.
    if len(text) > LONGEST_VALUE:
        text = text[:LONGEST_VALUE] + _CUT
    # Nearly every value is printable as it is, and this runs for each line of each session.
    shown = text if text.isprintable() else printable(text)
    if "," in shown or '"' in shown:
        doubled = shown.replace('"', '""')
        return f'"{doubled}"'
    return shown
