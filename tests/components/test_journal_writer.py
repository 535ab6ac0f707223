"""The writer: what it acknowledges is durable, and nothing but the world stops it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from smtpd_anontls.domain.retention import Retention
from smtpd_anontls.journal.backlog import GROUP_OCTETS, GROUP_ROWS, MAX_ROWS, Delivery, Rows, divide
from smtpd_anontls.journal.database import database_at
from smtpd_anontls.journal.journal import Journal, JournalError, JournalReader
from smtpd_anontls.journal.sqlite import SqliteFile
from tests.components.journal_making import (
    event,
    eventually,
    message,
    now,
    opened,
    session,
    session_id,
    url_in,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]


async def test_many_at_once(url: str) -> None:
    """500 deliveries at the same time: ids in the order of arrival, each with its own message and session."""
    async with opened(url) as journal:
        deliveries = [
            journal.deliver(message(number, session_id=session_id(number)), session(number))
            for number in range(500)
        ]
        ids = await asyncio.gather(*deliveries)

        assert ids == list(range(1, 501))
        for number in (0, 250, 499):
            assert await journal.raw(ids[number]) == message(number).raw
        sessions = await journal.sessions(limit=1000)
        assert {item["id"]: item["messages"] for item in sessions} == {
            session_id(number): [number + 1] for number in range(500)
        }


async def test_the_sync_is_part_of_the_commit(tmp_path: Path) -> None:
    """The connection that writes waits for the disk: synchronous is FULL (2), in a write-ahead log."""
    file = SqliteFile(url_in(tmp_path))
    file.create()
    with file.writing() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    file.close()


CHILD = """
    import asyncio, sys
    from smtpd_anontls.domain.retention import Retention
    from smtpd_anontls.journal.journal import Journal
    from tests.components.journal_making import message, now, session, session_id

    async def client(journal, number):
        while True:
            record = message(raw=b"Subject: x\\r\\n\\r\\n" + b"%d " % number * 300, session_id=session_id(number))
            given = await journal.deliver(record, session(number))
            print(given, number, flush=True)
            number += 40

    async def main():
        journal = Journal(sys.argv[1], Retention(), clock=now, on_warning=print)
        await journal.open()
        await asyncio.gather(*(client(journal, number) for number in range(40)))

    asyncio.run(main())
"""


@pytest.mark.slow
def test_killed(url: str) -> None:
    """After SIGKILL in the midst of it, every acknowledged message is there, octet by octet, with its session."""
    command = [sys.executable, "-c", textwrap.dedent(CHILD), url]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        acknowledged = [child.stdout.readline() for _ in range(400)]
        child.send_signal(signal.SIGKILL)
        acknowledged += child.stdout.read().splitlines()

    database = database_at(url)
    database.create()  # Which keeps its connections.
    reader = JournalReader(database)
    whole = [line.split() for line in acknowledged if len(line.split()) == 2]
    assert len(whole) >= 400
    for given, number in whole:
        assert reader.raw(int(given)) == b"Subject: x\r\n\r\n" + f"{number} ".encode() * 300
        found = reader.session(session_id(int(number)))
        assert found is not None
        assert found["messages"] == [int(given)]
    database.close()


async def test_a_record_that_cannot_be_written(url: str) -> None:
    """It fails alone: its neighbours in the transaction are written, and so is all that follows."""
    warnings: list[str] = []
    async with opened(url, warnings=warnings) as journal:
        journal.record_event(event(2**80))
        journal.record_event(event(5))
        journal.record_session(session(7, authenticated_as=object()))
        results = await asyncio.gather(
            *(
                journal.deliver(
                    message(number, mail_parameters={"X": object()} if number == 9 else {}), session(8)
                )
                for number in range(20)
            ),
            return_exceptions=True,
        )
        await journal.flush()

        assert isinstance(results[9], JournalError)
        assert sorted(each for each in results if isinstance(each, int)) == list(range(1, 20))
        assert [item["size"] for item in await journal.messages()] == [
            len(message(n).raw) for n in range(19, 9, -1)
        ] + [len(message(n).raw) for n in range(8, -1, -1)]
        assert [item["id"] for item in await journal.events()] == [5]
        assert [item["id"] for item in await journal.sessions()] == [session_id(8)]
        assert await journal.deliver(message(), None) == 20
    assert len(warnings) == 3
    assert any(
        "event 1208925819614629174706176 cannot be written and is dropped" in text for text in warnings
    )
    assert any(
        "a message of session 0000000000000001 cannot be written: TypeError" in text for text in warnings
    )


async def test_an_event_id_that_is_there_already(url: str) -> None:
    """Another receiver's event of the same id is kept under the next; the very same event is there once."""
    async with opened(url) as journal:
        journal.record_event(event(1))
        await journal.flush()
        for server in ("MBX1", "MBX2", "MBX3"):
            # Once after another, since of one id a journal notes one.
            journal.record_event(event(1, server=server))
            await journal.flush()

        assert [(item["id"], item["server"]) for item in await journal.events()] == [
            (3, "MBX3"),
            (2, "MBX2"),
            (1, "MBX1"),
        ]


