"""The SQLite file: making it, opening it, and the settings that a connection starts with.

This is the only place that knows the database's kind; everything above speaks SQLAlchemy Core.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from sqlalchemy import Engine, create_engine, event, func, insert, inspect, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import NullPool, QueuePool

from smtpd_anontls.journal.errors import JournalError, MissingJournalError
from smtpd_anontls.journal.schema import METADATA, SCHEMA_VERSION, state

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

BUSY_TIMEOUT = 5.0  # Seconds; longer than any transaction of ours.

# A text that decides by bytes, as in other databases; both sides of a comparison that
# ignores case are folded beforehand.
_EVERY_CONNECTION = ("PRAGMA case_sensitive_like = ON",)
_WRITING = (
    # FULL: COMMIT returns when the write-ahead log is on the disk; that is what a 250 stands for.
    "PRAGMA synchronous = FULL",
    # What a burst has made of the write-ahead log is given back.
    "PRAGMA journal_size_limit = 67108864",
)


class SqliteFile:
    """One SQLite database, by its ``sqlite:///path`` URL; opened by :meth:`create`, :meth:`open` or :meth:`reading`."""

    def __init__(self, url: str, *, busy_timeout: float = BUSY_TIMEOUT) -> None:
        self.path = _path_of(url)
        self._busy_timeout = busy_timeout
        self._reader = self._engine("ro", "BEGIN", ())
        self._writer: Engine | None = None
        self._identity: tuple[int, int] | None = None  # Device and inode of the file that is open.

    def create(self, *, last_message_id: int = 0) -> None:
        """Open the database for writing; make folder, file and tables where they are missing.

        In new tables the ids of messages go on behind *last_message_id*.
        """
        try:
            _make_private_file(self.path)
        except OSError as error:
            raise JournalError(f"{self.path}: cannot be written: {error.strerror}") from error
        engine = self._engine("rw", "BEGIN IMMEDIATE", _WRITING)
        try:
            with self._explained():
                self._prepare(engine, last_message_id)
                self._identity = self._found()
        except BaseException:
            engine.dispose()
            raise
        self._writer = engine

    def open(self) -> None:
        """Open the database for writing; JournalError where there is none: nothing is made."""
        with self.reading():
            pass
        self._writer = self._engine("rw", "BEGIN IMMEDIATE", _WRITING)
        self._identity = self._found()

    def close(self) -> None:
        """Close the connection for writing."""
        if self._writer is not None:
            self._writer.dispose()
        self._writer = None
        self._identity = None

    def is_lost(self) -> bool:
        """Whether no file is open, or no longer the one at its path: what is written into it would be lost."""
        return self._identity is None or self._found() != self._identity

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Return a transaction that is durable once the block has ended."""
        if self._writer is None:
            raise RuntimeError("the journal is not open")
        with self._writer.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Return one view of everything committed; never create or change the file."""
        try:
            self.path.stat()
        except (FileNotFoundError, NotADirectoryError):
            raise self._missing() from None
        except OSError as error:
            raise JournalError(f"{self.path}: cannot be read: {error.strerror}") from error
        with self._explained(), self._reader.begin() as connection:
            if not inspect(connection).has_table(state.name):
                raise self._missing()
            self._check_version(connection)
            yield connection

    def explain(self, error: DBAPIError | sqlite3.Error) -> JournalError:
        """Return *error* as one line."""
        said = " ".join(str(error.orig if isinstance(error, DBAPIError) else error).split())
        hint = _HINTS.get(said, "")
        return JournalError(f"{self.path}: {said}{hint}")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (DBAPIError, sqlite3.Error) as error:
            raise self.explain(error) from error

    def _missing(self) -> JournalError:
        return MissingJournalError(f"{self.path}: there is no journal yet; `smtpd-anontls serve` makes it")

    def _found(self) -> tuple[int, int] | None:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _engine(self, mode: str, begin: str, pragmas: tuple[str, ...]) -> Engine:
        where = f"file:{quote(str(self.path.absolute()))}?mode={mode}"

        def connect() -> sqlite3.Connection:
            connection = sqlite3.connect(
                where,
                uri=True,
                timeout=self._busy_timeout,
                isolation_level=None,  # Transactions begin where _begin says so.
                check_same_thread=False,  # The pool hands a connection to one thread at a time.
            )
            try:
                for pragma in (*_EVERY_CONNECTION, *pragmas):
                    connection.execute(pragma)
            except BaseException:
                connection.close()
                raise
            return connection

        # Reading opens the file each time: that costs little, and a file that was replaced is noticed.
        if mode == "ro":
            engine = create_engine("sqlite://", creator=connect, poolclass=NullPool)
        else:
            engine = create_engine("sqlite://", creator=connect, poolclass=QueuePool, pool_size=1)

        @event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            connection.exec_driver_sql(begin)

        return engine

    def _prepare(self, engine: Engine, last_message_id: int) -> None:
        with engine.begin() as connection:
            tables = inspect(connection).get_table_names()
        if tables and state.name not in tables:
            raise JournalError(f"{self.path}: is the database of another program; choose another path")
        with closing(engine.raw_connection()) as pooled:
            mode = pooled.cursor().execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != ("wal",):
            raise JournalError(f"{self.path}: its file system knows no shared memory; choose a local disk")
        with engine.begin() as connection:
            if not inspect(connection).has_table(state.name):
                METADATA.create_all(connection)
                connection.execute(insert(state), {**_FIRST_STATE, "last_message_id": last_message_id})
            self._check_version(connection)

    def _check_version(self, connection: Connection) -> None:
        version = connection.execute(select(func.max(state.c.schema_version))).scalar_one()
        if version != SCHEMA_VERSION:
            raise JournalError(
                f"{self.path}: was written by another version of smtpd-anontls (schema {version}, "
                f"this one knows {SCHEMA_VERSION}); use that version, or move the file away"
            )


_FIRST_STATE = {
    "id": 1,
    "schema_version": SCHEMA_VERSION,
    "last_session_change": 0,
    "message_count": 0,
    "message_octets": 0,
}

# What SQLite says, and what would do.
_HINTS = {
    "database is locked": "; another program holds its lock",
    "database or disk is full": "; free some space",
    "file is not a database": "; choose another path, or move the file away",
    "unable to open database file": "; its folder must be writable for whoever runs this",
    "attempt to write a readonly database": "; file and folder must be writable for whoever runs this",
}


def _path_of(url: str) -> Path:
    scheme, _, path = url.partition(":///")
    if scheme == "sqlite" and path not in ("", ":memory:"):
        return Path(path)
    try:
        shown = make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        raise JournalError(f"{url!r} is not a database URL; write sqlite:///path") from None
    if not shown.startswith("sqlite:"):
        raise JournalError(f"{shown}: the journal is kept in SQLite; write sqlite:///path")
    raise JournalError(f"{shown}: names no file; write sqlite:///path, or null to keep nothing")


def _make_private_file(path: Path) -> None:
    """Make *path* and the folders above it for their owner alone, where they are missing: mail is private."""
    missing = [folder for folder in path.absolute().parents if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)
        _sync_folder(folder.parent)
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return
    _sync_folder(path.absolute().parent)


def _sync_folder(folder: Path) -> None:
    """Make the names in *folder* as durable as the mail behind them."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
