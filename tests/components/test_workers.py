"""Several processes that serve, seen from outside: what is one of a kind stays so, whichever of them has a session."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import signal
import socket
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.command import call, run
from tests.components.load import Load, compare, listed
from tests.crew import MANY, comes, crew, deliver, first_lines, is_worker, kill, until
from tests.lab import CONNECTOR, SERVER
from tests.peer import Peer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab import Json, Lab

TOO_MANY = "421 4.3.2 The maximum number of concurrent connections has exceeded a limit, closing transmission channel"


def events_in(folder: Path) -> list[Json]:
    """Return the events in the event log of a lab."""
    return [json.loads(line) for line in (folder / "application.jsonl").read_text().splitlines()]


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


# -- what is counted over all


@pytest.mark.slow
async def test_limits_hold_over_all_workers(lab: Lab) -> None:
    """The session over the limit is refused, whichever worker has it; those of a killed worker count no longer."""
    most = 6
    lab.write(connector={"max_inbound_connection": most})
    async with crew(lab.config) as running:
        peers = [await Peer.connect(running.address) for _ in range(most)]
        greeted = [(await peer.reply())[0] for peer in peers]
        refused = await first_lines(running.address)
        await running.lose_one()
        # Those of the killed worker hear the end; as many come in again, and no more.
        ended = [peer for peer in peers if not await is_answered(peer)]
        again = [await Peer.connect(running.address) for _ in ended]
        let_in = [(await peer.reply())[0] for peer in again]
        refused_again = await first_lines(running.address)
        for peer in (*peers, *again):
            peer.socket.close()

    assert all(line.startswith("220 ") for line in greeted)
    assert refused == [TOO_MANY] * MANY
    assert all(line.startswith("220 ") for line in let_in)
    assert refused_again == [TOO_MANY] * MANY


async def is_answered(peer: Peer) -> bool:
    """Whether a session still answers."""
    try:
        return await peer.ask("NOOP") == ["250 2.0.0 OK"]
    except (ConnectionError, AssertionError):
        return False


@pytest.mark.slow
async def test_the_rate_is_counted_over_all_workers(lab: Lab) -> None:
    """MessageRateLimit counts the messages of an address, whichever workers it sends them to."""
    lab.write(connector={"message_rate_limit": 5})
    async with crew(lab.config, has_page=False) as running:
        for number in range(5):
            await deliver(running.address, f"message {number}")
        for _ in range(MANY):
            async with await Peer.connect(running.address) as peer:
                await peer.reply()
                await peer.ask("HELO edge.lab.test")
                said = await peer.ask("MAIL FROM:<a@lab.test>")
                assert said[0].startswith("421 4.4.2 "), said


@pytest.mark.slow
async def test_a_fault_fires_as_often_as_it_says(lab: Lab) -> None:
    """Count and every hold over all workers, and the API shows the counts of all."""
    lab.write()
    fault = {"at": "banner", "kind": "reply", "code": 554, "text": "No", "count": 3, "every": 2}
    async with crew(lab.config) as running:
        await running.ask("faults", method="PUT", body={"faults": [fault]})
        lines = await first_lines(running.address)
        shown = await running.ask("faults")
        await running.ask("faults", method="DELETE")
        healthy = await first_lines(running.address)
        await running.lose_one()
        after = await first_lines(running.address)

    assert Counter(line[:3] for line in lines) == {"554": 3, "220": MANY - 3}
    assert [line[:3] for line in lines[:6]] == ["220", "554"] * 3
    assert [(each["met"], each["fired"]) for each in shown["items"]] == [(MANY, 3)]
    assert {line[:3] for line in healthy + after} == {"220"}


@pytest.mark.slow
async def test_a_changed_connector_is_changed_in_every_worker(lab: Lab) -> None:
    """PATCH holds for every session that follows, also with a worker that starts later, until SIGHUP."""
    lab.write()
    async with crew(lab.config) as running:
        path = f"connectors/{SERVER}/{CONNECTOR.replace(' ', '%20')}"
        await running.ask(path, method="PATCH", body={"banner": "220 changed"})
        changed = await first_lines(running.address)
        await running.lose_one()
        still = await first_lines(running.address)
        before = running.workers
        running.signal(signal.SIGHUP)
        await running.replaced(before)
        again = await first_lines(running.address)

    assert set(changed) == {"220 changed"}
    assert set(still) == {"220 changed"}
    assert "220 changed" not in again


@pytest.mark.slow
async def test_a_changed_file_is_seen_by_the_next_session(lab: Lab) -> None:
    """A change of the configuration needs no signal: the next session has it, whichever worker takes it."""
    lab.write()
    async with crew(lab.config) as running:
        first = await first_lines(running.address)
        lab.write(connector={"banner": "220 one"})
        second = await first_lines(running.address)
        lab.write(connector={"banner": "220 two"})
        third = await first_lines(running.address)

    assert not {"220 one", "220 two"} & set(first)
    assert (set(second), set(third)) == ({"220 one"}, {"220 two"})


# -- workers that end


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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
