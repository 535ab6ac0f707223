"""The journal of a receiver: durable messages, and what led to them."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from sqlalchemy.exc import DBAPIError

from smtpd_anontls.domain.database_url import SCHEME
from smtpd_anontls.domain.filters import EVERYTHING
from smtpd_anontls.journal import overrides
from smtpd_anontls.journal.commits import Commits
from smtpd_anontls.journal.database import PATIENCE, database_at
from smtpd_anontls.journal.errors import JournalError, MissingJournalError
from smtpd_anontls.journal.memory import MemoryJournal
from smtpd_anontls.journal.purge import purge
from smtpd_anontls.journal.reader import JournalReader
from smtpd_anontls.journal.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from sqlalchemy import Connection

    from smtpd_anontls.domain.filters import Filter
    from smtpd_anontls.domain.records import EventRecord, Json, MessageRecord, SessionRecord
    from smtpd_anontls.domain.retention import Retention
    from smtpd_anontls.journal.commits import Listener
    from smtpd_anontls.journal.overrides import Override
    from smtpd_anontls.journal.position import Position

__all__ = ["Journal", "JournalError", "JournalLike", "JournalReader", "MemoryJournal"]

T = TypeVar("T")

READERS = 4  # Threads; a list over many messages holds up neither mail nor the loop.


class JournalLike(Protocol):
    """What a receiver asks of a journal, whether it keeps everything or hardly anything.

    Lists are newest first; *before* is the id of the last item of the page before.
    """

    async def open(self) -> None:
        """Make ready; JournalError says in one line why that did not work."""
        ...

    async def close(self) -> None:
        """Write everything out; nothing can be delivered or read afterwards."""
        ...

    async def deliver(self, message: MessageRecord, session: SessionRecord | None) -> int:
        """Return the message's id once it and *session* are durable; JournalError: nothing is acknowledged."""
        ...

    def record_session(self, record: SessionRecord) -> None:
        """Note what is known of a session now; never wait and never raise."""
        ...

    def record_event(self, record: EventRecord) -> None:
        """Note an event; never wait and never raise."""
        ...

    async def flush(self) -> None:
        """Return when all that has been noted is written, or has failed."""
        ...

    async def messages(
        self, wanted: Filter = ..., *, limit: int = ..., before: int | None = ...
    ) -> list[Json]:
        """Return messages that *wanted* takes."""
        ...

    async def message(self, message_id: int) -> Json | None:
        """Return a message with its parameters and its header; None where there is none."""
        ...

    async def raw(self, message_id: int) -> bytes | None:
        """Return a message byte for byte as it was received; None where there is none."""
        ...

    async def sessions(
        self, wanted: Filter = ..., *, limit: int = ..., before: str | None = ...
    ) -> list[Json]:
        """Return sessions that *wanted* takes, without their transcripts."""
        ...

    async def session(self, session_id: str) -> Json | None:
        """Return a session with its transcript; None where there is none."""
        ...

    async def events(self, wanted: Filter = ..., *, limit: int = ..., before: int | None = ...) -> list[Json]:
        """Return events that *wanted* takes."""
        ...

    async def position(self) -> Position:
        """Return how far the journal has come."""
        ...

    async def finished_sessions(self, wanted: Filter, *, after: int) -> list[tuple[int, Json]]:
        """Return some sessions that have ended, in that order, each with its change, behind the change *after*."""
        ...

    async def next_events(self, wanted: Filter, *, after: int) -> list[tuple[int, Json]]:
        """Return some events in their order, each with its id, behind the id *after*."""
        ...

    async def purge(self, wanted: Filter) -> int:
        """Remove the messages that *wanted* takes and that are there now, and return how many."""
        ...

    def listen(self, listener: Listener) -> None:
        """Let *listener* be called, in the loop, when another process has committed something.

        It gets how far the journal was and how far it is now.
        """
        ...

    async def ailment(self) -> str | None:
        """Return why no mail is accepted, as far as one can tell without any; None where it is."""
        ...

    @property
    def is_failing(self) -> bool:
        """Whether the last try to write it failed, so that no mail was accepted."""
        ...


