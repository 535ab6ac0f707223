"""TLS in front of a connection of the page: each handshake has the certificate that holds when it begins.

A listening socket with a context of its own would present for ever what it had at start.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from ssl import SSLContext

    ChooseContext = Callable[[], Awaitable[SSLContext]]

MOST_HANDSHAKES = 256


class Handshakes:
    """The handshakes that are on their way; more of them than this are turned away."""

    def __init__(self, choose: ChooseContext, timeout: float) -> None:
        self.choose = choose
        self.timeout = timeout  # Seconds for each.
        self._under_way: set[asyncio.Task[None]] = set()

    @property
    def under_way(self) -> int:
        """How many there are."""
        return len(self._under_way)

    def begin(self, shaking: Securing, transport: asyncio.Transport) -> None:
        """Begin one."""
        if len(self._under_way) >= MOST_HANDSHAKES:
            transport.abort()
            return
        task = asyncio.get_running_loop().create_task(shaking.shake(transport))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def close(self) -> None:
        """End them all."""
        for each in self._under_way:
            each.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)


class Securing(asyncio.Protocol):
    """A connection up to the end of its handshake; then it is another protocol's.

    What arrives before TLS has been put in front of it is handed to TLS, what arrives together with the last flight of
    the handshake to the protocol behind.
    """

    def __init__(self, handshakes: Handshakes, behind: asyncio.Protocol) -> None:
        self._handshakes = handshakes
        self._behind = behind
        self._early = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Shake hands."""
        # Not isinstance: a loop other than asyncio's own has transports of its own kind.
        self._handshakes.begin(self, cast("asyncio.Transport", transport))

    def data_received(self, data: bytes) -> None:
        """Keep it for whom it is meant."""
        self._early += data

    async def shake(self, transport: asyncio.Transport) -> None:
        """Choose the certificate, start TLS, and hand over."""
        # uvloop has read already what came with the connection.
        transport.pause_reading()
        try:
            secured = await self._start_tls(transport, await self._handshakes.choose())
        except (OSError, asyncio.CancelledError):
            # ssl.SSLError, TimeoutError and ConnectionError are OSErrors: whoever came went.
            transport.abort()
            return
        if secured is None or secured.is_closing():
            transport.abort()
            return
        secured.set_protocol(self._behind)
        self._behind.connection_made(secured)
        if self._early:
            self._behind.data_received(bytes(self._early))

    async def _start_tls(self, transport: asyncio.Transport, context: SSLContext) -> asyncio.Transport | None:
        loop = asyncio.get_running_loop()
        clear, self._early = self._early, bytearray()
        starting = loop.create_task(
            loop.start_tls(
                transport,
                self,
                context,
                server_side=True,
                ssl_handshake_timeout=self._handshakes.timeout,
            )
        )
        # When it has begun, its protocol is in place, and connected by the loop's next callback.
        await asyncio.sleep(0)
        if (between := transport.get_protocol()) is not self:
            loop.call_soon(_hand, clear, between)
        try:
            return await starting
        except asyncio.CancelledError:
            starting.cancel()
            raise


def _hand(octets: bytearray, receiving: asyncio.BaseProtocol) -> None:
    """Give *octets* to a protocol that reads into a buffer of its own, as the loop would."""
    taking = cast("asyncio.BufferedProtocol", receiving)
    while octets:
        buffer = memoryview(taking.get_buffer(len(octets)))
        size = min(len(buffer), len(octets))
        buffer[:size] = octets[:size]
        taking.buffer_updated(size)
        del octets[:size]
