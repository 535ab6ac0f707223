"""How much one transaction takes on, by what those before have taken."""

from __future__ import annotations

TURN = 0.02  # Seconds that a delivery may wait for a transaction, as far as that can be foreseen.


class Pace:
    """Between *least* and *most* of something, so that it takes :data:`TURN`."""

    def __init__(self, least: int, most: int) -> None:
        self._least = least
        self._most = most
        self.size = least

    def took(self, size: int, seconds: float) -> None:
        """Note that *size* of it has taken so long.  The pace falls at once, and rises by steps."""
        fitting = int(size * TURN / max(seconds, 1e-6))
        self.size = min(max(fitting, self._least), self.size * 2, self._most)
