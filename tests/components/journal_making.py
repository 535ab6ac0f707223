"""Records for the journal and the event log, each with a few words to tell it by."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from smtpd_anontls.domain.events import EventDraft, EventId
from smtpd_anontls.domain.records import (
    EventRecord,
    MessageRecord,
    Outcome,
    SessionRecord,
    TlsFacts,
    TlsVerb,
    TranscriptRow,
)
from smtpd_anontls.domain.retention import Retention
from smtpd_anontls.journal.journal import Journal
from smtpd_anontls.protocol.headers import decoded_subject, parse_header_section

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

    from sqlalchemy import Connection

    from tests.postgres import Postgres

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def now() -> datetime:
    """Return the time of these tests."""
    return NOW


def minutes(count: float) -> datetime:
    """Return the instant so many minutes after NOW."""
    return NOW + timedelta(minutes=count)


def session_id(number: int) -> str:
    """Return the id of a session."""
    return f"{number:016x}"


def message(number: int = 0, *, raw: bytes | None = None, **changes: Any) -> MessageRecord:
    """Return a message as the session would hand it over, headers parsed from *raw*."""
    raw = f"Subject: message {number}\r\n\r\nbody {number}\r\n".encode() if raw is None else raw
    headers = parse_header_section(raw)
    subject = dict(headers).get("Subject")
    values: dict[str, Any] = {
        "time": NOW,
        "server": "MBX1",
        "connector": "Default Frontend MBX1",
        "session_id": session_id(1),
        "sender": "a@contoso.test",
        "recipients": ("b@contoso.test",),
        "subject": None if subject is None else decoded_subject(subject),
        "headers": headers,
        "raw": raw,
    }
    return MessageRecord(**(values | changes))


def session(number: int = 1, **changes: Any) -> SessionRecord:
    """Return a session that has ended well."""
    values: dict[str, Any] = {
        "id": session_id(number),
        "started": NOW,
        "ended": NOW + timedelta(seconds=1),
        "server": "MBX1",
        "connector": "Default Frontend MBX1",
        "connector_detail": "the only one that listens there",
        "local": "127.0.0.1:2525",
        "remote": "192.0.2.7:40001",
        "tls": TlsFacts(TlsVerb.STARTTLS, "AB" * 20, "TLSv1.2", "ECDHE-ECDSA-AES256-GCM-SHA384", 256),
        "authenticated_as": None,
        "outcome": Outcome.COMPLETED,
        "outcome_detail": "QUIT",
        "selections": ({"server": "MBX1", "verb": "STARTTLS", "steps": []},),
        "event_ids": (),
        "messages": (),
        "transcript": (TranscriptRow(0, "S", "220 mbx1"), TranscriptRow(3, "C", "EHLO edge")),
    }
    return SessionRecord(**(values | changes))


def event(number: int, **changes: Any) -> EventRecord:
    """Return an event that tells of an expired certificate."""
    values: dict[str, Any] = {
        "id": number,
        "time": NOW,
        "draft": EventDraft(EventId.EXPIRED, ("CD" * 20,), "CD" * 20),
        "source": "MSExchangeTransport",
        "server": "MBX1",
        "connector": None,
        "session_id": None,
    }
    return EventRecord(**(values | changes))


def url_in(folder: Path) -> str:
    """Return the URL of the journal in *folder*."""
    return f"sqlite:///{folder / 'capture.db'}"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return where a journal may be made, in each kind of database."""
    if request.param == "sqlite":
        return url_in(tmp_path)
    server: Postgres = request.getfixturevalue("postgres")
    return server.create()


@contextmanager
def looking_into(url: str) -> Iterator[Connection]:
    """Open a database past our own code."""
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"), poolclass=NullPool)
    with engine.begin() as connection:
        yield connection


@asynccontextmanager
async def opened(
    place: Path | str,
    retention: Retention | None = None,
    *,
    warnings: list[str] | None = None,
    clock: Callable[[], datetime] = now,
    patience: float = 5.0,
    shared: bool = False,
) -> AsyncIterator[Journal]:
    """Open the journal at a URL or in a folder; warnings go into the list, and fail the test where none is given."""
    unexpected: list[str] = []
    journal = Journal(
        place if isinstance(place, str) else url_in(place),
        retention or Retention(),
        clock=clock,
        on_warning=(unexpected if warnings is None else warnings).append,
        patience=patience,
        shared=shared,
    )
    await journal.open()
    try:
        yield journal
    finally:
        await journal.close()
    assert unexpected == []


async def eventually(question: Callable[[], Awaitable[bool]]) -> None:
    """Ask again until the answer is yes; TimeoutError after 20 seconds."""
    async with asyncio.timeout(20):
        while not await question():  # noqa: ASYNC110 - what is waited for happens in another thread
            await asyncio.sleep(0.01)
