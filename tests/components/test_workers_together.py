"""What holds over several processes that serve: limits, rates, faults, and a configuration that changes."""

from __future__ import annotations

import signal
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.crew import MANY, crew, deliver, first_lines
from tests.lab import CONNECTOR, SERVER
from tests.peer import Peer

if TYPE_CHECKING:
    from tests.lab import Lab

pytestmark = pytest.mark.slow

TOO_MANY = "421 4.3.2 The maximum number of concurrent connections has exceeded a limit, closing transmission channel"


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
