"""The journal in PostgreSQL, where that differs: a server that goes away, and several receivers on one database."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from smtpd_anontls.domain.filters import EVERYTHING, Filter
from smtpd_anontls.domain.retention import Retention
from smtpd_anontls.journal import following
from smtpd_anontls.journal.database import database_at
from smtpd_anontls.journal.errors import JournalError
from smtpd_anontls.journal.journal import Journal
from smtpd_anontls.journal.reader import JournalReader
from smtpd_anontls.journal.waiting import Messages
from tests.command import call
from tests.components.journal_making import (
    event,
    eventually,
    looking_into,
    message,
    minutes,
    now,
    opened,
    session,
    url_in,
)
from tests.peer import PATIENCE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab import Lab
    from tests.postgres import Postgres

pytestmark = pytest.mark.slow


def test_a_commit_waits_for_the_disk(postgres: Postgres) -> None:
    """Whatever the database's default: a 250 is durable."""
    url = postgres.create()
    name = url.rpartition("/")[2]
    postgres.sql(f"ALTER DATABASE {name} SET synchronous_commit = off")
    database = database_at(url)
    database.create()
    with database.writing() as connection:
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar_one() == "on"
    database.close()


def test_what_cannot_be_opened(postgres: Postgres) -> None:
    """One line says where, what and what would do, and shows no password."""
    url = postgres.create()
    foreign = postgres.create()
    postgres.sql("CREATE TABLE messages (id int)", database=foreign.rpartition("/")[2])
    latin = postgres.create("TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'")
    newer = postgres.create()
    database = database_at(newer)
    database.create()
    database.close()
    with looking_into(newer) as connection:
        connection.exec_driver_sql("UPDATE journal_state SET schema_version = 99")
    port = f":{postgres.port}/"
    rows = {
        url.replace(
            "secret", "guess"
        ): 'password authentication failed for user "tester"; give the right one in',
        f"{url}0": r'database "journal\d+" does not exist; make it with CREATE DATABASE',
        url.replace(port, ":1/"): "Connection refused; start it, or correct the URL",
        foreign: "has a table messages of another program; choose another database",
        latin: "its encoding is LATIN1; make one with ENCODING 'UTF8'",
        newer: r"another version of smtpd-anontls \(schema 99",
    }
    for place, said in rows.items():
        with pytest.raises(JournalError, match=said) as failed:
            database_at(place).create()
        line = str(failed.value)
        assert line.startswith("postgresql://tester@127.0.0.1:")
        assert "\n" not in line
        assert "not-a-real" not in line


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line says what to install."""
    monkeypatch.setattr("smtpd_anontls.journal.postgresql.find_spec", lambda _name: None)

    with pytest.raises(
        JournalError, match=r"^postgresql://db/mail: .* pip install 'smtpd-anontls\[postgres\]'$"
    ):
        database_at("postgresql://db/mail")


async def test_the_commands(lab: Lab, postgres: Postgres) -> None:
    """They read a database as they read a file, and say with exit code 3 where none can be reached."""
    url = postgres.create()
    config = lab.write(settings={"capture": {"url": url}})
    empty = call("message", "list", "--config", config)
    async with opened(url) as journal:
        await journal.deliver(message(1), session(1))
    found = call("message", "wait", "--json", "--config", config)
    removed = call("message", "purge", "--yes", "--config", config)
    away = call(
        "session", "list", "--config", lab.write(settings={"capture": {"url": "postgresql://127.0.0.1:1/x"}})
    )

    assert (empty.code, "there is no journal yet" in empty.stderr) == (3, True)
    assert [each["id"] for each in found.objects] == [1]
    assert removed.stdout == "1 message removed.\n"
    assert (away.code, len(away.mistakes)) == (3, 1)
    assert "Connection refused" in away.stderr


@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_a_server_that_goes_away(own_postgres: Postgres, mode: str) -> None:
    """Mail is refused meanwhile, rows are kept, and all goes on by itself; each is said once."""
    warnings: list[str] = []
    async with opened(own_postgres.create(), warnings=warnings) as journal:
        await journal.deliver(message(1), session(1))
        with own_postgres.stopped(mode):
            for number in (2, 3):
                with pytest.raises(JournalError, match=r"^postgresql://tester@127\.0\.0\.1:"):
                    await journal.deliver(message(number), session(number))
            journal.record_event(event(1))
            with pytest.raises(JournalError):
                await journal.messages()

        async def is_all_there() -> bool:
            try:
                return len(await journal.sessions()) == 3 and len(await journal.events()) == 1
            except JournalError:
                return False

        await eventually(is_all_there)
        await journal.deliver(message(4), None)
    assert len([text for text in warnings if "mail is not accepted" in text]) == 1
    assert len([text for text in warnings if "is written again" in text]) == 1
    assert not [text for text in warnings if "not-a-real" in text]


async def test_what_keeps_mail_from_being_taken(own_postgres: Postgres) -> None:
    """/readyz asks the journal, which knows before any mail has come."""
    url = own_postgres.create()
    warnings: list[str] = []
    async with opened(url, warnings=warnings) as journal:
        healthy = await journal.ailment()
        with own_postgres.stopped():
            away = await journal.ailment()
        back = await journal.ailment()
        own_postgres.sql("DROP TABLE journal_state", database=url.rpartition("/")[2])
        dropped = await journal.ailment()
        with pytest.raises(JournalError):
            await journal.deliver(message(1), None)
        refused = await journal.ailment()

    assert (healthy, away, back) == (None, "the journal cannot be read, so mail is not accepted", None)
    assert dropped == "the journal's tables are gone, so mail is not accepted"
    assert refused == "the journal cannot be written, so mail is not accepted"


async def test_a_server_that_was_started_anew_while_nobody_wrote(own_postgres: Postgres) -> None:
    """The next message is taken: no sender is told of a connection that was found closed."""
    async with opened(own_postgres.create()) as journal:
        await journal.deliver(message(1), None)
        await journal.flush()
        with own_postgres.stopped():
            pass

        assert await journal.deliver(message(2), None) == 2


async def test_two_receivers(postgres: Postgres) -> None:
    """Ids are given once, grow as they become visible, and who follows them misses none."""
    url = postgres.create()
    async with opened(url) as one, opened(url) as two:
        reader = JournalReader(url)
        events = following.events(reader, EVERYTHING)
        take = asyncio.to_thread(lambda: [next(events)["id"] for _ in range(80)])
        taking = asyncio.create_task(take)
        for number in range(1, 41):
            # The second one's clock is behind, and now and then both give the same id.
            one.record_event(event(1000 + number, time=minutes(number)))
            late = 20 * (number % 2)
            two.record_event(event(1000 + number - late, time=minutes(number), server="MBX2"))
            ids = await asyncio.gather(
                *(each.deliver(message(number), session(number + 100 * place))
                  for place, each in enumerate((one, two, one)))
            )  # fmt: skip
            assert len(set(ids)) == 3
        async with asyncio.timeout(PATIENCE):
            heard = await taking

        assert heard == sorted(set(heard))
        assert [each["id"] for each in await two.messages(limit=200)] == list(range(120, 0, -1))
        assert len(await one.events(limit=200)) == 80


@pytest.mark.parametrize("kind", ["file", "server"])
async def test_a_message_that_another_process_took(postgres: Postgres, tmp_path: Path, kind: str) -> None:
    """Who waits for it here sees it, and listeners hear of sessions and events."""
    url = postgres.create() if kind == "server" else url_in(tmp_path)
    async with opened(url, shared=True) as here, opened(url, shared=True) as there:
        sessions: list[int] = []
        here.listen(lambda _before, after: sessions.append(after.session))
        waiting = asyncio.create_task(
            Messages(here).shown(Filter(recipient="c@contoso.test"), count=1, timeout=PATIENCE)
        )
        await asyncio.sleep(0)
        await there.deliver(message(1), session(1))
        await there.deliver(message(2, recipients=("c@contoso.test",)), session(2))
        found = await waiting

        async def is_heard() -> bool:
            return bool(sessions) and sessions[-1] == 2

        await eventually(is_heard)
    assert [each["id"] for each in found] == [2]


async def test_a_watch_while_the_server_is_away(own_postgres: Postgres) -> None:
    """It listens again by itself, and what came meanwhile is found by looking."""
    url = own_postgres.create()
    async with opened(url, warnings=[]) as here:
        waiting = asyncio.create_task(Messages(here).shown(EVERYTHING, count=1, timeout=PATIENCE))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        # Only the connection that listens is lost.
        own_postgres.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query ILIKE 'listen%'")
        async with opened(url) as there:
            await there.deliver(message(1), None)
        found = await waiting

    assert [each["id"] for each in found] == [1]


async def test_one_keeps_retention(postgres: Postgres) -> None:
    """The first does; when it has gone, another."""
    url = postgres.create()
    one, two = database_at(url), database_at(url)
    one.create()
    two.create()
    for database, expected in ((one, True), (two, False), (one, True)):
        with database.writing() as connection:
            assert database.may_sweep(connection) is expected
    one.close()

    async def is_the_others() -> bool:
        with two.writing() as connection:
            return two.may_sweep(connection)

    await eventually(is_the_others)
    two.close()


async def test_a_header_longer_than_an_index_holds(postgres: Postgres) -> None:
    """It is kept, and found by its beginning."""
    name = "".join(chr(0x0450 + number) for number in range(400))
    value = "".join(chr(0x20000 + number * 7919 % 40000) for number in range(512))
    async with opened(postgres.create()) as journal:
        await journal.deliver(message(headers=((name, value),)), None)

        assert len(await journal.messages(Filter(header=f"{name}: {value[:90]}*"))) == 1
        assert await journal.messages(Filter(header=f"{name}: {value[:90]}")) == []


async def test_a_lock_that_somebody_holds(postgres: Postgres) -> None:
    """A receiver that hangs in a transaction holds up the others for a while only; then mail is refused."""
    url = postgres.create()
    warnings: list[str] = []
    async with opened(url, warnings=warnings, patience=0.1) as journal:
        await journal.deliver(message(1), None)
        with looking_into(url) as holder:
            holder.exec_driver_sql("SELECT 1 FROM journal_state FOR UPDATE")
            with pytest.raises(JournalError, match="another program holds its lock"):
                await asyncio.gather(journal.deliver(message(2), None))
        assert await journal.deliver(message(3), None) == 2
    assert "mail is not accepted" in warnings[0]


async def test_a_receiver_that_starts_without_its_server() -> None:
    """The error is one line, and nothing is left open."""
    journal = Journal("postgresql://127.0.0.1:1/x", Retention(), clock=now, on_warning=print)
    with pytest.raises(JournalError, match=r"^postgresql://127\.0\.0\.1:1/x: Connection refused; start it"):
        await journal.open()
    await journal.close()
