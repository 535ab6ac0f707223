"""Server-sent events: what comes, as it comes, and nothing lost in between."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack, ExitStack
from typing import TYPE_CHECKING

import pytest

from smtpd_anontls.web.feed import MOST_READERS
from smtpd_anontls.web.patience import Patience
from tests.lab import all_ended, eventually, greeted
from tests.peer import PATIENCE
from tests.web.visiting import deliver, following, visiting

if TYPE_CHECKING:
    from smtpd_anontls.receiver import Receiver
    from tests.lab import Lab

pytestmark = pytest.mark.slow


async def _quit(receiver: Receiver) -> None:
    async with await greeted(receiver) as peer:
        await peer.ask("QUIT")
    await all_ended(receiver)


async def test_sessions_come_as_they_end(lab: Lab) -> None:
    """Only what ends from now on comes, whole, and in its order."""
    async with visiting(lab) as visit:
        await _quit(visit.receiver)
        async with following(visit, "sessions/stream") as arrivals:
            number = await deliver(visit.receiver)
            first, delivered = await arrivals.next()
            await _quit(visit.receiver)
            second, idle = await arrivals.next()
        listed = await visit.get("sessions")

    assert delivered["messages"] == [number]
    assert (delivered["outcome"], idle["outcome"]) == ("completed", "quit_without_mail")
    assert first < second
    assert listed["items"][:2] == [idle, delivered]


@pytest.mark.parametrize("path", ["sessions/stream", "events/stream"])
async def test_going_on_where_it_was_left(lab: Lab, path: str) -> None:
    """Last-Event-ID goes on behind an event: what came meanwhile is there, and nothing twice."""
    async with visiting(lab, directory="missing-thumbprint") as visit:
        async with following(visit, path) as arrivals:
            await _quit(visit.receiver)
            last, _ = await arrivals.next()
        await _quit(visit.receiver)
        await _quit(visit.receiver)
        async with following(visit, path, last=last) as arrivals:
            second, _ = await arrivals.next()
            third, _ = await arrivals.next()
        async with following(visit, path, last=second) as arrivals:
            again, _ = await arrivals.next()

    assert last < second < third == again


async def test_filters_and_since(lab: Lab) -> None:
    """A stream is narrowed as a list is; since brings those of before."""
    async with visiting(lab) as visit:
        await deliver(visit.receiver, "b+one@contoso.test")
        await deliver(visit.receiver, "b+two@contoso.test")
        await all_ended(visit.receiver)
        async with following(visit, "sessions/stream", since="2000-01-01", run="two") as arrivals:
            _, found = await arrivals.next()
        await visit.problem(422, "GET", "sessions/stream", params={"nme": "x"})
        await visit.problem(422, "GET", "events/stream", headers={"Last-Event-ID": "x"})

    assert found["messages"] == [2]


async def test_an_id_of_another_journal(lab: Lab) -> None:
    """An id that is still to come waits for nothing: what comes from now on is shown."""
    async with visiting(lab) as visit, following(visit, "sessions/stream", last=10**12) as arrivals:
        await _quit(visit.receiver)
        number, _ = await arrivals.next()

    assert number < 10**12


async def test_a_heartbeat(lab: Lab) -> None:
    """While nothing comes a comment says that the connection lives."""
    async with (
        visiting(lab, patience=Patience(heartbeat=0.01)) as visit,
        visit.client.stream("GET", "events/stream") as answer,
    ):
        lines = answer.aiter_lines()
        seen = [await anext(lines) for _ in range(5)]

    assert seen == ["retry: 2000", "", ": still here", "", ": still here"]


async def test_the_page_closes_under_a_reader(lab: Lab) -> None:
    """A stream ends when the page closes, and does not hold it up."""
    async with visiting(lab) as visit, AsyncExitStack() as stack:
        answer = await stack.enter_async_context(visit.client.stream("GET", "sessions/stream"))
        lines = answer.aiter_lines()
        await anext(lines)
        async with asyncio.timeout(PATIENCE):
            closing = asyncio.create_task(visit.page.close())
            rest = [line async for line in lines]
            await closing

    assert set(rest) <= {""}


async def test_too_many_readers(lab: Lab) -> None:
    """Readers are counted; one too many is told so, and there is room again when one has gone."""
    async with visiting(lab) as visit:
        with ExitStack() as readers:
            for _ in range(MOST_READERS):
                readers.enter_context(visit.page.feed.reader(None))
            await visit.problem(503, "GET", "sessions/stream")
            await visit.problem(503, "GET", "messages/wait")
        async with following(visit, "sessions/stream"):
            pass


async def test_a_reader_that_does_not_read(lab: Lab) -> None:
    """Who takes nothing of a long answer is cut off, whatever it was sent."""
    async with visiting(lab, patience=Patience(stall=0.05)) as visit:
        number = await deliver(visit.receiver, content="Subject: x\r\n\r\n" + ("y" * 76 + "\r\n") * 100_000)
        assert visit.page.binding is not None
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)  # noqa: FBT003 - the standard library's signature
        loop = asyncio.get_running_loop()
        with client:
            await loop.sock_connect(client, (str(visit.page.binding.address), visit.page.binding.port))
            await loop.sock_sendall(
                client, f"GET /api/v1/messages/{number}/raw HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
            )
            await eventually(lambda: visit.page.connections == 1)
            await eventually(lambda: visit.page.connections == 0)
