"""Senders that load a receiver, and what its journal must hold afterwards.

Each connection sends one message after another as fast as it is answered, by DATA and by BDAT.
What is refused with 452 is sent again over the same connection until it is taken, as any client
does; so every message has to be in the journal in the end, and once.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import sqlite3
from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from smtpd_anontls.journal.reader import JournalReader
from tests.peer import PATIENCE

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from smtpd_anontls.domain.records import Json

FULL = b"452 4.3.1 Insufficient system resources\r\n"
NOT_ACTIVE = b"421 4.3.2 Service not active\r\n"

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
    """So many connections, each with its messages; without a number they send until they are lost."""

    chance: random.Random
    name: str
    connections: int
    messages: int | None = None  # Of each connection.
    goes_on: bool = False  # Whether connections that have sent theirs send more.
    on_answer: Callable[[], None] = field(default=lambda: None)  # Called at every 250 and 452 to a message.
    offered: dict[str, Sent] = field(default_factory=dict)  # By subject.
    answered: dict[int, Sent] = field(default_factory=dict)  # By InternalId.
    refusals: int = 0
    waiting: int = 0  # Messages of which the last octet is sent and the answer has not come.

    async def run(self, address: tuple[str, int]) -> None:
        """Send, and return when every connection has sent all or has been lost."""
        async with asyncio.timeout(PATIENCE * 2), asyncio.TaskGroup() as senders:
            for number in range(self.connections):
                senders.create_task(self._send(address, number))

    async def _send(self, address: tuple[str, int], number: int) -> None:
        writer = None
        try:
            reader, writer = await asyncio.open_connection(*address)
            connection = _Connection(reader, writer)
            await connection.reply()
            await connection.ask(b"EHLO edge.test\r\n")
            for turn in count(1):
                if self.messages is not None and turn > self.messages and not self.goes_on:
                    break
                await self._message(connection, f"{self.name}-{number}-{turn}")
            assert await connection.ask(b"QUIT\r\n") == b"221 2.0.0 Service closing transmission channel\r\n"
        except (ConnectionError, asyncio.IncompleteReadError):
            if self.messages is not None:
                raise
        finally:
            if writer is not None:
                writer.close()

    async def _message(self, connection: _Connection, subject: str) -> None:
        message = self.offered[subject] = self._made(subject)
        by_chunks = self.chance.random() < 0.5
        while True:
            await connection.envelope(message)
            if by_chunks:
                await connection.send_chunks(self._pieces(message.raw))
            else:
                await connection.send_data(message.raw)
            self.waiting += 1
            try:
                reply = await connection.reply()
            finally:
                self.waiting -= 1
            if reply != FULL:
                break
            self.refusals += 1
            self.on_answer()
            # The session is as usable as before.
            assert await connection.ask(b"NOOP\r\n") == b"250 2.0.0 OK\r\n"
        queued = _QUEUED.fullmatch(reply)
        assert queued is not None, reply
        assert int(queued[1]) not in self.answered, "an InternalId was given twice"
        self.answered[int(queued[1])] = message
        self.on_answer()

    def _made(self, subject: str) -> Sent:
        body = b"".join(self.chance.choices(NASTY, k=12)) + self.chance.randbytes(
            self.chance.randint(0, 2000)
        )
        recipients = tuple(f"r{n}@{subject}.test" for n in range(self.chance.randint(1, 3)))
        sender = f"s@{subject}.test" if self.chance.random() < 0.9 else ""
        return Sent(sender, recipients, b"Subject: %b\r\n\r\n%b\r\n" % (subject.encode(), body))

    def _pieces(self, raw: bytes) -> list[bytes]:
        first, second = sorted(self.chance.choices(range(len(raw) + 1), k=2))
        return [raw[:first], raw[first:second], raw[second:]]


@dataclass(frozen=True, slots=True)
class _Connection:
    """One of the connections."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def reply(self) -> bytes:
        """Return the last line of the next reply; ConnectionError where the receiver stops."""
        while (line := await self.reader.readuntil(b"\r\n"))[3:4] == b"-":
            pass
        if line == NOT_ACTIVE:
            assert await self.reader.read() == b""
            raise ConnectionResetError("the receiver stops")
        return line

    async def ask(self, octets: bytes) -> bytes:
        """Send *octets* and return the last line of the reply."""
        self.writer.write(octets)
        return await self.reply()

    async def envelope(self, message: Sent) -> None:
        """Say from whom and for whom a message is, in one flight."""
        for_whom = "".join(f"RCPT TO:<{recipient}>\r\n" for recipient in message.recipients)
        self.writer.write(f"MAIL FROM:<{message.sender}>\r\n{for_whom}".encode())
        for _ in range(1 + len(message.recipients)):
            assert (await self.reply()).startswith(b"250 2.1.")

    async def send_data(self, raw: bytes) -> None:
        """Send a message by DATA, and all of it."""
        assert (await self.ask(b"DATA\r\n")).startswith(b"354 ")
        self.writer.write(stuffed(raw) + b".\r\n")
        await self.writer.drain()

    async def send_chunks(self, pieces: Sequence[bytes]) -> None:
        """Send a message by BDAT in one flight, and all of it; read the answers to all but the last chunk."""
        *first, last = pieces
        for piece in first:
            self.writer.write(b"BDAT %d\r\n%b" % (len(piece), piece))
        self.writer.write(b"BDAT %d LAST\r\n%b" % (len(last), last))
        await self.writer.drain()
        for piece in first:
            assert await self.reply() == b"250 2.0.0 %d octets received\r\n" % len(piece)


def stuffed(raw: bytes) -> bytes:
    """Return a message as DATA carries it (RFC 5321 section 4.5.2)."""
    return (b"\r\n" + raw).replace(b"\r\n.", b"\r\n..")[2:]


def compare(places: Iterable[Path], load: Load, *, since: int = 0) -> Counter[str]:
    """Hold what is in the journals at *places* behind the id *since* against what *load* sent.

    Every message that was answered with 250 is there under its id, and whatever is there is whole.
    Return how often each message is there, by subject.
    """
    found: dict[int, Json] = {}
    for place in places:
        rows = {number: row for number, row in listed(place).items() if number > since}
        assert not rows.keys() & found.keys(), "an InternalId was given twice"
        kept = bodies(place)
        for number, row in rows.items():
            message = load.answered.get(number) or load.offered[row["subject"]]
            assert kept[number] == message.raw
            assert (row["sender"], tuple(row["recipients"])) == (message.sender, message.recipients)
        found |= rows
    lost = load.answered.keys() - found.keys()
    assert not lost, f"answered with 250 and lost: {sorted(lost)}"
    return Counter(row["subject"] for row in found.values())


def listed(place: Path) -> dict[int, Json]:
    """Return the messages of the journal at *place* by their ids."""
    return {row["id"]: row for row in JournalReader(f"sqlite:///{place}").messages(limit=1_000_000)}


def bodies(place: Path) -> dict[int, bytes]:
    """Return the octets of all messages of the journal at *place*, read past our own reader."""
    with contextlib.closing(sqlite3.connect(f"file:{place}?mode=ro", uri=True)) as connection:
        return dict(connection.execute("SELECT message_id, raw FROM message_bodies"))
