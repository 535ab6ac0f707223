"""A relay that lets a client which knows STARTTLS alone speak X-ANONYMOUSTLS: it renames both on their way, in clear."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_PIECE = 65536


@asynccontextmanager
async def renaming(address: tuple[str, int]) -> AsyncIterator[tuple[str, int]]:
    """Relay to *address*, and yield where the relay itself is found; at the end nothing of it is left."""
    relays: set[asyncio.Task[None]] = set()

    async def relay(client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        relays.add(task)
        server, to_server = await asyncio.open_connection(*address)
        try:
            await _until_tls(client, to_client, server, to_server)
            await asyncio.gather(_pass_on(client, to_server), _pass_on(server, to_client))
        finally:
            for writer in (to_client, to_server):
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
            relays.discard(task)

    listening = await asyncio.start_server(relay, "127.0.0.1", 0)
    try:
        yield listening.sockets[0].getsockname()
    finally:
        listening.close()
        await asyncio.gather(*relays)


async def _until_tls(
    client: asyncio.StreamReader,
    to_client: asyncio.StreamWriter,
    server: asyncio.StreamReader,
    to_server: asyncio.StreamWriter,
) -> None:
    """Relay command and reply by turns, up to the reply to STARTTLS."""
    command = b""
    while True:
        line = b" " * 4
        while line[3:4] != b" " or not line.strip():
            line = await server.readline()
            to_client.write(line.replace(b"X-ANONYMOUSTLS", b"STARTTLS"))
        await to_client.drain()
        if command == b"STARTTLS":
            return
        command = (await client.readline()).strip().upper()
        to_server.write(b"X-ANONYMOUSTLS\r\n" if command == b"STARTTLS" else command + b"\r\n")


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while octets := await reader.read(_PIECE):
            writer.write(octets)
            await writer.drain()
        writer.write_eof()
