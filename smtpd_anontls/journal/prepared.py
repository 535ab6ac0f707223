"""Statements that SQLAlchemy writes, once, and the driver executes: past SQLAlchemy a delivery costs less.

For the few statements of each delivery, and of each removal, alone; what fails raises what SQLAlchemy would have raised.
"""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.compiler import SQLCompiler

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy import ClauseElement, Connection

    Row = tuple[Any, ...]


class Prepared:
    """*statement*, compiled once for each driver; *columns*: those that an insert gives."""

    def __init__(self, statement: ClauseElement, columns: Sequence[str] | None = None) -> None:
        self._statement = statement
        self._columns = columns
        self._compiled: dict[str, tuple[str, tuple[str, ...]]] = {}  # By the driver.

    def for_each(self, connection: Connection, rows: Sequence[Row]) -> int:
        """Execute it for each row of parameters, in the order of the columns; return how many rows it met."""
        if not rows:
            return 0
        text, _ = self._for(connection)
        with _cursor(connection, text) as cursor:
            cursor.executemany(text, rows)
            met: int = cursor.rowcount
        return met

    def once(self, connection: Connection, values: Mapping[str, int | str]) -> Row:
        """Execute it with *values* by name, and return the one row that it returns, if any."""
        text, names = self._for(connection)
        with _cursor(connection, text) as cursor:
            cursor.execute(text, tuple(values[name] for name in names))
            row: Row = cursor.fetchone()
        return row

    def _for(self, connection: Connection) -> tuple[str, tuple[str, ...]]:
        """Return the text for this driver, and the names of its parameters in their order."""
        dialect = connection.dialect
        found = self._compiled.get(dialect.driver)
        if found is None:
            compiled = self._statement.compile(dialect=dialect, column_keys=self._columns)
            assert isinstance(compiled, SQLCompiler)
            found = self._compiled[dialect.driver] = str(compiled), tuple(compiled.positiontup or ())
        return found


def begin(connection: Connection, text: str) -> None:
    """Execute *text*, which begins a transaction."""
    with _cursor(connection, text) as cursor:
        cursor.execute(text)


@contextmanager
def _cursor(connection: Connection, text: str) -> Iterator[Any]:
    """Return a cursor of the driver, whose errors become those of SQLAlchemy."""
    driver = connection.dialect.dbapi
    assert driver is not None
    try:
        with closing(connection.connection.cursor()) as cursor:
            yield cursor
    except driver.Error as error:
        if connection.dialect.is_disconnect(error, connection.connection, None):
            connection.invalidate(error)
        raise DBAPIError.instance(text, None, error, driver.Error, dialect=connection.dialect) from error
