"""A message taken apart, within bounds: its text, its HTML, and its parts.

The standard library's parser is used with the rules of its ``compat32`` policy, which looks at a header by
a few regular expressions.  The newer policy has a grammar for each header, and a peer who knows the grammar
can keep it busy for minutes.  What the parser costs is lines times nested boundaries, so that product is
bounded before it begins.
"""

from __future__ import annotations

import email
import email.policy
import re
from dataclasses import dataclass, field
from email.message import Message
from email.utils import collapse_rfc2231_value
from typing import TYPE_CHECKING

from smtpd_anontls.domain.printable import printable
from smtpd_anontls.protocol.headers import decoded_subject

if TYPE_CHECKING:
    from collections.abc import Iterator

# Lines times nested boundaries that the parser may have to compare: a few seconds of work at most.
_COMPARISONS = 2_000_000
MAX_PARTS = 500
# A delimiter line begins with two hyphens; so many of them may make a part each.
_MAX_DELIMITERS = 4 * MAX_PARTS
# Characters of a text that a page shows, and octets of HTML.
MAX_TEXT = 200_000
MAX_HTML = 2_000_000
# Multiparts in each other; a message that goes deeper is shown as one text.
MAX_DEPTH = 200
_LONGEST_HEADER = 4_000
_LONGEST_NAME = 200
# Codecs that take a time that grows with the square of the text, or that are no charsets at all.
_NO_CHARSETS = {"idna", "punycode", "undefined", "unicode_escape", "raw_unicode_escape"}

_DELIMITER = re.compile(rb"^--", re.MULTILINE)
_BOUNDARY = re.compile(rb"boundary\s*=", re.IGNORECASE)


class _BoundedPolicy(email.policy.Compat32):
    """Looks at the first characters of a header alone, and takes octets that are not US-ASCII for UTF-8."""

    def header_fetch_parse(self, name: str, value: str) -> str:  # noqa: ARG002 - of the policy
        """Return the value that is asked for."""
        octets = value[:_LONGEST_HEADER].encode("utf-8", "surrogateescape")
        return octets.decode("utf-8", "replace")


_POLICY = _BoundedPolicy()


@dataclass(frozen=True, slots=True)
class Part:
    """A part that is no multipart."""

    number: int  # From 1, in the order of the message.
    depth: int
    content_type: str
    name: str | None  # The file name that the sender gave it.
    is_attachment: bool
    octets: bytes = field(repr=False)
    charset: str | None = None

    @property
    def file_name(self) -> str:
        """The name to save it under."""
        return self.name or f"part-{self.number}{_SUFFIXES.get(self.content_type, '.bin')}"

    @property
    def size(self) -> int:
        """Its size, decoded."""
        return len(self.octets)

    def text(self, longest: int) -> str:
        """Return the first octets as text; what is not in its charset is shown as such."""
        return _decoded(self.octets[:longest], self.charset)


@dataclass(frozen=True, slots=True)
class Mail:
    """A message, taken apart."""

    parts: tuple[Part, ...]
    notes: tuple[str, ...]  # What was cut, or is not as MIME has it.

    @property
    def text(self) -> Part | None:
        """The plain text that a reader would be shown; a multipart without a part counts as one."""
        found = self._body("text/plain")
        if found is None and self.html is None:
            return next((part for part in self.parts if part.content_type.startswith("multipart/")), None)
        return found

    @property
    def html(self) -> Part | None:
        """The HTML that a reader would be shown."""
        return self._body("text/html")

    def part(self, number: int) -> Part | None:
        """Return the part with this number."""
        return next((part for part in self.parts if part.number == number), None)

    def _body(self, content_type: str) -> Part | None:
        fitting = (p for p in self.parts if p.content_type == content_type and not p.is_attachment)
        return next(fitting, None)


_SUFFIXES = {"text/plain": ".txt", "text/html": ".html", "message/rfc822": ".eml"}


def take_apart(raw: bytes) -> Mail:
    """Return what is in a message; never raise, and never take more than a few seconds."""
    bounded, notes = _bounded(raw)
    try:
        root: Message = email.message_from_bytes(bounded, policy=_POLICY)
        parts = list(_parts(root, notes))
    except Exception:  # noqa: BLE001 - RecursionError and whatever else the parser may raise at hostile mail
        notes.append("Its MIME structure could not be followed, so it is shown as one text.")
        parts = [Part(1, 0, "text/plain", None, is_attachment=False, octets=_body_of(raw))]
    return Mail(tuple(parts), tuple(dict.fromkeys(notes)))


