"""What comes, as it comes: a journal that other processes write, looked at when they have committed something."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from smtpd_anontls.journal.errors import MissingJournalError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from smtpd_anontls.domain.filters import Filter
    from smtpd_anontls.domain.records import Json
    from smtpd_anontls.journal.database import Watch
    from smtpd_anontls.journal.position import Position
    from smtpd_anontls.journal.reader import JournalReader

# Seconds between two looks, also where nothing has been noticed.
_LOOK_EVERY = 1.0


def finished_sessions(journal: JournalReader, wanted: Filter) -> Iterator[Json]:
    """Yield, without end, the sessions that *wanted* takes as they end; those of before only where it says since."""
    return _follow(
        journal,
        lambda position: position.session,
        lambda after: journal.finished_sessions(wanted, after=after),
        from_now=wanted.since is None,
    )


def events(journal: JournalReader, wanted: Filter) -> Iterator[Json]:
    """Yield, without end, the events that *wanted* takes as they come; those of before only where it says since."""
    return _follow(
        journal,
        lambda position: position.event,
        lambda after: journal.next_events(wanted, after=after),
        from_now=wanted.since is None,
    )


def wait_for_messages(
    journal: JournalReader, wanted: Filter, *, count: int, limit: int, timeout: float
) -> list[Json]:
    """Return up to *limit* messages that *wanted* takes once there are *count*, or after *timeout* seconds.

    They may be there already; the newest comes first.
    """
    end = time.monotonic() + timeout
    found: list[Json] = []
    missing: MissingJournalError | None = None
    seen = 0
    with _watching(journal) as watch:
        while True:
            try:
                # Nothing but a new message makes more of them, and to see that there is one costs little.
                newest = journal.position().message
                if newest != seen:
                    seen, found = newest, journal.messages(wanted, limit=max(count, limit))
                missing = None
            except MissingJournalError as error:
                missing = error
            left = end - time.monotonic()
            if len(found) >= count or left <= 0:
                break
            watch.wait(min(_LOOK_EVERY, left))
    if missing is not None:
        raise missing
    return found


def _follow(
    journal: JournalReader,
    number_of: Callable[[Position], int],
    read: Callable[[int], list[tuple[int, Json]]],
    *,
    from_now: bool,
) -> Iterator[Json]:
    # Now, not when the first one is asked for.
    start = _number(journal, number_of) if from_now else 0
    return _from(start, journal, number_of, read)


def _from(
    start: int,
    journal: JournalReader,
    number_of: Callable[[Position], int],
    read: Callable[[int], list[tuple[int, Json]]],
) -> Iterator[Json]:
    seen = after = start
    with _watching(journal) as watch:
        while True:
            newest = _number(journal, number_of)
            if newest < seen:
                # The file was removed, and a receiver has made a new one.
                after = 0
            if newest != seen:
                while found := read(after):
                    for number, item in found:
                        yield item
                        after = number
                seen = newest
            watch.wait(_LOOK_EVERY)


def _number(journal: JournalReader, number_of: Callable[[Position], int]) -> int:
    try:
        return number_of(journal.position())
    except MissingJournalError:
        return 0


@contextmanager
def _watching(journal: JournalReader) -> Iterator[Watch]:
    watch = journal.watch()
    try:
        yield watch
    finally:
        watch.release()
