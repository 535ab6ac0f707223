"""Several receivers on one PostgreSQL behind HAProxy, with the haproxy.cfg of the Compose profile ``scale``."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from smtpd_anontls.domain.filters import Filter
from smtpd_anontls.journal.reader import JournalReader
from tests.command import run
from tests.crew import comes
from tests.haproxy import balancing
from tests.peer import Peer
from tests.serving import served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from tests.haproxy import Balancer
    from tests.lab import Lab
    from tests.postgres import Postgres
    from tests.serving import Served

pytestmark = pytest.mark.slow

# Where senders come from; HAProxy itself comes from 127.0.0.1.
SENDER = "127.0.0.9"
SENDERS = 6
MESSAGES = 25  # Of each.
A_CONNECTION = 4  # Messages over each connection.
ALL = SENDERS * MESSAGES

_ID = re.compile(r"250 2\.6\.0 .*\[InternalId=(\d+),")


@dataclass(frozen=True)
class Cluster:
    """Two receivers, what is in front of them and what is behind them."""

    receivers: tuple[Served, Served]
    balancer: Balancer
    url: str  # Of the journal.

    @property
    def journal(self) -> JournalReader:
        """The journal, read by nobody's receiver."""
        return JournalReader(self.url)


@asynccontextmanager
async def cluster(lab: Lab, postgres: Postgres) -> AsyncIterator[Cluster]:
    """Run two receivers, whose banners tell them apart, behind HAProxy."""
    url = postgres.create()
    lab.write(
        connector={"proxy_protocol": True, "trusted_proxies": ["127.0.0.1"]},
        settings={"capture": {"url": url}, "event_log": {"format": "jsonl", "path": "-"}},
    )
    banner = "servers[0].connectors[0].banner=220 {}"
    async with (
        served(lab.config, "--set", banner.format("one"), has_page=True) as one,
        served(lab.config, "--set", banner.format("two"), has_page=True) as two,
        balancing((one, two)) as balancer,
    ):
        # The third place of the file is empty, and HAProxy has seen so.
        await comes(balancer.heard, lambda lines: any("receiver-3 is DOWN" in line for line in lines))
        yield Cluster((one, two), balancer, url)
    for each in (one, two):
        assert not [line for line in each.stderr if "Traceback" in line], each.stderr


@dataclass
class Senders:
    """Senders that try again until a message is taken, as mail servers do."""

    address: tuple[str, int]
    on_answer: Callable[[], None] = field(default=lambda: None)  # Called at every 250 to a message.
    acknowledged: dict[int, str] = field(default_factory=dict)  # Subjects by InternalId.
    banners: list[str] = field(default_factory=list)  # In the order of the connections.
    lost: int = 0  # Connections that ended under a message, or before.

    async def run(self) -> None:
        """Send, and return when everything has been taken."""
        async with asyncio.TaskGroup() as group:
            for number in range(SENDERS):
                group.create_task(self._send(f"{number}", (f"{number}-{turn}" for turn in range(MESSAGES))))

    async def _send(self, name: str, subjects: Iterator[str]) -> None:
        subject = next(subjects, None)
        while subject is not None:
            try:
                async with await Peer.connect(self.address, source=SENDER) as peer:
                    await self._greet(peer, name)
                    for _ in range(A_CONNECTION):
                        if subject is not None:
                            await self._message(peer, subject)
                            subject = next(subjects, None)
                    await peer.ask("QUIT")
            except (ConnectionError, EndedError):
                self.lost += 1

    async def _greet(self, peer: Peer, name: str) -> None:
        (banner,) = await peer.reply() or raise_ended()
        self.banners.append(banner)
        said = await ask(peer, f"EHLO edge{name}.lab.test", "250")
        assert said[0] == f"250-mx1.lab.test Hello [{SENDER}]"
        if name == "0":
            await ask(peer, "X-ANONYMOUSTLS", "220")
            try:
                await peer.upgrade()
            except OSError:
                raise_ended()
            await ask(peer, f"EHLO edge{name}.lab.test", "250")

    async def _message(self, peer: Peer, subject: str) -> None:
        await ask(peer, "MAIL FROM:<a@lab.test>", "250")
        await ask(peer, "RCPT TO:<b@lab.test>", "250")
        await ask(peer, "DATA", "354")
        await peer.send(f"Subject: {subject}\r\n\r\nBody of {subject}\r\n.\r\n".encode())
        said = await peer.reply() or raise_ended()
        queued = _ID.match(said[0])
        assert queued is not None, said
        assert int(queued[1]) not in self.acknowledged, "an InternalId was given twice"
        self.acknowledged[int(queued[1])] = subject
        self.on_answer()


