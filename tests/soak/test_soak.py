"""The soak run itself: what it would find is found, and for a few seconds it finds nothing."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from smtpd_anontls.domain.records import MessageRecord
from smtpd_anontls.domain.retention import Retention
from smtpd_anontls.journal.journal import Journal
from tests.soak import figures, senders
from tests.soak.__main__ import soak

if TYPE_CHECKING:
    from pathlib import Path

RESTING = figures.Sample(10.0, memory=90_000, descriptors=13, threads=8, tasks=2, blocks=900_000)


@pytest.mark.parametrize(
    ("name", "bound"),
    [
        ("memory", figures.MEMORY_BOUND),
        ("descriptors", figures.DESCRIPTOR_BOUND),
        ("threads", figures.THREAD_BOUND),
        ("tasks", figures.TASK_BOUND),
        ("blocks", figures.BLOCK_BOUND),
    ],
)
def test_growth_is_found_beyond_its_bound(name: str, bound: int) -> None:
    """As much as the bound is allowed, one more is not."""
    allowed, too_much = (
        replace(RESTING, **{name: getattr(RESTING, name) + more}) for more in (bound, bound + 1)
    )

    assert figures.growth(RESTING, allowed) == []
    assert [text.split(":")[0] for text in figures.growth(RESTING, too_much)] == [name]


def test_a_long_table_is_thinned_out() -> None:
    """It has a header, not many rows, and the last sample."""
    samples = [replace(RESTING, at=float(at)) for at in range(1000)]
    lines = figures.table(samples)

    assert len(lines) <= 14
    assert lines[-1].split()[0] == "999.0"


def message(content: bytes) -> MessageRecord:
    """Return a message of the well-behaved senders."""
    return MessageRecord(
        time=datetime.now(UTC),
        server="MX1",
        connector="any",
        session_id="0123456789abcdef",
        sender=senders.SENDER,
        recipients=(senders.RECIPIENT,),
        mail_parameters={},
        recipient_parameters=({},),
        subject=None,
        message_id=None,
        verb=None,
        headers=(),
        raw=content,
    )


async def test_a_broken_promise_is_found(tmp_path: Path) -> None:
    """A message that is missing, one that was altered, and one that nobody was told of are three problems."""
    url = f"sqlite:///{tmp_path / 'capture.db'}"
    journal = Journal(url, Retention(), clock=lambda: datetime.now(UTC), on_warning=lambda _: None)
    shared = senders.Shared(("127.0.0.1", 0), figures.Account())
    await journal.open()
    kept, altered, untold = [
        await journal.deliver(message(content), None) for content in (b"one\r\n", b"two\r\n", b"three\r\n")
    ]
    await journal.close()
    shared.promised = {kept: b"one\r\n", altered: b"2\r\n", untold + 1: b"four\r\n"}
    await senders.look_up(shared, url)
    await asyncio.to_thread(senders.count_again, shared, url)

    assert shared.account.problems == [
        f"message {altered} is not in the journal as it was sent",
        f"message {untold + 1} was answered 250 and is not in the journal",
        f"message {untold + 1} has gone from the journal",
        f"message {untold} is in the journal, and its sender never had a 250",
    ]


@pytest.mark.slow
async def test_a_short_run_finds_nothing(tmp_path: Path) -> None:
    """Some seconds with all kinds of trouble: mail is taken, and nothing is lost, wrong or left over."""
    account, samples = await soak(tmp_path, 8.0, seed=1)

    assert account.problems == []
    assert account.counts["messages answered 250"] > 0
    assert all(sample.descriptors > 0 and sample.blocks > 0 for sample in samples)