def _bounded(raw: bytes) -> tuple[bytes, list[str]]:
    """Return the beginning of *raw* that can be taken apart in bounded time."""
    notes = []
    end = len(raw)
    for count, delimiter in enumerate(_DELIMITER.finditer(raw)):
        if count == _MAX_DELIMITERS:
            end = delimiter.start()
            notes.append(f"It has more than {_MAX_DELIMITERS:,} lines that look like part boundaries.")
            break
    lines = _COMPARISONS // (1 + sum(1 for _ in _BOUNDARY.finditer(raw, 0, end)))
    if raw.count(b"\n", 0, end) > lines:
        position = -1
        for _ in range(lines):
            position = raw.index(b"\n", position + 1)
        end = min(end, position + 1)
        notes.append(f"It is taken apart up to line {lines:,}.")
    return raw[:end], notes


def _parts(root: Message, notes: list[str]) -> Iterator[Part]:
    """Yield the parts that are no multipart, in their order."""
    waiting: list[tuple[Message, int]] = [(root, 0)]
    number = 0
    while waiting:
        part, depth = waiting.pop()
        notes.extend(_defect(defect) for defect in part.defects[:3])
        payload = part.get_payload()
        if part.get_content_maintype() == "multipart" and isinstance(payload, list):
            if depth == MAX_DEPTH:
                raise ValueError("nested too deep")
            waiting.extend((child, depth + 1) for child in reversed(payload) if isinstance(child, Message))
            continue
        if number == MAX_PARTS:
            notes.append(f"Only its first {MAX_PARTS} parts are shown.")
            return
        number += 1
        yield _part(part, number, depth)


def _part(part: Message, number: int, depth: int) -> Part:
    name = _name(part)
    disposition = _first_word(part.get("Content-Disposition"))
    return Part(
        number,
        depth,
        part.get_content_type(),
        name,
        is_attachment=disposition == "attachment" or (name is not None and disposition != "inline"),
        octets=_octets(part),
        charset=_charset(part),
    )


def _octets(part: Message) -> bytes:
    payload = part.get_payload()
    if isinstance(payload, list):
        # A message in a message: as it stands there.
        return b"\r\n".join(child.as_bytes() for child in payload if isinstance(child, Message))
    decoded = part.get_payload(decode=True)
    return decoded if isinstance(decoded, bytes) else b""


def _name(part: Message) -> str | None:
    try:
        found = part.get_param("filename", None, "Content-Disposition") or part.get_param("name")
        text = "" if found is None else collapse_rfc2231_value(found).strip()
    except Exception:  # noqa: BLE001 - a name that cannot be read is none
        return None
    # The last piece of a path, so that no browser is asked to save elsewhere.
    last = re.split(r"[\\/]", decoded_subject(text))[-1]
    return printable(last)[:_LONGEST_NAME] or None


def _charset(part: Message) -> str | None:
    try:
        found = part.get_content_charset()
    except Exception:  # noqa: BLE001 - a charset that cannot be read is none
        return None
    return None if found is None else str(found)


def _first_word(value: object) -> str:
    return "" if value is None else str(value).partition(";")[0].strip().lower()


def _decoded(octets: bytes, charset: str | None) -> str:
    if charset is None or charset.replace("-", "_") in _NO_CHARSETS:
        return octets.decode("utf-8", "replace")
    try:
        return octets.decode(charset, "replace")
    except (LookupError, ValueError):
        return octets.decode("utf-8", "replace")


def _body_of(raw: bytes) -> bytes:
    found = re.search(rb"\r?\n\r?\n", raw)
    return raw if found is None else raw[found.end() :]


def _defect(defect: object) -> str:
    """Return a defect that the parser found as a sentence: its name is one, put together."""
    words = re.findall(r"[A-Z][a-z]+", type(defect).__name__.removesuffix("Defect"))
    return f"Not as MIME has it: {' '.join(words).lower()}."
