"""A line for each event, in a file that is rotated or on standard output; what the line says is given."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING

from smtpd_anontls.domain.records import EventRecord

if TYPE_CHECKING:
    from pathlib import Path

    from smtpd_anontls.eventlog.log import Sink

# Returns an event as one line of ASCII, its end included.
LineOf = Callable[[EventRecord], str]


def lines_to(path: Path | None, line_of: LineOf, *, max_size: int, keep: int) -> Sink:
    """Return the sink that writes to *path*, or to standard output where that is None."""
    if path is None:
        return StandardOutput(line_of)
    return RotatedFile(path, line_of, max_size=max_size, keep=keep)


class StandardOutput:
    """Lines on standard output, each flushed."""

    name = "stdout"

    def __init__(self, line_of: LineOf) -> None:
        self._line_of = line_of

    def open(self) -> None:
        """Do nothing: it is open."""

    def write(self, record: EventRecord) -> None:
        """Write one line."""
        sys.stdout.write(self._line_of(record))
        sys.stdout.flush()

    def close(self) -> None:
        """Do nothing: it is not ours to close."""


class RotatedFile:
    """Lines in a file, which is rotated: application.jsonl, application.jsonl.1 to .*keep*.

    Folder and file are made where they are missing, also while it runs.  A line that did not
    fit is taken back, so that each line is whole.
    """

    def __init__(self, path: Path, line_of: LineOf, *, max_size: int, keep: int) -> None:
        self._path = path
        self._line_of = line_of
        self._max_size = max_size
        self._keep = keep
        self._descriptor: int | None = None

    @property
    def name(self) -> str:
        """The path."""
        return str(self._path)

    def open(self) -> None:
        """Open the file for appending; OSError says why that did not work."""
        self._open()

    def write(self, record: EventRecord) -> None:
        """Write one line; OSError: nothing of it is written, and the next one opens the file again."""
        line = self._line_of(record).encode("ascii")
        try:
            _append(self._ready(len(line)), line)
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with suppress(OSError):
                os.close(descriptor)

    def _open(self) -> int:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # O_NONBLOCK: a named pipe that nobody reads is an error once it is full, not a wait without an end.
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        descriptor = os.open(self._path, flags, 0o640)
        try:
            _end_last_line(descriptor)
        except OSError:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        return descriptor

    def _ready(self, octets: int) -> int:
        """Return the descriptor of the file at the path, rotated if *octets* more are too many."""
        descriptor = self._descriptor
        if descriptor is None or not self._is_at_path(descriptor):
            self.close()  # After a failure, a removal, or a rotation by another program.
            descriptor = self._open()
        if self._is_full(descriptor, octets):
            self.close()
            self._rotate()
            descriptor = self._open()
        return descriptor

    def _is_at_path(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), self._path.stat())
        except FileNotFoundError:
            return False

    def _is_full(self, descriptor: int, octets: int) -> bool:
        found = os.fstat(descriptor)
        # A device or a pipe has no size, and its name is not ours to move.
        return stat.S_ISREG(found.st_mode) and found.st_size > 0 and found.st_size + octets > self._max_size

    def _rotate(self) -> None:
        older = [self._path, *(self._numbered(number) for number in range(1, self._keep + 1))]
        for source, target in reversed(list(pairwise(older))):
            with suppress(FileNotFoundError):
                source.replace(target)
        if self._keep == 0:
            self._path.unlink(missing_ok=True)

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


def _append(descriptor: int, line: bytes) -> None:
    """Write the whole of *line*, or, as far as the file allows, nothing."""
    start = os.fstat(descriptor).st_size
    left = memoryview(line)
    try:
        while left:
            left = left[os.write(descriptor, left) :]
    except OSError:
        if len(left) < len(line):
            with suppress(OSError):
                os.ftruncate(descriptor, start)
        raise


def _end_last_line(descriptor: int) -> None:
    """End a line that a crash has left unfinished, so that the next one stands alone."""
    found = os.fstat(descriptor)
    if stat.S_ISREG(found.st_mode) and found.st_size and os.pread(descriptor, 1, found.st_size - 1) != b"\n":
        _append(descriptor, b"\n")
