"""Retention: each limit on its own, in small steps, and nothing left behind."""

from __future__ import annotations

import asyncio

import pytest

from smtpd_anontls.domain.filters import Filter
from smtpd_anontls.domain.retention import Retention
from smtpd_anontls.journal.database import database_at
from smtpd_anontls.journal.journal import Journal, JournalReader
from smtpd_anontls.journal.sweep import sweep
from tests.components.journal_making import (
    NOW,
    event,
    eventually,
    looking_into,
    message,
    minutes,
    opened,
    session,
    session_id,
)

pytestmark = pytest.mark.slow


async def past(url: str, count: int) -> None:
    """Make a past: one message, session and event a minute, each message of 1,000 octets."""
    async with opened(url) as journal:
        for number in range(1, count + 1):
            journal.record_session(session(number, started=minutes(number)))
            journal.record_event(event(number, time=minutes(number), session_id=session_id(number)))
        await asyncio.gather(
            *(
                journal.deliver(
                    message(
                        raw=b"X-N: y\r\n\r\n" + b"x" * 990,
                        time=minutes(number),
                        session_id=session_id(number),
                    ),
                    None,
                )
                for number in range(1, count + 1)
            )
        )


async def kept(journal: Journal) -> tuple[int, int, int]:
    """Return how many messages, sessions and events there are."""
    return (
        len(await journal.messages(limit=10_000)),
        len(await journal.sessions(limit=10_000)),
        len(await journal.events(limit=10_000)),
    )


LIMITS = {
    "nothing is limited": (Retention(), (20, 20, 20)),
    "messages": (Retention(messages=7), (7, 20, 20)),
    "no message at all": (Retention(messages=0), (0, 20, 20)),
    "sessions": (Retention(sessions=7), (20, 7, 20)),
    "age": (Retention(age=5 * 60), (6, 6, 6)),
    "size": (Retention(size=7_999), (7, 20, 20)),
    "size, exactly": (Retention(size=8_000), (8, 20, 20)),
    "size, nothing fits": (Retention(size=10), (0, 20, 20)),
    "limits that hold": (Retention(messages=20, sessions=20, age=3600, size=20_000), (20, 20, 20)),
    "two limits": (Retention(messages=9, size=7_000), (7, 20, 20)),
    "age and count": (Retention(messages=3, age=5 * 60), (3, 6, 6)),
}


@pytest.mark.parametrize("name", LIMITS)
async def test_limits(url: str, name: str) -> None:
    """The oldest go until the limit holds, at the next start; the newest stay."""
    retention, expected = LIMITS[name]
    await past(url, 20)

    async with opened(url, retention, clock=lambda: minutes(20)) as journal:

        async def limits_hold() -> bool:
            return await kept(journal) == expected

        await eventually(limits_hold)
        newest = [item["id"] for item in await journal.messages()]
        assert newest == list(range(20, 20 - expected[0], -1))
        assert await journal.deliver(message(), None) == 21


async def test_in_many_steps(url: str) -> None:
    """More than one transaction's worth is removed too, with all that belongs to it."""
    await past(url, 1203)

    async with opened(url, Retention(messages=2, sessions=3), clock=lambda: NOW) as journal:

        async def limits_hold() -> bool:
            return await kept(journal) == (2, 3, 1203)

        await eventually(limits_hold)
    with looking_into(url) as database:
        counts = {
            table: database.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one()  # noqa: S608 - our own tables
            for table in ("messages", "message_bodies", "message_recipients", "message_headers")
        }
        sessions = database.exec_driver_sql("SELECT count(*) FROM session_transcripts").scalar_one()
        state = database.exec_driver_sql("SELECT message_count, message_octets FROM journal_state").one()
    assert set(counts.values()) == {2}
    assert sessions == 3
    assert state == (2, 2000)


async def test_every_thousand_messages(url: str) -> None:
    """A burst does not have to wait for the minute to end."""
    async with opened(url, Retention(messages=10)) as journal:
        await asyncio.gather(*(journal.deliver(message(number), None) for number in range(1500)))

        async def limit_has_been_kept() -> bool:
            return len(await journal.messages(limit=2000)) < 1500

        await eventually(limit_has_been_kept)


async def test_a_session_without_its_messages_and_the_other_way_round(url: str) -> None:
    """What is left can be read, and filters over both kinds still answer."""
    await past(url, 10)

    async with opened(url, Retention(messages=3, sessions=5)) as journal:

        async def limits_hold() -> bool:
            return await kept(journal) == (3, 5, 10)

        await eventually(limits_hold)
        assert [item["messages"] for item in await journal.sessions()] == [[10], [9], [8], [], []]
        assert await journal.session(session_id(1)) is None
        assert len(await journal.messages(Filter(remote="192.0.2.7"))) == 3
        assert len(await journal.events(Filter(remote="192.0.2.7"))) == 5
        assert len(await journal.sessions(Filter(since=session_id(1)))) == 5
        assert await journal.sessions(before=session_id(1)) == []


async def test_large_messages_go_in_small_steps(url: str) -> None:
    """One transaction removes a few of them only, however many there are."""
    async with opened(url) as journal:
        for _ in range(5):
            await journal.deliver(message(raw=b"x" * 3_000_000), None)
    file = database_at(url)
    file.create()
    steps = []
    more = True
    while more:
        with file.writing() as connection:
            more = sweep(connection, Retention(messages=0), NOW)
        steps.append(len(JournalReader(url).messages()))
    file.close()

    assert steps == [3, 1, 0, 0]


async def test_the_number_of_events_is_bounded(url: str) -> None:
    """Events have a limit of their own, whatever the retention."""
    await past(url, 20)
    file = database_at(url)
    file.create()
    with file.writing() as connection:
        assert sweep(connection, Retention(), NOW, max_events=4)
    with file.writing() as connection:
        assert not sweep(connection, Retention(), NOW, max_events=4)
    file.close()

    assert [item["id"] for item in JournalReader(url).events()] == [20, 19, 18, 17]


async def test_a_clock_that_fails(url: str) -> None:
    """Retention that cannot be kept is a warning; mail goes on."""
    warnings: list[str] = []

    def clock() -> None:
        raise OverflowError("no such time")

    async with opened(url, Retention(age=1), warnings=warnings, clock=clock) as journal:  # type: ignore[arg-type]
        assert await journal.deliver(message(), None) == 1

        async def is_said() -> bool:
            return len(warnings) == 1

        await eventually(is_said)
    assert "retention could not be kept: OverflowError('no such time')" in warnings[0]


@pytest.mark.parametrize("limit", ["messages", "sessions", "age", "size"])
def test_a_limit_below_zero(limit: str) -> None:
    """A limit that no journal can keep is refused."""
    with pytest.raises(ValueError, match=rf"retention\.{limit}: -1 is below zero; null keeps everything"):
        Retention(**{limit: -1})
