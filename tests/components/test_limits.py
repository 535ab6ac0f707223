"""The limits of a Receive connector, over real sockets: what the peer hears, and what the record says."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab import CONNECTOR, all_ended, eventually, greeted
from tests.peer import Peer

if TYPE_CHECKING:
    from smtpd_anontls.receiver import Receiver
    from tests.lab import Lab

TOO_MANY = "421 4.3.2 The maximum number of concurrent connections has exceeded a limit, closing transmission channel"
OK = "250 2.0.0 OK"


async def refused(receiver: Receiver) -> list[str]:
    """Connect, and return all that the receiver says to the end."""
    async with await Peer.connect(receiver.address(CONNECTOR)) as peer:
        return await peer.rest()


@pytest.mark.parametrize(
    ("limits", "fit", "struck"),
    [
        pytest.param(
            {"max_inbound_connection": 2},
            2,
            "MaxInboundConnection: the connector has 2 sessions of 2",
            id="all",
        ),
        pytest.param(
            {"max_inbound_connection_per_source": 2},
            2,
            "MaxInboundConnectionPerSource: 127.0.0.1 has 2 sessions of 2",
            id="of one source",
        ),
        pytest.param(
            {"max_inbound_connection": 100, "max_inbound_connection_percentage_per_source": 3},
            2,
            "MaxInboundConnectionPercentagePerSource: 127.0.0.1 has 2 sessions, and 3 percent of the 98 still free "
            "are 2",
            id="in percent",
        ),
    ],
)
async def test_one_session_too_many(lab: Lab, limits: dict[str, Any], fit: int, struck: str) -> None:
    """The session over the limit hears 421 in place of the banner, and another comes in when one has left."""
    async with lab.receiver(connector=limits) as receiver, contextlib.AsyncExitStack() as stack:
        inside = [await stack.enter_async_context(await greeted(receiver)) for _ in range(fit)]
        said = await refused(receiver)
        for peer in inside:
            assert await peer.ask("NOOP") == [OK]
        inside[0].socket.close()
        await eventually(lambda: len(receiver.listener.sessions) == fit - 1)
        async with await greeted(receiver) as another:
            assert await another.ask("NOOP") == [OK]

    (record,) = [each for each in lab.sessions if each["outcome"] == "limit_exceeded"]
    assert said == [TOO_MANY]
    assert record["connector"] == CONNECTOR
    assert record["limits"] == [struck]
    assert record["outcome_detail"] == struck


async def test_a_reply_is_held_back_from_an_anonymous_peer(lab: Lab) -> None:
    """TarpitInterval holds a 5yz reply back, and no other; other sessions do not wait."""
    async with (
        lab.receiver(connector={"tarpit_interval": 0.5}) as receiver,
        await greeted(receiver) as peer,
        await greeted(receiver) as beside,
    ):
        assert await peer.ask("NOOP") == [OK]
        await peer.send(b"NOOP\r\nFOO\r\nNOOP\r\n")
        # What was answered before is not held back with it.
        assert await peer.reply() == [OK]
        held = asyncio.create_task(peer.reply())
        assert await beside.ask("NOOP") == [OK]
        assert not held.done()
        assert await held == ["500 5.3.3 Unrecognized command"]
        assert await peer.reply() == [OK]

    rows = [row["text"] for each in lab.sessions for row in each["transcript"] if row["mark"] == "*"]
    assert rows == ["held back for 0.5 s: 500 5.3.3 Unrecognized command"]


async def test_a_failed_logon_is_held_back_once(lab: Lab) -> None:
    """AuthTarpitInterval takes the place of TarpitInterval for the reply to a failed logon."""
    slow = {"auth_mechanism": "BasicAuth", "tarpit_interval": 0.1, "auth_tarpit_interval": 0.2}
    async with (
        lab.receiver(connector=slow, users={"alice": "right"}) as receiver,
        await greeted(receiver) as peer,
    ):
        assert (await peer.ask("AUTH LOGIN YWxpY2U=")) == ["334 UGFzc3dvcmQ6"]
        assert (await peer.ask("d3Jvbmc=")) == ["535 5.7.3 Authentication unsuccessful"]
        assert (await peer.ask("FOO")) == ["500 5.3.3 Unrecognized command"]

    rows = [row["text"] for row in lab.session()["transcript"] if row["text"].startswith("held back")]
    assert rows == [
        "held back for 0.2 s: 535 5.7.3 Authentication unsuccessful",
        "held back for 0.1 s: 500 5.3.3 Unrecognized command",
    ]


async def test_who_leaves_while_a_reply_is_held_back_holds_nothing(lab: Lab) -> None:
    """A peer that goes away within its tarpit ends the session at once."""
    async with lab.receiver(connector={"tarpit_interval": 300}) as receiver:
        async with await greeted(receiver) as peer:
            await peer.send(b"FOO\r\n")
            (session,) = receiver.listener.sessions
            await eventually(lambda: session._pausing is not None)
            peer.reset()
        await all_ended(receiver)

    assert lab.session()["outcome"] == "peer_disconnected"


async def test_a_stop_does_not_wait_for_a_tarpit(lab: Lab) -> None:
    """A session whose reply is held back is told 421 when the receiver stops."""
    async with lab.receiver(connector={"tarpit_interval": 300}) as receiver:
        peer = await greeted(receiver)
        await peer.send(b"FOO\r\n")
        (session,) = receiver.listener.sessions
        await eventually(lambda: session._pausing is not None)
        session.drain()
        said = await peer.rest()
        peer.socket.close()

    assert said == ["500 5.3.3 Unrecognized command", "421 4.3.2 Service not active"]


async def test_recipients_over_the_limit_are_refused_for_this_time(lab: Lab) -> None:
    """MaxRecipientsPerMessage refuses those that are too many, takes the others, and strikes once a message."""
    async with (
        lab.receiver(connector={"max_recipients_per_message": 2}) as receiver,
        await greeted(receiver) as peer,
    ):
        for _ in range(2):
            await peer.ask("MAIL FROM:<a@lab.test>")
            replies = [await peer.ask(f"RCPT TO:<r{number}@lab.test>") for number in range(4)]
            await peer.ask("DATA")
            await peer.send(b"x\r\n.\r\n")
            assert (await peer.reply())[0].startswith("250 2.6.0 ")

    full = ["452 4.5.3 Too many recipients"]
    assert replies[2:] == [full, full]
    assert [message["recipients"] for message in lab.messages] == [["r0@lab.test", "r1@lab.test"]] * 2
    assert (
        lab.session()["limits"]
        == [
            "MaxRecipientsPerMessage: a message has more than 2 recipients",
        ]
        * 2
    )


async def test_limits_of_time_are_in_the_record(lab: Lab) -> None:
    """ConnectionInactivityTimeout is seen among the limits that struck."""
    async with (
        lab.receiver(connector={"connection_inactivity_timeout": 0.2}) as receiver,
        await greeted(receiver) as peer,
    ):
        assert await peer.rest() == ["451 4.7.0 Timeout waiting for client input"]

    assert lab.session()["limits"] == [
        "ConnectionInactivityTimeout: the peer was silent for ConnectionInactivityTimeout (0.2 s)"
    ]


async def test_the_rate_is_counted_over_sessions(lab: Lab) -> None:
    """MessageRateLimit counts the messages of an address, however many sessions it spreads them over."""
    async with lab.receiver(connector={"message_rate_limit": 2}) as receiver:
        for _ in range(2):
            async with await greeted(receiver) as peer:
                assert await peer.ask("MAIL FROM:<a@lab.test>") == ["250 2.1.0 Sender OK"]
        async with await greeted(receiver) as peer:
            said = await peer.ask("MAIL FROM:<a@lab.test>")
            assert await peer.rest() == []

    assert said == ["421 4.4.2 Message submission rate for this client has exceeded the configured limit"]
    assert lab.session()["outcome"] == "limit_exceeded"
    assert lab.session()["limits"] == ["MessageRateLimit: 127.0.0.1 has sent 2 messages in the last minute"]
