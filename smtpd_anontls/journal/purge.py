"""Removing messages on request, from any process while a receiver writes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError

from smtpd_anontls.journal import queries, search
from smtpd_anontls.journal.database import PATIENCE, database_at
from smtpd_anontls.journal.pace import Pace
from smtpd_anontls.journal.sweep import forget_messages, within_batch

if TYPE_CHECKING:
    from datetime import datetime

    from smtpd_anontls.domain.filters import Filter
    from smtpd_anontls.journal.database import Database

# Messages that are looked for at a time, without a lock.
_LOOKED_FOR = 1000
# Each transaction is followed by a pause as long, in which whoever waits gets its turn.
_SHORTEST_PAUSE = 0.01
_FEWEST, _MOST = 50, 500  # Messages of a transaction.


def purge(url: str, wanted: Filter, *, until: datetime | None = None, patience: float = PATIENCE) -> int:
    """Remove the messages that *wanted* takes, only those taken before *until* where it is given.

    Return how many; what comes meanwhile stays.  JournalError says why it did not get on, and what
    was removed until then is gone.
    """
    database = database_at(url, patience=patience)
    database.open()
    try:
        return _purge(database, wanted, until)
    except DBAPIError as error:
        raise database.explain(error) from error
    finally:
        database.close()


def _purge(database: Database, wanted: Filter, until: datetime | None) -> int:
    removed = after = 0
    pace, merging = Pace(_FEWEST, _MOST), search.merging()
    with database.reading() as connection:
        upto = queries.position(connection).message
    while True:
        # Looked for without the lock that a delivery needs, removed with it: retention may be faster.
        with database.reading() as connection:
            found = queries.sizes_of_messages(
                connection, wanted, after=after, upto=upto, until=until, limit=_LOOKED_FOR
            )
        if not found:
            return removed
        after = found[-1][0]
        while found:
            batch = list(within_batch(found[: pace.size]))
            found = found[len(batch) :]
            with database.writing() as connection:
                locked = time.monotonic()
                doomed = queries.still_there(connection, batch)
                forget_messages(connection, doomed)
            took = time.monotonic() - locked
            pace.took(len(batch), took)
            removed += len(doomed)
            _pause(database, took)
            while _tidy(database, merging):
                pass


def _tidy(database: Database, merging: Pace) -> bool:
    """Take a turn, and a pause, for what removing leaves to do; return whether there may be more."""
    with database.writing() as connection:
        locked = time.monotonic()
        more = search.tidy(connection, merging)
    if more:
        _pause(database, time.monotonic() - locked)
    return more


def _pause(database: Database, seconds: float) -> None:
    """Let others have their turn, after one of so many *seconds*."""
    database.settle()
    time.sleep(max(_SHORTEST_PAUSE, seconds))
