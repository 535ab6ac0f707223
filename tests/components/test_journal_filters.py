"""Filters: the database and the memory give the same answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from smtpd_anontls.domain.events import EventDraft, EventId
from smtpd_anontls.domain.filters import Filter
from smtpd_anontls.domain.records import Outcome
from smtpd_anontls.journal.journal import JournalLike, MemoryJournal
from tests.components.journal_making import event, message, minutes, opened, session, session_id

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ONE, TWO, THREE = (session_id(number) for number in (1, 2, 3))

# Session ONE delivered messages 1 and 2 to MBX1, TWO message 3 to MBX2, THREE none.
MESSAGES = (
    message(
        raw=b"Subject: Quarterly report\r\nX-Test: AbC\r\nTo: b@contoso.test\r\n\r\n",
        time=minutes(1),
        session_id=ONE,
        run="nightly",
        sender="Alice@Contoso.test",
        recipients=("b@contoso.test", "carol@fabrikam.test"),
    ),
    message(
        raw=b"Subject: 100% done_\r\n\r\n",
        time=minutes(2),
        session_id=ONE,
        sender="",
        recipients=("b@other.test",),
    ),
    message(
        raw=b"X-Test: abc\r\nx-TEST: second\r\nX-Empty:\r\n\r\n",
        time=minutes(3),
        session_id=TWO,
        server="MBX2",
        connector="Client Frontend MBX2",
        run="Nightly",
        sender="bob@contoso.test",
        recipients=("B@CONTOSO.TEST",),
    ),
)
SESSIONS = (
    session(1, started=minutes(0), remote="192.0.2.7:40001"),
    session(
        2, started=minutes(2), server="MBX2", connector="Client Frontend MBX2", remote="[2001:db8::7]:40002"
    ),
    session(
        3,
        started=minutes(4),
        server=None,
        connector=None,
        outcome=Outcome.NO_CONNECTOR,
        remote="192.0.2.70:4",
    ),
)
EVENTS = (
    event(1, time=minutes(0)),
    event(2, time=minutes(2), server="MBX2", connector="Client Frontend MBX2", session_id=TWO),
    event(3, time=minutes(4), draft=EventDraft(EventId.NOT_IN_STORE, ("CD" * 20,)), session_id=ONE),
)

# The filter, and the messages, sessions and events that it takes.
ROWS: dict[str, tuple[Filter, list[int], list[int], list[int]]] = {
    "nothing asked": (Filter(), [3, 2, 1], [3, 2, 1], [3, 2, 1]),
    "server": (Filter(server="MBX2"), [3], [2], [2]),
    "server in another case": (Filter(server="mbx2"), [], [], []),
    "connector": (Filter(connector="Client Frontend MBX2"), [3], [2], [2]),
    "session": (Filter(session=ONE), [2, 1], [1], [3]),
    "run, exactly": (Filter(run="nightly"), [1], [1], [3]),
    "recipient in any case": (Filter(recipient="b@contoso.TEST"), [3, 1], [2, 1], [3, 2]),
    "second recipient": (Filter(recipient="carol@fabrikam.test"), [1], [1], [3]),
    "recipient in part is not enough": (Filter(recipient="contoso"), [], [], []),
    "recipient with a star": (Filter(recipient="b@*"), [3, 2, 1], [2, 1], [3, 2]),
    "recipient with two stars": (Filter(recipient="*@*brikam.test"), [1], [1], [3]),
    "any sender": (Filter(sender="*"), [3, 2, 1], [2, 1], [3, 2]),
    "sender in any case": (Filter(sender="alice@contoso.test"), [1], [1], [3]),
    "the null sender": (Filter(sender=""), [2], [1], [3]),
    "LIKE's own wildcards mean themselves": (Filter(sender="%"), [], [], []),
    "underscore means itself": (Filter(sender="_ob@contoso.test"), [], [], []),
    "star before a wildcard of LIKE": (Filter(sender="*_ob@contoso.test"), [], [], []),
    "subject in part, in any case": (Filter(subject="ARTERLY rep"), [1], [1], [3]),
    "subject with wildcards of LIKE": (Filter(subject="0% done_"), [2], [1], [3]),
    "a star in a subject means itself": (Filter(subject="Quarterly*"), [], [], []),
    "header, name in any case": (Filter(header="x-test: AbC"), [1], [1], [3]),
    "header, value exactly": (Filter(header="X-Test: abc"), [3], [2], [2]),
    "header with a star, value exactly": (Filter(header="X-Test: a*c"), [3], [2], [2]),
    "header, second of its name": (Filter(header="X-Test: second"), [3], [2], [2]),
    "header, any value": (Filter(header="X-Test: *"), [3, 1], [2, 1], [3, 2]),
    "header without a value": (Filter(header="X-Empty:"), [3], [2], [2]),
    "a header that no message has": (Filter(header="X-None: *"), [], [], []),
    "since a time, which is included": (Filter(since=minutes(2)), [3, 2], [3, 2], [3, 2]),
    "event id": (Filter(event_id=12013), [2, 1], [1], [3]),
    "outcome": (Filter(outcome=Outcome.NO_CONNECTOR), [], [3], []),
    "remote with its port": (Filter(remote="192.0.2.7:40001"), [2, 1], [1], [3]),
    "remote without its port": (Filter(remote="192.0.2.7"), [2, 1], [1], [3]),
    "remote with a star": (Filter(remote="192.0.2.7*"), [2, 1], [3, 1], [3]),
    "remote of IPv6": (Filter(remote="2001:DB8::7"), [3], [2], [2]),
    "two terms of one message": (Filter(recipient="b@*", subject="done"), [2], [1], [3]),
    "two terms that no message meets": (Filter(sender="", subject="report"), [], [], []),
    "terms of two kinds": (Filter(recipient="b@*", event_id=12015), [3], [2], [2]),
}


@pytest.fixture(params=["database", "memory"])
async def journal(request: pytest.FixtureRequest, url: str) -> AsyncIterator[JournalLike]:
    """Both journals, with the same past."""
    async with opened(url) as database:
        kept: JournalLike = database if request.param == "database" else MemoryJournal()
        for each in MESSAGES:
            await kept.deliver(each, None)
        for record in SESSIONS:
            kept.record_session(record)
        for entry in EVENTS:
            kept.record_event(entry)
        yield kept


async def test_filters(journal: JournalLike) -> None:
    """Each row takes exactly what it says; the memory has no messages to list."""
    for name, (wanted, messages, sessions, events) in ROWS.items():
        listed = [item["id"] for item in await journal.messages(wanted)]

        assert listed == ([] if isinstance(journal, MemoryJournal) else messages), name
        assert [item["id"] for item in await journal.sessions(wanted)] == list(map(session_id, sessions)), (
            name
        )
        assert [item["id"] for item in await journal.events(wanted)] == events, name


async def test_since_an_id(journal: JournalLike) -> None:
    """A list goes on behind the id, which is excluded; one that is no longer kept is older than all."""
    assert [item["id"] for item in await journal.events(Filter(since=1))] == [3, 2]
    assert [item["id"] for item in await journal.sessions(Filter(since=TWO))] == [THREE]
    assert len(await journal.sessions(Filter(since=session_id(99)))) == 3
    assert len(await journal.sessions(Filter(since=99))) == 3
    if not isinstance(journal, MemoryJournal):
        assert [item["id"] for item in await journal.messages(Filter(since=2))] == [3]
    for listing in (journal.messages, journal.events):
        with pytest.raises(ValueError, match="is the id of a session"):
            await listing(Filter(since=ONE))


async def test_a_server_that_is_null(journal: JournalLike) -> None:
    """What has no server, connector or session is taken by no filter that asks for one."""
    assert await journal.sessions(Filter(server="")) == []
    assert await journal.events(Filter(connector="")) == []