class Journal:
    """The journal at *url*; see JournalLike.  Reading shows what was noted before.

    *on_warning* gets one line at a time, from any thread.  *shared*: other processes write to it, too, so
    listeners are told of what they commit.  A lock, or a server that does not answer, is waited for so many
    seconds of *patience*.
    """

    def __init__(
        self,
        url: str,
        retention: Retention,
        *,
        clock: Callable[[], datetime],
        on_warning: Callable[[str], None],
        patience: float = PATIENCE,
        shared: bool = False,
    ) -> None:
        self._url = url
        self._database = database_at(url, patience=patience, on_warning=on_warning)
        self._reader = JournalReader(self._database)
        self._writer = Writer(self._database, retention, clock=clock, on_warning=on_warning)
        self._commits = Commits(self._reader)
        # A server is there to be shared.
        self._on_server = url.startswith(SCHEME)
        self._shared = shared or self._on_server
        self._threads: ThreadPoolExecutor | None = None

    async def open(self) -> None:
        """Open the database, made if missing; JournalError says in one line why that did not work."""
        await asyncio.to_thread(self._database.create)
        self._writer.start()
        self._threads = ThreadPoolExecutor(READERS, thread_name_prefix="journal-reader")
        if self._shared:
            self._commits.start()

    async def close(self) -> None:
        """Write everything out and close the database."""
        threads, self._threads = self._threads, None
        if threads is None:
            return
        if self._shared:
            await asyncio.to_thread(self._commits.stop)
        await asyncio.to_thread(self._writer.stop)
        await asyncio.to_thread(threads.shutdown)
        await asyncio.to_thread(self._database.close)

    async def deliver(self, message: MessageRecord, session: SessionRecord | None) -> int:
        """Return the message's id once it and *session* are durable; JournalError: nothing is acknowledged."""
        self._opened()
        return await self._writer.deliver(message, session)

    def record_session(self, record: SessionRecord) -> None:
        """Note what is known of a session now, in place of what was; never wait and never raise."""
        self._writer.record(record)

    def record_event(self, record: EventRecord) -> None:
        """Note an event; never wait and never raise."""
        self._writer.record(record)

    async def flush(self) -> None:
        """Return when all that has been noted is written, or has failed."""
        self._opened()
        await self._writer.flush()

    async def messages(
        self, wanted: Filter = EVERYTHING, *, limit: int = 50, before: int | None = None
    ) -> list[Json]:
        """Return messages that *wanted* takes."""
        return await self._read(partial(self._reader.messages, wanted, limit=limit, before=before))

    async def message(self, message_id: int) -> Json | None:
        """Return a message with its parameters and its header; None where there is none."""
        return await self._read(partial(self._reader.message, message_id))

    async def raw(self, message_id: int) -> bytes | None:
        """Return a message byte for byte as it was received; None where there is none."""
        return await self._read(partial(self._reader.raw, message_id))

    async def sessions(
        self, wanted: Filter = EVERYTHING, *, limit: int = 50, before: str | None = None
    ) -> list[Json]:
        """Return sessions that *wanted* takes, without their transcripts."""
        return await self._read(partial(self._reader.sessions, wanted, limit=limit, before=before))

    async def session(self, session_id: str) -> Json | None:
        """Return a session with its transcript; None where there is none."""
        return await self._read(partial(self._reader.session, session_id))

    async def events(
        self, wanted: Filter = EVERYTHING, *, limit: int = 50, before: int | None = None
    ) -> list[Json]:
        """Return events that *wanted* takes."""
        return await self._read(partial(self._reader.events, wanted, limit=limit, before=before))

    async def position(self) -> Position:
        """Return how far the journal has come."""
        return await self._read(self._reader.position)

    async def finished_sessions(self, wanted: Filter, *, after: int) -> list[tuple[int, Json]]:
        """Return some sessions that have ended, in that order, each with its change, behind the change *after*."""
        return await self._read(partial(self._reader.finished_sessions, wanted, after=after))

    async def next_events(self, wanted: Filter, *, after: int) -> list[tuple[int, Json]]:
        """Return some events in their order, each with its id, behind the id *after*."""
        return await self._read(partial(self._reader.next_events, wanted, after=after))

    async def purge(self, wanted: Filter) -> int:
        """Remove the messages that *wanted* takes and that are there now, and return how many."""
        return await self._read(partial(purge, self._url, wanted))

    async def override_version(self) -> int:
        """Return the version of the newest override that is committed."""
        return await self._committed(self._reader.override_version)

    async def overrides(self) -> dict[str, Override]:
        """Return what is wanted of running receivers, by its kind."""
        return await self._committed(self._reader.overrides)

    async def overrides_at_start(self) -> dict[str, Override]:
        """Return what a receiver that starts begins with: a file is its own, and what was wanted is forgotten."""
        if not self._on_server:
            await asyncio.to_thread(self._write, overrides.forget)
        return await self.overrides()

    async def change_override(self, kind: str, changed: Callable[[Any], Any]) -> Override:
        """Put what *changed* makes of what is wanted in its place, and return it once it is durable."""
        return await asyncio.to_thread(self._write, partial(overrides.change, kind=kind, changed=changed))

    def listen(self, listener: Listener) -> None:
        """Let *listener* be called, in the loop, when another process has committed something; see Commits."""
        self._commits.listen(listener)

    async def ailment(self) -> str | None:
        """Return why no mail is accepted, as far as one can tell without any; None where it is."""
        # What waits to be written tells whether it can be; where nothing does, a server may have gone unnoticed.
        await self.flush()
        if self.is_failing:
            return "the journal cannot be written, so mail is not accepted"
        try:
            await self.position()
        except MissingJournalError:
            # In place of a file the next message makes another; in a database a start alone makes tables.
            return "the journal's tables are gone, so mail is not accepted" if self._on_server else None
        except JournalError:
            return "the journal cannot be read, so mail is not accepted"
        return None

    @property
    def is_failing(self) -> bool:
        """Whether the last try to write it failed, so that no mail was accepted."""
        return self._writer.is_failing

    def _write(self, work: Callable[[Connection], T]) -> T:
        """Do *work* in a transaction of its own, beside the writer's."""
        database = database_at(self._url)
        try:
            database.open()
            with database.writing() as connection:
                done = work(connection)
            database.settle()
        except DBAPIError as error:
            raise database.explain(error) from error
        else:
            return done
        finally:
            database.close()

    async def _read(self, query: Callable[[], T]) -> T:
        self._opened()
        await self._writer.flush()
        return await self._committed(query)

    async def _committed(self, query: Callable[[], T]) -> T:
        threads = self._opened()
        return await asyncio.get_running_loop().run_in_executor(threads, query)

    def _opened(self) -> ThreadPoolExecutor:
        if self._threads is None:
            raise RuntimeError("the journal is not open")
        return self._threads
