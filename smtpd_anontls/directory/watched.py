"""A small file that is understood once and asked for often."""

from __future__ import annotations

import time
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Generic, TypeVar

from smtpd_anontls.notation.snapshot import Stamp, UnreadableFileError, stamp_of, take

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Kept(Generic[T]):
    stamp: Stamp | None  # Under which it was read.
    settled: bool
    source: bytes | str  # The digest of the octets, or why there are none.
    value: T


class WatchedFile(Generic[T]):
    """What a file says now; read again only when its stamp changed, understood only when its octets did.

    *understand* makes the value of the octets, *unavailable* of a clause that says why there are
    none.  Threads may ask at once: each keeps a whole answer with the stamp that goes with it.
    """

    def __init__(
        self,
        path: Path,
        limit: int,
        *,
        understand: Callable[[bytes], T],
        unavailable: Callable[[str], T],
    ) -> None:
        self._path = path
        self._limit = limit
        self._understand = understand
        self._unavailable = unavailable
        self._kept: _Kept[T] | None = None

    def current(self) -> T | None:
        """Return what the file says where that needs no reading, else None; costs one stat."""
        kept = self._kept
        if kept is None or not kept.settled or kept.stamp != stamp_of(self._path):
            return None
        return kept.value

    def now(self) -> T:
        """Return what the file says; the same object as long as its octets are the same."""
        kept, stamp = self._kept, stamp_of(self._path)
        if kept is not None and kept.settled and kept.stamp == stamp:
            return kept.value
        # A file that cannot even be looked at is asked for each time.
        settled = stamp is not None and stamp.is_settled(time.time_ns())
        content = b""
        source: bytes | str
        try:
            snapshot = take(self._path, self._limit)
            stamp, settled, content = snapshot.stamp, snapshot.settled, snapshot.content
            source = sha256(content).digest()
        except FileNotFoundError:
            settled, source = False, "does not exist"
        except UnreadableFileError as error:
            source = str(error)
        if kept is not None and kept.source == source:
            value = kept.value
        else:
            value = self._unavailable(source) if isinstance(source, str) else self._understand(content)
        self._kept = _Kept(stamp, settled, source, value)
        return value
