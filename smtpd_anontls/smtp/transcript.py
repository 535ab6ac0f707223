"""The dialogue of a session, bounded in size and free of secrets."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from smtpd_anontls.domain.records import TranscriptRow

if TYPE_CHECKING:
    from collections.abc import Callable

MASK = "<authentication data>"
_AUTHENTICATION = (b"AUTH", b"X-EXPS")

# What is kept of one session: its beginning, its end, and of each line its first octets.
MAX_HEAD_ROWS = 400
MAX_TAIL_ROWS = 100
MAX_LINE_OCTETS = 512


class Transcript:
    """Collects rows; the middle of a very long session is counted, not kept."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """*clock* gives seconds; offsets count from now."""
        self._clock = clock
        self._start = clock()
        self._head: list[tuple[float, str, bytes | str]] = []
        self._tail: deque[tuple[float, str, bytes | str]] = deque(maxlen=MAX_TAIL_ROWS)
        self._left_out = 0
        self._authenticating = False

    def client(self, line: bytes, *, known_verb: bool) -> None:
        """Note a command line without its line end.

        What stands behind AUTH or X-EXPS is never kept, whether the verb was taken or refused;
        nor is a line behind it that is no command, since it may be its continuation.
        """
        verb, _, rest = line.strip().partition(b" ")
        if verb.upper() in _AUTHENTICATION:
            self._authenticating = True
            self._add("C", verb[:MAX_LINE_OCTETS] + (b" " + MASK.encode() if rest else b""))
            return
        if self._authenticating and not known_verb:
            self._add("C", MASK)
            return
        self._authenticating = False
        self._add("C", line[:MAX_LINE_OCTETS])

    def server(self, lines: list[str]) -> None:
        """Note a reply."""
        for line in lines:
            self._add("S", line[:MAX_LINE_OCTETS])

    def note(self, text: str) -> None:
        """Note what happened beside the dialogue."""
        self._add("*", text)

    def rows(self) -> tuple[TranscriptRow, ...]:
        """Return the rows, with one that counts those left out."""
        rows = [self._row(*entry) for entry in self._head]
        if self._left_out:
            offset = rows[-1].offset_ms if rows else 0
            rows.append(TranscriptRow(offset, "*", f"{self._left_out} more lines are not kept"))
        rows.extend(self._row(*entry) for entry in self._tail)
        return tuple(rows)

    def _add(self, mark: str, text: bytes | str) -> None:
        entry = (self._clock(), mark, text)
        if len(self._head) < MAX_HEAD_ROWS:
            self._head.append(entry)
            return
        if len(self._tail) == MAX_TAIL_ROWS:
            self._left_out += 1
        self._tail.append(entry)

    def _row(self, when: float, mark: str, text: bytes | str) -> TranscriptRow:
        shown = text if isinstance(text, str) else text.decode("utf-8", "backslashreplace")
        return TranscriptRow(round((when - self._start) * 1000), mark, shown)
