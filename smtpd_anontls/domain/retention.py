"""How much of the past is kept."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """The limits of the journal; each is kept on its own, and None keeps everything."""

    messages: int | None = None  # How many, the newest.
    sessions: int | None = None  # How many, the newest.
    age: float | None = None  # Seconds; of messages, sessions and events.
    size: int | None = None  # Bytes, as received, of all messages together.

    def __post_init__(self) -> None:
        for limit in fields(self):
            value = getattr(self, limit.name)
            if value is not None and value < 0:
                raise ValueError(f"retention.{limit.name}: {value} is below zero; null keeps everything")
