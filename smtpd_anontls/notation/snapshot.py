"""Small files that anybody may rewrite or replace at any moment, read so that no change goes unseen.

A *stamp* says for the price of one ``stat`` whether a file is still as it was read.  Two writes
within one tick of the file system's clock can leave the same stamp, so what was read that soon
after a change is not *settled*: whoever keeps it reads it again at the next question.
"""

from __future__ import annotations

import os
import stat
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

# Linux stamps files by its coarse clock, whose tick is 10 ms at most; the rest is for slow disks.
_TICK_NS = 100_000_000


class UnreadableFileError(Exception):
    """A file is there and cannot be read; its text is a clause: ``cannot be read (permission denied)``."""


class Stamp(NamedTuple):
    """What ``stat`` says of a file's state: another state has another stamp, a tick apart."""

    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int  # Beside the other: a restored modification time (cp -p, touch -d) hides nothing.

    @classmethod
    def of(cls, status: os.stat_result) -> Stamp:
        """Return the stamp of a ``stat`` result."""
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)

    def is_settled(self, now_ns: int) -> bool:
        """Whether any change after *now_ns* is sure to leave another stamp."""
        return abs(now_ns - self.changed_ns) > _TICK_NS


def stamp_of(path: Path) -> Stamp | None:
    """Return the stamp of a file as it is now; None where it cannot be looked at."""
    try:
        # Not path.stat: each connection looks at several files, and os.stat has one call less.
        return Stamp.of(os.stat(path))  # noqa: PTH116
    except OSError:
        return None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A file's octets, and the stamp that it had before they were read."""

    stamp: Stamp
    settled: bool  # False: another write may have left the same stamp.
    content: bytes = field(repr=False)  # May be a private key.


def take(path: Path, limit: int) -> Snapshot:
    """Read a regular file of *limit* octets at most; FileNotFoundError, else UnreadableFileError says why not."""
    now = time.time_ns()
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise UnreadableFileError("is not a regular file")
            # No more than it holds: Python sets aside as much as is asked for.  What is added
            # meanwhile leaves the stamp unsettled, and is read the next time.
            content = file.read(min(limit, status.st_size) + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UnreadableFileError(f"cannot be read ({reason_of(error)})") from error
    if len(content) > limit:
        raise UnreadableFileError(f"is larger than {limit // 1024} KiB")
    stamp = Stamp.of(status)
    return Snapshot(stamp, stamp.is_settled(now), content)


def _open_at_once(path: str, flags: int) -> int:
    # Without O_NONBLOCK a FIFO of that name would hold up the reader for ever.
    return os.open(path, flags | os.O_NONBLOCK)


def reason_of(error: OSError) -> str:
    """Return the operating system's own words for *error*, in lower case and without a path."""
    return (error.strerror or type(error).__name__).lower()
