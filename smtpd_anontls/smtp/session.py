"""The course of a session: who takes it, command after command, the end, the record.

aiosmtpd's own loop (``SMTP._handle_client``) runs commands before any hook could choose a
connector, and sends exception texts to the client; this one takes its place.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, cast

from smtpd_anontls.domain.endpoints import Binding, parse_address
from smtpd_anontls.domain.faults import Circumstances
from smtpd_anontls.domain.limits import Struck
from smtpd_anontls.domain.records import Outcome, SessionRecord
from smtpd_anontls.protocol import replies
from smtpd_anontls.protocol.proxy_header import ProxyHeaderError
from smtpd_anontls.smtp import faults
from smtpd_anontls.smtp.ports import Arrival, Refusal
from smtpd_anontls.smtp.proxy import HEADER_TIMEOUT, HeaderReader
from smtpd_anontls.smtp.stream import LONGEST_COMMAND, LONGEST_COMMAND_WITH_LONG_ADDRESSES, Stream
from smtpd_anontls.smtp.transcript import Transcript

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpd_anontls.domain.events import EventDraft
    from smtpd_anontls.domain.faults import Point, SessionFaults, Suffered
    from smtpd_anontls.domain.records import Attempt, TlsFacts
    from smtpd_anontls.protocol.replies import Reply
    from smtpd_anontls.smtp.ports import House, Welcome

# RFC 5321 section 4.2.2: syntax errors and bad sequences, which MaxProtocolErrors counts.
_PROTOCOL_ERRORS = range(500, 505)
_PERMANENT = 500
# Of a session that goes on and on the record keeps so many limits that struck, and events.
_MOST_KEPT = 100


class WireSession(Stream):
    """One connection, from accept to record; subclasses add the verbs."""

    def __init__(
        self,
        house: House,
        loop: asyncio.AbstractEventLoop,
        on_end: Callable[[WireSession], None],
    ) -> None:
        """*on_end* is called once, when the session has been recorded."""
        super().__init__(loop)
        self.house = house
        self._on_end = on_end
        self.id = house.new_session_id()
        self.started = house.now()
        self.transcript = Transcript(loop.time)
        self.welcome: Welcome | None = None
        self.arrival: Arrival | None = None
        self.tls: TlsFacts | None = None
        self.messages: list[int] = []
        self.limits: list[Struck] = []
        self.attempts: list[Attempt] = []
        self.event_ids: list[int] = []
        self.faults: SessionFaults | None = None
        self.suffered: list[Suffered] = []
        self.injected: Reply | None = None  # The reply of a fault, which nothing holds back or counts.
        self.held: Reply | None = None  # A reply that has been held back.
        self.is_mute = False  # Whatever happens, nothing more is said: a fault has the connection.
        self._expects_header = False  # Of the PROXY protocol.
        self._refused: Refusal | None = None
        self._outcome: tuple[Outcome, str] | None = None
        self._protocol_errors = 0
        self._draining = False
        self._abandoned = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the session."""
        # Not isinstance: a loop other than asyncio's own has transports of its own kind.
        transport = cast("asyncio.Transport", transport)
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
        # Now, since octets may come before the session's first step: those of uvloop do.
        self._expects_header = self.house.expects_proxy_header(self.arrival)
        self.begin(transport, looks_for_header=not self._expects_header)
        self._handler_coroutine = self.loop.create_task(self._handle_client())

    # -- the course

    async def _handle_client(self) -> None:
        try:
            await self._run()
        except ConnectionError:
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
        if self._expects_header and not await self._read_proxy_header():
            return
        welcomed = await self.house.welcome(self.arrival)
        if isinstance(welcomed, Refusal):
            await self._refuse(welcomed)
            return
        self.welcome = welcomed
        self.event_ids.extend([number for each in welcomed.selections for number in each.event_ids])
        self.transcript.log = self.house.session_log(self.arrival, welcomed.server, welcomed.connector)
        self.transcript.connected()
        self._patience.begin(welcomed.connector)
        self.faults = welcomed.faults
        if self._outcome is None:
            self.greet(None if self.faults is None else await faults.in_place_of_banner(self))
        while self._outcome is None:
            if self._draining and not self.in_transaction():
                self.reply(replies.SERVICE_NOT_ACTIVE)
                self.conclude(Outcome.SHUT_DOWN, "the receiver is stopping")
                break
            await self._command()
        await self.flush()

    async def _refuse(self, refusal: Refusal) -> None:
        assert self.arrival is not None
        self._refused = refusal
        if refusal.server is not None and refusal.connector is not None:
            self.transcript.log = self.house.session_log(self.arrival, refusal.server, refusal.connector)
        self.transcript.connected()
        if refusal.struck is None:
            self.conclude(Outcome.NO_CONNECTOR, refusal.detail)
        else:
            self.struck(refusal.struck, ends=True)
        self.reply(refusal.reply)
        await self.flush()

    async def _read_proxy_header(self) -> bool:
        """Take the peer's address from the PROXY protocol header that comes first; whether there was one."""
        assert self.arrival is not None
        reader = HeaderReader()
        try:
            async with asyncio.timeout(HEADER_TIMEOUT):
                await self.read_body(reader)
            header = reader.header()
        except TimeoutError:
            self.conclude(Outcome.TIMEOUT, f"no PROXY protocol header came within {HEADER_TIMEOUT:g} s")
            return False
        except ProxyHeaderError as error:
            self.conclude(Outcome.REFUSED, f"the trusted proxy sent no PROXY protocol header: {error}")
            return False
        # A proxy's own connection, as for its health checks, keeps its own address.
        source = header.source or self.arrival.remote
        self.arrival = replace(self.arrival, remote=source, proxy=self.arrival.remote)
        return True

    def begins_like_a_proxy(self) -> None:
        """End the session: whoever may say anything about addresses is named in trusted_proxies."""
        self.conclude(
            Outcome.REFUSED,
            "a PROXY protocol header came from a peer that is not in trusted_proxies of a connector with "
            "proxy_protocol",
        )
        self.hang_up()

    async def _command(self) -> None:
        assert self.welcome is not None
        line = await self.read_line()
        if line is None or (len(line) > LONGEST_COMMAND and self.is_too_long(line)):
            self.transcript.note("a command line was too long and is not kept")
            await self._answer(replies.LINE_TOO_LONG)
            return
        # RFC 5321 section 2.3.8: only CRLF ends a line; a lone CR or LF must not.
        is_sound = line.endswith(b"\r\n") and line.find(b"\r") == len(line) - len(b"\r\n")
        text = line[:-2] if is_sound else line.rstrip(b"\r\n")
        word, _, argument = text.partition(b" ")
        verb = word.upper()
        method = self.verbs.get(verb)
        self.transcript.client(text, verb, is_known=method is not None)
        if not is_sound:
            await self._answer(replies.BARE_LINE_END)
            return
        if method is None:
            await self._answer(replies.UNRECOGNIZED)
            return
        try:
            reply = await method(self, argument.decode("utf-8", "surrogateescape").strip(" \t"))
        except ConnectionError:
            raise
        except Exception as error:  # noqa: BLE001 - see _handle_client; the session may go on
            self.house.report_fault(self.id, error)
            self.transcript.note("an internal error was recorded")
            reply = replies.LOCAL_ERROR
        if reply is None:
            return
        if reply.code < _PERMANENT:
            # Nothing holds it back, and it counts as no error.
            self.reply(reply)
        else:
            await self._answer(reply)

    def is_too_long(self, line: bytes) -> bool:
        """Whether a command of more than LONGEST_COMMAND octets is longer than it may be."""
        assert self.welcome is not None
        long_addresses = self.welcome.connector.long_addresses_enabled
        return not long_addresses or len(line) > LONGEST_COMMAND_WITH_LONG_ADDRESSES

    async def _answer(self, reply: Reply) -> None:
        """Give a *reply* of 500 or more, held back where TarpitInterval says so, or end a session of too many errors."""
        assert self.welcome is not None
        if reply is self.injected:
            self.reply(reply)
            return
        connector = self.welcome.connector
        if reply.code in _PROTOCOL_ERRORS:
            self._protocol_errors += 1
            most = connector.max_protocol_errors
            if most is not None and self._protocol_errors > most:
                self.struck(
                    Struck("MaxProtocolErrors", f"more than {most} commands were wrong or out of order"),
                    ends=True,
                )
                reply = replies.TOO_MANY_ERRORS
        held, self.held = self.held, None
        # AuthTarpitInterval has held a failed logon back already.
        if (
            reply.code >= _PERMANENT
            and connector.tarpit_interval
            and reply is not held
            and self.is_anonymous()
        ):
            self.transcript.tarpit(connector.tarpit_interval, reply)
            await self.pause(connector.tarpit_interval)
        self.reply(reply)

    async def suffer(
        self,
        point: Point,
        verb: str | None = None,
        sender: str | None = None,
        recipients: tuple[str, ...] = (),
    ) -> Reply | None:
        """Carry out the faults that happen here; return the reply of one, ConnectionError where the session is over."""
        secured_by = None if self.tls is None else self.tls.verb
        return await faults.suffer(self, Circumstances(point, verb, secured_by, sender, recipients))

    def greet(self, instead: Reply | None = None) -> None:
        """Send the banner, or what stands in its place."""
        raise NotImplementedError

    def in_transaction(self) -> bool:
        """Whether a mail transaction is open."""
        raise NotImplementedError

    def is_anonymous(self) -> bool:
        """Whether nobody vouches for the peer."""
        raise NotImplementedError

    def rights(self) -> tuple[tuple[str, ...], str | None, tuple[str, ...]]:
        """Return the permissions of the sender, and who it is with its groups where that is known."""
        raise NotImplementedError

    def reply(self, reply: Reply) -> None:
        """Queue a reply; it leaves before the session waits for the peer again."""
        self.transcript.server(reply.lines())
        self.queue(reply)

    def write_now(self, reply: Reply) -> None:
        """Write *reply* and all that is queued, without a pause in which the peer could speak."""
        self.reply(reply)
        self.write_queued()

    def struck(self, limit: Struck, *, ends: bool = False) -> None:
        """Record a limit that struck, and with *ends* that it ends the session."""
        if len(self.limits) < _MOST_KEPT:
            self.limits.append(limit)
        self.transcript.note(f"{limit.name} struck: {limit.detail}")
        if ends:
            self.conclude(Outcome.LIMIT_EXCEEDED, f"{limit.name}: {limit.detail}")

    def write_event(self, draft: EventDraft) -> None:
        """Write an event of this session."""
        assert self.arrival is not None
        assert self.welcome is not None
        if len(self.event_ids) < _MOST_KEPT:
            self.event_ids.append(draft.event_id.value)
        self.house.record_event(draft, self.arrival, self.welcome)

    # -- the end

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
        self.wake()

    def abandon(self) -> None:
        """End the session now; one whose connection is still being made ends with that."""
        self._abandoned = True
        if self._handler_coroutine is not None:
            # A task that is cancelled before its first step would never record the session.
            self.loop.call_soon(self._handler_coroutine.cancel)

    def gave_up(self, detail: str, *, of_age: bool) -> None:
        """End the session: the peer was silent for too long, or the session is too old."""
        name = "ConnectionTimeout" if of_age else "ConnectionInactivityTimeout"
        self.limits.append(Struck(name, detail))
        self.conclude(Outcome.TIMEOUT, detail)
        self._last_words(replies.CONNECTION_TIMED_OUT if of_age else replies.TIMEOUT)

    def _last_words(self, reply: Reply) -> None:
        """Say *reply* from outside the session's own flow, and close."""
        if self.is_open:
            if not self.is_mute:
                self.write_now(reply)
            self.hang_up()

    def _fault(self, error: BaseException) -> None:
        self.house.report_fault(self.id, error)
        self.conclude(Outcome.INTERNAL_ERROR, "an internal error was recorded")
        if self.is_open:
            self.write_now(replies.LOCAL_ERROR)

    def _end(self) -> None:
        self._patience.end()
        self.close()
        try:
            if self.welcome is not None and self.arrival is not None:
                self.house.departed(self.arrival, self.welcome)
            left = self._outcome is not None and self._outcome[0] is Outcome.PEER_DISCONNECTED
            self.transcript.disconnected(by_peer=left, by_reset=self.was_reset)
            self.house.record_session(self.record())
        except Exception as error:  # noqa: BLE001 - the edge: whatever it is, the session is no longer there
            self.house.report_fault(self.id, error)
        finally:
            self._on_end(self)

    @cached_property
    def _endpoints(self) -> tuple[str, str]:
        """Where the connection came to and from; a PROXY protocol header has been read by then."""
        assert self.arrival is not None
        return str(Binding(*self.arrival.local)), str(Binding(*self.arrival.remote))

    def record(self) -> SessionRecord:
        """Return the session as it stands."""
        assert self.arrival is not None
        outcome, detail = self._outcome or (None, "")
        welcome, refused = self.welcome, self._refused
        taken_by = welcome or refused
        connector = None if taken_by is None else taken_by.connector
        permissions, identity, groups = self.rights() if welcome else ((), None, ())
        local, remote = self._endpoints
        return SessionRecord(
            id=self.id,
            started=self.started,
            ended=None if outcome is None else self.house.now(),
            server=taken_by.server.name if taken_by and taken_by.server else None,
            connector=None if connector is None else connector.name,
            connector_detail=taken_by.detail if taken_by else "",
            local=local,
            remote=remote,
            tls=self.tls,
            authenticated_as=identity,
            outcome=outcome,
            outcome_detail=detail,
            selections=tuple([each.as_json() for each in welcome.selections]) if welcome else (),
            event_ids=tuple(self.event_ids),
            messages=tuple(self.messages),
            transcript=self.transcript.rows(),
            proxy=None if self.arrival.proxy is None else str(Binding(*self.arrival.proxy)),
            limits=tuple([f"{limit.name}: {limit.detail}" for limit in self.limits]),
            attempts=tuple(self.attempts),
            groups=groups,
            permissions=permissions,
            faults=tuple(self.suffered),
        )
