"""Removing messages on request, from any process while a receiver writes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError

from smtpd_anontls.journal import queries
from smtpd_anontls.journal.database import PATIENCE, database_at
from smtpd_anontls.journal.sweep import forget_messages, within_batch

if TYPE_CHECKING:
    from datetime import datetime

    from smtpd_anontls.domain.filters import Filter
    from smtpd_anontls.journal.database import Database

# Messages that are looked for at a time, without a lock.
_LOOKED_FOR = 1000
# A delivery waits for one transaction of a purge, so that takes so many seconds, as far as that can be foreseen,
# and is followed by a pause as long, in which whoever waits gets its turn.
_TURN = 0.02
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
    pace = Pace()
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
            batch = list(within_batch(found[: pace.messages]))
            found = found[len(batch) :]
            with database.writing() as connection:
                locked = time.monotonic()
                doomed = queries.still_there(connection, batch)
                forget_messages(connection, doomed)
            pause = pace.after(len(batch), time.monotonic() - locked)
            database.settle()
            removed += len(doomed)
            time.sleep(pause)


class Pace:
    """How many messages one transaction removes, by what those before have taken."""

    def __init__(self) -> None:
        self.messages = _FEWEST

    def after(self, messages: int, seconds: float) -> float:
        """Note what a transaction has taken; return the seconds that the next one waits."""
        fitting = int(messages * _TURN / max(seconds, 1e-6))
        # One that was slow by chance is no reason to creep from then on, nor a fast one to leap.
        self.messages = min(max(fitting, self.messages // 2, _FEWEST), self.messages * 2, _MOST)
        return max(_SHORTEST_PAUSE, seconds)
