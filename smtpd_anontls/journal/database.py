"""What the journal asks of its database; each engine answers in a module of its own.

Everything above speaks SQLAlchemy Core and knows no kind of database.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from smtpd_anontls.domain.database_url import SCHEME
from smtpd_anontls.journal.postgresql import PostgresDatabase
from smtpd_anontls.journal.sqlite import SqliteFile

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from sqlalchemy import Connection
    from sqlalchemy.exc import DBAPIError

    from smtpd_anontls.journal.errors import JournalError

# Seconds that a lock or a server that does not answer is waited for; longer than any transaction of ours.
PATIENCE = 5.0


class Watch(Protocol):
    """Notices what other connections commit; one thread waits, any may close."""

    def wait(self, timeout: float) -> None:
        """Return when something may have been committed, at the latest after *timeout* seconds.

        What was committed since the wait before counts; it never raises.
        """
        ...

    def close(self) -> None:
        """End the wait there is, and all to come, at once."""
        ...

    def release(self) -> None:
        """Give back what it holds; nobody waits any more."""
        ...


class Database(Protocol):
    """A database by its URL; opened by :meth:`create`, :meth:`open` or :meth:`reading`."""

    @property
    def name(self) -> str:
        """How a person knows it; without a password."""
        ...

    @property
    def is_open(self) -> bool:
        """Whether it is open for writing."""
        ...

    def create(self, *, last_message_id: int = 0) -> None:
        """Open for writing, and make the tables where they are missing; JournalError.

        The ids of messages go on behind *last_message_id*.
        """
        ...

    def open(self) -> None:
        """Open for removing; JournalError where there is no journal: nothing is made.

        What :meth:`writing` has committed since :meth:`settle` may be undone by a loss of power.
        """
        ...

    def settle(self) -> None:
        """Bring what was committed to the disk; nobody else waits for that."""
        ...

    def close(self) -> None:
        """Close what is open."""
        ...

    def loss(self) -> str | None:
        """Return what has happened to the open database, so that what is written into it would be lost."""
        ...

    def empty_log(self) -> None:
        """Complete a database that :meth:`loss` is told of; JournalError where mail would be lost."""
        ...

    def writing(self) -> AbstractContextManager[Connection]:
        """Return a transaction that is durable once the block has ended; watches elsewhere notice it."""
        ...

    def may_sweep(self, connection: Connection) -> bool:
        """Whether retention is this one's to keep: of several receivers it is one's."""
        ...

    def reading(self) -> AbstractContextManager[Connection]:
        """Return one view of everything committed; JournalError.  Nothing is made or changed."""
        ...

    def explain(self, error: DBAPIError) -> JournalError:
        """Return *error* as one line."""
        ...

    def is_of_the_world(self, error: DBAPIError) -> bool:
        """Whether another record would have failed too."""
        ...

    def watch(self) -> Watch:
        """Return a watch of what others commit; what goes through :meth:`writing` here may be left out."""
        ...


def database_at(
    url: str, *, patience: float = PATIENCE, on_warning: Callable[[str], None] = lambda _text: None
) -> Database:
    """Return the database at *url*, which nobody has opened; JournalError where no engine knows it.

    *on_warning* hears of an older journal that has been migrated.
    """
    if url.startswith(SCHEME):
        return PostgresDatabase(url, patience=patience, on_warning=on_warning)
    return SqliteFile(url, busy_timeout=patience, on_warning=on_warning)
