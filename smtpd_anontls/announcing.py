"""Events: each gets an id and a time, and goes to the sinks of the event log and to the journal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smtpd_anontls.domain.events import source_of
from smtpd_anontls.domain.records import EventRecord
from smtpd_anontls.eventlog.jsonl import json_line
from smtpd_anontls.eventlog.lines import lines_to
from smtpd_anontls.eventlog.log import EventLog
from smtpd_anontls.eventlog.syslog import Syslog
from smtpd_anontls.eventlog.windows_xml import event_xml
from smtpd_anontls.settings.values import SyslogSink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from smtpd_anontls.domain.events import EventDraft
    from smtpd_anontls.domain.flags import TransportRole
    from smtpd_anontls.eventlog.log import Sink
    from smtpd_anontls.journal.journal import Journal, MemoryJournal
    from smtpd_anontls.settings.values import EventSink
    from smtpd_anontls.starting import PlacedEvent

_IN_UNITS_OF_MICROSECONDS = 1_000_000


class Announcer:
    """Writes events; the journal is opened by somebody else."""

    def __init__(
        self,
        sinks: Iterable[EventSink],
        journal: Journal | MemoryJournal,
        *,
        clock: Callable[[], datetime],
        computer: Callable[[str | None], str],
        on_warning: Callable[[str], None],
    ) -> None:
        """Take the sinks; *computer* gives the FQDN of a server by its name."""
        self.event_log = EventLog([_sink(each, computer) for each in sinks], on_warning)
        self._journal = journal
        self._clock = clock
        self._last_id = 0
        # Told of each event; they never raise and never wait.
        self.observers: list[Callable[[EventRecord], None]] = []

    async def continue_ids(self) -> None:
        """Go on behind the ids that the journal has."""
        newest = await self._journal.events(limit=1)
        self._last_id = newest[0]["id"] if newest else 0

    def write_placed(self, event: PlacedEvent) -> None:
        """Write an event that belongs to no session."""
        self.write(event.draft, event.role, event.server, event.connector, None)

    def write(
        self,
        draft: EventDraft,
        role: TransportRole,
        server: str | None,
        connector: str | None,
        session_id: str | None,
        *,
        time: datetime | None = None,
    ) -> None:
        """Write an event, of now or of *time*."""
        now = self._clock() if time is None else time
        # Microseconds, and one more where two events share one: increasing over restarts, too.
        self._last_id = max(self._last_id + 1, int(now.timestamp() * _IN_UNITS_OF_MICROSECONDS))
        record = EventRecord(
            id=self._last_id,
            time=now,
            draft=draft,
            source=source_of(role),
            server=server,
            connector=connector,
            session_id=session_id,
        )
        self.event_log.write(record)
        self._journal.record_event(record)
        for observe in self.observers:
            observe(record)


def _sink(wanted: EventSink, computer: Callable[[str | None], str]) -> Sink:
    if isinstance(wanted, SyslogSink):
        return Syslog(wanted.address, computer)
    line_of = json_line if wanted.format == "jsonl" else event_xml(computer)
    return lines_to(wanted.path, line_of, max_size=wanted.max_size, keep=wanted.keep)
