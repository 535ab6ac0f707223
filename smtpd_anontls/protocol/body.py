r"""The body of DATA: everything up to CRLF "." CRLF, and nothing else ends it.

RFC 5321 section 4.1.1.4: a lone LF or CR is no line end, so ``\n.\n`` and its relatives are
content.  Octets come in whatever pieces the network made; they are searched in bulk, never
line by line.
"""

from __future__ import annotations

_END = b"\r\n.\r\n"


class DataReader:
    """Collects a DATA body; feed it until it returns what follows the end."""

    def __init__(self, limit: int) -> None:
        """Take messages of at most *limit* octets; a longer one is read to its end but not kept."""
        self._limit = limit
        # A line end stands before the first line (RFC 5321: the one behind DATA), so that a body
        # that is just "." needs no case of its own.
        self._buffer = bytearray(b"\r\n")
        self._searched = 0
        self._dropped = False

    def feed(self, octets: bytes) -> bytes | None:
        """Take more octets; return those behind the end, or None while the end has not come."""
        buffer = self._buffer
        buffer += octets
        end = buffer.find(_END, self._searched)
        if end < 0:
            self._searched = max(0, len(buffer) - len(_END) + 1)
            # Dot-stuffing makes a body longer by a third at most ("\r\n." from "\r\n").
            if self._dropped or len(buffer) > self._limit + self._limit // 3 + len(_END):
                self._drop()
            return None
        rest = bytes(buffer[end + len(_END) :])
        del buffer[end + 2 :]
        return rest

    def _drop(self) -> None:
        """Forget all but what may be the beginning of the end: memory stays bounded."""
        self._dropped = True
        del self._buffer[: -(len(_END) - 1)]
        self._searched = 0

    def content(self) -> bytes | None:
        """Return the message without dot-stuffing (section 4.5.2); None where it was over the limit."""
        if self._dropped:
            return None
        # Both line ends that are not the message's own: the one put in front is cut off here,
        # the last line's stays.
        content = bytes(memoryview(self._buffer.replace(b"\r\n.", b"\r\n"))[2:])
        return content if len(content) <= self._limit else None
