"""A journal that keeps no mail: for load tests, and where nothing may be written."""

from __future__ import annotations

from collections import deque
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from smtpd_anontls.domain.filters import EVERYTHING, INDEXED_CHARACTERS, INDEXED_HEADERS
from smtpd_anontls.journal.position import Position

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smtpd_anontls.domain.filters import Filter
    from smtpd_anontls.domain.records import EventRecord, Json, MessageRecord, SessionRecord
    from smtpd_anontls.journal.commits import Listener

KEPT = 1000


class Note(NamedTuple):
    """What filters look at of a message, and no more: the memory is bounded."""

    session_id: str
    run: str | None
    sender: str
    recipients: tuple[str, ...]
    subject: str | None
    headers: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, message: MessageRecord) -> Note:
        """Return what is kept of *message*."""
        subject = message.subject
        headers = [
            (name[:INDEXED_CHARACTERS], value[:INDEXED_CHARACTERS])
            for name, value in message.headers[:INDEXED_HEADERS]
        ]
        return cls(
            message.session_id,
            message.run,
            message.sender,
            message.recipients,
            None if subject is None else subject[:INDEXED_CHARACTERS],
            tuple(headers),
        )


class MemoryJournal:
    """Accepts messages and discards them, and keeps the last 1,000 sessions and events; see JournalLike.

    Of the last 1,000 messages it remembers what filters look at, so that sessions and events
    can be asked for by their mail; the mail itself is gone.
    """

    def __init__(self) -> None:
        self._last_message_id = 0
        self._noted: deque[tuple[int, Note]] = deque(maxlen=KEPT)
        self._sessions: dict[str, SessionRecord] = {}
        self._last_change = 0
        self._changes: dict[str, int] = {}  # Of each session that is kept.
        self._events: deque[EventRecord] = deque(maxlen=KEPT)

    async def open(self) -> None:
        """Do nothing: there is nothing to open."""

    async def close(self) -> None:
        """Do nothing: there is nothing to write."""

    async def flush(self) -> None:
        """Do nothing: all that is kept is there already."""

    async def deliver(self, message: MessageRecord, session: SessionRecord | None) -> int:
        """Return the next id, and discard the message."""
        self._last_message_id += 1
        self._note(self._last_message_id, message)
        if session is not None:
            self.record_session(session)
        return self._last_message_id

    def note(self, message_id: int, message: MessageRecord) -> None:
        """Note a message that another process has taken and discarded, under the id that it gave."""
        self._last_message_id = max(self._last_message_id, message_id)
        self._note(message_id, message)

    def _note(self, message_id: int, message: MessageRecord) -> None:
        self._noted.append((message_id, Note.of(message)))

    def record_session(self, record: SessionRecord) -> None:
        """Note what is known of a session now, in place of what was."""
        self._sessions.pop(record.id, None)
        self._sessions[record.id] = record
        self._last_change += 1
        self._changes[record.id] = self._last_change
        if len(self._sessions) > KEPT:
            oldest = next(iter(self._sessions))
            del self._sessions[oldest], self._changes[oldest]

    def record_event(self, record: EventRecord) -> None:
        """Note an event."""
        self._events.append(record)

    async def messages(
        self,
        wanted: Filter = EVERYTHING,
        *,
        limit: int = 50,  # noqa: ARG002 - the shape of JournalLike
        before: int | None = None,  # noqa: ARG002
    ) -> list[Json]:
        """Return nothing: none is kept."""
        wanted.since_number()  # What the database refuses is refused here too.
        return []

    async def message(self, message_id: int) -> None:  # noqa: ARG002 - the shape of JournalLike
        """Return None: none is kept."""
        return

    async def raw(self, message_id: int) -> None:  # noqa: ARG002 - the shape of JournalLike
        """Return None: none is kept."""
        return

    async def sessions(
        self, wanted: Filter = EVERYTHING, *, limit: int = 50, before: str | None = None
    ) -> list[Json]:
        """Return sessions that *wanted* takes, without their transcripts."""
        found = (
            record for record in self._newest_sessions(wanted, before) if self._takes_session(wanted, record)
        )
        return [self._session_json(record) for record in islice(found, limit)]

    async def session(self, session_id: str) -> Json | None:
        """Return a session with its transcript; None where there is none."""
        record = self._sessions.get(session_id)
        return None if record is None else self._session_json(record, transcript=True)

    async def events(
        self, wanted: Filter = EVERYTHING, *, limit: int = 50, before: int | None = None
    ) -> list[Json]:
        """Return events that *wanted* takes."""
        since = wanted.since_number()
        found = (
            record
            for record in sorted(self._events, key=lambda record: record.id, reverse=True)
            if (before is None or record.id < before)
            and _is_since(since, record.time, record.id)
            and self._takes_event(wanted, record)
        )
        return [record.as_json() for record in islice(found, limit)]

    async def position(self) -> Position:
        """Return how far everything has come."""
        newest = max((record.id for record in self._events), default=0)
        return Position(self._last_message_id, self._last_change, newest)

    async def finished_sessions(self, wanted: Filter, *, after: int) -> list[tuple[int, Json]]:
        """Return the sessions that have ended, in that order, each with its change, behind the change *after*."""
        taken = {record.id for record in self._newest_sessions(wanted, None)}
        return [
            (self._changes[record.id], self._session_json(record))
            # They are kept in the order of their changes.
            for record in self._sessions.values()
            if self._changes[record.id] > after
            and record.outcome is not None
            and record.id in taken
            and self._takes_session(wanted, record)
        ]

    async def next_events(self, wanted: Filter, *, after: int) -> list[tuple[int, Json]]:
        """Return the events in their order, each with its id, behind the id *after*."""
        found = await self.events(wanted, limit=KEPT)
        return [(each["id"], each) for each in reversed(found) if each["id"] > after]

    async def purge(self, wanted: Filter) -> int:
        """Remove nothing: none is kept."""
        wanted.since_number()
        return 0

    def listen(self, listener: Listener) -> None:
        """Do nothing: no other process can write to it."""

    async def ailment(self) -> str | None:
        """Return None: nothing keeps it from discarding mail."""
        return None

    @property
    def is_failing(self) -> bool:
        """Whether it cannot be written: never."""
        return False

    def _newest_sessions(self, wanted: Filter, before: str | None) -> Iterator[SessionRecord]:
        since = wanted.since_session()
        first = self._sessions.get(since) if isinstance(since, str) else None
        last = None if before is None else self._sessions.get(before)
        if before is not None and last is None:
            return
        for record in sorted(self._sessions.values(), key=_begun, reverse=True):
            if last is not None and _begun(record) >= _begun(last):
                continue
            if first is not None and _begun(record) <= _begun(first):
                continue
            if isinstance(since, datetime) and record.started < since:
                continue
            yield record

    def _takes_session(self, wanted: Filter, record: SessionRecord) -> bool:
        return (
            wanted.takes_place(record.server, record.connector, record.id)
            and wanted.takes_session(record)
            and self._any_message(wanted, record.id)
            and self._any_event(wanted, record.id)
        )

    def _takes_event(self, wanted: Filter, record: EventRecord) -> bool:
        return (
            wanted.takes_place(record.server, record.connector, record.session_id)
            and wanted.takes_event(record)
            and self._any_message(wanted, record.session_id)
            and self._any_session(wanted, record.session_id)
        )

    def _any_message(self, wanted: Filter, session_id: str | None) -> bool:
        if not wanted.about_messages:
            return True
        return any(note.session_id == session_id and wanted.takes_message(note) for _, note in self._noted)

    def _any_session(self, wanted: Filter, session_id: str | None) -> bool:
        if not wanted.about_sessions:
            return True
        record = None if session_id is None else self._sessions.get(session_id)
        return record is not None and wanted.takes_session(record)

    def _any_event(self, wanted: Filter, session_id: str) -> bool:
        if not wanted.about_events:
            return True
        return any(event.session_id == session_id and wanted.takes_event(event) for event in self._events)

    def _session_json(self, record: SessionRecord, *, transcript: bool = False) -> Json:
        delivered = [number for number, note in self._noted if note.session_id == record.id]
        return {**record.as_json(transcript=transcript), "messages": delivered}


def _begun(record: SessionRecord) -> tuple[datetime, str]:
    return record.started, record.id


def _is_since(since: datetime | int | None, time: datetime, number: int) -> bool:
    if isinstance(since, datetime):
        return time >= since
    return since is None or number > since
