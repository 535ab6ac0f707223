"""Sessions under strain: silence, floods, resets, faults and shutdown, over real sockets.

What a session says is in ``tests/sessions``; here is what a transcript cannot say.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import tracemalloc
from typing import TYPE_CHECKING, Protocol

import pytest

from tests.components.detour import Detour
from tests.lab import CONNECTOR, Belongings, all_ended, eventually, greeted, secured
from tests.peer import PATIENCE, Peer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from smtpd_anontls.receiver import Receiver
    from smtpd_anontls.smtp.session import WireSession
    from tests.lab import Lab

pytestmark = pytest.mark.slow

MIB = 1024 * 1024
# What may be allocated at most while 64 MiB come; a look at the configuration takes 16 of it for a moment.
BOUND = 24 * MIB
# Ten times as much is answered as is said.
FLOOD = b"EHLO edge.lab.test\r\n" * 500
OK = "250 2.0.0 OK"
SENDER_OK = "250 2.1.0 Sender OK"
RECIPIENT_OK = "250 2.1.5 Recipient OK"
GO_ON = "354 Start mail input; end with <CRLF>.<CRLF>"
LOCAL_ERROR = "451 4.3.0 Requested action aborted: local error in processing"
TIMEOUT = "451 4.7.0 Timeout waiting for client input"
NOT_ACTIVE = "421 4.3.2 Service not active"
CLOSING = "221 2.0.0 Service closing transmission channel"


class Meet(Protocol):
    """A way to a session: ``greeted`` in clear, ``secured`` under TLS."""

    async def __call__(self, receiver: Receiver, *, receive_buffer: int | None = None) -> Peer:
        """Return a peer that has said EHLO."""
        ...


async def begin_data(peer: Peer) -> None:
    """Bring a session to where it waits for a message."""
    await peer.send(b"MAIL FROM:<a@lab.test>\r\nRCPT TO:<b@lab.test>\r\nDATA\r\n")
    assert [await peer.reply() for _ in range(3)] == [[SENDER_OK], [RECIPIENT_OK], [GO_ON]]


# -- silence


@pytest.mark.parametrize("meet", [greeted, secured])
@pytest.mark.parametrize(
    "said",
    [
        pytest.param(b"", id="silent after EHLO"),
        pytest.param(b"NOO", id="silent within a command"),
        pytest.param(
            b"MAIL FROM:<a@lab.test>\r\nRCPT TO:<b@lab.test>\r\nDATA\r\nhalf a message",
            id="silent within DATA",
        ),
    ],
)
async def test_a_silent_peer_is_told_and_left(lab: Lab, meet: Meet, said: bytes) -> None:
    """ConnectionInactivityTimeout ends a session wherever the peer fell silent, in clear and under TLS."""
    short = {"connection_inactivity_timeout": 0.2}
    async with lab.receiver(connector=short) as receiver, await meet(receiver) as peer:
        await peer.send(said)
        said_last = (await peer.rest())[-1]

    assert said_last == TIMEOUT
    assert lab.session()["outcome"] == "timeout"
    assert lab.session()["outcome_detail"] == "the peer was silent for ConnectionInactivityTimeout (0.2 s)"
    assert lab.messages == []


async def test_an_old_session_is_told_and_left(lab: Lab) -> None:
    """ConnectionTimeout ends a session however busy it is."""
    times = {"connection_inactivity_timeout": 0.3, "connection_timeout": 0.5}
    async with lab.receiver(connector=times) as receiver, await greeted(receiver) as peer:
        while (reply := await peer.ask("NOOP")) == [OK]:
            pass

    assert reply == ["421 4.4.1 Connection timed out"]
    assert lab.session()["outcome"] == "timeout"
    assert lab.session()["outcome_detail"] == "the session is older than ConnectionTimeout (0.5 s)"


async def test_our_own_slowness_is_no_silence_of_the_peer(lab: Lab) -> None:
    """While a message is made durable, and right behind the reply, the peer's time-out does not run."""
    async with lab.receiver(connector={"connection_inactivity_timeout": 0.5}) as receiver:
        house, now = Detour(receiver), asyncio.get_running_loop().time
        async with house.listening() as address, await Peer.connect(address) as peer:
            await peer.reply()
            await peer.ask("EHLO edge.lab.test")
            await begin_data(peer)
            await peer.send(b"slow\r\n.\r\n")
            # A silent session lives out its time meanwhile.
            async with await greeted(receiver) as silent:
                assert await silent.reply() == [TIMEOUT]
            # The reply comes just before the timer looks again.
            (timer,) = (session._patience._timer for session in house.listener.sessions)
            assert timer is not None
            await eventually(lambda: timer.when() - now() < 0.1)
            house.may_deliver.set()
            reply = await peer.reply()
            await eventually(lambda: now() > timer.when() + 0.01)
            answer = await peer.ask("QUIT")

    assert reply[0].startswith("250 2.6.0 ")
    assert answer == [CLOSING]


