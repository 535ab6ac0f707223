"""One sender's pipeline does not hold up the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.lab import greeted

if TYPE_CHECKING:
    from tests.lab import Lab

COMMANDS = 20_000  # They fit into one read of asyncio's, 256 KiB.


async def test_others_have_their_turn_within_a_flight(lab: Lab) -> None:
    """While the commands of one flight are answered, another session's command is, too."""
    async with (
        lab.receiver() as receiver,
        await greeted(receiver) as patient,
        await greeted(receiver) as greedy,
    ):
        await greedy.send(b"NOOP\r\n" * COMMANDS)
        assert await greedy.line() == "250 2.0.0 OK"
        assert await patient.ask("NOOP") == ["250 2.0.0 OK"]
        still_busy = [session.has_more_input() for session in receiver.listener.sessions]
        for _ in range(COMMANDS - 1):
            assert await greedy.line() == "250 2.0.0 OK"

    assert sorted(still_busy) == [False, True]
