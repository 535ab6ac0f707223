"""The parts of a message (RFC 2045, RFC 2046), as far as they can be taken apart within bounds.

What a peer sends may be anything: the standard library's parser takes it, except where it would
go deeper than it can, or take very long.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesParser
from email.policy import compat32
from typing import TYPE_CHECKING

from smtpd_anontls.domain.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smtpd_anontls.domain.records import Json

MOST_PARTS = 1000
# Each level is looked for at each line, and costs the parser some of its stack.
_MOST_MULTIPARTS = 100
_MULTIPART = re.compile(rb"multipart/", re.IGNORECASE)
_LONGEST = 512


@dataclass(frozen=True, slots=True)
class Part:
    """A part without parts of its own."""

    number: int
    content_type: str
    charset: str | None
    filename: str | None
    content_id: str | None
    disposition: str | None
    content: bytes

    def as_json(self) -> Json:
        """Return the object of the API, without the content."""
        return {
            "number": self.number,
            "content_type": self.content_type,
            "charset": self.charset,
            "filename": self.filename,
            "content_id": self.content_id,
            "disposition": self.disposition,
            "size": len(self.content),
        }


def parts_of(raw: bytes) -> list[Part] | None:
    """Return the parts of a message in their order; None where it has too many, or goes too deep."""
    for count, _ in enumerate(_MULTIPART.finditer(raw)):
        if count >= _MOST_MULTIPARTS:
            return None
    try:
        parsed: Message = BytesParser(policy=compat32).parsebytes(raw)
        found = []
        for number, leaf in enumerate(_leaves(parsed), 1):
            if number > MOST_PARTS:
                return None
            found.append(_part(number, leaf))
    except (RecursionError, LookupError, ValueError, TypeError, AttributeError):
        # What the parser itself cannot take.
        return None
    return found


def _leaves(message: Message) -> Iterator[Message]:
    # A message within the message is one part: it can be looked at as what it is.
    if message.is_multipart() and message.get_content_maintype() != "message":
        for each in message.get_payload():
            if isinstance(each, Message):
                yield from _leaves(each)
    else:
        yield message


def _part(number: int, leaf: Message) -> Part:
    return Part(
        number=number,
        content_type=_shown(leaf.get_content_type()) or "application/octet-stream",
        charset=_shown(leaf.get_content_charset()),
        filename=_shown(leaf.get_filename()),
        content_id=_shown(leaf.get("Content-ID")),
        disposition=_shown(leaf.get_content_disposition()),
        content=_content(leaf),
    )


def _content(leaf: Message) -> bytes:
    if leaf.is_multipart():
        inner = leaf.get_payload()
        return b"".join(each.as_bytes() for each in inner if isinstance(each, Message))
    content = leaf.get_payload(decode=True)
    return content if isinstance(content, bytes) else b""


def _shown(value: object) -> str | None:
    return None if value is None else printable(str(value)[:_LONGEST])
