"""Whatever index is used, a list is what comparing every message with the filter gives."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, insert, select

from smtpd_anontls.domain.filters import Filter
from smtpd_anontls.domain.records import Outcome
from smtpd_anontls.journal import finding, queries, search
from smtpd_anontls.journal.memory import MemoryJournal
from smtpd_anontls.journal.schema import METADATA, state
from smtpd_anontls.journal.sqlite import SqliteFile
from smtpd_anontls.journal.statements import add_events, add_messages, add_sessions
from smtpd_anontls.journal.sweep import forget_messages
from smtpd_anontls.journal.tables import FIRST_STATE
from tests.components.journal_making import (
    NOW,
    event,
    eventually,
    message,
    opened,
    session,
    session_id,
    url_in,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Connection

    from smtpd_anontls.domain.records import EventRecord, MessageRecord, SessionRecord

# Few letters, so that patterns meet texts; some whose folding changes their length or that FTS5 might mistake.
LETTERS = st.sampled_from('abAB12.@*%_/"ßİſ\n\x00é\U0001f600:')
TEXTS = st.text(LETTERS, max_size=8)
PATTERNS = st.text(st.one_of(LETTERS, st.just("*")), max_size=6)
PLACES = st.sampled_from(["MBX1", "MBX2", "a", ""])
HEADERS = st.lists(st.tuples(st.sampled_from(["X-A", "b", "X*"]), TEXTS), max_size=3)
SESSIONS = st.integers(0, 5)
NOON = NOW + timedelta(hours=5)
TIMES = st.integers(0, 9).map(lambda hours: NOW + timedelta(hours=hours))


@st.composite
def messages_taken(draw: st.DrawFn) -> MessageRecord:
    """Return a message with texts that filters look at."""
    return message(
        server=draw(PLACES),
        connector=draw(PLACES),
        session_id=session_id(draw(SESSIONS)),
        time=draw(TIMES),
        run=draw(st.none() | TEXTS),
        sender=draw(TEXTS),
        recipients=tuple(draw(st.lists(TEXTS, max_size=3))),
        subject=draw(st.none() | TEXTS),
        headers=tuple(draw(HEADERS)),
    )


SESSION_RECORDS = st.builds(
    lambda number, when, outcome, remote: session(number, started=when, outcome=outcome, remote=remote),
    SESSIONS,
    TIMES,
    st.sampled_from([None, Outcome.COMPLETED, Outcome.REFUSED]),
    st.sampled_from(["192.0.2.7:40001", "[2001:db8::1]:25", "192.0.2.8:25"]),
)
REMOTES = (
    "192.0.2.7,192.0.2.8:25,*:25,192.*,192.0.2.7*,192.0.2.7:4*,192.0.2.7:40*1,10.*,2001:db8::1,2001:db8:*,"
    "[2001:db8::1]:25,[2001:db8::1]:2*,[2001:*,[*,:*,"
)
FILTERS = st.fixed_dictionaries(
    {},
    optional={
        "server": PLACES,
        "connector": PLACES,
        "session": SESSIONS.map(session_id),
        "run": TEXTS,
        "recipient": PATTERNS,
        "sender": PATTERNS,
        "subject": TEXTS,
        "header": st.builds("{}: {}".format, st.sampled_from(["X-A", "b", "x*"]), PATTERNS),
        "outcome": st.sampled_from([Outcome.COMPLETED, Outcome.REFUSED]),
        "remote": st.sampled_from(REMOTES.split(",")),
        "event_id": st.sampled_from([12015, 12013]),
        "since": TIMES | st.integers(0, 20),
    },
)


async def in_memory(
    wanted: Filter, taken: list[MessageRecord], heads: list[SessionRecord], noted: list[EventRecord]
) -> tuple[list[str], list[int]]:
    """Return the ids of the sessions and of the events that *wanted* takes by the plain comparison."""
    memory = MemoryJournal()
    for record in taken:
        await memory.deliver(record, None)
    for head in heads:
        memory.record_session(head)
    for each in noted:
        memory.record_event(each)
    return (
        [shown["id"] for shown in await memory.sessions(wanted)],
        [shown["id"] for shown in await memory.events(wanted)],
    )


def taken_by(
    wanted: Filter, taken: list[MessageRecord], heads: list[SessionRecord], noted: list[EventRecord]
) -> list[int]:
    """Return the ids of the messages that *wanted* takes, the newest first, by the plain comparison."""
    start = wanted.since_number()
    in_session = {record.id for record in heads if wanted.takes_session(record)}
    with_event = {record.session_id for record in noted if wanted.takes_event(record)}
    return [
        number
        for number, record in reversed(list(enumerate(taken, 1)))
        if wanted.takes_place(record.server, record.connector, record.session_id)
        and wanted.takes_message(record)
        and (start is None or (number > start if isinstance(start, int) else record.time >= start))
        and (not wanted.about_sessions or record.session_id in in_session)
        and (not wanted.about_events or record.session_id in with_event)
    ]


@contextmanager
def in_memory_database() -> Iterator[Connection]:
    """Return a new journal that costs no sync."""
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA case_sensitive_like = ON")
        METADATA.create_all(connection)
        connection.execute(insert(state), {**FIRST_STATE, "last_message_id": 0})
        yield connection
    engine.dispose()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    taken=st.lists(messages_taken(), max_size=12),
    heads=st.lists(SESSION_RECORDS, max_size=4, unique_by=lambda record: record.id),
    event_sessions=st.lists(SESSIONS, max_size=2),
    terms=FILTERS,
    searchable=st.integers(0, 12),
    few=st.sampled_from([0, 2, 500]),
    large=st.sampled_from([0, 500]),
    limit=st.sampled_from([1, 3, 50]),
    before=st.none() | st.integers(1, 14),
)
def test_every_filter_takes_what_the_plain_comparison_takes(
    *,
    taken: list[MessageRecord],
    heads: list[SessionRecord],
    event_sessions: list[int],
    terms: dict[str, Any],
    searchable: int,
    few: int,
    large: int,
    limit: int,
    before: int | None,
) -> None:
    """However much is in the index, and whichever index goes first; by pages, and oldest first for a purge."""
    wanted = Filter(**terms)
    noted = [event(number, session_id=session_id(each)) for number, each in enumerate(event_sessions, 1)]
    expected = taken_by(wanted, taken, heads, noted)
    with pytest.MonkeyPatch.context() as bounds, in_memory_database() as connection:
        bounds.setattr(finding, "FEW", few)
        bounds.setattr(finding, "FEW_SESSIONS", few)
        bounds.setattr(finding, "FEW_OF_HOSTS", few)
        bounds.setattr(search, "BATCH_MESSAGES", 1)
        bounds.setattr(search, "LARGE", large)
        add_messages(connection, taken)
        add_sessions(connection, heads)
        add_events(connection, noted)
        for _ in range(searchable):
            search.extend(connection)
        page = queries.list_messages(connection, wanted, limit, before)
        oldest = queries.sizes_of_messages(connection, wanted, after=1, upto=10, until=NOON, limit=limit)
        listed = (
            [each["id"] for each in queries.list_sessions(connection, wanted, 50, None)],
            [each["id"] for each in queries.list_events(connection, wanted, 50, None)],
        )

    assert [each["id"] for each in page] == [
        number for number in expected if before is None or number < before
    ][:limit]
    assert [number for number, _ in oldest] == [
        number for number in reversed(expected) if 1 < number <= 10 and taken[number - 1].time < NOON
    ][:limit]
    assert listed == asyncio.run(in_memory(wanted, taken, heads, noted))


def found(connection: Connection, expression: str) -> list[int]:
    """Return the ids that the index has for *expression*, whether the messages are there or not."""
    query = select(search.found.c.rowid).where(search.matching(expression)).order_by(search.found.c.rowid)
    return list(connection.scalars(query))


def test_what_is_removed_leaves_the_index(tmp_path: Path) -> None:
    """Of messages that are removed nothing stays in it, be they in it or not yet; others stay."""
    raws = [f"Subject: {name} flats\r\n\r\n".encode() for name in ("one", "two", "three")]
    file = SqliteFile(url_in(tmp_path))
    file.create()
    with file.writing() as connection:
        add_messages(connection, [message(raw=raw) for raw in raws[:2]])
        assert search.extend(connection) is False
        add_messages(connection, [message(raw=raws[2])])
        before = found(connection, 'subject : ("fla")')
        forget_messages(connection, {1: 1, 3: 1})
        after = found(connection, 'subject : ("fla")')
        headers = found(connection, 'headers : ("fla")')
    file.close()

    assert (before, after, headers) == ([1, 2], [2], [2])


LONG = "v=1; a=rsa-sha256; d=edge.test; h=to:from:subject; b=" + "0123456789" * 30
VALUES = (LONG, LONG[:256], LONG[:257], LONG[:64], LONG[:65], LONG[:255] + "*", "b=" + LONG, "", "b=")
PATTERNS_OF_LONG_VALUES = (
    "*", "v=1*", "*d=edge.test*", "*b=0123*", "*9", "*5", LONG[:300] + "*", LONG[:70] + "*", LONG[:60] + "*9",
    "*" + LONG[50:310] + "*", "v=1*d=edge.test*b=*", "*nothing*", "b=v=1*nothing", *VALUES,
)  # fmt: skip


@pytest.mark.parametrize("large", [0, 500])
@pytest.mark.parametrize("fed", [0, 4, 9])
def test_long_values_are_found_by_any_part_of_them(
    fed: int, large: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The index has their beginnings alone, and the filter takes the same, fed, half fed or unfed."""
    monkeypatch.setattr(search, "BATCH_MESSAGES", 1)
    monkeypatch.setattr(search, "LARGE", large)
    taken = [message(headers=(("DKIM-Signature", value), ("X-A", "b"))) for value in VALUES]
    with in_memory_database() as connection:
        add_messages(connection, taken)
        for _ in range(fed):
            search.extend(connection)
        assert search.upto(connection) == fed
        for pattern in PATTERNS_OF_LONG_VALUES:
            wanted = Filter(header=f"DKIM-signature: {pattern}")
            listed = [each["id"] for each in queries.list_messages(connection, wanted, 50, None)]

            assert listed == taken_by(wanted, taken, [], []), pattern


