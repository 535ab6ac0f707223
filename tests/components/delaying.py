"""A proxy that holds back what an LDAP server answers, and counts the searches that go through."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

_SEARCH_REQUEST = 0x63  # [APPLICATION 3], RFC 4511 section 4.5.1.
_LONG_FORM = 0x80


class Delaying:
    """What went through the proxy so far."""

    def __init__(self, port: int, seconds: float) -> None:
        self.searches = 0
        self.longest = 0.0  # Seconds from a search to the end of its answer.
        self.url = ""
        self._port = port
        self._seconds = seconds

    async def serve(self, client: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
        """Carry one connection."""
        server, requests = await asyncio.open_connection("127.0.0.1", self._port)
        asked_at: list[float] = []

        async def carry_requests() -> None:
            while octets := await client.read(65536):
                if _is_search(octets):
                    self.searches += 1
                    asked_at.append(time.monotonic())
                requests.write(octets)
            requests.close()

        async def carry_answers() -> None:
            while octets := await server.read(65536):
                await asyncio.sleep(self._seconds)
                answers.write(octets)
                if asked_at:
                    self.longest = max(self.longest, time.monotonic() - asked_at.pop())

        try:
            await asyncio.gather(carry_requests(), carry_answers())
        finally:
            requests.close()


@asynccontextmanager
async def delaying(port: int, seconds: float) -> AsyncIterator[Delaying]:
    """Run a proxy before the LDAP port *port*."""
    proxy = Delaying(port, seconds)
    async with listening(proxy.serve) as proxy_port:
        proxy.url = f"ldap://127.0.0.1:{proxy_port}"
        yield proxy


@asynccontextmanager
async def listening(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[int]:
    """Return the port on which *serve* takes every connection; those that are open end with the block."""
    connections: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        with suppress(ConnectionError, asyncio.CancelledError):
            await serve(reader, writer)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    listener = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield int(listener.sockets[0].getsockname()[1])
    finally:
        listener.close()
        for each in connections:
            each.cancel()
        await asyncio.gather(*connections)


def _is_search(octets: bytes) -> bool:
    """Whether a message is a search; a client that waits for each answer sends one at a time."""
    position = 2 + (octets[1] & ~_LONG_FORM if octets[1] & _LONG_FORM else 0)
    return octets[position + 2 + octets[position + 1]] == _SEARCH_REQUEST
