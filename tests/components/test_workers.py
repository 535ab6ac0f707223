"""Several processes that serve, seen from outside: what is one of a kind stays so, whichever of them has a session."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from typing import TYPE_CHECKING

import pytest

from tests.command import call, run
from tests.components.load import listed
from tests.crew import MANY, comes, crew, deliver, events_in, first_lines
from tests.peer import Peer

if TYPE_CHECKING:
    from tests.lab import Lab

# -- the option


@pytest.mark.parametrize("number", ["0", "-1", "two", "1.5", "257", ""])
def test_a_number_that_makes_no_sense(lab: Lab, number: str) -> None:
    """Bad usage is exit code 2, and nothing is started."""
    answer = call("serve", "--config", lab.write(), "--workers", number)

    assert (answer.code, answer.stdout) == (2, "")
    assert "--workers" in answer.stderr


def test_without_shared_ports_there_is_one_line(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system has no SO_REUSEPORT it says so, with exit code 2."""
    monkeypatch.delattr(socket, "SO_REUSEPORT")
    answer = call("serve", "--config", lab.write(), "--workers", "2")

    assert (answer.code, answer.stdout) == (2, "")
    assert answer.mistakes == [
        "--workers: this system does not let several processes listen on one port (SO_REUSEPORT); leave it out"
    ]


def test_keys_in_one_process_are_for_one_process(lab: Lab) -> None:
    """--stand-in-keys and --workers do not go together."""
    answer = call("serve", "--config", lab.write(), "--workers", "2", "--stand-in-keys")

    assert (answer.code, answer.mistakes) == (
        2,
        ["--workers: the keys of --stand-in-keys are in one process; leave out one of the two"],
    )


@pytest.mark.slow
async def test_a_port_that_another_program_shares_is_in_use(lab: Lab) -> None:
    """A second receiver does not come to sit on the port of the first."""
    lab.write()
    async with crew(lab.config, has_page=False) as running:
        where = "{}:{}".format(*running.address)
        answer = await asyncio.to_thread(
            run, "serve", "--config", lab.config, "--workers", "2", "--set",
            f'servers[0].connectors[0].bindings=["{where}"]', "--set", "web.bind=null",
        )  # fmt: skip

    assert (answer.code, answer.mistakes) == (
        3,
        [f"{where}: the port is in use; stop the program that has it, or choose another port in bindings"],
    )


# -- what is one of a kind


@pytest.mark.slow
async def test_events_of_a_start_are_written_once(lab: Lab) -> None:
    """Neither a worker's start, nor its replacement, nor SIGHUP writes them again."""
    lab.write(store={"internal": "soon"})
    async with crew(lab.config) as running:
        await running.lose_one()
        running.signal(signal.SIGHUP)
        await running.replaced(running.workers)
        await first_lines(running.address)
        shown = (await running.ask("events"))["items"]

    assert [event["event_id"] for event in events_in(lab.folder)] == [12017]
    assert [event["event_id"] for event in shown] == [12017]


@pytest.mark.slow
async def test_every_row_and_every_event_is_there_and_whole(lab: Lab) -> None:
    """Sessions of both workers are in one protocol log, one event log and one journal, their events with ids of their own."""
    folder = lab.folder / "protocol-log"
    lab.write(directory="missing-thumbprint", settings={"protocol_log": {"path": str(folder)}})
    async with crew(lab.config) as running:
        subjects = [f"message {number}" for number in range(3 * MANY)]
        for start in range(0, len(subjects), MANY):
            await asyncio.gather(*(deliver(running.address, each) for each in subjects[start : start + MANY]))
        shown = (await running.ask("events?limit=200"))["items"]

    (path,) = folder.iterdir()
    rows = [line.split(",") for line in path.read_text().splitlines() if line[0] != "#"]
    numbers: dict[str, list[int]] = {}
    for row in rows:
        numbers.setdefault(row[2], []).append(int(row[3]))
    assert len(numbers) == len(subjects)
    assert {tuple(each) for each in numbers.values()} == {tuple(range(len(rows) // len(subjects)))}
    written = events_in(lab.folder)
    # One of the start, and one of each session.
    assert [event["event_id"] for event in written] == [12013] * (1 + len(subjects))
    ids = [event["id"] for event in written]
    assert ids == sorted(set(ids))
    assert sorted(event["id"] for event in shown) == ids
    assert {row["subject"] for row in listed(lab.database).values()} == set(subjects)


@pytest.mark.slow
async def test_the_page_sees_what_all_workers_do(lab: Lab) -> None:
    """Metrics are added up, sessions that run are counted, and who waits for mail is woken by any worker."""
    lab.write()
    async with crew(lab.config) as running, contextlib.AsyncExitStack() as stack:
        for number in range(MANY):
            waiting = asyncio.create_task(
                running.ask(f"messages/wait?recipient=r{number}@lab.test&timeout=60")
            )
            await deliver(running.address, f"message {number}", recipient=f"r{number}@lab.test")
            assert [each["subject"] for each in (await waiting)["items"]] == [f"message {number}"]
        for _ in range(MANY):
            peer = await stack.enter_async_context(await Peer.connect(running.address))
            await peer.reply()
        metrics = await comes(
            running.metrics, lambda samples: samples["smtpd_anontls_sessions_running"] == MANY
        )
        listed_sessions = (await running.ask("sessions"))["items"]

    assert metrics["smtpd_anontls_messages_total"] == MANY
    assert metrics['smtpd_anontls_sessions_total{outcome="completed"}'] == MANY
    assert metrics["smtpd_anontls_workers"] == 2
    assert len(listed_sessions) == MANY


@pytest.mark.slow
async def test_without_a_journal_the_supervisor_keeps_the_last_sessions(lab: Lab) -> None:
    """capture.url null: the page shows sessions and events of all workers, and ids are given once."""
    lab.write(directory="missing-thumbprint", settings={"capture": {"url": None}})
    async with crew(lab.config) as running:
        ids = [await deliver(running.address, f"message {number}") for number in range(MANY)]
        answer = await comes(lambda: running.ask("sessions"), lambda found: len(found["items"]) == MANY)
        sessions = answer["items"]
        whole = await running.ask(f"sessions/{sessions[0]['id']}")
        events = (await running.ask("events"))["items"]

    assert len(set(ids)) == MANY
    assert sorted(each for session in sessions for each in session["messages"]) == sorted(ids)
    assert whole["transcript"][0]["mark"] == "S"
    assert len(events) == 1 + MANY
