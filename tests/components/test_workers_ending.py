"""Processes that serve and end: killed, replaced, told to stop; nothing that was acknowledged is lost."""

from __future__ import annotations

import asyncio
import random
import signal
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.components.load import Load, compare, listed
from tests.crew import MANY, crew, deliver, events_in, first_lines, is_worker, kill, until
from tests.peer import Peer

if TYPE_CHECKING:
    from tests.lab import Lab

pytestmark = pytest.mark.slow


async def test_what_a_killed_worker_has_acknowledged_is_there(lab: Lab) -> None:
    """SIGKILL of a worker under load loses nothing that was answered with 250, and another takes its place."""
    lab.write()
    chance = random.Random(20_261_125)  # noqa: S311 - the same mail in every run
    async with crew(lab.config) as running:
        before = running.workers
        load = Load(chance, "killed", 40)

        def kill_both() -> None:
            if len(load.answered) in {200, 400}:
                for each in running.workers & before:
                    kill(each)
                    break

        load.on_answer = kill_both
        await load.run(running.address)
        workers = await running.replaced(before)
        await first_lines(running.address)
        await running.served.says(r"worker [12] \(process \d+\) ended by SIGKILL; another is started")
        metrics = await running.metrics()

    assert len(workers) == len(before)
    assert metrics["smtpd_anontls_workers_lost_total"] == 2
    assert max(compare([lab.database], load).values()) == 1


async def test_sighup_refuses_nobody(lab: Lab) -> None:
    """While workers are replaced every connection is served to its end, and each message is there once."""
    lab.write()
    ended = asyncio.Event()
    sent: list[str] = []

    async def send(address: tuple[str, int], name: str) -> None:
        number = 0
        while not ended.is_set():
            number += 1
            await deliver(address, f"{name}-{number}")
            sent.append(f"{name}-{number}")

    async with crew(lab.config) as running, asyncio.TaskGroup() as senders:
        for name in "abcdef":
            senders.create_task(send(running.address, name))
        for _ in range(2):
            before = running.workers
            running.signal(signal.SIGHUP)
            await running.replaced(before)
        ended.set()

    assert len(sent) == len(set(sent))
    assert Counter(row["subject"] for row in listed(lab.database).values()) == dict.fromkeys(sent, 1)


async def test_a_broken_configuration_replaces_nobody(lab: Lab) -> None:
    """SIGHUP with a mistake tells it, and the same workers go on as they were."""
    lab.write()
    async with crew(lab.config) as running:
        before = running.workers
        good = lab.config.read_text()
        lab.config.write_text(good.replace("ExchangeServer", "ExchangeSever", 1))
        running.signal(signal.SIGHUP)
        await running.served.says("'ExchangeSever'")
        lines = await first_lines(running.address)
        after = running.workers

    assert after == before
    assert {line[:4] for line in lines} == {"220 "}
    broken = [line for line in running.served.stderr if "ExchangeSever" in line]
    assert len(broken) == len(set(broken))
    assert [event["event_id"] for event in events_in(lab.folder)] == [1003]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_all(lab: Lab, number: signal.Signals) -> None:
    """Idle sessions are told 421, open transactions get to finish, and no process stays."""
    lab.write()
    async with crew(lab.config, has_page=False) as running:
        peers = [await Peer.connect(running.address) for _ in range(MANY)]
        for peer in peers:
            assert (await peer.reply())[0].startswith("220 ")
        busy = peers.pop()
        for command in ("HELO edge.lab.test", "MAIL FROM:<a@lab.test>", "RCPT TO:<b@lab.test>", "DATA"):
            await busy.ask(command)
        workers = running.workers
        running.signal(number)
        said = [await peer.rest() for peer in peers]
        await busy.send(b"Subject: last\r\n\r\nBody\r\n.\r\n")
        queued = await busy.reply()
        assert await running.served.process.wait() == 0
        for peer in (*peers, busy):
            peer.socket.close()

    assert said == [["421 4.3.2 Service not active"]] * len(peers)
    assert queued[0].startswith("250 2.6.0 ")
    assert not [each for each in workers if is_worker(each)]
    assert [row["subject"] for row in listed(lab.database).values()] == ["last"]
    assert running.served.stderr[-2:] == ["stopping: open transactions get to finish", "stopped"]


async def test_a_killed_supervisor_leaves_no_worker(lab: Lab) -> None:
    """Workers whose supervisor is gone finish open transactions, and end."""
    lab.write()
    async with crew(lab.config, has_page=False) as running:
        busy = [await Peer.connect(running.address) for _ in range(MANY)]
        for peer in busy:
            await peer.reply()
            for command in ("HELO edge.lab.test", "MAIL FROM:<a@lab.test>", "RCPT TO:<b@lab.test>", "DATA"):
                await peer.ask(command)
        workers = running.workers
        running.signal(signal.SIGKILL)
        # Not wait(), which waits for stderr as well, and that the workers have, too.
        await until(lambda: running.served.process.returncode is not None)
        for number, peer in enumerate(busy):
            await peer.send(f"Subject: {number}\r\n\r\nBody\r\n.\r\n".encode())
        queued = [(await peer.reply())[0] for peer in busy]
        await until(lambda: not any(is_worker(each) for each in workers))
        for peer in busy:
            peer.socket.close()

    assert [line for line in queued if not line.startswith("250 2.6.0 ")] == []
    assert {row["subject"] for row in listed(lab.database).values()} == {str(n) for n in range(MANY)}
