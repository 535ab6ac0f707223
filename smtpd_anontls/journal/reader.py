"""The journal as a reader sees it: from any thread, and from any process while a receiver writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smtpd_anontls.domain.filters import EVERYTHING
from smtpd_anontls.journal import overrides, queries
from smtpd_anontls.journal.database import PATIENCE, database_at

if TYPE_CHECKING:
    from smtpd_anontls.domain.filters import Filter
    from smtpd_anontls.domain.records import Json
    from smtpd_anontls.journal.database import Database, Watch
    from smtpd_anontls.journal.overrides import Override
    from smtpd_anontls.journal.position import Position


class JournalReader:
    """Reads a journal, given by its URL or already open, and changes nothing; JournalError says why that did not work.

    Lists are newest first; *before* is the id of the last item of the page before.
    """

    def __init__(self, source: str | Database, *, patience: float = PATIENCE) -> None:
        self._database = database_at(source, patience=patience) if isinstance(source, str) else source

    def watch(self) -> Watch:
        """Return what notices commits."""
        return self._database.watch()

    def messages(
        self, wanted: Filter = EVERYTHING, *, limit: int = 50, before: int | None = None
    ) -> list[Json]:
        """Return messages that *wanted* takes."""
        with self._database.reading() as connection:
            return queries.list_messages(connection, wanted, limit, before)

    def position(self) -> Position:
        """Return how far the journal has come; MissingJournalError where there is none yet."""
        with self._database.reading() as connection:
            return queries.position(connection)

    def override_version(self) -> int:
        """Return the version of the newest override."""
        with self._database.reading() as connection:
            return overrides.version(connection)

    def overrides(self) -> dict[str, Override]:
        """Return what is wanted of running receivers, by its kind."""
        with self._database.reading() as connection:
            return overrides.everything(connection)

    def finished_sessions(self, wanted: Filter, *, after: int, limit: int = 100) -> list[tuple[int, Json]]:
        """Return sessions that *wanted* takes and that have ended, in that order, each with its change.

        They go on behind the change *after*.
        """
        with self._database.reading() as connection:
            return queries.finished_sessions(connection, wanted, after, limit)

    def next_events(self, wanted: Filter, *, after: int, limit: int = 100) -> list[tuple[int, Json]]:
        """Return events that *wanted* takes in their order, each with its id, behind the id *after*."""
        with self._database.reading() as connection:
            return queries.next_events(connection, wanted, after, limit)

    def message(self, message_id: int) -> Json | None:
        """Return a message with its parameters and its header; None where there is none."""
        with self._database.reading() as connection:
            return queries.one_message(connection, message_id)

    def raw(self, message_id: int) -> bytes | None:
        """Return a message byte for byte as it was received; None where there is none."""
        with self._database.reading() as connection:
            return queries.raw_message(connection, message_id)

    def sessions(
        self, wanted: Filter = EVERYTHING, *, limit: int = 50, before: str | None = None
    ) -> list[Json]:
        """Return sessions that *wanted* takes, without their transcripts."""
        with self._database.reading() as connection:
            return queries.list_sessions(connection, wanted, limit, before)

    def session(self, session_id: str) -> Json | None:
        """Return a session with its transcript; None where there is none."""
        with self._database.reading() as connection:
            return queries.one_session(connection, session_id)

    def events(
        self, wanted: Filter = EVERYTHING, *, limit: int = 50, before: int | None = None
    ) -> list[Json]:
        """Return events that *wanted* takes."""
        with self._database.reading() as connection:
            return queries.list_events(connection, wanted, limit, before)
