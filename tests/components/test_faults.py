"""Mail answered with 250 is never lost, whatever happens to the disk, to the database or to one session.

``load`` says what a journal must hold after each fault; test_durability has SIGKILL.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from smtpd_anontls.journal.journal import JournalError, JournalReader
from tests.components.detour import Detour
from tests.components.journal_making import message, opened, session
from tests.components.load import Load, compare
from tests.lab import eventually
from tests.peer import PATIENCE, Peer
from tests.serving import served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence
    from pathlib import Path

    from smtpd_anontls.domain.records import MessageRecord, SessionRecord
    from smtpd_anontls.receiver import Receiver
    from tests.lab import Lab

CONNECTIONS = 60
MEGABYTE = 1024 * 1024
LOCAL_ERROR = "451 4.3.0 Requested action aborted: local error in processing"
NOT_ACTIVE = "421 4.3.2 Service not active"
GO_ON = "354 Start mail input; end with <CRLF>.<CRLF>"


def load_of(name: str, messages: int | None, connections: int = CONNECTIONS) -> Load:
    """Return a load that is the same in every run."""
    return Load(random.Random(name), name, connections, messages)  # noqa: S311 - it encrypts nothing


def journal_at(path: Path) -> JournalReader:
    """Return the journal in a file."""
    return JournalReader(f"sqlite:///{path}")


# -- the disk


@contextlib.contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """Mount a file system of so many megabytes."""
    if os.geteuid() != 0:
        pytest.fail("this test mounts a small file system; run it as root: sudo make test")
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.slow
async def test_a_disk_that_mail_fills(lab: Lab, tmp_path: Path) -> None:
    """While it is full mail gets 452; once there is space the same connections send all of it, each message once."""
    load = load_of("full", messages=8)
    with small_disk(tmp_path / "disk", 16) as disk:
        database, filler = disk / "capture.db", disk / "filler"
        filler.write_bytes(b"\0" * (13 * MEGABYTE))
        config = lab.write(settings={"capture": {"url": f"sqlite:///{database}"}})

        def free_some() -> None:
            if load.refusals >= 3 * CONNECTIONS:
                filler.unlink(missing_ok=True)

        load.on_answer = free_some
        async with served(config) as server:
            await load.run(server.address)

        assert load.refusals >= 3 * CONNECTIONS
        assert compare([database], load) == Counter(dict.fromkeys(load.offered, 1))
    assert len(load.offered) == 8 * CONNECTIONS
    await server.says(r"capture\.db: cannot be written, and mail is not accepted: .*; free some space$")
    await server.says(r"capture\.db: is written again$")


@pytest.mark.slow
async def test_a_full_disk_that_is_cleaned_up(tmp_path: Path) -> None:
    """A journal that was removed does not keep its space: mail goes on in a new one, and so do its ids."""
    warnings: list[str] = []
    with small_disk(tmp_path / "disk", 4) as disk:
        async with opened(disk, warnings=warnings) as journal:
            answers = await asyncio.gather(
                *(journal.deliver(message(raw=b"x" * 1_000_000), session(number)) for number in range(9)),
                return_exceptions=True,
            )
            ids = [each for each in answers if isinstance(each, int)]
            for path in disk.iterdir():
                path.unlink()
            ids.append(await journal.deliver(message(), session()))

    assert ids == list(range(1, len(ids) + 1))
    assert "database or disk is full; free some space" in warnings[0]


# -- the database


_LOCKER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=20)
connection.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
"""


