"""A 250 means that the message is on the disk: under SIGKILL, and in the order of the system calls."""

from __future__ import annotations

import asyncio
import random
import re
import shutil
import signal
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from smtpd_anontls.journal.reader import JournalReader
from tests.peer import PATIENCE, Peer
from tests.serving import served

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from smtpd_anontls.domain.records import Json
    from tests.lab import Lab

CONNECTIONS = 250
ROUNDS = 10
IN_FLIGHT = 100
_QUEUED = re.compile(
    rb"250 2\.6\.0 .*\[InternalId=(\d+), Hostname=mx1\.lab\.test\] Queued mail for delivery\r\n"
)

# What mail is not supposed to hold, and does.
NASTY = (
    b"\0",
    b"\r",
    b"\n",
    b"\r\n",
    b".",
    b"\r\n.\r\n",
    b"\r\n..\r\n",
    b"\n.\n",
    b"\n.\r\n",
    b"\r.\r",
    b"\r\n.\n",
    b"\r\r\n.\r\n",
    b"\r\nQUIT\r\n",
    b"\xff\xfe",
    "\N{SNOWMAN}".encode(),
    b"\x1a",
    b"x" * 15_000,
)


@dataclass(frozen=True, slots=True)
class Sent:
    """A message as a sender has it."""

    sender: str
    recipients: tuple[str, ...]
    raw: bytes = field(repr=False)


@dataclass
class Load:
    """Many connections that send as fast as they are answered, until the server is killed.

    That happens at answer number *due*, or as soon after it as enough messages are under way.
    """

    process: asyncio.subprocess.Process
    due: int
    chance: random.Random
    name: str
    offered: dict[str, Sent] = field(default_factory=dict)  # By subject.
    answered: dict[int, Sent] = field(default_factory=dict)  # By InternalId.
    waiting: int = 0  # Messages of which the last octet is sent and the 250 has not come.
    waiting_at_the_kill: int = 0

    async def run(self, address: tuple[str, int]) -> None:
        """Send until every connection has been lost."""
        async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as senders:
            for number in range(CONNECTIONS):
                senders.create_task(self._send(address, number))

    async def _send(self, address: tuple[str, int], number: int) -> None:
        try:
            reader, writer = await asyncio.open_connection(*address)
        except ConnectionError:
            return
        try:
            await reader.readuntil(b"\r\n")
            writer.write(b"EHLO edge.test\r\n")
            while (await reader.readuntil(b"\r\n")).startswith(b"250-"):
                pass
            count = 0
            while True:
                count += 1
                await self._message(reader, writer, f"{self.name}-{number}-{count}")
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _message(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, subject: str
    ) -> None:
        message = self.offered[subject] = self._made(subject)
        for_whom = "".join(f"RCPT TO:<{recipient}>\r\n" for recipient in message.recipients)
        writer.write(f"MAIL FROM:<{message.sender}>\r\n{for_whom}DATA\r\n".encode())
        for _ in range(1 + len(message.recipients)):
            assert (await reader.readuntil(b"\r\n")).startswith(b"250 2.1.")
        assert (await reader.readuntil(b"\r\n")).startswith(b"354 ")
        writer.write(stuffed(message.raw) + b".\r\n")
        await writer.drain()
        self.waiting += 1
        try:
            reply = await reader.readuntil(b"\r\n")
        finally:
            self.waiting -= 1
        queued = _QUEUED.fullmatch(reply)
        assert queued is not None, reply
        assert int(queued[1]) not in self.answered
        self.answered[int(queued[1])] = message
        if not self.waiting_at_the_kill and len(self.answered) >= self.due and self.waiting > IN_FLIGHT:
            self.waiting_at_the_kill = self.waiting
            self.process.send_signal(signal.SIGKILL)

    def _made(self, subject: str) -> Sent:
        body = b"".join(self.chance.choices(NASTY, k=12)) + self.chance.randbytes(
            self.chance.randint(0, 2000)
        )
        recipients = tuple(f"r{n}@{subject}.test" for n in range(self.chance.randint(1, 3)))
        sender = f"s@{subject}.test" if self.chance.random() < 0.9 else ""
        return Sent(sender, recipients, b"Subject: %b\r\n\r\n%b\r\n" % (subject.encode(), body))


def stuffed(raw: bytes) -> bytes:
    """Return a message as DATA carries it (RFC 5321 section 4.5.2)."""
    return (b"\r\n" + raw).replace(b"\r\n.", b"\r\n..")[2:]


@pytest.mark.slow
async def test_every_answered_message_survives_a_kill(lab: Lab) -> None:
    """Killed ten times with more than 100 messages in flight, the journal has every message answered with 250."""
    lab.write()
    chance = random.Random(20_261_122)  # noqa: S311 - the same moments in every run
    journal = JournalReader(f"sqlite:///{lab.database}")
    highest = 0
    for turn in range(ROUNDS):
        async with served(lab.config) as server:
            load = Load(server.process, chance.randint(1, 400), chance, f"turn{turn}")
            await load.run(server.address)
            assert await server.process.wait() == -signal.SIGKILL

        assert load.waiting_at_the_kill > IN_FLIGHT
        assert len(load.answered) >= load.due
        assert min(load.answered) > highest, "an InternalId was given twice"
        highest = compare(journal, load, since=highest)


def compare(journal: JournalReader, load: Load, *, since: int) -> int:
    """Hold what is in the journal against what *load* sent; return the highest id."""
    rows: dict[int, Json] = {row["id"]: row for row in journal.messages(limit=1_000_000) if row["id"] > since}
    lost = load.answered.keys() - rows.keys()
    assert not lost, f"answered with 250 and lost: {sorted(lost)}"

    # Those that were not answered may be there too; then they are whole, and there once.
    for number, row in rows.items():
        message = load.answered.get(number) or load.offered[row["subject"]]
        assert journal.raw(number) == message.raw
        assert (row["sender"], tuple(row["recipients"])) == (message.sender, message.recipients)
    subjects = Counter(row["subject"] for row in rows.values())
    assert max(subjects.values()) == 1

    # The session of each is there with it.
    sessions = {row["id"] for row in journal.sessions(limit=1_000_000)}
    assert {row["session_id"] for row in rows.values()} <= sessions
    return max(rows)


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
    found = [
        call for call in made if call.name in names and text in call.text and "capture.db" not in call.text
    ]
    assert len(found) == 1, found
    return found[0]
