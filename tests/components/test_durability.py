"""A 250 means that the message is on the disk: under SIGKILL, and in the order of the system calls."""

from __future__ import annotations

import asyncio
import random
import re
import shutil
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from smtpd_anontls.journal.reader import JournalReader
from tests.components.load import Load, compare
from tests.peer import PATIENCE, Peer
from tests.serving import served

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.lab import Lab

CONNECTIONS = 250
ROUNDS = 10
IN_FLIGHT = 100


@dataclass
class Kill:
    """SIGKILL at answer number *due* of a load, or as soon after it as enough messages are under way."""

    process: asyncio.subprocess.Process
    load: Load
    due: int
    waiting: int = 0  # Messages under way when it came.

    def __call__(self) -> None:
        """Look whether it is time."""
        if not self.waiting and len(self.load.answered) >= self.due and self.load.waiting > IN_FLIGHT:
            self.waiting = self.load.waiting
            self.process.send_signal(signal.SIGKILL)


@pytest.mark.slow
async def test_every_answered_message_survives_a_kill(lab: Lab) -> None:
    """Killed ten times with more than 100 messages in flight, the journal has every message answered with 250."""
    lab.write()
    chance = random.Random(20_261_122)  # noqa: S311 - the same moments in every run
    journal = JournalReader(f"sqlite:///{lab.database}")
    highest = 0
    for turn in range(ROUNDS):
        load = Load(chance, f"turn{turn}", CONNECTIONS)
        async with served(lab.config) as server:
            kill = Kill(server.process, load, due=chance.randint(1, 400))
            load.on_answer = kill
            await load.run(server.address)
            assert await server.process.wait() == -signal.SIGKILL

        assert kill.waiting > IN_FLIGHT
        assert min(load.answered) > highest, "an InternalId was given twice"
        # Those that were not answered may be there too; then they are whole, and there once.
        assert max(compare([lab.database], load, since=highest).values()) == 1
        highest = max(row["id"] for row in journal.messages(limit=1))
        sessions = {row["id"] for row in journal.sessions(limit=1_000_000)}
        assert {row["session_id"] for row in journal.messages(limit=1_000_000)} <= sessions


# -- the order of the system calls


@dataclass(frozen=True, slots=True)
class Call:
    """A system call: its name, its arguments as strace shows them, and where it began and returned."""

    name: str
    text: str
    began: int
    returned: int


_WHOLE = re.compile(r"(?P<pid>\d+) +(?P<name>\w+)\((?P<rest>.*)")
_RESUMED = re.compile(r"(?P<pid>\d+) +<\.\.\. (?P<name>\w+) resumed>(?P<rest>.*)")
_UNFINISHED = " <unfinished ...>"


def calls(lines: Iterable[str]) -> list[Call]:
    """Return the calls that returned; one that another thread interrupted is put together from its halves."""
    found: list[Call] = []
    begun: dict[str, tuple[int, str, str]] = {}
    for number, line in enumerate(lines):
        if resumed := _RESUMED.fullmatch(line):
            began, name, text = begun.pop(resumed["pid"])
            assert name == resumed["name"]
            found.append(Call(name, text + resumed["rest"], began, number))
        elif whole := _WHOLE.fullmatch(line):
            if whole["rest"].endswith(_UNFINISHED):
                begun[whole["pid"]] = number, whole["name"], whole["rest"].removesuffix(_UNFINISHED)
            else:
                found.append(Call(whole["name"], whole["rest"], number, number))
    return found


def test_halves_of_a_system_call_are_put_together() -> None:
    """A call that strace shows in two lines began at the first and returned at the second."""
    lines = [
        "7 fdatasync(5</j-wal> <unfinished ...>",
        '8 recvfrom(9<socket:[1]>, "QUIT", 4, 0, NULL, NULL) = 4',
        "7 <... fdatasync resumed>) = 0",
        "7 +++ exited with 0 +++",
    ]

    assert calls(lines) == [
        Call("recvfrom", '9<socket:[1]>, "QUIT", 4, 0, NULL, NULL) = 4', 1, 1),
        Call("fdatasync", "5</j-wal>) = 0", 0, 2),
    ]


@pytest.mark.slow
async def test_the_sync_returns_before_the_answer_is_sent(lab: Lab, tmp_path: Path) -> None:
    """The message is written and synced after its last octet was read, and before its 250 is sent."""
    assert shutil.which("strace"), "strace is missing; run: apt-get install strace"
    lab.write()
    trace = tmp_path / "trace"
    names = "trace=read,readv,recvfrom,recvmsg,write,writev,sendto,sendmsg,pwrite64,pwritev,fsync,fdatasync"
    # -D: the server is our child, strace its; -y: names of files; -s: whole pages.
    strace = ("strace", "-D", "-f", "-y", "-s", "8192", "-e", names, "-o", str(trace))
    async with served(lab.config, before=strace) as server, await Peer.connect(server.address) as peer:
        await peer.reply()
        for command in ("EHLO edge.test", "MAIL FROM:<a@edge.test>", "RCPT TO:<b@lab.test>", "DATA"):
            await peer.ask(command)
        await peer.send(b"Subject: first octets\r\n\r\nbody\r\n")
        answer = await peer.ask("the very last octets\r\n.")
        await peer.ask("QUIT")
    assert answer[0].startswith("250 2.6.0 ")

    async with asyncio.timeout(PATIENCE):
        while not re.search(rf"^{server.process.pid} +\+\+\+ exited", trace.read_text(), re.MULTILINE):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    made = calls(trace.read_text().splitlines())
    read = only(made, {"read", "recvfrom", "recvmsg", "readv"}, "the very last octets")
    sent = only(made, {"write", "sendto", "sendmsg", "writev"}, '"250 2.6.0 ')
    wal = f"<{lab.database}-wal>"
    written = [
        call
        for call in made
        if call.name in {"pwrite64", "write", "pwritev", "writev"}
        and wal in call.text
        and "very last" in call.text
    ]
    syncs = [call for call in made if call.name in {"fsync", "fdatasync"} and wal in call.text]

    assert written
    assert all(read.returned < call.began for call in written)
    assert any(
        max(call.returned for call in written) < sync.began
        and sync.returned < sent.began
        and sync.text.endswith("= 0")
        for sync in syncs
    ), (read, written, syncs, sent)


def only(made: list[Call], names: set[str], text: str) -> Call:
    """Return the one call of *names* on a socket with *text* in it."""
    # The protocol log and the journal have the same words, in files.
    found = [
        call
        for call in made
        if call.name in names and text in call.text and re.match(r"\d+<socket:", call.text)
    ]
    assert len(found) == 1, found
    return found[0]
