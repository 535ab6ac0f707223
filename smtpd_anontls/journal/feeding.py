"""When the search index is fed: while nothing is delivered, or when much is not in it yet.

Taking a message in costs a part of what delivering it costs, so a burst of mail is delivered first.
What is not in the index yet is compared message by message (1,000 of them take 1 to 4 ms), which
bounds how many may be left out.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from smtpd_anontls.journal import search

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpd_anontls.journal.database import Database

IDLE = 1.0  # Seconds without a delivery.
LEFT_OUT = 10_000  # Messages.
LOOK_EVERY = 1000  # Messages of this receiver's own; others may deliver into the same journal.
_RETRY_EVERY = 60.0


class Feeding:
    """Feeds the index of *database* from the one thread that writes; *clock* counts seconds."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock
        self.due = clock() + IDLE  # When :meth:`feed` has something to do; a journal may come with a rest.
        self._newest = 0  # Message, and when it was first seen to be that.
        self._newest_since = self.due
        self._unlooked = 0  # Messages of this receiver's own.
        self._untidy = False
        self._merging = search.merging()

    def delivered(self, count: int) -> None:
        """Note that so many messages have been written: feeding waits, but for merging that has begun."""
        if count:
            self._unlooked += count
            at_once = self._untidy or self._unlooked >= LOOK_EVERY
            self.due = self._clock() + (0 if at_once else IDLE)

    def removed(self) -> None:
        """Note that messages have been removed: what that leaves in the index is merged."""
        self._untidy = True
        self.due = self._clock()

    def later(self) -> None:
        """Try again after a while: what :meth:`feed` was to do has failed."""
        self.due = self._clock() + _RETRY_EVERY

    def feed(self) -> None:
        """Merge a little of what was taken in or removed, or take in one batch.

        None is taken in while a receiver delivers, unless the index is too far behind.
        """
        if self._untidy:
            with self._database.writing() as connection:
                self._untidy = search.tidy(connection, self._merging)
            return
        self._unlooked = 0
        with self._database.reading() as connection:
            left = search.left_out(connection)
        now = self._clock()
        if left.newest != self._newest:
            self._newest, self._newest_since = left.newest, now
        idle_from = self._newest_since + IDLE
        if left.messages > LEFT_OUT or (left.messages and now >= idle_from):
            with self._database.writing() as connection:
                search.extend(connection)
            self._untidy = True
            self.due = now
        else:
            self.due = idle_from if left.messages else math.inf
