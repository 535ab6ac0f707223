r"""One row of the protocol log, and the header that a file of them begins with.

Public logs of Exchange 2010 to 2019 (``#Version: 14.0.0.0`` and ``15.0.0.0``): five lines of header,
values between commas, in quotation marks where they hold a comma, lines that end with CR LF.  Whatever
a peer sent stands in one value of one row: controls are shown as escapes such as ``\x0d``.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

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


# Octets of a row beside its values: the time, a number of one digit, the event, commas and the line end.
_AROUND = 34


class Row(NamedTuple):
    """A row, kept as what it says: whoever writes it asks for its octets, once.

    A session makes eight of them for a message, and a tuple costs an eighth of the text.
    """

    time: datetime
    ids: str  # Of the connector and the session; they and *endpoints* are columns already.
    number: int
    endpoints: str
    event: Event
    data: str
    context: str

    @property
    def size(self) -> int:
        """About how many octets it has; what is beyond US-ASCII or escaped has more."""
        return _AROUND + len(self.ids) + len(self.endpoints) + len(self.data) + len(self.context)

    @property
    def octets(self) -> bytes:
        """What is written, its line end included, which stands nowhere else in it; made anew each time."""
        # Most rows have no context.
        said = columns(self.data, self.context) if self.context else f"{_value(self.data)},"
        line = f"{rfc3339(self.time)},{self.ids},{self.number},{self.endpoints},{self.event},{said}\r\n"
        return line.encode()


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
