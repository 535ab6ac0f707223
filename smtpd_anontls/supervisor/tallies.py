"""How often faults have fired, counted by all workers in memory that they share.

Each list of faults has a file in memory of its own, with two numbers for each fault.  Who counts holds the
lock of those octets, so a fault with ``count: 2`` fires twice, whichever workers its sessions are with; the
kernel takes the lock from a process that ends.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_COUNTS = struct.Struct("=QQ")  # Met, fired.


def handed_name(version: int) -> str:
    """Return what the counts of a list of faults are handed over as."""
    return f"faults {version}"


class SharedTallies:
    """The counts of one list of faults."""

    def __init__(self, descriptor: int, number: int) -> None:
        """Take the descriptor of a file in memory with the counts of so many faults."""
        self.descriptor = descriptor
        self._octets = mmap.mmap(descriptor, number * _COUNTS.size)
        self._number = number

    @classmethod
    def new(cls, number: int) -> Self | None:
        """Return counts of so many faults, all of them 0; None for none."""
        if not number:
            return None
        descriptor = os.memfd_create("smtpd-anontls-faults")
        os.ftruncate(descriptor, number * _COUNTS.size)
        return cls(descriptor, number)

    @property
    def tallies(self) -> Sequence[SharedTally]:
        """Those of each fault, in their order."""
        return [SharedTally(self, position) for position in range(self._number)]

    @contextmanager
    def locked(self, position: int) -> Iterator[None]:
        """Let nobody else count the fault at *position* until the block ends."""
        place = (_COUNTS.size, position * _COUNTS.size)
        fcntl.lockf(self.descriptor, fcntl.LOCK_EX, *place)
        try:
            yield
        finally:
            fcntl.lockf(self.descriptor, fcntl.LOCK_UN, *place)

    def read(self, position: int) -> tuple[int, int]:
        """Return how often the fault at *position* was met and has fired."""
        met, fired = _COUNTS.unpack_from(self._octets, position * _COUNTS.size)
        return met, fired

    def write(self, position: int, met: int, fired: int) -> None:
        """Set both numbers; the caller holds the lock."""
        _COUNTS.pack_into(self._octets, position * _COUNTS.size, met, fired)

    def __del__(self) -> None:
        """Give the memory back when no session knows the faults any more."""
        self._octets.close()
        os.close(self.descriptor)


class SharedTally:
    """The counts of one fault; see domain.faults.Tally."""

    def __init__(self, shared: SharedTallies, position: int) -> None:
        self._shared = shared
        self._position = position

    @property
    def met(self) -> int:
        """How often its conditions were met."""
        return self._shared.read(self._position)[0]

    @property
    def fired(self) -> int:
        """How often it fired."""
        return self._shared.read(self._position)[1]

    def count(self, fires: Callable[[int, int], bool]) -> bool:
        """Count that its conditions are met; return whether it fires, which is counted too."""
        with self._shared.locked(self._position):
            met, fired = self._shared.read(self._position)
            met += 1
            result = fires(met, fired)
            self._shared.write(self._position, met, fired + result)
        return result
