"""The header section of a message (RFC 5322 section 2.2), read for looking up.

Tolerant, because a test receiver takes what it is sent: a line that is no field is passed
over, a bare LF ends a line too, and bytes that are not UTF-8 are read as Latin-1.  Bounded,
because it runs for every message.
"""

from __future__ import annotations

import re
from email.errors import HeaderParseError
from email.header import decode_header
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_SECTION_OCTETS = 256 * 1024
MAX_FIELDS = 1000
# Longer encoded text is taken as it stands from there on: decoding costs its square.
MAX_ENCODED_CHARACTERS = 8192
# RFC 5322 section 2.1.1: a line, and so what fits into one reply, ends here.
MAX_MESSAGE_ID_CHARACTERS = 998

_SECTION_END = re.compile(rb"\n\r?\n")
_EMPTY = (b"\n", b"\r\n")
# RFC 5322 section 2.2: a name is printable US-ASCII without the colon; section 4.5.8 lets
# white space stand before the colon; section 2.2.3: a line that begins with white space goes on.
_FIELD = re.compile(r"^([!-9;-~]++)[ \t]*+:([^\n]*+(?:\n[ \t][^\n]*+)*+)", re.MULTILINE)
_FOLD = re.compile(r"\r?\n")
_MESSAGE_ID = re.compile(r"<[^<>\x00-\x20\x7f-\xa0]+>|[^<>\x00-\x20\x7f-\xa0]+")


def parse_header_section(raw: bytes) -> tuple[tuple[str, str], ...]:
    """Return name and unfolded value of each field, in their order; never raise.

    At most the first 256 KiB and 1,000 fields are looked at.
    """
    if raw.startswith(_EMPTY):
        return ()
    end = _SECTION_END.search(raw, 0, MAX_SECTION_OCTETS)
    section = _decoded(raw[: MAX_SECTION_OCTETS if end is None else end.start() + 1])
    return tuple((found[1], _unfolded(found[2])) for found in islice(_FIELD.finditer(section), MAX_FIELDS))


def message_id(headers: Sequence[tuple[str, str]]) -> str | None:
    """Return the Message-ID, angle brackets included, fit for a reply; None where there is no usable one."""
    value = next((value for name, value in headers if name.lower() == "message-id"), "")
    found = _MESSAGE_ID.match(value)
    return found[0] if found and len(found[0]) <= MAX_MESSAGE_ID_CHARACTERS else None


def decoded_subject(value: str) -> str:
    """Return *value* with its encoded words (RFC 2047) decoded; what cannot be decoded stays as it is."""
    if "=?" not in value:
        return value
    head, tail = value[:MAX_ENCODED_CHARACTERS], value[MAX_ENCODED_CHARACTERS:]
    try:
        return "".join(_text(chunk, charset) for chunk, charset in decode_header(head)) + tail
    except (HeaderParseError, LookupError, ValueError):
        # Broken base64, an unknown character set, a codec that is none of text.
        return value


def _text(chunk: bytes | str, charset: str | None) -> str:
    if isinstance(chunk, str):
        return chunk
    # Between encoded words the standard library hands out raw-unicode-escape.
    return chunk.decode("raw-unicode-escape" if charset is None else charset, "replace")


def _decoded(section: bytes) -> str:
    """Decode line by line only where the whole is not UTF-8: one bad line does not spoil the others."""
    try:
        return section.decode()
    except UnicodeDecodeError:
        return "\n".join(_decoded_line(line) for line in section.split(b"\n"))


def _decoded_line(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("latin-1")


def _unfolded(value: str) -> str:
    # RFC 5322 section 2.2.3: unfolding removes the line end alone.
    return (_FOLD.sub("", value) if "\n" in value else value).strip(" \t\r")
