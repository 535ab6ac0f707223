"""The plumbing of a session: lines in, replies out, bodies in bulk, timers, the end.

A subclass of aiosmtpd's SMTP.  The verbs are in ``verbs``; here is what carries them.  What
aiosmtpd and asyncio keep private is touched in this file and in ``upgrade`` only:

- ``StreamReader._buffer`` and ``_maybe_resume_transport``: whether more input is already here
  (replies are held back until it is used up, RFC 2920 section 3.2), and the hand-over to the bulk
  reader of a body.  Guarded by tests/components/test_session.py.
- ``SMTP._handle_client``, ``_smtp_methods``, ``_handler_coroutine``: aiosmtpd's own loop runs
  commands before any hook could choose a connector, and sends exception texts to the client.
- ``_over_ssl`` and the reader's and writer's ``_transport``: asyncio has no other way to move a
  stream onto another transport.

Faults of aiosmtpd 1.4.6 that this class does away with: an unterminated DATA line grows without
limit; pipelined plaintext can stall the handshake; the limits of commands are shared by all
sessions; a half-closed connection loses the replies still due; lines that end in a bare LF run.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from aiosmtpd.smtp import SMTP

from smtpd_anontls.domain.endpoints import bracketed, parse_address
from smtpd_anontls.domain.records import Outcome, SessionRecord
from smtpd_anontls.protocol import replies
from smtpd_anontls.smtp.patience import Patience
from smtpd_anontls.smtp.ports import Arrival, Refusal
from smtpd_anontls.smtp.transcript import Transcript

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from smtpd_anontls.domain.records import TlsFacts
    from smtpd_anontls.protocol.body import DataReader
    from smtpd_anontls.protocol.replies import Reply
    from smtpd_anontls.smtp.ports import House, Welcome

# RFC 4954 section 4: the longest line, a base64 token.  Other commands are held to the shorter limit.
LONGEST_LINE = 12_288
LONGEST_COMMAND = 2_048
# Replies that are waiting for the rest of a pipeline; more are sent at once.
_HELD_BACK = 16 * 1024
# Seconds that a peer has to take our last words before its socket is closed anyway.
_LINGER = 5.0


class _NoHooks:
    """aiosmtpd asks a handler for hooks; this receiver needs none."""


class WireSession(SMTP):
    """One connection, from accept to record; subclasses add the verbs."""

    line_length_limit = LONGEST_LINE

    # Private parts that the published type stubs do not know.
    _reader: Any
    _writer: Any

    def __init__(
        self,
        house: House,
        loop: asyncio.AbstractEventLoop,
        on_end: Callable[[WireSession], None],
    ) -> None:
        """*on_end* is called once, when the session has been recorded."""
        # aiosmtpd keeps these limits in a dictionary of the class and clears it for everyone.
        self.command_size_limits: dict[str, int] = {}
        super().__init__(_NoHooks(), hostname="-", data_size_limit=None, loop=loop)
        self.house = house
        self._on_end = on_end
        self.id = house.new_session_id()
        self.started = house.now()
        self.transcript = Transcript(loop.time)
        self.welcome: Welcome | None = None
        self.arrival: Arrival | None = None
        self.tls: TlsFacts | None = None
        self.messages: list[int] = []
        self._refused: Refusal | None = None
        self._outcome: tuple[Outcome, str] | None = None
        self._raw: asyncio.Transport | None = None
        self._out: list[bytes] = []
        self._held_back = 0
        self._sink: Callable[[bytes], None] | None = None
        self._body_done: asyncio.Future[None] | None = None
        self._patience = Patience(loop, self._give_up)
        self._idle = False  # Waiting for a command.
        self._draining = False
        self._abandoned = False
        self._closing = False
        self._lingering: asyncio.TimerHandle | None = None

    # -- the connection, as asyncio calls it

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the session."""
        # Not isinstance: a loop other than asyncio's own has transports of its own kind.
        transport = cast("asyncio.Transport", transport)
        self._raw = transport
        local, remote = transport.get_extra_info("sockname"), transport.get_extra_info("peername")
        if remote is None or self._abandoned:
            # The peer was gone before the connection could be looked at, or we are about to go.
            transport.abort()
            self._on_end(self)
            return
        self.arrival = Arrival(
            self.id,
            (parse_address(local[0]), local[1]),
            (parse_address(remote[0]), remote[1]),
        )
        asyncio.StreamReaderProtocol.connection_made(self, transport)
        self.transport = transport
        self._handler_coroutine = self.loop.create_task(self._handle_client())

    def data_received(self, data: bytes) -> None:
        """Take octets: to the body that is being read, or to the command line."""
        self._patience.heard()
        if self._sink is not None:
            self._sink(data)
        elif not self._closing:
            super().data_received(data)

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
        self._body_lost()
        asyncio.StreamReaderProtocol.connection_lost(self, error)
        if self._raw is not None:
            self._raw.abort()
        if self._lingering is not None:
            self._lingering.cancel()

    # -- the session

    async def _handle_client(self) -> None:
        try:
            await self._run()
        except (ConnectionError, asyncio.IncompleteReadError):
            self.conclude(Outcome.PEER_DISCONNECTED, "the peer closed the connection without QUIT")
        except asyncio.CancelledError:
            self.conclude(Outcome.SHUT_DOWN, "the receiver stopped")
            # RFC 5321 section 3.8: 421 before a connection is closed for a shutdown.
            self._last_words(replies.SERVICE_NOT_ACTIVE)
            raise
        except Exception as error:  # noqa: BLE001 - the edge: a fault here must not leave the session
            self._fault(error)
        finally:
            self._end()

    async def _run(self) -> None:
        assert self.arrival is not None
        welcomed = await self.house.welcome(self.arrival)
        if isinstance(welcomed, Refusal):
            self._refused = welcomed
            self.reply(replies.SERVICE_NOT_AVAILABLE)
            await self._flush()
            self.conclude(Outcome.NO_CONNECTOR, welcomed.detail)
            return
        self.welcome = welcomed
        self._patience.begin(welcomed.connector)
        self.greet()
        while self._outcome is None:
            if self._draining and not self.in_transaction():
                self.reply(replies.SERVICE_NOT_ACTIVE)
                self.conclude(Outcome.SHUT_DOWN, "the receiver is stopping")
                break
            await self._command()
        await self._flush()

    async def _command(self) -> None:
        line = await self._next_line()
        if line is None:
            self.transcript.note("a command line was too long and is not kept")
            self.reply(replies.LINE_TOO_LONG)
            return
        text = line.rstrip(b"\r\n")
        verb, _, argument = text.partition(b" ")
        name = verb.decode("ascii", "replace").upper()
        method: Callable[[str], Awaitable[Reply | None]] | None = self._smtp_methods.get(name)
        self.transcript.client(text, known_verb=method is not None)
        if not line.endswith(b"\r\n") or b"\r" in line[:-2]:
            # RFC 5321 section 2.3.8: only CRLF ends a line; a lone CR or LF must not.
            self.reply(replies.BARE_LINE_END)
            return
        if method is None:
            self.reply(replies.UNRECOGNIZED)
            return
        try:
            reply = await method(argument.decode("utf-8", "surrogateescape").strip(" \t"))
        except (ConnectionError, asyncio.IncompleteReadError):
            raise
        except Exception as error:  # noqa: BLE001 - see _handle_client; the session may go on
            self.house.report_fault(self.id, error)
            self.transcript.note("an internal error was recorded")
            reply = replies.LOCAL_ERROR
        if reply is not None:
            self.reply(reply)

    def greet(self) -> None:
        """Send the banner."""
        raise NotImplementedError

    def in_transaction(self) -> bool:
        """Whether a mail transaction is open."""
        raise NotImplementedError

    def reply(self, reply: Reply) -> None:
        """Queue a reply; it leaves before the session waits for the peer again."""
        self.transcript.server(reply.lines())
        encoded = reply.encoded()
        self._out.append(encoded)
        self._held_back += len(encoded)

    def conclude(self, outcome: Outcome, detail: str) -> None:
        """Set how the session ended; what came first stays."""
        if self._outcome is None:
            self._outcome = (outcome, detail)

    def drain(self) -> None:
        """End the session as soon as no transaction is open, at once where it is idle."""
        self._draining = True
        if self._idle and not self.in_transaction():
            self.conclude(Outcome.SHUT_DOWN, "the receiver is stopping")
            self._last_words(replies.SERVICE_NOT_ACTIVE)

    def abandon(self) -> None:
        """End the session now; one whose connection is still being made ends with that."""
        self._abandoned = True
        if self._handler_coroutine is not None:
            # A task that is cancelled before its first step would never record the session.
            self.loop.call_soon(self._handler_coroutine.cancel)

    # -- input

    async def _next_line(self) -> bytes | None:
        """Return the next line with its line end; None for one over the limit, which is skipped."""
        if self._held_back > _HELD_BACK or b"\n" not in self._reader._buffer:
            await self._flush()
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
        if len(line) > LONGEST_COMMAND:
            return None
        return line

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

    async def read_body(self, body: DataReader) -> None:
        """Feed *body* from the wire until it has its end; ConnectionError where the peer left before."""
        await self._flush()
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
        self._reader._maybe_resume_transport()
        self._sink = sink
        try:
            if buffered:
                sink(buffered)
            if not done.done() and self._reader.at_eof():
                self._body_lost()
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

    async def _flush(self) -> None:
        if self._out:
            written = b"".join(self._out)
            self._out.clear()
            self._held_back = 0
            self._writer.write(written)
            # A peer that does not take what it asked for is as silent as one that says nothing.
            with self._patience.peers_turn():
                await self._writer.drain()

    def write_now(self, reply: Reply) -> None:
        """Write *reply* and all that is queued, without a pause in which the peer could speak."""
        self.reply(reply)
        self._writer.write(b"".join(self._out))
        self._out.clear()
        self._held_back = 0

    async def flush(self) -> None:
        """Send what is queued; ConnectionError where the peer is gone."""
        await self._flush()

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

    def _give_up(self, detail: str) -> None:
        self.conclude(Outcome.TIMEOUT, detail)
        self._last_words(replies.TIMEOUT)

    def _last_words(self, reply: Reply) -> None:
        """Say *reply* from outside the session's own flow, and close."""
        if self.transport is None or self.transport.is_closing():
            return
        self.write_now(reply)
        self._close()
        # Whoever waits for the peer wakes up.
        self._body_lost()
        self._reader.feed_eof()

    def _fault(self, error: BaseException) -> None:
        self.house.report_fault(self.id, error)
        self.conclude(Outcome.INTERNAL_ERROR, "an internal error was recorded")
        if self.transport is not None and not self.transport.is_closing():
            self.write_now(replies.LOCAL_ERROR)

    def _close(self) -> None:
        """Close gently; a peer that does not take our last words is cut off after a while."""
        if self._closing:
            return
        self._closing = True
        if self.transport is not None and not self.transport.is_closing():
            self.transport.close()
        self._lingering = self.loop.call_later(_LINGER, self.raw_transport.abort)

    def _end(self) -> None:
        self._patience.end()
        self._close()
        self.house.record_session(self.record())
        self._on_end(self)

    def record(self) -> SessionRecord:
        """Return the session as it stands."""
        assert self.arrival is not None
        outcome, detail = self._outcome or (None, "")
        welcome, refused = self.welcome, self._refused
        server = welcome.server if welcome else refused.server if refused else None
        return SessionRecord(
            id=self.id,
            started=self.started,
            ended=None if outcome is None else self.house.now(),
            server=server.name if server else None,
            connector=welcome.connector.name if welcome else None,
            connector_detail=welcome.detail if welcome else refused.detail if refused else "",
            local=f"{bracketed(self.arrival.local[0])}:{self.arrival.local[1]}",
            remote=f"{bracketed(self.arrival.remote[0])}:{self.arrival.remote[1]}",
            tls=self.tls,
            authenticated_as=None,
            outcome=outcome,
            outcome_detail=detail,
            selections=tuple(selection.as_json() for selection in welcome.selections) if welcome else (),
            event_ids=tuple(i for s in welcome.selections for i in s.event_ids) if welcome else (),
            messages=tuple(self.messages),
            transcript=self.transcript.rows(),
        )
