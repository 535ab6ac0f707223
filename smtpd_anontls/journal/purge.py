"""Removing messages on request, from any process while a receiver writes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError

from smtpd_anontls.journal import queries
from smtpd_anontls.journal.database import PATIENCE, database_at
from smtpd_anontls.journal.sweep import BATCH_ROWS, forget_messages, within_batch

if TYPE_CHECKING:
    from datetime import datetime

    from smtpd_anontls.domain.filters import Filter
    from smtpd_anontls.journal.database import Database

# Seconds between two transactions, at the least; a receiver that waits for its turn gets it.
_SHORTEST_PAUSE = 0.01


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
    with database.reading() as connection:
        upto = queries.position(connection).message
    while True:
        # Looked for without the lock that a delivery needs, removed with it: retention may be faster.
        with database.reading() as connection:
            found = queries.sizes_of_messages(
                connection, wanted, after=after, upto=upto, until=until, limit=BATCH_ROWS
            )
        batch = list(within_batch(found))
        if not batch:
            return removed
        began = time.monotonic()
        with database.writing() as connection:
            doomed = queries.still_there(connection, batch)
            forget_messages(connection, doomed)
        removed += len(doomed)
        after = batch[-1]
        time.sleep(max(_SHORTEST_PAUSE, time.monotonic() - began))