class EndedError(Exception):
    """The connection has ended."""


def raise_ended() -> list[str]:
    """Raise it."""
    raise EndedError


async def ask(peer: Peer, command: str, wanted: str) -> list[str]:
    """Send a command, expect the code *wanted*, and return the reply."""
    said = await peer.ask(command) or raise_ended()
    assert said[-1].startswith(f"{wanted} "), said
    return said


async def test_a_receiver_is_killed_under_load(lab: Lab, postgres: Postgres) -> None:
    """Nothing that was answered 250 is lost, retries land on the other one, and that sees what either took."""
    async with cluster(lab, postgres) as running:
        doomed, survivor = running.receivers
        senders = Senders(running.balancer.address)

        def kill_one() -> None:
            if len(senders.acknowledged) == ALL // 3:
                doomed.process.kill()

        senders.on_answer = kill_one
        waiting = asyncio.create_task(survivor.ask(f"messages/wait?count={ALL}&timeout=60"))
        async with asyncio.timeout(60):
            await senders.run()
        found = (await waiting)["items"]
        listed = {each["id"]: each for each in running.journal.messages(limit=10 * ALL)}
        raw = {number: running.journal.raw(number) for number in senders.acknowledged}
        sessions = [running.journal.session(each) for each in {row["session_id"] for row in listed.values()}]
        by_command = await asyncio.to_thread(
            run, "message", "wait", "--url", survivor.page, "--count", str(ALL), "--json"
        )

    assert len(senders.acknowledged) == ALL
    assert {n: listed[n]["subject"] for n in senders.acknowledged} == senders.acknowledged
    assert all(
        f"Body of {subject}\r\n".encode() in (raw[n] or b"") for n, subject in senders.acknowledged.items()
    )
    assert len(found) == ALL
    assert by_command.code == 0
    # Both had their share, and connections that the killed one had were begun again with the other.
    assert set(senders.banners) == {"220 one", "220 two"}
    assert senders.lost
    # Each message leads to the trace of its session, and that to the sender: HAProxy stands beside it.
    assert {each["remote"].partition(":")[0] for each in sessions if each} == {SENDER}
    assert {each["proxy"].partition(":")[0] for each in sessions if each} == {"127.0.0.1"}
    assert any(each["verb"] == "X-ANONYMOUSTLS" for each in sessions if each)
    # A message that was refused by nobody may be there twice, where its 250 was lost on the way.
    assert len(listed) - ALL <= senders.lost


async def test_a_receiver_that_is_not_ready_gets_no_connection(lab: Lab, own_postgres: Postgres) -> None:
    """While the database is away nobody is ready and nobody is connected; then all goes on by itself."""
    async with cluster(lab, own_postgres) as running:
        pages = [running.balancer.page, *(each.page for each in running.receivers)]
        with own_postgres.stopped():
            await comes(running.balancer.heard, no_server_is_left)
            async with await Peer.connect(running.balancer.address) as peer:
                assert await peer.rest() == []
        await comes(running.balancer.heard, is_up_again)
        senders = Senders(running.balancer.address)
        await senders.run()
        listed = running.journal.messages(Filter(sender="a@lab.test"), limit=10 * ALL)
        answers = [
            await asyncio.to_thread(run, "message", "wait", "--url", page, "--count", str(ALL))
            for page in pages
        ]

    assert (len(listed), senders.lost) == (ALL, 0)
    assert [each.code for each in answers] == [0] * len(pages)


def no_server_is_left(lines: list[str]) -> bool:
    """Whether HAProxy has taken both out."""
    return any("proxy smtp has no server available" in line for line in lines)


def is_up_again(lines: list[str]) -> bool:
    """Whether HAProxy has put both in again."""
    return all(any(f"smtp/receiver-{n} is UP" in line for line in lines) for n in (1, 2))
