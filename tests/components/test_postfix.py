"""Mail of a real mail server, Postfix, over many connections: none lost, none changed, none twice."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import signal
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tests.components.load import bodies, listed
from tests.lab import eventually
from tests.postfix import CLEAR, SECURE, Postfix, running
from tests.serving import served

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.lab import Lab

SUBMITTERS = 6
# Connections that Postfix opens at a time, in clear and under STARTTLS together, unless it is told otherwise.
UNDER_WAY = 2 * 20
# RFC 5321 section 4.5.3.1.6: the longest line, without its CRLF.
LONGEST = 998
# What a line may hold in DATA.
OCTETS = bytes(octet for octet in range(1, 256) if octet not in b"\r\n")


@dataclass(frozen=True, slots=True)
class Mail:
    """A message as Postfix is given it."""

    number: int
    recipients: tuple[str, ...]
    body: bytes = field(repr=False)

    @property
    def content(self) -> bytes:
        """The message; with these fields in it Postfix adds only its own Received."""
        head = (
            f"X-Number: {self.number}\r\nFrom: <s{self.number}@edge.test>\r\n"
            f"Date: Sun, 22 Nov 2026 12:00:00 +0000\r\nMessage-ID: <{self.number}@edge.test>\r\n\r\n"
        )
        return head.encode() + self.body


def mails(count: int) -> list[Mail]:
    """Return so many messages, half of them for STARTTLS: most are small, the largest has two megabytes."""
    chance = random.Random(count)  # noqa: S311 - it encrypts nothing
    sizes = [1, LONGEST, 2_000_000, 1_000_000, *[100_000] * (count // 50)]
    sizes += [chance.randint(0, 6000) for _ in range(count - len(sizes))]
    chance.shuffle(sizes)
    made = []
    for number, size in enumerate(sizes):
        domain = (CLEAR, SECURE)[number % 2]
        recipients = tuple(f"r{index}@{domain}" for index in range(chance.choice((1, 1, 1, 2, 3))))
        made.append(Mail(number, recipients, body_of(size, chance)))
    return made


def body_of(size: int, chance: random.Random) -> bytes:
    """Return lines of eight-bit octets with *size* octets in them, dots where dots are special."""
    octets = bytes(chance.choices(OCTETS, k=min(size, 10_000)))
    octets = (octets * (size // max(len(octets), 1) + 1))[:size]
    lines = []
    while octets:
        length = chance.choice((1, 76, 500, LONGEST))
        lines.append(octets[:length])
        octets = octets[length:]
        if chance.random() < 0.2:
            lines.append(chance.choice((b".", b"..", b".QUIT", b"", b" ")))
    return b"".join(line + b"\r\n" for line in lines)


def submit(postfix: Postfix, made: Sequence[Mail]) -> None:
    """Give *made* to Postfix over one connection."""
    with postfix.connection() as connection:
        for mail in made:
            assert not connection.sendmail(f"s{mail.number}@edge.test", mail.recipients, mail.content)


async def submit_all(postfix: Postfix, made: Sequence[Mail]) -> None:
    """Give *made* to Postfix over some connections at a time."""
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(SUBMITTERS) as threads:
        shares = [made[start::SUBMITTERS] for start in range(SUBMITTERS)]
        await asyncio.gather(*(loop.run_in_executor(threads, submit, postfix, share) for share in shares))


def check(postfix: Postfix, journal: Path, made: Sequence[Mail]) -> Counter[int]:
    """Hold the journal against what Postfix was given; return how often it has each message."""
    rows, kept = listed(journal), bodies(journal)
    lost = postfix.acknowledged - rows.keys()
    assert not lost, f"answered with 250 and lost: {sorted(lost)}"
    numbers = []
    for message_id, row in rows.items():
        head, _, body = kept[message_id].partition(b"\r\n\r\n")
        found = re.search(rb"(?m)^X-Number: (\d+)\r$", head)
        assert found, f"Postfix sent something of its own: {head!r}"
        mail = made[int(found[1])]
        assert body == mail.body
        assert (row["sender"], tuple(row["recipients"])) == (f"s{mail.number}@edge.test", mail.recipients)
        assert row["verb"] == ("STARTTLS" if mail.recipients[0].endswith(SECURE) else None)
        numbers.append(mail.number)
    return Counter(numbers)


async def delivered(postfix: Postfix) -> None:
    """Wait until Postfix has nothing left."""
    async with asyncio.timeout(60):
        while postfix.queued():  # noqa: ASYNC110 - another program's folders tell nobody
            await asyncio.sleep(0.05)


@pytest.mark.slow
async def test_a_thousand_messages(lab: Lab) -> None:
    """In clear and under STARTTLS, over many connections at a time: each arrives once, as it was."""
    made = mails(1000)
    async with served(lab.write()) as server:
        with running(server.address[1]) as postfix:
            await submit_all(postfix, made)
            await delivered(postfix)
            found = check(postfix, lab.database, made)

    assert found == Counter(range(1000))


@pytest.mark.slow
async def test_a_receiver_that_is_killed_meanwhile(lab: Lab) -> None:
    """What Postfix was told is taken is there, the rest comes again: what was under way may be there twice."""
    made = mails(150)
    async with served(lab.write()) as server, contextlib.AsyncExitStack() as stack:
        port = server.address[1]
        postfix = stack.enter_context(running(port))
        submitting = asyncio.create_task(submit_all(postfix, made))
        await eventually(lambda: len(postfix.acknowledged) > 20)
        server.process.send_signal(signal.SIGKILL)
        await server.process.wait()
        taken_before = postfix.acknowledged
        await stack.enter_async_context(served(lab.write(connector={"bindings": [f"127.0.0.1:{port}"]})))
        await submitting
        await delivered(postfix)
        found = check(postfix, lab.database, made)

    assert len(taken_before) < len(made)
    assert found.keys() == set(range(150))
    assert found.total() - 150 <= UNDER_WAY
