"""A PostgreSQL database: opening it, the settings that a connection starts with, and what it says of commits.

Several receivers may share one.  A transaction that adds something changes the one row of
``journal_state`` first, and so holds it until its COMMIT has returned: ids become visible in their order.

libpq reads the URL, so all that it knows works: several hosts, ``sslmode``, ``passfile``, ``service``.
"""

from __future__ import annotations

import select as system
import socket
import time
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, create_engine, event, inspect, text
from sqlalchemy.exc import DBAPIError, DisconnectionError, InterfaceError, OperationalError
from sqlalchemy.pool import NullPool, QueuePool

from smtpd_anontls.domain.database_url import shown_database_url
from smtpd_anontls.domain.printable import printable
from smtpd_anontls.journal.errors import JournalError, MissingJournalError
from smtpd_anontls.journal.schema import METADATA, state
from smtpd_anontls.journal.tables import check_version, make_tables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import psycopg
    from sqlalchemy import Connection

# Which of the database's advisory locks are the journal's.
_MAKING = 0x736D7470
_SWEEPING = 0x736D7471  # Held by the one that keeps retention, for as long as its connection lives.

_READERS = 4  # Connections of a receiver, which reads with so many threads.
_LISTEN_AGAIN = 0.25  # Seconds between two tries to listen, and between two looks meanwhile.

# What libpq is told where the URL does not say otherwise; a connection that the network has
# swallowed is noticed within half a minute.
_PARAMETERS = {
    "application_name": "smtpd-anontls",
    "client_encoding": "utf-8",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
}
_SETTINGS = (
    # COMMIT returns when the log is on the disk, and of synchronous replicas too: that is what a 250 stands for.
    """SELECT set_config('synchronous_commit', 'on', false)
    WHERE current_setting('synchronous_commit') <> 'remote_apply'""",
    # A receiver that hangs in the midst of a transaction holds up the others no longer than this.
    "SET idle_in_transaction_session_timeout = '15s'",
)

# One round trip, in which a transaction takes its turn, and announces itself for when it is committed.
_BEGIN = text(
    "SELECT pg_notify('smtpd_anontls', :node) FROM (SELECT id FROM journal_state FOR UPDATE) AS turn"
)
_TRY_LOCK = text("SELECT pg_try_advisory_lock(:key)")
_LOCK_ALONE = text("SELECT pg_advisory_xact_lock(:key)")

# Of SQLSTATE (PostgreSQL, appendix A), the classes that are about what was to be written:
# data exceptions, broken constraints, and more than a row or an index entry can hold.
_OF_A_RECORD = ("22", "23", "54")
_UNDEFINED_TABLE = "42P01"

# What PostgreSQL or libpq says, and what would do.
_HINTS = {
    "password authentication failed": "; give the right one in the URL, in $PGPASSWORD or in ~/.pgpass",
    "no password supplied": "; give it in the URL, in $PGPASSWORD or in ~/.pgpass",
    "fe_sendauth": "; give it in the URL, in $PGPASSWORD or in ~/.pgpass",
    'database "': "; make it with CREATE DATABASE, or correct the URL",
    "too many clients": "; raise its max_connections",
    "remaining connection slots": "; raise its max_connections",
    "Connection refused": "; start it, or correct the URL",
    "lock timeout": "; another program holds its lock",
    "permission denied": "; grant it to the user of the URL, or let that user own the database",
    "No space left on device": "; free some space",
}