@contextlib.asynccontextmanager
async def locking(database: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Let another program hold the lock of *database* until the block ends, and yield its process."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _LOCKER, str(database)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        assert await process.stdout.readline() == b"locked\n"
        yield process
    finally:
        process.kill()
        await process.communicate()


@pytest.mark.slow
async def test_a_lock_that_a_stopped_program_holds(lab: Lab) -> None:
    """Past the busy time-out mail gets 452; once the lock is gone all of it is taken, each message once."""
    lab.write()
    load = load_of("locked", messages=1)
    load.goes_on = True
    async with served(lab.config) as server, asyncio.TaskGroup() as tasks, asyncio.timeout(PATIENCE):
        sending = tasks.create_task(load.run(server.address))
        await eventually(lambda: len(load.answered) >= CONNECTIONS)
        async with locking(lab.database) as locker:
            locker.send_signal(signal.SIGSTOP)
            before = len(load.answered)
            await eventually(lambda: load.refusals > 0)
            answered_while_locked = len(load.answered) - before
            locker.send_signal(signal.SIGCONT)
        load.goes_on = False
        await sending

    # What was committed just before may have been answered just behind.
    assert answered_while_locked <= CONNECTIONS
    assert compare([lab.database], load) == Counter(dict.fromkeys(load.offered, 1))
    await server.says("database is locked; another program holds its lock$")
    await server.says(r"capture\.db: is written again$")


def move(database: Path) -> list[Path]:
    """Move the database as who rotates a log does, and return where mail may be: its log stays behind."""
    old = database.with_name("old.db")
    database.rename(old)
    return [old, database]


def move_all(database: Path) -> list[Path]:
    """Move the database with its log."""
    folder = database.with_name("old")
    folder.mkdir()
    for path in sorted(database.parent.glob("capture.db*")):
        path.rename(folder / path.name)
    return [folder / database.name, database]


def remove_log(database: Path) -> list[Path]:
    """Remove the log, as who cleans up what looks temporary."""
    for suffix in ("-wal", "-shm"):
        database.with_name(database.name + suffix).unlink()
    return [database]


@pytest.mark.slow
@pytest.mark.parametrize("tamper", [move, remove_log])
async def test_files_that_vanish_under_load(lab: Lab, tamper: Callable[[Path], list[Path]]) -> None:
    """Every message is there after SIGKILL, where the database went or where it was made anew; ids go on."""
    lab.write()
    load = load_of("moved", messages=None)
    places: list[Path] = []
    last = 0
    async with served(lab.config) as server:

        def look() -> None:
            nonlocal last
            if not places and len(load.answered) >= 3 * CONNECTIONS:
                places.extend(tamper(lab.database))
                last = len(load.answered)
            if places and len(load.answered) >= last + 3 * CONNECTIONS:
                server.process.send_signal(signal.SIGKILL)

        load.on_answer = look
        await load.run(server.address)
        await server.process.wait()

    # What was answered with 452 may be in both.
    assert max(compare(places, load).values()) <= 2
    assert load.answered


@pytest.mark.parametrize("tamper", [move, move_all, remove_log])
@pytest.mark.parametrize("more", [1, 0])
async def test_files_that_vanish(tmp_path: Path, tamper: Callable[[Path], list[Path]], more: int) -> None:
    """What was acknowledged before is where the database went, whether there is mail after it or not."""
    warnings: list[str] = []
    async with opened(tmp_path, warnings=warnings) as journal:
        ids = [await journal.deliver(message(number), session(number)) for number in range(3)]
        places = tamper(tmp_path / "capture.db")
        ids.extend([await journal.deliver(message(3), session(3)) for _ in range(more)])

    found = [row["id"] for place in places if place.exists() for row in journal_at(place).messages()]
    assert sorted(found) == ids == list(range(1, len(ids) + 1))
    assert len(warnings) == more


async def test_a_database_that_is_put_in_place_of_another(tmp_path: Path) -> None:
    """It is used from then on, nothing of the other gets into it, and no id is given twice."""
    warnings: list[str] = []
    backup, database = tmp_path / "backup.db", tmp_path / "capture.db"
    async with opened(tmp_path, warnings=warnings) as journal:
        await journal.deliver(message(1), session(1))
        with (
            contextlib.closing(sqlite3.connect(database)) as source,
            contextlib.closing(sqlite3.connect(backup)) as copy,
        ):
            source.backup(copy)
        for number in range(2, 100):
            await journal.deliver(message(number), session(number))
        backup.replace(database)

        assert await journal.deliver(message(100), session(100)) == 100
        assert [row["id"] for row in await journal.messages()] == [100, 1]
    assert warnings == [f"journal {database}: was replaced while it was in use; what is there now is used"]


async def test_a_reader_that_holds_the_log_of_a_moved_database(tmp_path: Path) -> None:
    """Mail is refused until what was acknowledged is out of the log that a new database would end."""
    warnings: list[str] = []
    database = tmp_path / "capture.db"
    async with opened(tmp_path, warnings=warnings, patience=0.05) as journal:
        await journal.deliver(message(1), session(1))
        with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM messages").fetchone()
            await journal.deliver(message(2), session(2))
            old, _ = move(database)
            with pytest.raises(JournalError, match="was moved, and a reader holds its log"):
                await journal.deliver(message(3), session(3))

        assert await journal.deliver(message(4), session(4)) == 3
    assert [row["id"] for row in journal_at(old).messages()] == [2, 1]
    assert [row["id"] for row in journal_at(database).messages()] == [3]


async def test_a_log_without_its_database(tmp_path: Path) -> None:
    """A start makes no database beside a log that may hold mail, since that would end the log."""
    async with opened(tmp_path) as journal:
        await journal.deliver(message(1), session(1))
        left = (tmp_path / "capture.db-wal").read_bytes()
    (tmp_path / "capture.db").unlink()
    (tmp_path / "capture.db-wal").write_bytes(left)

    with pytest.raises(JournalError, match=r"capture\.db-wal: may hold mail of a database that is no longer"):
        async with opened(tmp_path):
            pass
    assert (tmp_path / "capture.db-wal").read_bytes() == left
    assert not (tmp_path / "capture.db").exists()


# -- the end


@pytest.mark.slow
async def test_sigterm_under_load(lab: Lab) -> None:
    """Messages under way are taken, connections end behind them, and every 250 is kept, once."""
    lab.write()
    load = load_of("sigterm", messages=None)
    async with served(lab.config) as server:

        def end() -> None:
            if len(load.answered) == 5 * CONNECTIONS:
                server.process.send_signal(signal.SIGTERM)

        load.on_answer = end
        await load.run(server.address)
        code = await server.process.wait()

    assert code == 0
    kept = compare([lab.database], load)
    assert kept == Counter(dict.fromkeys((subject_of(each.raw) for each in load.answered.values()), 1))


def subject_of(raw: bytes) -> str:
    """Return the subject of a message of a load."""
    return raw.partition(b"\r\n")[0].removeprefix(b"Subject: ").decode()


@pytest.mark.slow
async def test_sigterm_waits_for_transactions(lab: Lab) -> None:
    """Idle sessions go at once, open transactions are finished, and one that never ends is cut after a while."""
    lab.write()
    async with served(lab.config) as server, contextlib.AsyncExitStack() as peers:
        idle, after_ehlo, in_mail, in_data, in_bdat, never = [
            await peers.enter_async_context(await Peer.connect(server.address)) for _ in range(6)
        ]
        await idle.reply()
        await begun(after_ehlo)
        await begun(in_mail, "MAIL FROM:<mail@edge.test>")
        for peer, sender in ((in_data, "data"), (in_bdat, "bdat"), (never, "never")):
            await begun(peer, f"MAIL FROM:<{sender}@edge.test>", "RCPT TO:<b@lab.test>")
        for peer in (in_data, never):
            assert await peer.ask("DATA") == [GO_ON]
            await peer.send(b"half ")
        await in_bdat.send(b"BDAT 5\r\nhalf ")
        assert await in_bdat.reply() == ["250 2.0.0 5 octets received"]
        server.process.send_signal(signal.SIGTERM)

        assert await idle.rest() == [NOT_ACTIVE]
        assert await after_ehlo.rest() == [NOT_ACTIVE]
        with pytest.raises(ConnectionRefusedError):
            await Peer.connect(server.address)
        await in_data.send(b"and the other\r\n.\r\n")
        await in_bdat.send(b"BDAT 11 LAST\r\nand another")
        answers = [await peer.rest() for peer in (in_data, in_bdat)]
        await in_mail.send(b"RSET\r\n")
        gave_up = await in_mail.rest()
        cut = await never.rest()
        code = await server.process.wait()

    assert code == 0
    for taken, then in answers:
        assert taken.startswith("250 2.6.0 ")
        assert then == NOT_ACTIVE
    assert gave_up == ["250 2.0.0 Resetting", NOT_ACTIVE]
    assert cut == [NOT_ACTIVE]
    journal = journal_at(lab.database)
    assert {row["sender"]: journal.raw(row["id"]) for row in journal.messages()} == {
        "data@edge.test": b"half and the other\r\n",
        "bdat@edge.test": b"half and another",
    }
    assert {row["outcome"] for row in journal.sessions()} == {"shut_down"}


async def begun(peer: Peer, *commands: str) -> None:
    """Let *peer* say hello and *commands*, which are all taken."""
    await peer.reply()
    for command in ("EHLO edge.test", *commands):
        assert (await peer.ask(command))[0].startswith("250")


# -- one session


class Stumbling(Detour):
    """A house that fails whoever sends from STUMBLES, and refuses nobody else."""

    STUMBLES = "stumbles@edge.test"

    def __init__(self, receiver: Receiver) -> None:
        super().__init__(receiver)
        self.may_deliver.set()

    async def deliver(self, message: MessageRecord, session: SessionRecord | None) -> int:
        """Fail, or deliver."""
        if message.sender == self.STUMBLES:
            raise ZeroDivisionError("private text")
        return await super().deliver(message, session)


@pytest.mark.slow
async def test_a_fault_stays_in_its_session(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    """It gets 451 for each of its messages and goes on; beside it everybody's mail is taken, each message once."""
    load = load_of("beside", messages=5, connections=50)
    async with lab.receiver() as receiver:
        house = Stumbling(receiver)
        async with house.listening() as address, await Peer.connect(address) as peer:
            await begun(peer)
            sending = asyncio.create_task(load.run(address))
            heard: list[Sequence[str]] = []
            while not sending.done():
                await peer.ask(f"MAIL FROM:<{house.STUMBLES}>")
                await peer.ask("RCPT TO:<b@lab.test>")
                await peer.send(b"BDAT 4 LAST\r\nlost")
                heard.append(await peer.reply())
            await sending
            assert await peer.ask("NOOP") == ["250 2.0.0 OK"]
            await peer.ask("QUIT")
        await receiver.journal.flush()
        kept = compare([lab.database], load)

    assert {tuple(each) for each in heard} == {(LOCAL_ERROR,)}
    assert kept == Counter(dict.fromkeys(load.offered, 1))
    assert len(caplog.records) == len(heard)
