"""How far a journal has come."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Position:
    """How far a journal has come; each number grows with what is added to it."""

    message: int = 0  # The id of the last one ever taken.
    session: int = 0  # The last change of a session.
    event: int = 0  # The id of the newest one kept.
    override: int = 0  # The version of the newest one.
