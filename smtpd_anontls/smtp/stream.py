"""The octets of a session: lines and bodies in, replies out, in clear and under TLS.

A subclass of aiosmtpd's SMTP.  What aiosmtpd and asyncio keep private is touched in this file, in
``session`` and in ``upgrade`` only:

- ``StreamReader._buffer`` and ``_maybe_resume_transport``: whether more input is already here
  (replies are held back until it is used up, RFC 2920 section 3.2), and the hand-over to the bulk
  reader of a body.  Guarded by tests/components/test_session.py.
- ``_over_ssl`` and the reader's and writer's ``_transport``: asyncio has no other way to move a
  stream onto another transport.

Faults of aiosmtpd 1.4.6 that this class does away with: an unterminated DATA line grows without
limit; pipelined plaintext can stall the handshake; the limits of commands are shared by all
sessions; a half-closed connection loses the replies still due; lines that end in a bare LF run.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiosmtpd.smtp import SMTP

from smtpd_anontls.protocol.proxy_header import may_begin_proxy_header
from smtpd_anontls.smtp.patience import Patience

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpd_anontls.protocol.body import Body
    from smtpd_anontls.protocol.replies import Reply

# RFC 4954 section 4: the longest line, a base64 token.  Other commands are held to the shorter limit.
LONGEST_LINE = 12_288
LONGEST_COMMAND = 2_048
# Set-ReceiveConnector, LongAddressesEnabled: the longest line of such a connector.
LONGEST_COMMAND_WITH_LONG_ADDRESSES = 8_000
# Replies that are waiting for the rest of a pipeline; more are sent at once.
_HELD_BACK = 16 * 1024
# Lines that are read before the other sessions have their turn: some milliseconds' worth.
_IN_A_ROW = 16
# Seconds that a peer has to take our last words before its socket is closed anyway.
_LINGER = 5.0
# How many pieces a second replies leave in where they are held to a rate.
_PIECES = 10
# The longest beginning that tells a PROXY protocol header from SMTP.
_OPENING = 16


class _NoHooks:
    """aiosmtpd asks a handler for hooks; this receiver needs none."""


class Stream(SMTP):
    """One connection; subclasses say what its octets mean."""

    line_length_limit = LONGEST_LINE

    # Private parts that the published type stubs do not know.
    _reader: Any
    _writer: Any

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        # aiosmtpd keeps these limits in a dictionary of the class and clears it for everyone.
        self.command_size_limits: dict[str, int] = {}
        super().__init__(_NoHooks(), hostname="-", data_size_limit=None, loop=loop)
        self._raw: asyncio.Transport | None = None
        self._opening: bytearray | None = bytearray()  # None: it is known to be SMTP.
        self._out: list[bytes] = []
        self._held_back = 0
        self._lines = 0
        self._sink: Callable[[bytes], None] | None = None
        self._body_done: asyncio.Future[None] | None = None
        self._pausing: asyncio.Future[None] | None = None
        self._patience = Patience(loop, self.gave_up)
        self._idle = False  # Waiting for a command.
        self.was_reset = False  # By the peer, with RST.
        self.octets_per_second: int | None = None  # How fast replies leave; None: as fast as they can.
        self._closing = False
        self._lingering: asyncio.TimerHandle | None = None

    # -- what a subclass says

    def gave_up(self, detail: str, *, of_age: bool) -> None:
        """End the session: the peer was silent for too long, or the session is too old."""
        raise NotImplementedError

    def begins_like_a_proxy(self) -> None:
        """End the session: the peer began with a PROXY protocol header that nobody expects of it."""
        raise NotImplementedError

    # -- the connection, as asyncio calls it

    def begin(self, transport: asyncio.Transport) -> None:
        """Read and write through *transport*."""
        self._raw = transport
        asyncio.StreamReaderProtocol.connection_made(self, transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Take octets: to the body that is being read, or to the command line."""
        self._patience.heard()
        if self._sink is not None:
            self._sink(data)
            return
        if self._opening is not None:
            self._look_at_opening(data)
        if not self._closing:
            super().data_received(data)

    def _look_at_opening(self, data: bytes) -> None:
        assert self._opening is not None
        self._opening += data[:_OPENING]
        found = may_begin_proxy_header(bytes(self._opening))
        if found is None:
            return
        self._opening = None
        if found:
            self.begins_like_a_proxy()

    def eof_received(self) -> bool | None:
        """Let what is still buffered be answered: aiosmtpd would drop the session here."""
        self._body_lost()
        open_for_writing: bool | None = asyncio.StreamReaderProtocol.eof_received(self)
        return open_for_writing

    def connection_lost(self, error: Exception | None) -> None:
        """Wake whoever waits for the peer; the session ends by itself."""
        if self.transport is None:
            return
        self.transport = None
        self.was_reset = isinstance(error, ConnectionResetError)
        self._body_lost()
        self.wake()
        asyncio.StreamReaderProtocol.connection_lost(self, error)
        if self._raw is not None:
            self._raw.abort()
        if self._lingering is not None:
            self._lingering.cancel()

    # -- input

    async def read_line(self, limit: int = LONGEST_COMMAND) -> bytes | None:
        """Return the next line with its line end; None for one over *limit*, which is skipped."""
        if self._held_back > _HELD_BACK or b"\n" not in self._reader._buffer:
            await self.flush()
        self._lines += 1
        if not self._lines % _IN_A_ROW:
            # Nothing is waited for while lines are here already, and one flight may have thousands of them.
            await asyncio.sleep(0)
        self._idle = True
        try:
            with self._patience.peers_turn():
                line: bytes = await self._reader.readuntil(b"\n")
        except asyncio.LimitOverrunError as overrun:
            with self._patience.peers_turn():
                await self._skip_line(overrun)
            return None
        finally:
            self._idle = False
        return line if len(line) <= limit else None

    async def _skip_line(self, overrun: asyncio.LimitOverrunError) -> None:
        """Read to the end of a line without keeping it."""
        while True:
            await self._reader.read(max(overrun.consumed, 1))
            try:
                await self._reader.readuntil(b"\n")
            except asyncio.LimitOverrunError as again:
                overrun = again
            else:
                return

    async def read_body(self, body: Body) -> None:
        """Feed *body* from the wire until it has its end; ConnectionError where the peer left before."""
        done = self._body_done = self.loop.create_future()

        def sink(octets: bytes) -> None:
            rest = body.feed(octets)
            if rest is None:
                return
            self._sink = None
            # Not feed_data: the peer may have closed its side already, and nobody waits for the reader.
            self._reader._buffer.extend(rest)
            if not done.done():
                done.set_result(None)

        buffered = bytes(self._reader._buffer)
        self._reader._buffer.clear()
        self._sink = sink
        try:
            if buffered:
                sink(buffered)
            self._reader._maybe_resume_transport()
            if not done.done():
                if self._reader.at_eof():
                    self._body_lost()
                # Replies wait for the rest of a pipeline (RFC 2920), never for the rest of a body.
                await self.flush()
            with self._patience.peers_turn():
                await done
        finally:
            self._sink = None
            self._body_done = None

    def _body_lost(self) -> None:
        if self._body_done is not None and not self._body_done.done():
            self._body_done.set_exception(ConnectionResetError("the peer left within the message"))

    def has_more_input(self) -> bool:
        """Whether octets that have not been looked at are here already."""
        return bool(self._reader._buffer)

    # -- output

    def queue(self, reply: Reply) -> None:
        """Queue a reply; it leaves before the session waits for the peer again."""
        encoded = reply.encoded()
        self._out.append(encoded)
        self._held_back += len(encoded)

    async def flush(self) -> None:
        """Send what is queued; ConnectionError where the peer is gone."""
        if self._out:
            if self.octets_per_second is not None:
                await self._trickle(self.octets_per_second)
            self.write_queued()
            # A peer that does not take what it asked for is as silent as one that says nothing.
            with self._patience.peers_turn():
                await self._writer.drain()

    async def _trickle(self, octets_per_second: int) -> None:
        """Send what is queued in small pieces, all but the last of them."""
        octets, size = b"".join(self._out), max(1, octets_per_second // _PIECES)
        self._out.clear()
        while len(octets) > size:
            self._writer.write(octets[:size])
            octets = octets[size:]
            await self.pause(size / octets_per_second)
        self._out.insert(0, octets)

    def write_queued(self) -> None:
        """Hand what is queued to the transport, without a pause in which the peer could speak."""
        self._writer.write(b"".join(self._out))
        self._out.clear()
        self._held_back = 0

    async def pause(self, seconds: float) -> None:
        """Let *seconds* go by, or less where the connection ends; ConnectionError says that it did."""
        await self.flush()
        self._pausing = self.loop.create_future()
        await asyncio.wait([self._pausing], timeout=seconds)
        self._pausing = None
        if self.transport is None:
            raise ConnectionResetError("the peer left while its reply was held back")

    def wake(self) -> None:
        """End a pause."""
        if self._pausing is not None and not self._pausing.done():
            self._pausing.set_result(None)

    # -- TLS

    def adopt(self, transport: asyncio.Transport) -> None:
        """Read and write through *transport* from now on."""
        self.transport = transport
        self._reader._transport = transport
        self._writer._transport = transport
        self._transport = transport
        # asyncio: a TLS transport cannot stay half open.
        self._over_ssl = True

    @property
    def raw_transport(self) -> asyncio.Transport:
        """The transport of the socket itself."""
        assert self._raw is not None
        return self._raw

    # -- the end

    @property
    def is_open(self) -> bool:
        """Whether anything can still be said."""
        return self.transport is not None and not self.transport.is_closing()

    def hang_up(self) -> None:
        """Close, from outside the session's own flow; whoever waits for the peer wakes up."""
        self.close()
        self._body_lost()
        self.wake()
        self._reader.feed_eof()

    def close(self) -> None:
        """Close gently; a peer that does not take our last words is cut off after a while."""
        if self._closing:
            return
        self._closing = True
        if self.transport is not None and not self.transport.is_closing():
            self.transport.close()
        self._lingering = self.loop.call_later(_LINGER, self.raw_transport.abort)
