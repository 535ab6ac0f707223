"""Who waits for what comes: each is woken by the receiver, and then reads the journal at its own pace.

Nothing is queued for a reader, so a slow one costs no memory; its connection is closed when it
takes nothing for a while.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from smtpd_anontls.domain.records import Acknowledged, EventRecord, SessionRecord
from smtpd_anontls.web.patience import Patience

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smtpd_anontls.journal.position import Position

Record = SessionRecord | Acknowledged | EventRecord
Kind = type[SessionRecord] | type[EventRecord]

MOST_READERS = 100


class TooManyReadersError(Exception):
    """No more readers at once."""


class Feed:
    """Wakes readers when something has been recorded."""

    def __init__(self, heartbeat: float = Patience().heartbeat) -> None:
        self.heartbeat = heartbeat  # Seconds between two signs of life.
        self._readers: dict[asyncio.Event, Kind | None] = {}
        self._closed = asyncio.Event()

    def is_closed(self) -> bool:
        """Whether nobody is to go on."""
        return self._closed.is_set()

    @property
    def is_full(self) -> bool:
        """Whether there are as many readers as there can be."""
        return len(self._readers) >= MOST_READERS

    def notice(self, record: Record) -> None:
        """Wake who waits for such a record."""
        for came, kind in self._readers.items():
            if kind is not None and isinstance(record, kind):
                came.set()

    def committed(self, before: Position, now: Position) -> None:
        """Wake who waits for what another process has committed."""
        came: set[Kind] = set()
        if now.session != before.session:
            came.add(SessionRecord)
        if now.event != before.event:
            came.add(EventRecord)
        for each, kind in self._readers.items():
            if kind in came:
                each.set()

    def close(self) -> None:
        """Wake everybody, for the last time."""
        self._closed.set()
        for came in self._readers:
            came.set()

    @contextlib.contextmanager
    def reader(self, kind: Kind | None) -> Iterator[asyncio.Event]:
        """Give what is set when a record of *kind* came or the feed was closed; TooManyReadersError."""
        if self.is_full:
            raise TooManyReadersError
        came = asyncio.Event()
        if self.is_closed():
            came.set()
        self._readers[came] = kind
        try:
            yield came
        finally:
            del self._readers[came]
