"""Many sessions, few searches: who may share an answer with whom.

A session joins the search for its server that is running, so what it gets is at most one search
older than itself.  A kept answer counts from the moment when its search began.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from smtpd_anontls.domain.directory_value import Unreadable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

MAX_ERROR_SECONDS = 1.0
# Who authenticates is asked about, and may be anybody; the answer that was kept first goes first.
MAX_KEPT = 10_000

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Kept(Generic[T]):
    answer: T
    until: float


class Searching(Generic[T]):
    """The answers of *ask*, each server asked for at most once at a time.

    With *keep_seconds* an answer is kept that long while *may_keep* allows it; an Unreadable at most
    a second.
    """

    def __init__(
        self,
        ask: Callable[[str], Awaitable[T]],
        *,
        keep_seconds: float,
        may_keep: Callable[[str], bool] = lambda _server: True,
    ) -> None:
        self._ask = ask
        self._keep_seconds = keep_seconds
        self._may_keep = may_keep
        self._running: dict[str, asyncio.Task[T]] = {}
        self._kept: dict[str, _Kept[T]] = {}
        self._changes: dict[str, int] = {}

    async def answer(self, server: str) -> T:
        """Return what the object of *server* names."""
        key = server.casefold()
        kept = self._kept.get(key)
        if kept is not None and time.monotonic() < kept.until and self._may_keep(server):
            return kept.answer
        running = self._running.get(key)
        if running is None or running.done() or running.get_loop() is not asyncio.get_running_loop():
            running = asyncio.get_running_loop().create_task(self._search(key, server))
            self._running[key] = running
        # A session that goes away takes nobody's search with it.
        return await asyncio.shield(running)

    def forget(self, server: str) -> None:
        """Drop what is kept of *server*, and what the search that is running will find; from any thread."""
        key = server.casefold()
        self._changes[key] = self._changes.get(key, 0) + 1
        self._kept.pop(key, None)

    async def _search(self, key: str, server: str) -> T:
        began = time.monotonic()
        changes, could_keep = self._changes.get(key), self._may_keep(server)
        try:
            answer = await self._ask(server)
        finally:
            # Whoever comes now did not come while this search was running.
            self._running.pop(key, None)
        error = isinstance(answer, Unreadable)
        seconds = min(self._keep_seconds, MAX_ERROR_SECONDS) if error else self._keep_seconds
        if seconds > 0 and could_keep and self._may_keep(server):
            self._kept[key] = _Kept(answer, began + seconds)
            if self._changes.get(key) != changes:
                self._kept.pop(key, None)
            if len(self._kept) > MAX_KEPT:
                self._kept.pop(next(iter(self._kept)), None)
        return answer
