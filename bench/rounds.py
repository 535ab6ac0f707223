"""Rounds within a time: a machine that is busy with something else gets fewer of them, not a longer run."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Rounds:
    """Up to *most* rounds: the first whatever it takes, each other if it would end in time as the ones before it did."""

    most: int
    until: float  # Of the monotonic clock, in seconds.

    def __iter__(self) -> Iterator[int]:
        """Yield the number of each round, from one on."""
        began = time.monotonic()
        for turn in range(1, self.most + 1):
            yield turn
            now = time.monotonic()
            if now + (now - began) / turn > self.until:
                return
