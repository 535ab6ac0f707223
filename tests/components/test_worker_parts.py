"""What supervisor and workers are made of: the channel, what waits to be told, questions, shared counts."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_address
from types import MappingProxyType
from typing import TYPE_CHECKING

import pytest

from smtpd_anontls.domain.connectors import ReceiveConnector
from smtpd_anontls.domain.endpoints import Binding
from smtpd_anontls.domain.events import EventDraft, EventId
from smtpd_anontls.domain.flags import TransportRole
from smtpd_anontls.domain.limits import Struck
from smtpd_anontls.protocol_log.rows import Event, Row
from smtpd_anontls.settings.load import load_config
from smtpd_anontls.supervisor.asking import Questions
from smtpd_anontls.supervisor.channel import Channel
from smtpd_anontls.supervisor.limits import AskedLimits, CountedLimits
from smtpd_anontls.supervisor.outbox import MOST, Kind, Outbox
from smtpd_anontls.supervisor.parts import TellsLog
from smtpd_anontls.supervisor.sockets import HandedSockets, SharedSockets, hand_over, take_over
from smtpd_anontls.supervisor.tallies import SharedTallies
from smtpd_anontls.supervisor.words import Answer, Batch, Enter, Happened, Leave, Logged, Warned
from tests.lab import CONNECTOR, SERVER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import Any

    from tests.lab import Lab

NOW = datetime(2026, 11, 25, tzinfo=UTC)
PLACE = (SERVER, CONNECTOR)
HERE = ip_address("192.0.2.1")


@asynccontextmanager
async def ends() -> AsyncIterator[tuple[Channel, Channel]]:
    """Give both ends of a channel."""
    ours, theirs = socket.socketpair()
    near, far = await Channel.over(ours), await Channel.over(theirs)
    try:
        yield near, far
    finally:
        await near.close()
        await far.close()


def happened(number: int) -> Happened:
    """Return an event."""
    draft = EventDraft(EventId.EXPIRED, (str(number),))
    return Happened(NOW, draft, TransportRole.HubTransport, SERVER, None, None)


# -- the channel


async def test_whole_settings_go_through(lab: Lab) -> None:
    """What holds arrives as it was, read-only mappings included; the end of the other side is None."""
    settings = load_config(lab.write(), environ={}).settings
    words = [settings, MappingProxyType({"a": (1, b"\0" * 3_000_000)}), Struck("Name", "detail")]
    async with ends() as (near, far):
        for word in words:
            near.send(word)
        received = [await far.receive() for _ in words]
        await near.close()
        last = await far.receive()

    assert received == words
    assert last is None


async def test_what_nobody_hears_is_lost() -> None:
    """Who speaks to an end that is gone is not disturbed."""
    async with ends() as (near, far):
        await far.close()
        assert await near.receive() is None
        await near.close()
        near.send("too late")


# -- what waits to be told


async def test_what_is_told_gathers_and_keeps_its_order() -> None:
    """Words of a moment go in one batch."""
    async with ends() as (near, far):
        outbox = Outbox(near, written=None)
        outbox.open()
        for number in range(3):
            outbox.event(happened(number))
        batch = await far.receive()
        await outbox.close()

    assert batch == Batch(tuple(happened(number) for number in range(3)))


async def test_who_does_not_listen_holds_nobody_up() -> None:
    """Past its bound nothing more waits: rows are refused, events dropped, and what was dropped is told later."""
    row = Row(NOW, "MX1", 1, "192.0.2.1:25", Event.RECEIVED, "x" * 65536, "")
    async with ends() as (near, far):
        outbox = Outbox(near, written=None)
        taken = 0
        while outbox.rows(row):
            taken += 1
        for number in range(MOST[Kind.EVENTS] + 5):
            outbox.event(happened(number))
        outbox.open()
        batch = await far.receive()
        again = outbox.rows(row)
        await outbox.close()

    assert taken == MOST[Kind.ROWS] // row.size
    told = Counter(type(each) for each in batch.items)
    assert told == {Happened: MOST[Kind.EVENTS], Warned: 1}
    assert batch.rows == (row,) * taken
    assert batch.items[-1] == Warned(
        "a worker could not tell the supervisor in time; dropped: 1 protocol log rows, 5 events"
    )
    assert again


async def test_a_log_record_comes_with_its_traceback_as_a_text() -> None:
    """What a worker logs can be shown elsewhere."""
    async with ends() as (near, far):
        outbox = Outbox(near, written=None)
        outbox.open()
        record = logging.makeLogRecord(
            {
                "msg": "session %s",
                "args": ("1",),
                "session_id": "1",
                "exc_info": raised(ValueError("a reason")),
            }
        )
        TellsLog(outbox).emit(record)
        (logged,) = (await far.receive()).items
        await outbox.close()

    assert isinstance(logged, Logged)
    assert (logged.record.getMessage(), logged.record.__dict__["session_id"]) == ("session 1", "1")
    assert "ValueError: a reason" in (logged.record.exc_text or "")


def raised(error: Exception) -> tuple[type[Exception], Exception, None]:
    """Return *error* as a log record has it."""
    return type(error), error, None


# -- questions and limits


def connector(**limits: Any) -> ReceiveConnector:
    """Return the lab's connector with *limits* and no others."""
    unlimited = {
        "max_inbound_connection": None,
        "max_inbound_connection_per_source": None,
        "message_rate_limit": None,
    }
    return ReceiveConnector(name=CONNECTOR, **{**unlimited, **limits})