async def test_a_check_that_fails_behind_the_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has been committed is never written again; what may be lost is not acknowledged."""
    warnings: list[str] = []
    async with opened(tmp_path, warnings=warnings) as journal:
        await journal.deliver(message(1), session(1))
        before = SqliteFile.loss
        calls = 0

        def fail_once(file: SqliteFile) -> str | None:
            nonlocal calls
            calls += 1
            if calls == 2:  # Before a transaction it is asked, too.
                raise MemoryError
            return before(file)

        monkeypatch.setattr(SqliteFile, "loss", fail_once)
        journal.record_event(event(1))
        with pytest.raises(JournalError, match="was moved or removed"):
            await journal.deliver(message(2), session(2))
        await journal.deliver(message(3), session(3))

        async def is_all_written() -> bool:
            return len(await journal.sessions()) == 3

        await eventually(is_all_written)
        assert [item["id"] for item in await journal.messages()] == [3, 2, 1]
        assert [item["id"] for item in await journal.events()] == [1]
    assert len(warnings) == 2


async def test_locked(tmp_path: Path) -> None:
    """While another program holds the lock, deliveries fail and rows wait; after it, all goes on by itself."""
    warnings: list[str] = []
    async with opened(tmp_path, warnings=warnings, patience=0.05) as journal:
        await journal.deliver(message(1), None)
        other = sqlite3.connect(tmp_path / "capture.db", isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        try:
            journal.record_event(event(1))
            for number in range(3):
                with pytest.raises(JournalError, match="database is locked; another program holds its lock"):
                    await journal.deliver(message(2), session(number))
            assert [item["id"] for item in await journal.messages()] == [1]
        finally:
            other.close()

        assert await journal.deliver(message(3), None) == 2

        async def everything_is_there() -> bool:
            return len(await journal.sessions()) == 3 and len(await journal.events()) == 1

        await eventually(everything_is_there)
    # Retention may have come upon the lock, too.
    assert len([text for text in warnings if "mail is not accepted" in text]) == 1
    assert len([text for text in warnings if "is written again" in text]) == 1


async def test_locked_until_the_end(tmp_path: Path) -> None:
    """What cannot be written when the journal is closed is named."""
    warnings: list[str] = []
    journal = Journal(url_in(tmp_path), Retention(), clock=now, on_warning=warnings.append, patience=0.05)
    await journal.open()
    await journal.flush()
    other = sqlite3.connect(tmp_path / "capture.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    try:
        journal.record_session(session())
        await journal.close()
    finally:
        other.close()

    assert warnings[-1].endswith("could not be written to the end; sessions and events lost: 1")


def remove_all(folder: Path) -> None:
    """Remove every file in *folder*, as somebody who cleans up would."""
    for path in folder.iterdir():
        path.unlink()


async def test_removed_while_in_use(tmp_path: Path) -> None:
    """Mail is not acknowledged into a file that is gone: a new one is made, and ids go on."""
    warnings: list[str] = []
    async with opened(tmp_path, warnings=warnings) as journal:
        await journal.deliver(message(1), session())
        remove_all(tmp_path)

        assert await journal.deliver(message(2), None) == 2
        assert [item["id"] for item in JournalReader(url_in(tmp_path)).messages()] == [2]
    assert warnings == [f"journal {tmp_path}/capture.db: was removed while it was in use; a new one is made"]


async def test_cancelled(url: str) -> None:
    """A sender that no longer waits harms nobody."""
    async with opened(url) as journal:
        tasks = [
            asyncio.ensure_future(journal.deliver(message(number), session(number))) for number in range(50)
        ]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)

        assert all(isinstance(each, asyncio.CancelledError) for each in results[::2])
        kept = [each for each in results[1::2] if isinstance(each, int)]
        assert len(kept) == 25
        assert set(kept) <= {item["id"] for item in await journal.messages(limit=100)}
        assert len(await journal.sessions(limit=100)) == 50


async def test_reading_while_writing(url: str) -> None:
    """A reader of its own always sees whole transactions: a message has its body, recipients and session."""
    async with opened(url) as journal:
        await journal.flush()

        def read() -> int:
            reader, seen = JournalReader(url), 0
            while seen < 300:
                newest = reader.messages(limit=1)
                for item in newest:
                    assert reader.raw(item["id"]) is not None
                    assert reader.session(item["session_id"]) is not None
                seen = newest[0]["id"] if newest else 0
            return seen

        reading = asyncio.create_task(asyncio.to_thread(read))
        for number in range(300):
            await journal.deliver(message(number, session_id=session_id(number)), session(number))

        assert await reading == 300


async def test_too_much_to_note(url: str) -> None:
    """Past the bound the oldest rows are dropped, with one warning; noting still never fails."""
    warnings: list[str] = []
    journal = Journal(url, Retention(), clock=now, on_warning=warnings.append)
    record = event(0)
    for number in range(MAX_ROWS + 10):
        object.__setattr__(record, "id", number)
        journal.record_event(record)

    assert len(warnings) == 1
    assert "the oldest are dropped" in warnings[0]


def test_a_warning_that_fails(url: str) -> None:
    """Whoever listens to warnings cannot make noting raise."""

    def fail(_text: str) -> None:
        raise OSError

    journal = Journal(url, Retention(), clock=now, on_warning=fail)
    for number in range(MAX_ROWS + 1):
        journal.record_event(event(number))


def test_rows() -> None:
    """Of a session the newest record stays; what is put back does not replace it; the oldest goes first."""
    rows = Rows()
    for record in (session(1), event(1), session(2), session(1, outcome_detail="newer")):
        assert rows.add(record) == 0

    assert [each.id for each in rows.take(1)] == [1]
    assert rows.put_back([event(1), session(1, outcome_detail="older")]) == 0
    assert rows.take_newer(session(1)) == session(1, outcome_detail="newer")
    assert rows.take_newer(session(1)) == session(1)
    rows.replaced_by(session(2))
    assert [each.id for each in rows.take(None)] == [1]
    assert len(rows) == 0


async def test_groups_are_bounded() -> None:
    """A transaction takes so many rows or octets; a session is written once, with its first message."""
    loop = asyncio.get_running_loop()
    large = message(raw=b"x" * (GROUP_OCTETS // 2))

    def delivery(record: object) -> Delivery:
        return Delivery(record, session(1), loop, loop.create_future())  # type: ignore[arg-type]

    rows = Rows()
    rows.add(event(1))
    by_octets = divide([delivery(large) for _ in range(3)], rows, None)
    by_rows = divide([delivery(message()) for _ in range(GROUP_ROWS)], rows, None)
    cancelled = delivery(message())
    cancelled.future.cancel()

    assert [(len(group.deliveries), len(group.records)) for group in by_octets] == [(2, 1), (1, 1)]
    assert [len(group) for group in by_rows] == [GROUP_ROWS, 1]
    assert [(len(group.deliveries), len(group.records)) for group in divide([cancelled], rows, None)] == [
        (0, 1)
    ]


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """Mount a file system of four megabytes."""
    if os.geteuid() != 0:
        pytest.fail("this test mounts a small file system; run it as root: sudo make test")
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.slow
async def test_a_full_disk(tmp_path: Path) -> None:
    """Deliveries fail while the disk is full, none that was acknowledged is lost, and freeing space is enough."""
    warnings: list[str] = []
    with small_disk(tmp_path / "disk") as disk:
        async with opened(disk, warnings=warnings) as journal:
            first = await journal.deliver(message(1), session(1))
            with contextlib.suppress(OSError), (disk / "filler").open("wb", buffering=0) as filler:
                while filler.write(b"\0" * 4096):
                    pass
            with pytest.raises(JournalError, match="database or disk is full; free some space"):
                await journal.deliver(message(raw=b"x" * 200_000), session(2))
            (disk / "filler").unlink()
            second = await journal.deliver(message(3), None)

            assert [await journal.raw(number) for number in (first, second)] == [
                message(1).raw,
                message(3).raw,
            ]

            async def session_is_there() -> bool:
                return await journal.session(session_id(2)) is not None

            await eventually(session_is_there)
    assert len(warnings) == 2
