"""Making the tables, and bringing older ones up to date: the same in every database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, insert, inspect, select, update

from smtpd_anontls.journal.errors import JournalError
from smtpd_anontls.journal.migrations import OLDEST, migrate
from smtpd_anontls.journal.schema import METADATA, SCHEMA_VERSION, state

if TYPE_CHECKING:
    from sqlalchemy import Connection

FIRST_STATE = {
    "id": 1,
    "schema_version": SCHEMA_VERSION,
    "last_session_change": 0,
    "message_count": 0,
    "message_octets": 0,
}


def make_tables(connection: Connection, name: str, last_message_id: int) -> str | None:
    """Make the tables of the journal *name* where they are missing; return what there is to say of older ones.

    The ids of messages go on behind *last_message_id*.  JournalError where they cannot be used.
    """
    if not inspect(connection).has_table(state.name):
        METADATA.create_all(connection)
        connection.execute(insert(state), {**FIRST_STATE, "last_message_id": last_message_id})
    found = _version(connection)
    if OLDEST <= found < SCHEMA_VERSION:
        migrate(connection, found)
        connection.execute(update(state).values(schema_version=SCHEMA_VERSION))
    check_version(connection, name)
    # One that was put in place of another may not have come so far.
    behind = update(state).where(state.c.last_message_id < last_message_id)
    connection.execute(behind.values(last_message_id=last_message_id))
    if found == SCHEMA_VERSION:
        return None
    return (
        f"journal {name}: was migrated from schema {found} to {SCHEMA_VERSION}; "
        "older versions of smtpd-anontls no longer open it"
    )


def check_version(connection: Connection, name: str) -> None:
    """Raise JournalError unless the tables are those of this version."""
    version = _version(connection)
    if OLDEST <= version < SCHEMA_VERSION:
        raise JournalError(
            f"{name}: was written by an older version of smtpd-anontls (schema {version}, this one "
            f"reads {SCHEMA_VERSION}); `smtpd-anontls serve` migrates it when it starts"
        )
    if version != SCHEMA_VERSION:
        raise JournalError(
            f"{name}: was written by another version of smtpd-anontls (schema {version}, "
            f"this one knows {SCHEMA_VERSION}); use that version, or choose another place for the journal"
        )


def _version(connection: Connection) -> int:
    version: int | None = connection.execute(select(func.max(state.c.schema_version))).scalar_one()
    return version or 0
