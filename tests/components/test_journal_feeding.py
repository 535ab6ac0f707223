"""The search index is fed while nothing is delivered, or when it is far behind."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from smtpd_anontls.domain.filters import Filter
from smtpd_anontls.journal import feeding, queries, search
from smtpd_anontls.journal.feeding import IDLE, Feeding
from smtpd_anontls.journal.sqlite import SqliteFile
from smtpd_anontls.journal.statements import add_messages
from smtpd_anontls.journal.sweep import forget_messages
from tests.components.journal_making import message, opened, url_in

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Fed:
    """A journal whose index is fed by a clock of the test."""

    def __init__(self, file: SqliteFile) -> None:
        self.file = file
        self.now = 0.0
        self.feeding = Feeding(file, lambda: self.now)

    def deliver(self, count: int, *, by_another: bool = False) -> None:
        """Deliver so many messages, by this receiver or another one."""
        with self.file.writing() as connection:
            add_messages(connection, [message(number) for number in range(count)])
        if not by_another:
            self.feeding.delivered(count)

    def passes(self, seconds: float) -> int:
        """Let time pass, and feed whenever that is due; return how many messages are in the index."""
        until = self.now + seconds
        while self.feeding.due <= until:
            self.now = max(self.now, self.feeding.due)
            self.feeding.feed()
        self.now = until
        with self.file.reading() as connection:
            return search.upto(connection)


@pytest.fixture
def fed(tmp_path: Path) -> Iterator[Fed]:
    """Return an empty journal."""
    file = SqliteFile(url_in(tmp_path))
    file.create()
    yield Fed(file)
    file.close()


def test_a_burst_is_delivered_first(fed: Fed) -> None:
    """While messages come none is taken in; a while after the last, all are, and then nothing is due."""
    during = []
    for _ in range(10):
        fed.deliver(200)
        during.append(fed.passes(0.9 * IDLE))
    after = fed.passes(3 * IDLE)

    assert (during, after) == ([0] * 10, 2000)
    assert fed.feeding.due == math.inf


def test_no_more_than_a_bound_is_left_out(fed: Fed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where messages come without an end, those beyond the bound are taken in."""
    monkeypatch.setattr(feeding, "LEFT_OUT", 3000)
    left_out = []
    for burst in range(1, 11):
        fed.deliver(1000)
        left_out.append(1000 * burst - fed.passes(0.9 * IDLE))

    assert left_out == [1000, 2000, *[3000] * 8]


def test_what_was_taken_in_and_removed_by_parts_is_merged(fed: Fed, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many batches there were, and removals from them, a search reads few segments of the index."""
    monkeypatch.setattr(search, "BATCH_MESSAGES", 1)
    segments = []
    fed.deliver(40)
    fed.passes(3 * IDLE)
    segments.append(segments_of(fed.file))
    for number in range(1, 31):
        with fed.file.writing() as connection:
            forget_messages(connection, {number: 1})
        fed.feeding.removed()
        fed.passes(IDLE)
    segments.append(segments_of(fed.file))
    with fed.file.reading() as connection:
        listed = [
            each["id"] for each in queries.list_messages(connection, Filter(subject="message"), 50, None)
        ]

    assert max(segments) < 16
    assert listed == list(range(40, 30, -1))


def segments_of(file: SqliteFile) -> int:
    """Return of how many segments the index is."""
    with file.reading() as connection:
        count: int = connection.exec_driver_sql(
            "SELECT count(DISTINCT segid) FROM message_search_idx"
        ).scalar_one()
    return count


def test_others_deliver(fed: Fed) -> None:
    """What another receiver delivers into the same journal is waited for, too."""
    fed.deliver(5)
    during = []
    for _ in range(5):
        fed.deliver(5, by_another=True)
        during.append(fed.passes(IDLE))
    after = fed.passes(3 * IDLE)

    assert (during, after) == ([0] * 5, 30)


def test_a_rest_of_before(tmp_path: Path, fed: Fed) -> None:
    """What a receiver has left out when it ended, the next one takes in."""
    fed.deliver(5)

    again = Fed(SqliteFile(url_in(tmp_path)))
    again.file.open()
    assert again.passes(3 * IDLE) == 5
    again.file.close()


async def test_an_index_that_cannot_be_fed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told once, mail goes on, and what is not in the index is found."""
    monkeypatch.setattr(feeding, "LOOK_EVERY", 1)
    monkeypatch.setattr(
        search, "_ADD", search._ADD.__class__("INSERT INTO no_such_table VALUES (:after, :upto)")
    )
    warnings: list[str] = []
    async with opened(tmp_path, warnings=warnings) as journal:
        monkeypatch.setattr(feeding, "LEFT_OUT", 0)
        for number in range(3):
            await journal.deliver(message(number), None)
        shown = await journal.messages()

    assert len(shown) == 3
    assert {warning.partition(": ")[2].partition(": ")[0] for warning in warnings} == {
        "its search index could not be kept up"
    }
