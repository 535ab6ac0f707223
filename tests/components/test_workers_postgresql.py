"""Several processes that serve on a journal in PostgreSQL."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

import httpx
import pytest

from smtpd_anontls.journal.reader import JournalReader
from tests.crew import MANY, comes, crew, deliver, kill
from tests.peer import PATIENCE

if TYPE_CHECKING:
    from tests.crew import Crew
    from tests.lab import Lab
    from tests.postgres import Postgres

pytestmark = pytest.mark.slow

KEPT = 10


@pytest.fixture
def url(lab: Lab, postgres: Postgres) -> str:
    """Return the journal of the receiver that a lab's files describe."""
    url = postgres.create()
    lab.write(settings={"capture": {"url": url, "retention": {"messages": 1000}}})
    return url


def subjects_in(url: str) -> list[str]:
    """Return the subjects in a journal, in alphabetical order."""
    return sorted(each["subject"] for each in JournalReader(url).messages(limit=10_000))


async def test_the_page_sees_what_all_workers_do(lab: Lab, url: str) -> None:
    """Who waits for mail is woken by any worker, sessions stream as they end, and metrics are added up."""
    async with crew(lab.config) as running:
        streaming = asyncio.create_task(sessions_of(running, MANY))
        for number in range(MANY):
            waiting = asyncio.create_task(
                running.ask(f"messages/wait?recipient=r{number}@lab.test&timeout=60")
            )
            await deliver(running.address, f"message {number}", recipient=f"r{number}@lab.test")
            assert [each["subject"] for each in (await waiting)["items"]] == [f"message {number}"]
        streamed = await streaming
        metrics = await running.metrics()

    assert metrics["smtpd_anontls_messages_total"] == MANY
    assert len(set(streamed)) == MANY
    assert subjects_in(url) == sorted(f"message {number}" for number in range(MANY))


async def sessions_of(running: Crew, number: int) -> list[str]:
    """Return the lines with ids of so many sessions, from the first of all on, as the page streams them."""
    address = f"{running.served.page}api/v1/sessions/stream?since=2000-01-01"
    found: list[str] = []
    async with (
        asyncio.timeout(2 * PATIENCE),
        httpx.AsyncClient(timeout=PATIENCE, trust_env=False) as client,
        client.stream("GET", address) as answer,
    ):
        async for line in answer.aiter_lines():
            if line.startswith("data:"):
                found.append(line)
                if len(found) == number:
                    break
    return found


async def test_one_of_them_keeps_retention(lab: Lab, url: str, postgres: Postgres) -> None:
    """Of supervisor and workers one has the lock, and removes what is over the limit."""
    locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND database = {}"
    name = url.rpartition("/")[2]
    number = postgres.sql(f"SELECT oid FROM pg_database WHERE datname = '{name}'")  # noqa: S608 - our name
    async with crew(lab.config) as running:
        for each in range(MANY):
            await deliver(running.address, f"message {each}")
        holders = postgres.sql(locks.format(number))
    before = len(subjects_in(url))
    # At its start each looks, and the one that may removes.
    async with crew(lab.config, "--set", f"capture.retention.messages={KEPT}"):
        kept = await comes(lambda: asyncio.to_thread(subjects_in, url), lambda found: len(found) <= KEPT)

    assert (holders, before, len(kept)) == ("1", MANY, KEPT)


@pytest.mark.parametrize("how", ["SIGHUP", "SIGKILL", "terminated backends"])
async def test_nothing_acknowledged_is_lost(lab: Lab, url: str, postgres: Postgres, how: str) -> None:
    """While workers are replaced one by one, killed, or lose their connections, what was answered 250 is there."""
    ended = asyncio.Event()
    acknowledged: set[str] = set()
    refused = 0

    async def send(running: Crew, name: str) -> None:
        nonlocal refused
        number = 0
        while not ended.is_set():
            number += 1
            try:
                await deliver(running.address, f"{name}-{number}")
            except (AssertionError, OSError, IndexError, ValueError):
                refused += 1
            else:
                acknowledged.add(f"{name}-{number}")

    async with crew(lab.config) as running, asyncio.TaskGroup() as senders:
        for name in "abcd":
            senders.create_task(send(running, name))
        before = running.workers
        await comes(lambda: asyncio.sleep(0, len(acknowledged)), lambda sent: sent >= MANY)
        match how:
            case "SIGHUP":
                running.signal(signal.SIGHUP)
                await running.replaced(before)
            case "SIGKILL":
                kill(min(before))
                await comes(running.metrics, lambda found: found["smtpd_anontls_workers_lost_total"] == 1)
            case _:
                # What a failover of the database does to them.
                name = url.rpartition("/")[2]
                postgres.sql(
                    f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"  # noqa: S608 - our name
                )
        so_far = len(acknowledged)
        await comes(lambda: asyncio.sleep(0, len(acknowledged)), lambda sent: sent >= so_far + MANY)
        ended.set()

    listed = subjects_in(url)
    assert acknowledged <= set(listed)
    # What was refused may be there: its 250 may have been lost on the way.
    assert len(listed) - len(acknowledged) <= refused
    if how == "SIGHUP":
        assert refused == 0
