"""How long the page waits for its clients, in seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """The times after which a client that does nothing is left."""

    head: float = 15.0  # For the head of a request, the first or a later one that has begun.
    body: float = 10.0  # For the body behind it.
    stall: float = 30.0  # For a reader of an answer to take some of it.
    keep_alive: int = 15  # For another request.
    heartbeat: float = 15.0  # Between two signs of life of a stream.
    stop: int = 5  # For answers to finish when the page closes.