async def test_without_a_limit_nobody_is_asked() -> None:
    """A connector without limits costs no question."""
    async with ends() as (near, far):
        limits = AskedLimits(Questions(near))
        assert await limits.enter(PLACE, HERE, connector()) is None
        assert await limits.admit(PLACE, HERE, connector(), "a@lab.test") is None
        limits.leave(PLACE, HERE)
        await near.close()

        assert await far.receive() is None


async def test_who_leaves_was_let_in() -> None:
    """Only what was counted is given back, and a session that ends while it waits is."""
    limited = connector(max_inbound_connection=1)
    async with ends() as (near, far):
        questions = Questions(near)
        limits = AskedLimits(questions)
        asking = [asyncio.create_task(limits.enter(PLACE, HERE, limited)) for _ in range(3)]
        asked = [await far.receive() for _ in asking]
        assert [type(each) for each in asked] == [Enter] * 3
        asking[2].cancel()
        questions.answered(Answer(asked[0].question))
        questions.answered(Answer(asked[1].question, Struck("MaxInboundConnection", "full")))
        await asyncio.wait(asking)
        questions.answered(Answer(asked[2].question))
        given_back = [await far.receive()]
        limits.leave(PLACE, HERE)
        given_back.append(await far.receive())
        limits.leave(PLACE, HERE)
        await near.close()
        nothing = await far.receive()

    assert asking[1].result() == Struck("MaxInboundConnection", "full")
    assert given_back == [Leave(PLACE, str(HERE))] * 2
    assert nothing is None


async def test_without_a_supervisor_everybody_comes_in() -> None:
    """Questions that nobody will answer are answered, those that wait and those that come."""
    limited = connector(max_inbound_connection=1)
    async with ends() as (near, _):
        questions = Questions(near)
        limits = AskedLimits(questions)
        waiting = asyncio.create_task(limits.enter(PLACE, HERE, limited))
        await asyncio.sleep(0)
        questions.give_up()

        assert await waiting is None
        assert await limits.enter(PLACE, HERE, limited) is None


def test_the_counts_of_a_lost_worker_are_given_back(lab: Lab) -> None:
    """Those of the others stay."""
    settings = load_config(lab.write(connector={"max_inbound_connection": 3}), environ={}).settings
    counted = CountedLimits(lambda: settings)
    mine: Counter[Any] = Counter()
    others: Counter[Any] = Counter()
    ask = Enter(1, PLACE, str(HERE))
    let_in = [counted.enter(ask, mine), counted.enter(ask, mine), counted.enter(ask, others)]
    full = counted.enter(ask, others)
    counted.give_back(mine)
    again = [counted.enter(ask, others), counted.enter(ask, others), counted.enter(ask, others)]

    assert let_in == [None] * 3
    assert full is not None
    assert again == [None, None, Struck("MaxInboundConnection", "the connector has 3 sessions of 3")]
    assert counted.enter(replace(ask, place=(SERVER, "removed meanwhile")), mine) is None


# -- shared counts and sockets


def test_counts_are_shared_between_processes() -> None:
    """Four processes count a fault a thousand times each, and it fires exactly as often as it may."""
    shared = SharedTallies.new(2)
    assert shared is not None
    children = []
    for _ in range(4):
        child = os.fork()
        if not child:
            mine = SharedTallies(os.dup(shared.descriptor), 2).tallies[1]
            for _ in range(1000):
                mine.count(lambda _, fired: fired < 500)
            os._exit(0)
        children.append(child)
    codes = [os.waitpid(child, 0)[1] for child in children]

    assert codes == [0] * 4
    assert [(each.met, each.fired) for each in shared.tallies] == [(0, 0), (4000, 500)]
    assert SharedTallies.new(0) is None


async def test_sockets_are_handed_over_and_closed_places_are_left_out() -> None:
    """Connections go to the open places alone, and the port stays taken while none is open."""
    warnings: list[str] = []
    shared = SharedSockets(2, on_warning=warnings.append)
    try:
        opened = await shared.open(Binding.parse("127.0.0.1:0"))
        assert opened is not None
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        theirs.settimeout(0)
        hand_over(ours, str(opened), shared.of(1)[opened].fileno())
        name, descriptor = take_over(theirs) or ("", -1)
        handed = HandedSockets()
        assert handed.put(name, descriptor)
        assert not handed.put("faults 1", descriptor)
        assert take_over(theirs) is None
        shared.close_place(0)
        with handed.make(opened) as listening:
            for _ in range(10):
                with socket.create_connection((str(opened.address), opened.port)):
                    listening.accept()[0].close()
        shared.close_place(1)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((str(opened.address), opened.port))
        assert await shared.listen({opened}) == {opened}
        shared.open_place(1)
        socket.create_connection((str(opened.address), opened.port)).close()
        ours.close()
        theirs.close()
    finally:
        shared.close()

    assert warnings == []
