"""An SMTP client that does exactly what a test tells it, octet by octet, in clear and under TLS.

It runs TLS itself (``ssl.MemoryBIO``) over a plain socket, so that a test decides what goes out in
which flight, and how the connection ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

# Seconds until a peer that waits in vain gives up and fails its test.
PATIENCE = 20.0
_PIECE = 65536


def believing_context(
    minimum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2, maximum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2
) -> ssl.SSLContext:
    """Return a client context that believes every certificate, as Exchange's X-ANONYMOUSTLS does."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = minimum
    context.maximum_version = maximum
    return context


class Peer:
    """One connection; use it as an asynchronous context, at whose end it is closed."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.tls: ssl.SSLObject | None = None
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._heard = bytearray()
        self.saw_close_notify = False

    @classmethod
    async def connect(
        cls, address: tuple[str, int], *, receive_buffer: int | None = None, source: str | None = None
    ) -> Peer:
        """Connect, from the address *source* where it is given.

        *receive_buffer* limits what the kernel takes for a peer that does not read.
        """
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        connection = socket.socket(family, socket.SOCK_STREAM)
        connection.setblocking(False)  # noqa: FBT003 - the standard library's signature
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receive_buffer is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            if source is not None:
                connection.bind((source, 0))
            async with asyncio.timeout(PATIENCE):
                await asyncio.get_running_loop().sock_connect(connection, address)
        except BaseException:
            connection.close()
            raise
        return cls(connection)

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connection."""
        self.socket.close()

    @property
    def remote(self) -> str:
        """Return this end as the receiver's records call it."""
        host, port = self.socket.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    # -- speaking

    async def send(self, octets: bytes, *, singly: bool = False) -> None:
        """Send *octets* in one flight, or each in a flight (and TLS record) of its own."""
        pieces = [octets[at : at + 1] for at in range(len(octets))] if singly else [octets]
        for piece in pieces:
            await self._send_raw(piece if self.tls is None else self._encrypted(piece))
            if singly:
                # The other end, in the same loop, takes this one before the next is sent.
                await asyncio.sleep(0)

    async def ask(self, command: str) -> list[str]:
        """Send a command line and return the reply to it."""
        await self.send(command.encode() + b"\r\n")
        return await self.reply()

    def half_close(self) -> None:
        """Say that nothing more will come, and go on listening."""
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """End the connection with RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    # -- listening

    async def line(self) -> str | None:
        """Return the next line without its CRLF; None at the end of the connection."""
        while b"\n" not in self._heard:
            octets = await self._receive()
            if not octets:
                if self._heard:
                    raise AssertionError(f"the connection ended within a line: {bytes(self._heard)!r}")
                return None
            self._heard += octets
        line, _, rest = self._heard.partition(b"\n")
        self._heard = rest
        if not line.endswith(b"\r"):
            raise AssertionError(f"a line without CRLF came: {bytes(line)!r}")
        return line[:-1].decode("ascii")

    async def reply(self) -> list[str]:
        """Return the lines of the next reply; an empty list at the end of the connection."""
        lines = []
        while (line := await self.line()) is not None:
            lines.append(line)
            if line[3:4] != "-":
                break
        return lines

    async def rest(self) -> list[str]:
        """Return all lines up to the end of the connection, an RST counting as one."""
        lines = []
        with contextlib.suppress(ConnectionError):
            while (line := await self.line()) is not None:
                lines.append(line)
        return lines

    async def raw_rest(self) -> bytes:
        """Return the octets up to the end of the connection as they are on the wire, an RST counting as one."""
        octets = bytearray()
        loop = asyncio.get_running_loop()
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(PATIENCE):
                while piece := await loop.sock_recv(self.socket, _PIECE):
                    octets += piece
        return bytes(octets)

    # -- TLS

    async def upgrade(
        self, context: ssl.SSLContext | None = None, *, session: ssl.SSLSession | None = None
    ) -> None:
        """Run the handshake."""
        await self.finish_handshake(self.begin_handshake(context, session=session))

    def begin_handshake(
        self, context: ssl.SSLContext | None = None, *, session: ssl.SSLSession | None = None
    ) -> bytes:
        """Return the ClientHello, which is not sent yet."""
        context = context or believing_context()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_hostname="mx1.lab.test", session=session
        )
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return self._outgoing.read()
        raise AssertionError("a handshake ended before it began")

    async def finish_handshake(self, flight: bytes, *, behind: bytes = b"") -> None:
        """Send *flight* and do the rest; *behind* goes out with our last octets.

        These are our Finished in TLS 1.3 and wherever a session is resumed.
        """
        while True:
            if flight:
                await self._send_raw(flight)
            await self._take()
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                flight = self._outgoing.read()
            except ssl.SSLError:
                # Our own alert goes out before the test sees the failure.
                await self._send_raw(self._outgoing.read())
                raise
            else:
                break
        self.tls = self._tls
        await self._send_raw(self._outgoing.read() + (self._encrypted(behind) if behind else b""))

    def presented(self) -> bytes | None:
        """Return the certificate that the server presented, as DER."""
        assert self.tls is not None
        return self.tls.getpeercert(binary_form=True)

    async def close_notify(self) -> None:
        """End TLS in order: send close_notify."""
        assert self.tls is not None
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.unwrap()
        await self._send_raw(self._outgoing.read())

    # -- octets

    def _encrypted(self, octets: bytes) -> bytes:
        assert self.tls is not None
        if octets:
            self.tls.write(octets)
        return self._outgoing.read()

    async def _send_raw(self, octets: bytes) -> None:
        async with asyncio.timeout(PATIENCE):
            await asyncio.get_running_loop().sock_sendall(self.socket, octets)

    async def _take(self) -> bool:
        """Take octets from the wire for TLS; whether there were any."""
        async with asyncio.timeout(PATIENCE):
            octets = await asyncio.get_running_loop().sock_recv(self.socket, _PIECE)
        if octets:
            self._incoming.write(octets)
        else:
            self._incoming.write_eof()
        return bool(octets)

    async def _receive(self) -> bytes:
        if self.tls is None:
            async with asyncio.timeout(PATIENCE):
                return await asyncio.get_running_loop().sock_recv(self.socket, _PIECE)
        while True:
            try:
                octets = self.tls.read(_PIECE)
            except ssl.SSLWantReadError:
                await self._take()
                continue
            except ssl.SSLZeroReturnError:
                octets = b""
            except ssl.SSLEOFError:
                return b""
            self.saw_close_notify = not octets
            return octets