# -- floods


@pytest.mark.parametrize("meet", [greeted, secured])
async def test_an_endless_message_is_not_kept(lab: Lab, meet: Meet) -> None:
    """64 MiB without a line end, against a limit of 1 MB: memory stays bounded, 552, and the next is taken."""
    limit = {"max_message_size": 1_000_000}
    async with lab.receiver(connector=limit) as receiver, await meet(receiver) as peer:
        await begin_data(peer)
        piece = b"x" * 65536
        with traced() as peak:
            for _ in range(64 * MIB // len(piece)):
                await peer.send(piece)
            await peer.send(b"\r\n.\r\n")
            reply = await peer.reply()
        await begin_data(peer)
        await peer.send(b"small\r\n.\r\n")
        second = await peer.reply()

    assert reply == ["552 5.3.4 Message size exceeds fixed maximum message size"]
    assert peak() < BOUND
    assert second[0].startswith("250 2.6.0 ")
    assert list(lab.raw.values()) == [b"small\r\n"]


async def test_an_endless_command_is_not_kept(lab: Lab) -> None:
    """A command line of 64 MiB costs no memory, and the session goes on behind it."""
    async with lab.receiver() as receiver, await greeted(receiver) as peer:
        with traced() as peak:
            for _ in range(64 * MIB // 65536):
                await peer.send(b"x" * 65536)
            await peer.send(b"\r\nNOOP\r\n")
            replies = [await peer.reply(), await peer.reply()]

    assert replies == [["500 5.5.2 Command line too long"], [OK]]
    assert peak() < BOUND
    assert len(str(lab.session()["transcript"])) < 4096


@pytest.mark.parametrize("meet", [greeted, secured])
async def test_a_pipeline_of_5000_commands(lab: Lab, meet: Meet) -> None:
    """Every command of one huge flight is answered, in order; the transcript keeps both of its ends."""
    async with lab.receiver() as receiver, await meet(receiver) as peer:
        await peer.send(b"NOOP\r\nFOO\r\n" * 2500 + b"QUIT\r\n")
        replies = await peer.rest()

    assert replies == [OK, "500 5.3.3 Unrecognized command"] * 2500 + [CLOSING]
    rows = lab.session()["transcript"]
    assert len(rows) < 600
    assert [row["text"] for row in rows if row["mark"] == "*" and "not kept" in row["text"]]
    assert rows[-1]["text"] == CLOSING


@pytest.mark.slow  # A peer gets five seconds to take our last words.
@pytest.mark.parametrize("meet", [greeted, secured])
async def test_a_peer_that_does_not_read(lab: Lab, meet: Meet) -> None:
    """Replies that nobody takes stop the reading, not grow the memory; then they count as silence."""
    async with lab.receiver(connector={"connection_inactivity_timeout": 0.5}) as receiver:
        before = Belongings.now()
        async with await meet(receiver, receive_buffer=4096) as peer:
            (session,) = receiver.listener.sessions
            small_send_buffer(session)
            with flooding(peer), traced() as peak:
                await eventually(lambda: session.raw_transport.get_write_buffer_size() > 0)
                await all_ended(receiver)
        await eventually(lambda: Belongings.now() == before)

    assert peak() < BOUND
    assert lab.session()["outcome"] == "timeout"


# -- resets


def small_send_buffer(session: WireSession) -> None:
    """Let the kernel take a few replies: for a peer on the same machine it would take megabytes."""
    ours = session.raw_transport.get_extra_info("socket")
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)


@pytest.mark.parametrize("meet", [greeted, secured])
@pytest.mark.parametrize(
    "said",
    [
        pytest.param(b"", id="after EHLO"),
        pytest.param(b"NOO", id="within a command"),
        pytest.param(b"MAIL FROM:<a@lab.test>\r\nRCPT TO:<b@lab.test>\r\nDATA\r\nhalf", id="within DATA"),
        pytest.param(FLOOD, id="within a flood, while reading is paused"),
    ],
)
async def test_a_reset_leaves_nothing_behind(lab: Lab, meet: Meet, said: bytes) -> None:
    """Wherever the peer resets the connection, the session is recorded, and no task and no socket stays."""
    async with lab.receiver() as receiver:
        before = Belongings.now()
        peer = await meet(receiver, receive_buffer=4096)
        (session,) = receiver.listener.sessions
        if said is FLOOD:
            small_send_buffer(session)
            with flooding(peer):
                await eventually(lambda: session.raw_transport.get_write_buffer_size() > 0)
        else:
            await peer.send(said)
        peer.reset()
        await all_ended(receiver)
        await eventually(lambda: Belongings.now() == before)

    assert lab.session()["outcome"] == "peer_disconnected"
    assert lab.messages == []


async def test_a_peer_that_is_gone_before_the_banner(lab: Lab) -> None:
    """Peers that connect and reset at once, many of them, leave nothing behind."""
    async with lab.receiver() as receiver:
        before = Belongings.now()
        for _ in range(50):
            (await Peer.connect(receiver.address(CONNECTOR))).reset()
        async with await greeted(receiver) as peer:
            assert await peer.ask("QUIT") == [CLOSING]
        await all_ended(receiver)
        await eventually(lambda: Belongings.now() == before)


# -- faults


async def test_a_journal_that_cannot_be_written(lab: Lab) -> None:
    """A message that cannot be made durable gets 452, the session goes on, and so does mail once it can."""
    async with lab.receiver() as receiver, await greeted(receiver) as peer:
        await receiver.journal.flush()
        for path in lab.folder.glob("capture.db*"):
            path.unlink()
        lab.database.mkdir()
        await begin_data(peer)
        await peer.send(b"lost\r\n.\r\n")
        refused = await peer.reply()
        lab.database.rmdir()
        await begin_data(peer)
        await peer.send(b"kept\r\n.\r\n")
        taken = await peer.reply()
        await peer.ask("QUIT")

    assert refused == ["452 4.3.1 Insufficient system resources"]
    assert taken[0].startswith("250 2.6.0 ")
    assert list(lab.raw.values()) == [b"kept\r\n"]
    assert lab.session()["outcome"] == "completed"
    assert any("cannot be written, and mail is not accepted" in warning for warning in lab.warnings)


async def test_a_fault_in_a_command(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    """An error of our own gets 451 and is logged; the peer learns nothing of it, and the session goes on."""
    async with lab.receiver() as receiver:
        house = Detour(receiver)
        async with house.listening() as address, await Peer.connect(address) as peer:
            await peer.reply()
            await peer.ask("EHLO edge.lab.test")
            house.fails_to_deliver = RuntimeError("private text")
            await begin_data(peer)
            await peer.send(b"one\r\n.\r\n")
            refused = await peer.reply()
            house.fails_to_deliver = None
            house.may_deliver.set()
            await begin_data(peer)
            await peer.send(b"two\r\n.\r\n")
            taken = await peer.reply()

    assert refused == [LOCAL_ERROR]
    assert taken[0].startswith("250 2.6.0 ")
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "private text" in caplog.text
    assert "private text" not in str(house.records)


async def test_a_fault_before_the_banner(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    """Where no session can be begun, the peer gets 451 and the connection is closed."""
    async with lab.receiver() as receiver:
        house = Detour(receiver)
        house.fails_to_welcome = RuntimeError("private text")
        async with house.listening() as address, await Peer.connect(address) as peer:
            heard = await peer.rest()

    assert heard == [LOCAL_ERROR]
    assert [record.outcome for record in house.records] == ["internal_error"]
    assert "private text" in caplog.text


# -- shutdown


async def test_a_shutdown_lets_transactions_finish(lab: Lab) -> None:
    """An idle session is told at once, one in a transaction once its message has been taken."""
    async with lab.receiver() as receiver:
        idle, busy = await greeted(receiver), await secured(receiver)
        async with idle, busy:
            await busy.ask("MAIL FROM:<a@lab.test>")
            closing = asyncio.create_task(receiver.listener.close(PATIENCE))
            heard = await idle.rest()
            assert await busy.ask("RCPT TO:<b@lab.test>") == [RECIPIENT_OK]
            assert await busy.ask("DATA") == [GO_ON]
            await busy.send(b"just in time\r\n.\r\n")
            taken = await busy.rest()
            await closing
        with pytest.raises(ConnectionRefusedError):
            await Peer.connect(receiver.address(CONNECTOR))

    assert heard == [NOT_ACTIVE]
    assert taken[0].startswith("250 2.6.0 ")
    assert taken[1:] == [NOT_ACTIVE]
    assert list(lab.raw.values()) == [b"just in time\r\n"]
    assert {session["outcome"] for session in lab.sessions} == {"shut_down"}


@pytest.mark.parametrize("meet", [greeted, secured])
@pytest.mark.parametrize("within", ["MAIL", "DATA"])
async def test_a_shutdown_does_not_wait_for_ever(lab: Lab, meet: Meet, within: str) -> None:
    """A transaction that does not end is cut after the drain time-out."""
    async with lab.receiver() as receiver:
        before = Belongings.now()
        async with await meet(receiver) as peer:
            if within == "MAIL":
                await peer.ask("MAIL FROM:<a@lab.test>")
            else:
                await begin_data(peer)
                await peer.send(b"half")
            await receiver.listener.close(0.05)
            heard = await peer.rest()
        await eventually(lambda: Belongings.now().sockets <= before.sockets)

    assert heard == [NOT_ACTIVE]
    assert lab.session()["outcome"] == "shut_down"
    assert lab.messages == []


async def test_a_shutdown_leaves_nothing_behind(lab: Lab) -> None:
    """After the receiver is left, its sessions, tasks and sockets are gone."""
    before = Belongings.now()
    async with lab.receiver() as receiver, await greeted(receiver) as peer:
        await peer.ask("QUIT")

    assert not receiver.listener.sessions
    await eventually(lambda: Belongings.now() == before)


@contextlib.contextmanager
def traced() -> Iterator[Callable[[], int]]:
    """Yield a function that returns the peak of what was allocated within the block."""
    peak = 0
    tracemalloc.start(1)
    try:
        yield lambda: peak
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@contextlib.contextmanager
def flooding(peer: Peer) -> Iterator[None]:
    """Let *peer* ask for more than it takes, for as long as the block lasts."""

    async def ask() -> None:
        while True:
            await peer.send(FLOOD)

    flood = asyncio.create_task(ask())
    # Where the other end has closed, that is what the test waited for.
    flood.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
    try:
        yield
    finally:
        flood.cancel()
