"""A journal of an older schema: migrated by who writes, left alone by who reads."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import create_engine, inspect

from smtpd_anontls.domain.filters import EVERYTHING
from smtpd_anontls.domain.retention import Retention
from smtpd_anontls.journal.journal import Journal, JournalError, JournalReader
from smtpd_anontls.journal.migrations import OLDEST, migrate
from smtpd_anontls.journal.purge import purge
from smtpd_anontls.journal.schema import METADATA
from tests.components.journal_making import event, message, now, opened, session, session_id, url_in

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection

STATE = "INSERT INTO journal_state VALUES (1, ?, 7, 3, 1, 20)"
MESSAGE = (
    "INSERT INTO messages VALUES (7, 1795348800000000, 'MBX1', 'Default Frontend MBX1', ?, NULL, "
    "'a@contoso.test', 'old', 20, ?, '{\"mail_parameters\": {}, \"recipient_parameters\": [{}]}')"
)
BODY = "INSERT INTO message_bodies VALUES (7, ?)"
RECIPIENT = "INSERT INTO message_recipients VALUES (7, 0, 'b@contoso.test')"
HEADER = "INSERT INTO message_headers VALUES (7, 0, 'subject', 'Old')"
SESSION = "INSERT INTO sessions VALUES (?, 1795348800000000, 'MBX1', NULL, '192.0.2.7:40001', '192.0.2.7', NULL, ?, 3)"
TRANSCRIPT = "INSERT INTO session_transcripts VALUES (?, '[]')"
EVENT = "INSERT INTO events VALUES (5, 1795348800000000, 12015, 'MBX1', NULL, NULL, ?)"
RAW = b"Subject: Old\r\n\r\nold\r\n"
SHOWN = {"sender": "a@contoso.test", "recipients": ["b@contoso.test"], "subject": "Old", "size": len(RAW)}


def make_oldest(folder: Path) -> None:
    """Make a journal of the oldest schema with one message, its session and an event."""
    engine = create_engine(url_in(folder))
    with engine.begin() as connection:
        migrate(connection, 0, OLDEST)
        for statement, values in (
            (STATE, (OLDEST,)),
            (MESSAGE, (session_id(1), json.dumps(SHOWN))),
            (BODY, (RAW,)),
            (RECIPIENT, ()),
            (HEADER, ()),
            (SESSION, (session_id(1), "{}")),
            (TRANSCRIPT, (session_id(1),)),
            (EVENT, ('{"id": 5}',)),
        ):
            connection.exec_driver_sql(statement, values)
    engine.dispose()


def structure_of(connection: Connection) -> dict[str, object]:
    """Return what tables, columns and indexes there are."""
    found = inspect(connection)
    return {
        table: (
            sorted((each["name"], str(each["type"]), each["nullable"], each["default"]) for each in columns),
            found.get_pk_constraint(table)["constrained_columns"],
            sorted(
                (str(each["name"]), each["column_names"], each["unique"]) for each in found.get_indexes(table)
            ),
            found.get_table_options(table),
        )
        for table in found.get_table_names()
        for columns in [found.get_columns(table)]
    }


def structure_on_disk(folder: Path) -> dict[str, object]:
    """Return the structure of the journal in *folder*."""
    engine = create_engine(url_in(folder))
    with engine.connect() as connection:
        found = structure_of(connection)
    engine.dispose()
    return found


def test_the_scripts_make_the_tables_of_today() -> None:
    """From nothing, the scripts one after another lead to what a new journal has."""
    scripts, new = create_engine("sqlite://"), create_engine("sqlite://")
    with scripts.begin() as migrated, new.begin() as made:
        migrate(migrated, 0)
        METADATA.create_all(made)

        assert structure_of(migrated) == structure_of(made)
    scripts.dispose()
    new.dispose()


async def test_an_older_journal_is_migrated(tmp_path: Path) -> None:
    """Who writes brings it up to date, says so once, and all that was in it can be found as before."""
    make_oldest(tmp_path)
    warnings: list[str] = []

    async with opened(tmp_path, warnings=warnings) as journal:
        assert await journal.deliver(message(8, session_id=session_id(2)), session(2)) == 8
        assert [each["id"] for each in await journal.messages()] == [8, 7]
        assert await journal.raw(7) == RAW
        assert [each["id"] for each in await journal.events()] == [5]
        assert (await journal.session(session_id(1)) or {})["messages"] == [7]
    async with opened(tmp_path, warnings=warnings):
        pass
    (warning,) = warnings
    assert warning.startswith(f"journal {tmp_path / 'capture.db'}: was migrated from schema {OLDEST} to ")


async def test_a_migrated_journal_is_like_a_new_one(tmp_path: Path) -> None:
    """Tables, columns and indexes are the same, and nothing of the migration stays behind."""
    (tmp_path / "new").mkdir()
    make_oldest(tmp_path)

    async with opened(tmp_path, warnings=[]), opened(tmp_path / "new"):
        pass
    assert structure_on_disk(tmp_path) == structure_on_disk(tmp_path / "new")


async def test_retention_counts_what_was_there(tmp_path: Path) -> None:
    """Sessions and events of the older journal count as those that are added."""
    make_oldest(tmp_path)

    async with opened(tmp_path, Retention(sessions=2), warnings=[]) as journal:
        journal.record_session(session(2))
        journal.record_session(session(2))
        journal.record_event(event(6))
        await journal.flush()
        with closing(sqlite3.connect(tmp_path / "capture.db")) as reading:
            assert reading.execute("SELECT session_count, event_count FROM journal_state").fetchone() == (
                2,
                2,
            )


async def test_a_migration_that_fails_changes_nothing(tmp_path: Path) -> None:
    """All of it is one transaction: the journal stays as it was, for the version that wrote it."""
    make_oldest(tmp_path)
    with sqlite3.connect(tmp_path / "capture.db") as older:
        older.execute("DROP TABLE events")
    older.close()
    before = structure_on_disk(tmp_path)

    journal = Journal(url_in(tmp_path), Retention(), clock=now, on_warning=lambda _text: None)
    with pytest.raises(JournalError, match="no such table: events"):
        await journal.open()
    assert structure_on_disk(tmp_path) == before


def test_who_reads_says_what_to_do(tmp_path: Path) -> None:
    """Reading and purging change no schema; they name the command that does."""
    make_oldest(tmp_path)
    before = structure_on_disk(tmp_path)
    advice = rf"older version of smtpd-anontls \(schema {OLDEST}.*`smtpd-anontls serve` migrates it"

    with pytest.raises(JournalError, match=advice):
        JournalReader(url_in(tmp_path)).messages()
    with pytest.raises(JournalError, match=advice):
        purge(url_in(tmp_path), EVERYTHING)
    assert structure_on_disk(tmp_path) == before
