"""The octets of a session: lines and bodies in, replies out, in clear and under TLS.

A subclass of aiosmtpd's SMTP, whose verbs are found by its rule, ``smtp_<VERB>``.  Its constructor and
asyncio's stream reader and writer are not used; the figures are CPU time of the server for each
message of 1 KB on one connection, or for each session of one message:

- the constructor looks at every attribute of the session by reflection, 17 % of a short session: the
  table of the verbs is made once for the class (``verbs``);
- a reader and a writer cost three coroutines and a context manager for a line: lines are cut from one
  bytearray here, and nothing is awaited where a line is there already.

Faults of aiosmtpd 1.4.6 that this class does away with: an unterminated DATA line grows without
limit; pipelined plaintext can stall the handshake; the limits of commands are shared by all
sessions; a half-closed connection loses the replies still due; lines that end in a bare LF run.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar

from aiosmtpd.smtp import SMTP

from smtpd_anontls.protocol.proxy_header import may_begin_proxy_header
from smtpd_anontls.smtp.patience import Patience

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from smtpd_anontls.protocol.body import Body
    from smtpd_anontls.protocol.replies import Reply

    Verb = Callable[[Any, str], Awaitable[Reply | None]]

# RFC 4954 section 4: the longest line, a base64 token.  Other commands are held to the shorter limit.
LONGEST_LINE = 12_288
LONGEST_COMMAND = 2_048
# Set-ReceiveConnector, LongAddressesEnabled: the longest line of such a connector.
LONGEST_COMMAND_WITH_LONG_ADDRESSES = 8_000
# Octets that wait to be looked at before the peer is not read any more.
_MOST_WAITING = 2 * LONGEST_LINE
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


class Stream(SMTP):
    """One connection; subclasses say what its octets mean."""

    verbs: ClassVar[Mapping[bytes, Verb]] = {}  # By their names in upper case.

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        # Not aiosmtpd's; see the module.
        self.loop = loop
        self.transport: asyncio.Transport | None = None  # What is read from and written to now.
        self._raw: asyncio.Transport | None = None
        self._handler_coroutine: asyncio.Task[None] | None = None
        self._opening: bytearray | None = None  # None: it may begin as it likes, or has begun.
        self._input = bytearray()  # What has come and nobody has looked at.
        self._awaited: asyncio.Future[None] | None = None  # More input, while a line is waited for.
        self._is_paused = False  # The peer is not read: too much waits to be looked at.
        self._is_at_end = False  # The peer says nothing more.
        self._is_broken = False  # The connection ended with an error.
        self._out: list[bytes] = []
        self._held_back = 0
        self._stalled: asyncio.Future[None] | None = None  # Done when the peer takes octets again.
        self._lines = 0
        self._sink: Callable[[bytes], None] | None = None
        self._body_done: asyncio.Future[None] | None = None
        self._pausing: asyncio.Future[None] | None = None
        self._patience = Patience(loop, self.gave_up)
        self._idle = False  # Waiting for a command.
        self._over_tls = False
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

    def begin(self, transport: asyncio.Transport, *, looks_for_header: bool) -> None:
        """Read and write through *transport*; *looks_for_header*: nobody expects a PROXY protocol header."""
        self._raw = self.transport = transport
        self._opening = bytearray() if looks_for_header else None

    def data_received(self, data: bytes) -> None:
        """Take octets: to the body that is being read, or to the command line."""
        self._patience.heard()
        if self._sink is not None:
            self._sink(data)
            return
        if self._opening is not None:
            self._look_at_opening(data)
        if self._closing:
            return
        self._input += data
        if len(self._input) > _MOST_WAITING and not self._is_paused and self.transport is not None:
            self._is_paused = True
            self.transport.pause_reading()
        self._wake_reader()

    def _look_at_opening(self, data: bytes) -> None:
        assert self._opening is not None
        self._opening += data[:_OPENING]
        found = may_begin_proxy_header(bytes(self._opening))
        if found is None:
            return
        self._opening = None
        if found:
            self.begins_like_a_proxy()

    def eof_received(self) -> bool:
        """Let what is still buffered be answered: aiosmtpd would drop the session here."""
        self._end_input()
        # asyncio: a TLS transport cannot stay half open.
        return not self._over_tls

    def connection_lost(self, error: Exception | None) -> None:
        """Wake whoever waits for the peer; the session ends by itself."""
        if self.transport is None:
            return
        self.transport = None
        self.was_reset = isinstance(error, ConnectionResetError)
        self._is_broken = error is not None
        self._end_input()
        self.wake()
        self.resume_writing()
        if self._raw is not None:
            self._raw.abort()
        if self._lingering is not None:
            self._lingering.cancel()

    def pause_writing(self) -> None:
        """Note that the peer takes nothing for now."""
        if self._stalled is None:
            self._stalled = self.loop.create_future()

    def resume_writing(self) -> None:
        """Note that it does again."""
        stalled, self._stalled = self._stalled, None
        if stalled is not None and not stalled.done():
            stalled.set_result(None)

    # -- input

    async def read_line(self) -> bytes | None:
        """Return the next line with its line end; None for one over LONGEST_LINE, which is skipped."""
        self._lines += 1
        if not self._lines % _IN_A_ROW:
            # Nothing is waited for while lines are here already, and one flight may have thousands of them.
            await asyncio.sleep(0)
        end = self._input.find(b"\n")
        if end < 0 or self._held_back > _HELD_BACK:
            await self.flush()
        if self._is_broken:
            raise ConnectionResetError("the connection ended with an error")
        if end < 0:
            end = await self._end_of_line()
        if end + 1 == len(self._input):
            # Nearly every line of a peer that waits for replies is all there is.
            line = bytes(self._input)
            self._input.clear()
        else:
            line = bytes(self._input[: end + 1])
            del self._input[: end + 1]
        if self._is_paused:
            self._read_on()
        return line if len(line) <= LONGEST_LINE else None

    async def _end_of_line(self) -> int:
        """Wait until a line is whole, and return where its end is; what it has too much is not kept."""
        self._idle = True
        self._lines = 0  # In a row.
        self._patience.peers_turn()
        try:
            looked_at = 0
            while (end := self._input.find(b"\n", looked_at)) < 0:
                del self._input[LONGEST_LINE:]
                looked_at = len(self._input)
                if self._is_at_end:
                    raise ConnectionResetError("the peer says nothing more")
                self._read_on()
                self._awaited = self.loop.create_future()
                await self._awaited
        finally:
            self._awaited = None
            self._idle = False
            self._patience.our_turn()
        return end

    def _read_on(self) -> None:
        """Read from the peer again, where little enough waits to be looked at."""
        if self._is_paused and len(self._input) <= LONGEST_LINE and self.transport is not None:
            self._is_paused = False
            self.transport.resume_reading()

    def _wake_reader(self) -> None:
        if self._awaited is not None and not self._awaited.done():
            self._awaited.set_result(None)

    def _end_input(self) -> None:
        self._is_at_end = True
        self._body_lost()
        self._wake_reader()

    async def read_body(self, body: Body) -> None:
        """Feed *body* from the wire until it has its end; ConnectionError where the peer left before."""
        done = self._body_done = self.loop.create_future()

        def sink(octets: bytes) -> None:
            rest = body.feed(octets)
            if rest is None:
                return
            self._sink = None
            self._input += rest
            if not done.done():
                done.set_result(None)

        buffered = bytes(self._input)
        self._input.clear()
        self._sink = sink
        try:
            if buffered:
                sink(buffered)
            self._read_on()
            if not done.done():
                if self._is_at_end:
                    self._body_lost()
                # Replies wait for the rest of a pipeline (RFC 2920), never for the rest of a body.
                await self.flush()
            self._patience.peers_turn()
            await done
        finally:
            self._patience.our_turn()
            self._sink = None
            self._body_done = None

    def _body_lost(self) -> None:
        if self._body_done is not None and not self._body_done.done():
            self._body_done.set_exception(ConnectionResetError("the peer left within the message"))

    def has_more_input(self) -> bool:
        """Whether octets that have not been looked at are here already."""
        return bool(self._input)

    # -- output

    def queue(self, reply: Reply) -> None:
        """Queue a reply; it leaves before the session waits for the peer again."""
        encoded = reply.encoded()
        self._out.append(encoded)
        self._held_back += len(encoded)

    async def flush(self) -> None:
        """Send what is queued; ConnectionError where the peer is gone."""
        if not self._out:
            return
        if self.octets_per_second is not None:
            await self._trickle(self.octets_per_second)
        self.write_queued()
        if self._stalled is not None or not self.is_open:
            await self._drain()

    async def _drain(self) -> None:
        """Wait until the peer takes octets again."""
        # A transport that is closing says soon that it is closed.
        await asyncio.sleep(0)
        if self._stalled is not None:
            # A peer that does not take what it asked for is as silent as one that says nothing.
            self._patience.peers_turn()
            try:
                await self._stalled
            finally:
                self._patience.our_turn()
        if self.transport is None:
            raise ConnectionResetError("the peer is gone")

    async def _trickle(self, octets_per_second: int) -> None:
        """Send what is queued in small pieces, all but the last of them."""
        octets, size = b"".join(self._out), max(1, octets_per_second // _PIECES)
        self._out.clear()
        while len(octets) > size:
            if self.transport is not None:
                self.transport.write(octets[:size])
            octets = octets[size:]
            await self.pause(size / octets_per_second)
        self._out.insert(0, octets)

    def write_queued(self) -> None:
        """Hand what is queued to the transport, without a pause in which the peer could speak."""
        if self.transport is not None:
            self.transport.write(self._out[0] if len(self._out) == 1 else b"".join(self._out))
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
        self._over_tls = True

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
        self.wake()
        self._end_input()

    def close(self) -> None:
        """Close gently; a peer that does not take our last words is cut off after a while."""
        if self._closing:
            return
        self._closing = True
        if self.is_open:
            assert self.transport is not None
            self.transport.close()
        self._lingering = self.loop.call_later(_LINGER, self.raw_transport.abort)
