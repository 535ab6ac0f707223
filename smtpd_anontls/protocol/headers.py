"""The header section of a message (RFC 5322 section 2.2), read for looking up; and its line ends.

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

# A run has a short name, which is looked up.
MAX_RUN_CHARACTERS = 128

_SECTION_END = re.compile(rb"\n\r?\n")
_EMPTY = (b"\n", b"\r\n")
# RFC 5322 section 2.2: a name is printable US-ASCII without the colon; section 4.5.8 lets
# white space stand before the colon; section 2.2.3: a line that begins with white space goes on.
_FIELD = re.compile(r"^([!-9;-~]++)[ \t]*+:([^\n]*+(?:\n[ \t][^\n]*+)*+)", re.MULTILINE)
_BLANKS = " \t\r"  # Around a value.
_FOLD = re.compile(r"\r?\n")
_MESSAGE_ID = re.compile(r"<[^<>\x00-\x20\x7f-\xa0]+>|[^<>\x00-\x20\x7f-\xa0]+")
# What a Received field is made of as far as its comments go (RFC 5322 section 3.2.2).
_COMMENT_PIECE = re.compile(r"[()]|\\.|[^()\\]++|\\", re.DOTALL)
# A line of one dot and of NULs, which some receivers drop: to them it ends the message.
_HIDDEN_LINE = re.compile(rb"(?:\0++\.\0*+|\.\0++)\r\n")
_HIDDEN_END = re.compile(rb"\n" + _HIDDEN_LINE.pattern)


def parse_header_section(raw: bytes) -> tuple[tuple[str, str], ...]:
    """Return name and unfolded value of each field, in their order; never raise.

    At most the first 256 KiB and 1,000 fields are looked at.
    """
    if raw.startswith(_EMPTY):
        return ()
    end = _SECTION_END.search(raw, 0, MAX_SECTION_OCTETS)
    section = _decoded(raw[: MAX_SECTION_OCTETS if end is None else end.start() + 1])
    # Lists and not generators, here and below: a frame for each field would cost more than the field.
    fields = [found.group(1, 2) for found in islice(_FIELD.finditer(section), MAX_FIELDS)]
    return tuple(
        [(name, _unfolded(value) if "\n" in value else value.strip(_BLANKS)) for name, value in fields]
    )


def header_section_octets(raw: bytes) -> int:
    """Return the size of the header section and its empty line: the whole message where there is none."""
    if raw.startswith(_EMPTY):
        return len(b"\n") if raw.startswith(b"\n") else len(b"\r\n")
    # The empty line that comes first ends the section, whichever line end it has.
    end = raw.find(b"\n\r\n")
    bare = raw.find(b"\n\n", 0, len(raw) if end < 0 else end + 1)
    if bare >= 0:
        return bare + len(b"\n\n")
    return len(raw) if end < 0 else end + len(b"\n\r\n")


def value_of(wanted: str, headers: Sequence[tuple[str, str]]) -> str | None:
    """Return the value of the first field called *wanted*, which is in lower case; None where there is none."""
    for name, value in headers:
        if name.lower() == wanted:
            return value
    return None


def received_count(headers: Sequence[tuple[str, str]]) -> int:
    """Return how many servers the message has passed: its Received fields (RFC 5321 section 6.3)."""
    return [name.lower() for name, _ in headers].count("received")


def local_received_count(headers: Sequence[tuple[str, str]], fqdn: str) -> int:
    """Return how often the message has passed the server *fqdn*: Received fields that are "by" it."""
    wanted = fqdn.lower()
    return sum(
        _received_by(value) == wanted
        for name, value in headers
        # A look at the whole value first: most fields are other servers'.
        if name.lower() == "received" and wanted in value.lower()
    )


def has_bare_line_end(raw: bytes) -> bool:
    r"""Whether an LF without its CR stands in *raw*, a CR without its LF, or a hidden end of message.

    BareLinefeedRejectionEnabled rejects "line feed (LF) characters without immediately preceding
    carriage return characters" (Set-ReceiveConnector).  A lone CR and a line of ``.`` and NULs are
    what else a smuggled end of message is made of; none of them is allowed in text (RFC 5322 section 2.2).
    """
    pairs = raw.count(b"\r\n")
    if raw.count(b"\n") != pairs or raw.count(b"\r") != pairs:
        return True
    return b"\0" in raw and (_HIDDEN_LINE.match(raw) or _HIDDEN_END.search(raw)) is not None


def message_id(headers: Sequence[tuple[str, str]]) -> str | None:
    """Return the Message-ID, angle brackets included, fit for a reply; None where there is no usable one."""
    found = _MESSAGE_ID.match(value_of("message-id", headers) or "")
    return found[0] if found and len(found[0]) <= MAX_MESSAGE_ID_CHARACTERS else None


def run_of(headers: Sequence[tuple[str, str]], recipients: Sequence[str]) -> str | None:
    """Return the run that a message belongs to: what X-Run-Id says, else the first ``+tag`` of a recipient.

    What is empty, too long or not printable names no run.
    """
    given = [value.strip() for name, value in headers if name.lower() == "x-run-id"]
    local_parts = [address.rpartition("@")[0] for address in recipients if "+" in address]
    tags = [local.partition("+")[2].removesuffix('"') for local in local_parts]
    return next((run for run in (*given, *tags) if _names_a_run(run)), None)


def _names_a_run(text: str) -> bool:
    return 0 < len(text) <= MAX_RUN_CHARACTERS and text.isprintable()


def decoded_subject(value: str) -> str:
    """Return *value* with its encoded words (RFC 2047) decoded; what cannot be decoded stays as it is."""
    if "=?" not in value:
        return value
    head, tail = value[:MAX_ENCODED_CHARACTERS], value[MAX_ENCODED_CHARACTERS:]
    try:
        text = "".join(_text(chunk, charset) for chunk, charset in decode_header(head))
        # UTF-7 and escapes can spell half a surrogate pair, which is no character.
        text.encode()
    except (HeaderParseError, LookupError, ValueError):
        # Broken base64, an unknown character set, a codec that is none of text.
        return value
    return text + tail


def _received_by(value: str) -> str | None:
    """Return the name behind "by" (RFC 5321 section 4.4) in lower case; None where there is none."""
    depth, text = 0, []
    for piece in _COMMENT_PIECE.findall(value):
        if piece == "(":
            depth += 1
        elif piece == ")":
            depth = max(0, depth - 1)
            text.append(" ")
        elif not depth:
            text.append(piece)
    words = "".join(text).lower().replace(";", " ; ").split()
    if words[:1] == ["from"]:
        # A host may be called "by".
        del words[:2]
    try:
        return words[words.index("by") + 1].rstrip(".")
    except (ValueError, IndexError):
        return None


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
    return _FOLD.sub("", value).strip(_BLANKS)
