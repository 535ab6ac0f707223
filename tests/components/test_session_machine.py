"""Sessions against a model: whatever is said in whatever order, each reply and the journal are foreseen.

Two peers talk to one real receiver, over real sockets, one command or one pipelined flight at a time.

``SESSION_MACHINE_EXAMPLES=1000`` lets it run longer, on other examples each time.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from tests.components.session_model import (
    CHUNK,
    COMMANDS,
    CONTENT,
    HELLOS,
    MAX_RECIPIENTS,
    MAX_SIZE,
    STARTS,
    Command,
    Message,
    Model,
    chunk,
)
from tests.lab import CONNECTOR, all_ended
from tests.peer import Peer

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from smtpd_anontls.receiver import Receiver
    from tests.lab import Lab

    T = TypeVar("T")

EXAMPLES = os.environ.get("SESSION_MACHINE_EXAMPLES")
PEERS = st.integers(0, 1)
TLS_VERBS = st.sampled_from(["STARTTLS", "X-ANONYMOUSTLS"])


class SessionMachine(RuleBasedStateMachine):
    """Two sessions of one receiver; a subclass says which receiver."""

    runner: asyncio.Runner
    receiver: Receiver
    recorded: list[int]  # The ids of all messages that the journal has had so far.

    def __init__(self) -> None:
        super().__init__()
        self.peers: list[Peer | None] = [None, None]
        self.models = [Model(), Model()]
        self.taken: list[Message] = []

    def run(self, step: Coroutine[Any, Any, T]) -> T:
        """Let the loop, and the receiver in it, run for a step."""
        return self.runner.run(step)

    # -- what is said

    @rule(which=PEERS, commands=st.lists(COMMANDS, min_size=1, max_size=6))
    def pipeline(self, which: int, commands: list[Command]) -> None:
        """Send commands in one flight; each gets its reply, in order."""
        self.run(self._flight(which, commands))

    @rule(which=PEERS, start=STARTS, content=CONTENT, cut=st.integers(0, 100))
    def data(self, which: int, start: list[Command], content: bytes, cut: int) -> None:
        """Send DATA and, where it is asked for, a message in two flights with a command behind it."""
        self.run(self._flight(which, start))
        self.run(self._data(which, content and content + b"\r\n", cut))

    @rule(which=PEERS, start=STARTS, chunks=st.lists(CHUNK, min_size=1, max_size=3), last=CONTENT)
    def chunks(self, which: int, start: list[Command], chunks: list[Command], last: bytes) -> None:
        """Send a message in chunks, all in one flight with what begins it."""
        self.run(self._flight(which, [*start, *chunks, chunk(last, is_last=True)]))

    @rule(which=PEERS, start=HELLOS, verb=TLS_VERBS, argument=st.sampled_from(["", "", " x", "  "]))
    def secure(self, which: int, start: list[Command], verb: str, argument: str) -> None:
        """Ask for TLS, and shake hands where it is granted."""
        self.run(self._flight(which, start))
        self.run(self._secure(which, verb, argument))

    @rule(which=PEERS, start=HELLOS, verb=TLS_VERBS)
    def secure_in_haste(self, which: int, start: list[Command], verb: str) -> None:
        """Send a command behind the verb in the same flight, which ends the session where TLS was granted."""
        self.run(self._flight(which, start))
        self.run(self._secure_in_haste(which, verb))

    @rule(
        which=PEERS,
        start=HELLOS,
        verb=st.sampled_from(["AUTH", "AUTH", "X-EXPS"]),
        mechanism=st.sampled_from(["LOGIN", "ntlm", "", "PLAIN"]),
        answer=st.sampled_from([b"*", b"!", b"TlRMTVNTUAABAAAAAA", b"=", b"* "]),
    )
    def log_on(self, which: int, start: list[Command], verb: str, mechanism: str, answer: bytes) -> None:
        """Begin an authentication, and cancel or spoil it."""
        self.run(self._flight(which, start))
        self.run(self._log_on(which, verb, mechanism, answer))

    @rule(
        which=PEERS,
        start=STARTS,
        how=st.sampled_from(["QUIT", "close", "reset", "within DATA", "within BDAT", "BDAT without size"]),
    )
    def leave(self, which: int, start: list[Command], how: str) -> None:
        """End the session, in order or not; what is not complete is not taken."""
        self.run(self._flight(which, start))
        self.run(self._leave(which, how))

    # -- the end

    def teardown(self) -> None:
        """Find exactly the messages in the journal that were answered 250."""
        self.run(self._end())

    async def _end(self) -> None:
        for which in range(len(self.peers)):
            self._part(which)
        await all_ended(self.receiver)
        journal = self.receiver.journal
        rows = [row for row in await journal.messages(limit=1000) if row["id"] not in self.recorded]
        found = []
        for row in sorted(rows, key=lambda row: int(row["id"])):
            self.recorded.append(row["id"])
            raw = await journal.raw(row["id"])
            found.append(Message(row["sender"], tuple(row["recipients"]), raw or b"", row["verb"]))

        assert found == self.taken

    # -- the steps

    async def _open(self, which: int) -> tuple[Peer, Model]:
        peer = self.peers[which]
        if peer is None:
            peer = self.peers[which] = await Peer.connect(self.receiver.address(CONNECTOR))
            self.models[which] = Model()
            assert (await peer.reply())[0].startswith("220 ")
        return peer, self.models[which]

    def _part(self, which: int) -> None:
        peer = self.peers[which]
        if peer is not None:
            peer.socket.close()
        self.peers[which] = None
        self._keep(self.models[which])

    def _keep(self, model: Model) -> None:
        self.taken.extend(model.taken)
        model.taken.clear()

    async def _flight(self, which: int, commands: list[Command]) -> None:
        peer, model = await self._open(which)
        flight = b"".join(
            octets if octets.startswith(b"BDAT ") else octets + b"\r\n" for octets, _ in commands
        )
        await peer.send(flight)
        for octets, ask in commands:
            code = ask(model)
            reply = await peer.reply()
            _expect(reply, code, octets[:100])
        self._keep(model)

    async def _data(self, which: int, content: bytes, cut: int) -> None:
        peer, model = await self._open(which)
        code = model.data()
        _expect(await peer.ask("DATA"), code, b"DATA")
        if code != 354:
            return
        lines = content.split(b"\r\n")[:-1]
        stuffed = b"".join((b"." if line.startswith(b".") else b"") + line + b"\r\n" for line in lines)
        flight = stuffed + b".\r\nNOOP\r\n"
        at = cut * len(flight) // 100
        await peer.send(flight[:at])
        await peer.send(flight[at:])
        _expect(await peer.reply(), model.take(content), b"the message")
        _expect(await peer.reply(), 250, b"NOOP")
        self._keep(model)

    async def _secure(self, which: int, verb: str, argument: str) -> None:
        peer, model = await self._open(which)
        code = model.upgrade(has_argument=bool(argument.strip()))
        _expect(await peer.ask(verb + argument), code, verb.encode())
        if code == 220:
            await peer.upgrade()
            model.secured(verb)

    async def _secure_in_haste(self, which: int, verb: str) -> None:
        peer, model = await self._open(which)
        code = model.upgrade(has_argument=False)
        await peer.send(verb.encode() + b"\r\nNOOP\r\n")
        if code == 220:
            assert await peer.rest() == []
            self._part(which)
            return
        _expect(await peer.reply(), code, verb.encode())
        _expect(await peer.reply(), 250, b"NOOP")

    async def _log_on(self, which: int, verb: str, mechanism: str, answer: bytes) -> None:
        peer, model = await self._open(which)
        code = model.logon(mechanism.upper(), by_auth=verb == "AUTH")
        _expect(await peer.ask(f"{verb} {mechanism}"), code, f"{verb} {mechanism}".encode())
        if code != 334:
            return
        await peer.send(answer + b"\r\n")
        _expect(await peer.reply(), 501, answer)

    async def _leave(self, which: int, how: str) -> None:
        peer, model = await self._open(which)
        if how == "QUIT":
            _expect(await peer.ask("QUIT"), 221, b"QUIT")
            assert await peer.rest() == []
        elif how == "within DATA" and model.data() == 354:
            _expect(await peer.ask("DATA"), 354, b"DATA")
            await peer.send(b"Subject: never\r\n\r\n.\r")
        elif how == "BDAT without size":
            # What follows cannot be told from commands.
            await peer.send(b"BDAT LAST\r\nRSET\r\n")
            _expect(await peer.reply(), 501, b"BDAT LAST")
            assert await peer.rest() == []
        elif how == "within BDAT":
            await peer.send(b"BDAT 100 LAST\r\nSubject: never\r\n")
        if how == "reset":
            peer.reset()
        self._part(which)


def _expect(reply: list[str], code: int, said: bytes) -> None:
    """Hold a reply to its code; 250 to a content says how it was queued."""
    assert reply, f"no reply to {said!r}, {code} expected"
    assert {line[:3] for line in reply} == {str(code)}, f"{said!r}: {reply}, {code} expected"


@pytest.mark.slow
def test_sessions_do_what_their_model_foresees(lab: Lab) -> None:
    """Every reply has the code that the model says, and the journal has the messages that were answered 250."""
    connector = {
        "max_message_size": MAX_SIZE,
        "max_recipients_per_message": MAX_RECIPIENTS,
        "max_logon_failures": 0,
    }
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        running = runner.run(stack.enter_async_context(lab.receiver(connector=connector)))

        class Machine(SessionMachine):
            receiver = running
            recorded: list[int] = []  # noqa: RUF012 - one for all examples, on purpose

        Machine.runner = runner
        try:
            run_state_machine_as_test(
                Machine,
                settings=settings(
                    max_examples=int(EXAMPLES or 30),
                    stateful_step_count=30,
                    deadline=None,
                    derandomize=EXAMPLES is None,
                    database=None,
                    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
                ),
            )
        finally:
            runner.run(stack.aclose())
    assert lab.warnings == []
