"""The folder of RECVyyyymmddhh-n.LOG files: a new one each hour and each so many bytes, the oldest removed.

The hour is UTC, and n counts from 1 within it.  A file that is there already is never written to: another
process may have it open.  Nothing in the folder is touched but files of such names.
"""

from __future__ import annotations

import os
import re
import stat
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from smtpd_anontls.protocol_log.rows import END, header

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Iterator
    from pathlib import Path

    from smtpd_anontls.protocol_log.rows import Row

_NAME = re.compile(r"RECV(\d{10})-([1-9]\d{0,8})\.LOG")
_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True, order=True)
class _LogFile:
    hour: datetime
    number: int
    size: int
    path: Path


class LogFolder:
    """Writes rows into files of *path*, by one thread.

    Limits as those of Set-TransportService, None: none.  A file is too old where its whole hour is
    more than *max_age* ago.  They are looked after whenever a file begins.
    """

    def __init__(
        self,
        path: Path,
        *,
        max_age: timedelta | None,
        max_directory_size: int | None,
        max_file_size: int,
    ) -> None:
        self.path = path
        self._max_age = max_age
        self._max_directory_size = max_directory_size
        self._max_file_size = max_file_size
        self._descriptor: int | None = None
        self._file = path  # What the descriptor is of.
        self._hour = datetime.min.replace(tzinfo=UTC)
        self._begin = self._size = 0  # Bytes: of its header, and of all.
        self._others = 0  # Bytes of the other files, as they were last counted.

    def prepare(self, now: datetime) -> None:
        """Make the folder, see whether files can be made in it, and remove what is too old."""
        self.path.mkdir(parents=True, exist_ok=True)
        # It has no name, or none for long.
        tempfile.TemporaryFile(dir=self.path).close()
        self._sweep(now)

    def write(self, rows: deque[Row]) -> None:
        """Write *rows*, taking out each that is written; OSError: those that are left are not, nor any part."""
        while rows:
            first = rows[0].octets
            lines: list[bytes] = []
            descriptor, size = self._ready(rows[0], len(first)), 0
            for each in rows:
                octets = each.octets if lines else first
                if lines and self._begins_a_file(each, len(octets), self._size + size):
                    break
                lines.append(octets)
                size += len(octets)
            chunk = b"".join(lines)
            whole, error = _append(descriptor, chunk)
            for _ in range(chunk.count(END, 0, whole)):
                rows.popleft()
            self._size += whole
            if error is not None:
                self._give_up_where_cut_off()
                raise error
            if self._max_directory_size is not None and self._others + self._size > self._max_directory_size:
                self._sweep(self._hour)

    def close(self) -> None:
        """Close the file."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with suppress(OSError):
                os.close(descriptor)

    def _ready(self, first: Row, octets: int) -> int:
        """Return the descriptor of the file for *first*, of so many octets."""
        descriptor = self._descriptor
        if (
            descriptor is None
            or self._begins_a_file(first, octets, self._size)
            # Removed, or moved by another program.
            or not self._is_at_path(descriptor)
        ):
            descriptor = self._begin_file(first.time)
        return descriptor

    def _begins_a_file(self, row: Row, octets: int, size: int) -> bool:
        """Whether *row* is too late, or too much, for a file of that size."""
        is_full = size > self._begin and size + octets > self._max_file_size
        # A clock that was put back does not lead back to an older file.
        return is_full or row.time >= self._hour + _HOUR

    def _is_at_path(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), self._file.stat())
        except OSError:
            return False

    def _begin_file(self, now: datetime) -> int:
        self.close()
        self.path.mkdir(parents=True, exist_ok=True)
        hour = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        number = 1 + max((each.number for each in self._files() if each.hour == hour), default=0)
        while True:
            file = self.path / f"RECV{hour:%Y%m%d%H}-{number}.LOG"
            try:
                descriptor = os.open(
                    file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640
                )
            except FileExistsError:
                number += 1  # Another process was faster.
            else:
                break
        begin = header(now)
        whole, error = _append(descriptor, begin)
        if error is not None:
            os.close(descriptor)
            with suppress(OSError):
                file.unlink()
            raise error
        self._descriptor, self._file, self._hour = descriptor, file, hour
        self._begin = self._size = whole
        self._sweep(now)
        return descriptor

    def _give_up_where_cut_off(self) -> None:
        """Begin another file next where the end of this one is not the end of a row."""
        descriptor = self._descriptor
        with suppress(OSError):
            if descriptor is not None and os.fstat(descriptor).st_size == self._size:
                return
        self.close()

    def _files(self) -> Iterator[_LogFile]:
        for path in self.path.iterdir():
            if (name := _NAME.fullmatch(path.name)) is None:
                continue
            # ValueError: no such hour, so it is not ours.
            with suppress(ValueError, FileNotFoundError):
                hour = datetime.strptime(name[1], "%Y%m%d%H").replace(tzinfo=UTC)
                found = path.lstat()
                if stat.S_ISREG(found.st_mode):
                    yield _LogFile(hour, int(name[2]), found.st_size, path)

    def _sweep(self, now: datetime) -> None:
        """Remove the files that are too old, then the oldest while all are too large; never the one in use."""
        own = self._file if self._descriptor is not None else None
        files = sorted(each for each in self._files() if each.path != own)
        size = sum(each.size for each in files)
        for each in files:
            is_old = self._max_age is not None and now - each.hour - _HOUR > self._max_age
            in_excess = self._max_directory_size is not None and self._size + size > self._max_directory_size
            if is_old or in_excess:
                # What cannot be removed is tried again with the next file; rows are written meanwhile.
                with suppress(OSError):
                    each.path.unlink(missing_ok=True)
                    size -= each.size
        self._others = size


def _append(descriptor: int, octets: bytes) -> tuple[int, OSError | None]:
    """Write *octets* at the end; return how many are there of whole rows, and why not all."""
    written = 0
    try:
        while written < len(octets):
            written += os.write(descriptor, memoryview(octets)[written:])
    except OSError as error:
        whole = octets.rfind(END, 0, written) + len(END) if END in octets[:written] else 0
        with suppress(OSError):
            os.ftruncate(descriptor, os.fstat(descriptor).st_size - (written - whole))
        return whole, error
    return written, None