class PostgresDatabase:
    """One PostgreSQL database, by its ``postgresql://`` URL; see journal.database.

    *patience*: seconds that a lock or a server that does not answer is waited for.
    """

    def __init__(self, url: str, *, patience: float, on_warning: Callable[[str], None]) -> None:
        try:
            self.name = shown_database_url(url)
        except ValueError as error:
            raise JournalError(f"the journal's URL is {error}") from None
        self._parameters = _parameters_of(url, self.name, patience)
        self._patience = patience
        self._on_warning = on_warning
        self._node = token_hex(8)  # Tells its own commits from those of others.
        # A command that looks once needs no pool; a receiver keeps its connections.
        self._reader = self._engine(None, read_only=True)
        self._writer: Engine | None = None

    def create(self, *, last_message_id: int = 0) -> None:
        """Open for writing; make the tables where they are missing."""
        engine = self._engine(1, read_only=False)
        try:
            with self._explained(), engine.begin() as connection:
                news = self._prepare(connection, last_message_id)
        except BaseException:
            engine.dispose()
            raise
        if news is not None:
            self._on_warning(news)
        self._reader = self._engine(_READERS, read_only=True)
        self._writer = engine

    def open(self) -> None:
        """Open for removing; JournalError where there is no journal: nothing is made."""
        with self.reading():
            pass
        self._writer = self._engine(1, read_only=False)

    def settle(self) -> None:
        """Do nothing: every COMMIT has reached the disk."""

    def close(self) -> None:
        """Close the connections."""
        if self._writer is not None:
            self._writer.dispose()
        self._writer = None
        self._reader.dispose()
        self._reader = self._engine(None, read_only=True)

    @property
    def is_open(self) -> bool:
        """Whether it is open for writing."""
        return self._writer is not None

    def loss(self) -> str | None:
        """Return None: what was committed is in the server's care."""
        return None

    def empty_log(self) -> None:
        """Do nothing: the log is the server's."""

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Return a transaction that is durable once the block has ended; others are told of it then."""
        if self._writer is None:
            raise RuntimeError("the journal is not open")
        with self._writer.begin() as connection:
            connection.execute(_BEGIN, {"node": self._node})
            yield connection

    def may_sweep(self, connection: Connection) -> bool:
        """Whether no other receiver keeps retention; once it is this one's, it is while the connection lives."""
        if not connection.info.get("sweeps"):
            connection.info["sweeps"] = connection.execute(_TRY_LOCK, {"key": _SWEEPING}).scalar_one()
        return bool(connection.info["sweeps"])

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Return one view of everything committed; never change anything."""
        with self._explained(), self._reader.begin() as connection:
            try:
                check_version(connection, self.name)
            except DBAPIError as error:
                if _sqlstate(error) != _UNDEFINED_TABLE:
                    raise
                raise MissingJournalError(
                    f"{self.name}: there is no journal yet; `smtpd-anontls serve` makes it"
                ) from None
            yield connection

    def explain(self, error: DBAPIError) -> JournalError:
        """Return *error* as one line."""
        lines = str(error.orig).splitlines()
        # libpq and the server say what, then advice and statements.
        said = printable(lines[0].strip() if lines else type(error.orig).__name__)
        if " failed: " in said:
            said = said.rpartition(" failed: ")[2]
        hint = next((hint for words, hint in _HINTS.items() if words in said), "")
        return JournalError(f"{self.name}: {said.removeprefix('FATAL:').strip()}{hint}")

    def is_of_the_world(self, error: DBAPIError) -> bool:
        """Whether another record would have failed too."""
        sqlstate = _sqlstate(error)
        if sqlstate is None:
            # The driver's own: the connection failed, or a value that no column takes.
            return isinstance(error, (OperationalError, InterfaceError))
        return sqlstate[:2] not in _OF_A_RECORD

    def watch(self) -> PostgresWatch:
        """Return a watch that listens, on a connection of its own, to what other processes commit."""
        return PostgresWatch(self._connect, but=self._node)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise self.explain(error) from error

    def _prepare(self, connection: Connection, last_message_id: int) -> str | None:
        # Receivers may start at the same time, and a migration may take long.
        connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
        connection.execute(_LOCK_ALONE, {"key": _MAKING})
        encoding = connection.exec_driver_sql("SHOW server_encoding").scalar_one()
        if encoding != "UTF8":
            raise JournalError(f"{self.name}: its encoding is {encoding}; make one with ENCODING 'UTF8'")
        tables = set(inspect(connection).get_table_names())
        if state.name not in tables and (taken := tables.intersection(METADATA.tables)):
            raise JournalError(
                f"{self.name}: has a table {min(taken)} of another program; choose another database"
            )
        return make_tables(connection, self.name, last_message_id)

    def _connect(self) -> psycopg.Connection[Any]:
        """Return a new connection, in autocommit."""
        import psycopg  # noqa: PLC0415 - only with the extra

        connection = psycopg.connect(**self._parameters, autocommit=True)
        try:
            for statement in (*_SETTINGS, f"SET lock_timeout = {round(self._patience * 1000)}"):
                connection.execute(statement)
        except BaseException:
            connection.close()
            raise
        return connection

    def _engine(self, connections: int | None, *, read_only: bool) -> Engine:
        """Return an engine that keeps so many connections; None: it makes one each time."""

        def connect() -> psycopg.Connection[Any]:
            from psycopg import IsolationLevel  # noqa: PLC0415 - only with the extra

            connection = self._connect()
            connection.autocommit = False
            if read_only:
                connection.read_only = True
                connection.isolation_level = IsolationLevel.REPEATABLE_READ  # One view, as in SQLite.
            return connection

        # Parameters by position, since rows are tuples.
        options: dict[str, Any] = {"creator": connect, "paramstyle": "format", "use_native_hstore": False}
        if connections is None:
            return create_engine("postgresql+psycopg://", **options, poolclass=NullPool)
        engine = create_engine("postgresql+psycopg://", **options, poolclass=QueuePool, pool_size=connections)
        event.listen(engine, "checkout", _refuse_closed)
        return engine


class PostgresWatch:
    """Listens to commits, on a connection that *connect* makes, and makes again when it is lost."""

    def __init__(self, connect: Callable[[], psycopg.Connection[Any]], *, but: str) -> None:
        self._connect = connect
        self._but = but  # What its own node says.
        self._connection: psycopg.Connection[Any] | None = None
        self._closing, self._closed = socket.socketpair()

    def wait(self, timeout: float) -> None:
        """Return when another process has committed something, at the latest after *timeout* seconds.

        While it cannot listen it returns every quarter of a second, so that who waits looks.
        """
        end = time.monotonic() + timeout
        while (left := end - time.monotonic()) > 0:
            if self._connection is None:
                # What was committed meanwhile was not heard of.
                self._pause(0 if self._listen() else min(left, _LISTEN_AGAIN))
                return
            if not self._pause(left, self._connection) or self._hears():
                return

    def close(self) -> None:
        """End the wait there is, and all to come."""
        self._closed.close()

    def release(self) -> None:
        """Close what it holds; nobody waits any more."""
        self._closed.close()
        self._closing.close()
        self._drop()

    def _listen(self) -> bool:
        import psycopg  # noqa: PLC0415 - only with the extra

        try:
            self._connection = self._connect()
            self._connection.execute("LISTEN smtpd_anontls")
        except psycopg.Error:
            self._drop()
        return self._connection is not None

    def _pause(self, seconds: float, *sources: psycopg.Connection[Any]) -> bool:
        """Return whether one of *sources* has something to read within so many seconds; not once it is closed."""
        numbers = [self._closing.fileno(), *(source.fileno() for source in sources)]
        readable, _, _ = system.select(numbers, [], [], seconds)
        return bool(readable) and numbers[0] not in readable

    def _hears(self) -> bool:
        import psycopg  # noqa: PLC0415 - only with the extra

        assert self._connection is not None
        try:
            heard = [each.payload for each in self._connection.notifies(timeout=0)]
        except psycopg.Error:
            self._drop()
            return True
        return any(payload != self._but for payload in heard)

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):  # It is lost anyway.
                connection.close()


def _parameters_of(url: str, name: str, patience: float) -> dict[str, Any]:
    """Return what libpq makes of *url*, and what it is told besides."""
    if find_spec("psycopg") is None:
        raise JournalError(
            f"{name}: PostgreSQL needs the Python package psycopg: pip install 'smtpd-anontls[postgres]'"
        )
    import psycopg  # noqa: PLC0415 - only with the extra
    from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415

    try:
        given = conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:
        # It may repeat a part of the URL, and that the password.
        said = str(error).strip()
        why = said if said.startswith("invalid URI query parameter") else "a part of it is malformed"
        raise JournalError(f"{name}: libpq cannot read the URL: {printable(why)}") from None
    # psycopg takes whole seconds, and no fewer than two.
    return {**_PARAMETERS, "connect_timeout": str(max(2, round(patience))), **given}


def _refuse_closed(connection: psycopg.Connection[Any], _record: object, _proxy: object) -> None:
    """Let the pool replace a connection that the server has closed: it says so before it goes.

    A server that was started anew while nobody wrote would otherwise cost the next message a 4xx.
    """
    try:
        spoken = system.select([connection], [], [], 0)[0]
    except (OSError, ValueError) as error:
        raise DisconnectionError from error
    if spoken:
        raise DisconnectionError


def _sqlstate(error: DBAPIError) -> str | None:
    sqlstate: str | None = getattr(error.orig, "sqlstate", None)
    return sqlstate
