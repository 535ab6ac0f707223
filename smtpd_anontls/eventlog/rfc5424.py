"""Events as syslog messages of RFC 5424."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING

from smtpd_anontls.domain.events import CATALOGUE, Level
from smtpd_anontls.domain.instants import rfc3339
from smtpd_anontls.domain.printable import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from smtpd_anontls.domain.records import EventRecord

# RFC 5424 s6.2.1: facility 2 is the mail system; severities Error, Warning, Informational.
_MAIL = 2
_SEVERITIES: Mapping[Level, int] = MappingProxyType({Level.ERROR: 3, Level.WARNING: 4, Level.INFORMATION: 6})
# s6.2.4 to s6.2.7: how long each part of the header may be.
_HOST_LENGTH, _APP_LENGTH = 255, 48
# s7.2.2 names 32473 as the enterprise number of examples and documentation.
_ELEMENT = "event@32473"
# Octets of one value, so that the structured data leaves room for a message in any datagram.
_VALUE_OCTETS = 255

_BOM = b"\xef\xbb\xbf"
_NOT_PRINTUSASCII = re.compile(r"[^!-~]")
_TO_ESCAPE = re.compile(r'["\\\]]')
_CUT = "…".encode()


def syslog_message(record: EventRecord, *, computer: str, process_id: int, most: int) -> bytes:
    """Return *record* in no more than *most* octets: the text alone is cut, and ends with an ellipsis then."""
    kind = CATALOGUE[record.draft.event_id]
    header = (
        f"<{_MAIL * 8 + _SEVERITIES[kind.level]}>1 {rfc3339(record.time)} {_name(computer, _HOST_LENGTH)} "
        f"{_name(record.source, _APP_LENGTH)} {process_id} {kind.event_id.value}"
    )
    start = f"{header} {_structured_data(record)} ".encode() + _BOM
    # s6.4: with the mark of UTF-8 in front; control characters are escaped as everywhere.
    return start + _cut(printable(kind.message(record.draft.inserts)), most - len(start))


def _structured_data(record: EventRecord) -> str:
    values = {
        "id": str(record.id),
        "server": record.server,
        "connector": record.connector,
        "session": record.session_id,
        "thumbprint": record.draft.thumbprint,
    }
    given = [f'{name}="{_value(text)}"' for name, text in values.items() if text is not None]
    return f"[{' '.join([_ELEMENT, *given])}]"


def _value(text: str) -> str:
    # s6.3.3: the quotation mark, the backslash and the closing bracket are escaped.
    return _TO_ESCAPE.sub(r"\\\g<0>", _cut(printable(text), _VALUE_OCTETS).decode())


def _name(text: str, length: int) -> str:
    """Return a word of the header: printable ASCII without spaces, a hyphen where nothing is known."""
    return _NOT_PRINTUSASCII.sub("?", text)[:length] or "-"


def _cut(text: str, most: int) -> bytes:
    octets = text.encode()
    if len(octets) <= most:
        return octets
    return octets[: most - len(_CUT)].decode(errors="ignore").encode() + _CUT
