"""The SQLite file: making it, opening it, and the settings that a connection starts with."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from sqlalchemy import Engine, create_engine, event, inspect
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, DBAPIError, OperationalError
from sqlalchemy.pool import NullPool, QueuePool

from smtpd_anontls.journal import prepared
from smtpd_anontls.journal.errors import JournalError, MissingJournalError
from smtpd_anontls.journal.schema import state
from smtpd_anontls.journal.tables import check_version, make_tables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection

    Identity = tuple[int, int]  # Device and inode.

BUSY_TIMEOUT = 5.0  # Seconds; longer than any transaction of ours.
_LOOK_EVERY = 0.02  # Seconds.
# Who waits for the lock asks for it again after so long at the most.  SQLite itself comes to waiting 100 ms
# between two tries, and finds others at work each time that it wakes up.
_ASK_EVERY = 0.003

# A text that decides by bytes, as in other databases; both sides of a comparison that
# ignores case are folded beforehand.
_EVERY_CONNECTION = ("PRAGMA case_sensitive_like = ON",)
_WRITING = (
    # FULL: COMMIT returns when the write-ahead log is on the disk; that is what a 250 stands for.
    "PRAGMA synchronous = FULL",
    # A COMMIT that finds so many pages in the log copies them into the database, and its senders wait.  More
    # than in _REMOVING: what a purge has written, the purge copies.
    "PRAGMA wal_autocheckpoint = 4000",
    # What a burst has made of the write-ahead log is given back.
    "PRAGMA journal_size_limit = 67108864",
    # Some systems build SQLite so that it overwrites what is removed; where that takes writing pages
    # for nothing else, deliveries would wait for it.
    "PRAGMA secure_delete = FAST",
)

# COMMIT holds the lock while it waits for the disk; what removes waits behind it, see SqliteFile.settle.
_REMOVING = ("PRAGMA synchronous = NORMAL", *_WRITING[2:])

# The database, its write-ahead log and the index of that log, as SQLite names them.
_SUFFIXES = ("", "-wal", "-shm")


class _Files(NamedTuple):
    """Which files lie at the paths of a database; None where there is none."""

    database: Identity | None
    log: Identity | None
    log_index: Identity | None


class SqliteFile:
    """One SQLite database, by its ``sqlite:///path`` URL; opened by :meth:`create`, :meth:`open` or :meth:`reading`.

    *on_warning* hears of an older journal that :meth:`create` has migrated.
    """

    def __init__(
        self,
        url: str,
        *,
        busy_timeout: float = BUSY_TIMEOUT,
        on_warning: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self.path = _path_of(url)
        self.name = str(self.path)
        self._paths = tuple(self.path.with_name(self.path.name + suffix) for suffix in _SUFFIXES)
        self._busy_timeout = busy_timeout
        self._patience = f"PRAGMA busy_timeout = {busy_timeout * 1000:.0f}"
        self._on_warning = on_warning
        self._reader = self._engine("ro", "BEGIN", ())
        self._writer: Engine | None = None
        self._open_files: _Files | None = None  # None: none are open for writing.

    def create(self, *, last_message_id: int = 0) -> None:
        """Open the database for writing; make folder, file and tables where they are missing.

        The ids of messages go on behind *last_message_id*.
        """
        try:
            self._refuse_foreign_log()
            _make_private_file(self.path)
        except OSError as error:
            raise JournalError(f"{self.path}: cannot be written: {error.strerror}") from error
        engine = self._engine("rw", "BEGIN IMMEDIATE", _WRITING)
        try:
            with self._explained():
                self._prepare(engine, last_message_id)
                self._open_files = self._found()
        except BaseException:
            engine.dispose()
            raise
        self._writer = engine

    def open(self) -> None:
        """Open the database for removing; JournalError where there is none: nothing is made."""
        with self.reading():
            pass
        self._writer = self._engine("rw", "BEGIN IMMEDIATE", _REMOVING)
        self._open_files = self._found()

    def settle(self) -> None:
        """Bring what was committed to the disk, without the lock that a COMMIT holds meanwhile."""
        with suppress(FileNotFoundError), self._paths[1].open("rb") as log:
            os.fdatasync(log.fileno())

    def close(self) -> None:
        """Close the connection for writing."""
        if self._writer is not None:
            self._writer.dispose()
        self._writer = None
        self._open_files = None

    @property
    def is_open(self) -> bool:
        """Whether it is open for writing."""
        return self._writer is not None

    def loss(self) -> str | None:
        """Return what has happened to the open files, so that what is written into them would be lost."""
        opened, found = self._open_files, self._found()
        if opened == found:
            return None
        if found.database is None:
            return "was removed while it was in use; a new one is made"
        if opened is None or opened.database != found.database:
            return "was replaced while it was in use; what is there now is used"
        return "lost its log while it was in use; it is opened anew"

    def empty_log(self) -> None:
        """Write what the log holds into the database, wherever that has gone; JournalError where mail would be lost.

        SQLite does so by itself only while the database is at its path, and whoever opens the path
        next deletes the log or takes it for their own: ``mv capture.db old.db`` would lose mail.
        """
        if self._writer is None:
            return
        log_is_there = self._open_files is not None and self._open_files.log == self._found().log
        problem = None
        try:
            with self._explained(), closing(self._writer.raw_connection()) as pooled:
                pooled.cursor().execute(self._patience)
                if pooled.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                    problem = JournalError(f"{self.path}: was moved, and a reader holds its log")
        except JournalError as error:
            problem = error
        # A log that is gone, too, was moved along, or is not wanted any more.
        if problem is not None and log_is_there:
            raise problem

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Return a transaction that is durable once the block has ended."""
        if self._writer is None:
            raise RuntimeError("the journal is not open")
        with self._writer.begin() as connection:
            yield connection

    def may_sweep(self, connection: Connection) -> bool:  # noqa: ARG002 - the shape of Database
        """Whether retention is this one's to keep: whoever has the file may."""
        return True

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
            check_version(connection, self.name)
            yield connection

    def explain(self, error: DBAPIError | sqlite3.Error) -> JournalError:
        """Return *error* as one line."""
        said = " ".join(str(error.orig if isinstance(error, DBAPIError) else error).split())
        hint = _HINTS.get(said, "")
        return JournalError(f"{self.path}: {said}{hint}")

    def is_of_the_world(self, error: DBAPIError) -> bool:
        """Whether another record would have failed too: operational, or a damaged file (a plain DatabaseError)."""
        return isinstance(error, OperationalError) or type(error) is DatabaseError

    def watch(self) -> SqliteWatch:
        """Return a watch of what any connection commits, this one's included."""
        return SqliteWatch(self.path)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (DBAPIError, sqlite3.Error) as error:
            raise self.explain(error) from error

    def _missing(self) -> JournalError:
        return MissingJournalError(f"{self.path}: there is no journal yet; `smtpd-anontls serve` makes it")

    def _found(self) -> _Files:
        return _Files(*map(_identity, self._paths))

    def _refuse_foreign_log(self) -> None:
        """Refuse to make a database beside a log with something in it, which SQLite would delete."""
        log = self._paths[1]
        if not self.path.exists() and log.exists() and log.stat().st_size:
            raise JournalError(
                f"{log}: may hold mail of a database that is no longer beside it; "
                f"bring {self.path.name} back, or move this file away"
            )

    def _engine(self, mode: str, begin: str, pragmas: tuple[str, ...]) -> Engine:
        where = f"file:{quote(str(self.path.absolute()))}?mode={mode}"

        def connect() -> sqlite3.Connection:
            connection = sqlite3.connect(
                where,
                uri=True,
                timeout=self._busy_timeout if mode == "ro" else _ASK_EVERY,
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
            end = time.monotonic() + self._busy_timeout
            while True:
                try:
                    return prepared.begin(connection, begin)
                except OperationalError as error:
                    if not _is_busy(error) or time.monotonic() >= end:
                        raise

        return engine

    def _prepare(self, engine: Engine, last_message_id: int) -> None:
        with engine.begin() as connection:
            tables = inspect(connection).get_table_names()
        if tables and state.name not in tables:
            raise JournalError(f"{self.path}: is the database of another program; choose another path")
        with closing(engine.raw_connection()) as pooled:
            pooled.cursor().execute(self._patience)
            mode = pooled.cursor().execute("PRAGMA journal_mode = WAL").fetchone()
            pooled.cursor().execute(f"PRAGMA busy_timeout = {_ASK_EVERY * 1000:.0f}")
        if mode != ("wal",):
            raise JournalError(f"{self.path}: its file system knows no shared memory; choose a local disk")
        with engine.begin() as connection:
            news = make_tables(connection, self.name, last_message_id)
        if news is not None:
            self._on_warning(news)


class SqliteWatch:
    """Looks, at a cost of microseconds, whether a file has changed: SQLite counts what others commit."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._file: Identity | None = None
        self._seen: int | None = None
        self._closed = threading.Event()

    def wait(self, timeout: float) -> None:
        """Return when something has been committed, or another file lies there, at the latest after *timeout*."""
        end = time.monotonic() + timeout
        while not self._has_changed() and (left := end - time.monotonic()) > 0:
            if self._closed.wait(min(left, _LOOK_EVERY)):
                return

    def close(self) -> None:
        """End the wait there is, and all to come."""
        self._closed.set()

    def release(self) -> None:
        """Close the file; nobody waits any more."""
        self._closed.set()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _has_changed(self) -> bool:
        before, self._file = self._file, _identity(self._path)
        if self._file != before or self._connection is None:
            self._open()
        try:
            seen = self._version()
        except sqlite3.Error:
            seen = None
        changed = (before, self._seen) != (self._file, seen)
        self._seen = seen
        return changed

    def _open(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._file is None:
            return
        with suppress(sqlite3.Error):
            self._connection = sqlite3.connect(
                f"file:{quote(str(self._path.absolute()))}?mode=ro", uri=True, check_same_thread=False
            )

    def _version(self) -> int | None:
        if self._connection is None:
            return None
        version: int = self._connection.execute("PRAGMA data_version").fetchone()[0]
        return version


# What SQLite says, and what would do.
_HINTS = {
    "database is locked": "; another program holds its lock",
    "database or disk is full": "; free some space",
    "file is not a database": "; choose another path, or move the file away",
    "no such module: fts5": "; Python's SQLite was built without FTS5, which the journal needs",
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
        raise JournalError(f"{shown}: no such kind of database; write sqlite:///path or postgresql://…")
    raise JournalError(f"{shown}: names no file; write sqlite:///path, or null to keep nothing")


def _is_busy(error: OperationalError) -> bool:
    """Whether another connection holds the lock."""
    code = getattr(error.orig, "sqlite_errorcode", 0)
    return bool(code & 0xFF == sqlite3.SQLITE_BUSY)  # The primary code of all that are extended.


def _identity(path: Path) -> Identity | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


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