def test_the_index_leaves_out_what_a_long_value_does_not_begin_with(tmp_path: Path) -> None:
    """Of a long value it holds the beginning and a mark, of another one all; and what is removed leaves it."""
    file = SqliteFile(url_in(tmp_path))
    file.create()
    with file.writing() as connection:
        add_messages(connection, [message(headers=(("X-A", value),)) for value in (LONG, LONG[:256])])
        search.extend(connection)
        by_end = found(connection, 'headers : ("901")')
        by_beginning = found(connection, 'headers : ("rsa")')
        asked = search.expression(Filter(header="X-A: v=2*")) or ""
        by_another_beginning = found(connection, asked)
        forget_messages(connection, {1: 1})
        afterwards = found(connection, 'headers : ("rsa")')
    file.close()

    assert (by_end, by_beginning, by_another_beginning, afterwards) == ([2], [1, 2], [], [2])


def test_what_most_messages_have_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threes that leave out little are left out themselves, but for one where a term has no others."""
    monkeypatch.setattr(search, "LARGE", 0)
    with in_memory_database() as connection:
        rare = message(sender="a@rare.test")
        add_messages(connection, [*[message(sender="a@contoso.test")] * 99, rare])
        known = search.sample(connection)

    assert search.expression(Filter(sender="*@rare.test"), known) == 'sender : ("@ra" AND "re.")'
    assert search.expression(Filter(sender="*.test"), known) in ('sender : (".te")', 'sender : ("t\n\n")')
    assert search.expression(Filter(sender="*.test")) == 'sender : (".te" AND "st\n" AND "t\n\n")'


async def test_messages_become_searchable(tmp_path: Path) -> None:
    """What has come is taken in without being asked for once no more comes, and found before and after."""
    async with opened(tmp_path) as journal:
        await asyncio.gather(*(journal.deliver(message(number), None) for number in range(1500)))
        for number in (777, 1499):
            (shown,) = await journal.messages(Filter(subject=f"sage {number}"))
            assert shown["subject"] == f"message {number}"

        async def are_in_the_index() -> bool:
            with SqliteFile(url_in(tmp_path)).reading() as connection:
                return search.upto(connection) == 1500

        await eventually(are_in_the_index)
        (shown,) = await journal.messages(Filter(subject="sage 777"))
        assert shown["subject"] == "message 777"


def test_a_batch_is_bounded_by_its_characters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large headers come into the index by fewer messages at a time, and one that is larger alone."""
    monkeypatch.setattr(search, "BATCH_CHARACTERS", 1000)
    sizes = (400, 400, 400, 5, 500, 500)
    monkeypatch.setattr(search, "LONGEST", 1000)
    file = SqliteFile(url_in(tmp_path))
    file.create(last_message_id=5000)
    progress = []
    with file.writing() as connection:
        add_messages(connection, [message(headers=(("X-A", "a" * size),)) for size in sizes])
        while search.extend(connection):
            progress.append(search.upto(connection))
        progress.append(search.upto(connection))
    file.close()

    assert progress == [5002, 5005, 5006]
