"""PEM text, block by block: what stands between BEGIN and END, and on which lines."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator


_LINE = 64  # RFC 7468 section 2.


class UselessError(Exception):
    """What a file holds, or a part of it, is of no use; a clause says why and what would do."""


class Block(NamedTuple):
    """A PEM block: its label, the line of its BEGIN, and its lines; not closed where END is missing."""

    label: str
    line: int
    lines: list[bytes]
    closed: bool

    @property
    def place(self) -> range:
        """The numbers of its lines."""
        return range(self.line, self.line + len(self.lines))

    @property
    def text(self) -> bytes:
        """The block as PEM; UselessError where it is cut off."""
        self._check_closed()
        return b"\n".join(self.lines) + b"\n"

    def decoded(self) -> bytes:
        """Return the octets that it stands for; UselessError where it is cut off or no base64."""
        self._check_closed()
        try:
            return base64.b64decode(b"".join(self.lines[1:-1]), validate=True)
        except binascii.Error as error:
            raise UselessError(f"not base64 between BEGIN and END {self.label}") from error

    def _check_closed(self) -> None:
        if not self.closed:
            raise UselessError(f"BEGIN {self.label} has no END; the file seems cut off")


def pem_of(der: bytes) -> bytes:
    """Return a certificate as a PEM block."""
    encoded = base64.encodebytes(der).replace(b"\n", b"")
    lines = [encoded[at : at + _LINE] for at in range(0, len(encoded), _LINE)]
    return b"\n".join([b"-----BEGIN CERTIFICATE-----", *lines, b"-----END CERTIFICATE-----", b""])


def blocks(octets: bytes) -> Iterator[Block]:
    """Walk the PEM blocks line by line, so that no content makes it slow."""
    block: Block | None = None
    for number, raw in enumerate(octets.splitlines(), start=1):
        line = raw.strip().removeprefix(b"\xef\xbb\xbf")
        is_boundary = line.endswith(b"-----")
        if is_boundary and line.startswith(b"-----BEGIN "):
            if block is not None:
                yield block
            block = Block(line[11:-5].decode("ascii", "replace"), number, [line], closed=False)
        elif block is not None:
            block.lines.append(line)
            if is_boundary and line == f"-----END {block.label}-----".encode():
                yield block._replace(closed=True)
                block = None
    if block is not None:
        yield block


def without_lines(octets: bytes, left_out: Collection[range]) -> bytes:
    """Return the text without these lines, all others as they were."""
    numbers = {number for place in left_out for number in place}
    lines = octets.splitlines(keepends=True)
    return b"".join(line for number, line in enumerate(lines, start=1) if number not in numbers)
