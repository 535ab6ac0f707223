"""A receiver whose sessions are in other processes: it has what must be one of a kind, and they have the rest."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any

from smtpd_anontls.binding import bind
from smtpd_anontls.domain.records import Acknowledged
from smtpd_anontls.journal.journal import MemoryJournal
from smtpd_anontls.receiver import Receiver, Workforce
from smtpd_anontls.supervisor.crew import Crew
from smtpd_anontls.supervisor.limits import CountedLimits
from smtpd_anontls.supervisor.sockets import SharedSockets
from smtpd_anontls.supervisor.tallies import SharedTallies
from smtpd_anontls.supervisor.words import (
    Admit,
    Answer,
    Condition,
    Ended,
    Enter,
    Happened,
    Holds,
    Leave,
    Leaves,
    Logged,
    Opened,
    Refresh,
    Start,
    Took,
    Warned,
    message_of,
    session_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from contextlib import AsyncExitStack

    from smtpd_anontls.domain.connectors import Server
    from smtpd_anontls.domain.faults import Fault, Tally
    from smtpd_anontls.domain.records import SessionRecord
    from smtpd_anontls.protocol_log.rows import Row
    from smtpd_anontls.reloading import Change
    from smtpd_anontls.settings.values import Loaded
    from smtpd_anontls.supervisor.process import WorkerProcess

# Ids of messages that no journal gives begin so far apart from worker to worker.
_MESSAGES_OF_A_WORKER = 10**9
# Seconds for which the same warning from several workers is one.
_ECHO = 60.0
# Seconds that a change waits for workers to take it over; one that hangs must not hold up the others.
_APPLYING = 5.0


class Supervisor(Receiver):
    """A receiver of so many workers; see Receiver for what it does, and how it is used."""

    def __init__(self, loaded: Loaded, *, workers: int, **options: Any) -> None:
        """Take a configuration and what Receiver takes."""
        super().__init__(loaded, **options)
        self._sockets = SharedSockets(workers, on_warning=self._warn)
        self._opens = self._sockets
        self._crew = Crew(workers, self._sockets, self, begin=self._begin_worker, on_warning=self._warn)
        self._counted = CountedLimits(lambda: self.settings)
        self._version = 0
        self._spawned = 0
        self._told: dict[str, float] = {}  # Warnings of workers, and when they were told.
        self._answering: set[asyncio.Task[None]] = set()

    async def _begin(self, servers: Sequence[Server], opened: AsyncExitStack) -> None:
        """Listen, and let the workers serve."""
        opened.callback(self._sockets.close)
        self._bindings = await bind(self._opens, servers, self._bindings)
        opened.push_async_callback(self._crew.stop)
        await self._crew.start()

    # -- what holds

    def _tallies(self, number: int) -> Sequence[Tally]:
        """Return counts that all workers share."""
        self._shared_tallies = SharedTallies.new(number)
        return self._shared_tallies.tallies if self._shared_tallies else ()

    def _holds(self) -> Holds:
        live = self._live
        faults = tuple(each.fault for each in self._faults.faults)
        return Holds(
            self._version,
            live.settings,
            live.watched,
            live.snapshot,
            self._bindings,
            self._faults.version,
            faults,
        )

    def _begin_worker(self, worker: WorkerProcess) -> None:
        worker.say(Start(self._holds(), self._spawned * _MESSAGES_OF_A_WORKER + 1))
        self._spawned += 1

    def _spread(self) -> None:
        """Tell every worker what holds now."""
        self._version += 1
        for worker in self._crew.everybody:
            if worker.is_told:
                self._tell_what_holds(worker)

    def _tell_what_holds(self, worker: WorkerProcess) -> None:
        worker.hold(self._holds(), self._sockets.of(worker.number), self._shared_tallies)

    async def applied(self) -> None:
        """Return when what was wanted last holds in every worker; one that hangs is not waited for."""
        await super().applied()
        await self._applied_by_workers()

    async def _applied_by_workers(self) -> None:
        waiting = [
            asyncio.create_task(each.has_applied(self._version))
            for each in self._crew.everybody
            if each.is_told
        ]
        if waiting:
            _, late = await asyncio.wait(waiting, timeout=_APPLYING)
            for each in late:
                each.cancel()

    def _replace_faults(self, faults: Iterable[Fault]) -> int:
        """Want exactly *faults* in sessions that begin from now on, whichever worker they are with."""
        number = super()._replace_faults(faults)
        self._spread()
        return number

    async def _take_over(self, change: Change) -> None:
        await super()._take_over(change)
        self._spread()
        await self._applied_by_workers()

    async def reload(self) -> None:
        """Read the configuration again, and put a new worker in the place of each, one after another.

        Where it has a mistake, which is told, all stay as they are.
        """
        if await self.refresh(force=True):
            await self._crew.restart()

    # -- what workers say

    def hear(self, worker: WorkerProcess, word: object) -> None:
        """Take a word of a worker; see process.Hears."""
        match word:
            case Enter():
                worker.say(Answer(word.question, self._counted.enter(word, worker.entered)))
            case Leave():
                self._counted.leave(word, worker.entered)
            case Admit():
                worker.say(Answer(word.question, self._counted.admit(word)))
            case Refresh():
                task = asyncio.create_task(self._refresh_for(worker, word))
                self._answering.add(task)
                task.add_done_callback(self._answering.discard)
            case Opened():
                self._tell_what_holds(worker)
            case Leaves():
                self._crew.replace(worker)
            case Condition():
                worker.condition = word
            case _:
                self._note(word)

    def lost(self, worker: WorkerProcess) -> None:
        """Give back what a worker that has ended had counted."""
        self._counted.give_back(worker.entered)

    async def _refresh_for(self, worker: WorkerProcess, asked: Refresh) -> None:
        await self.refresh()
        worker.say(Answer(asked.question))

    def _note(self, word: object) -> None:
        """Take note of what happened in a worker."""
        match word:
            case Took():
                self._note_message(word)
            case Ended(values):
                self._note_session(session_of(values))
            case Happened():
                self._announcer.write(
                    word.draft, word.role, word.server, word.connector, word.session_id, time=word.time
                )
            case Warned(text):
                self._warn_once(text)
            case Logged(record):
                logging.getLogger(record.name).handle(record)

    def _note_message(self, took: Took) -> None:
        if isinstance(self.journal, MemoryJournal):
            # It is nowhere else; with a journal workers have put it there.
            self.journal.note(took.message_id, message_of(took.values))
        elif self.messages.are_awaited:
            self.messages.arrived(message_of(took.values))
        self._tell(Acknowledged(took.message_id, took.octets, took.seconds))

    def _note_session(self, record: SessionRecord) -> None:
        if isinstance(self.journal, MemoryJournal):
            self.journal.record_session(record)
        if record.outcome is not None:
            self._tell(record)

    def log_rows(self, rows: Sequence[Row]) -> None:
        """Put rows of a worker into the protocol log; see process.Hears."""
        if rows and self.protocol_log is not None:
            self.protocol_log.put(*rows)

    def _warn_once(self, text: str) -> None:
        """Warn of what several workers may see at the same time."""
        now = time.monotonic()
        self._told = {each: at for each, at in self._told.items() if now - at < _ECHO}
        if text not in self._told:
            self._told[text] = now
            self._warn(text)

    # -- how they are

    @property
    def running(self) -> int:
        """How many sessions run now, in all workers."""
        return sum(each.condition.sessions for each in self._crew.everybody)

    @property
    def workforce(self) -> Workforce:
        """How many workers there should be, are, and have been lost."""
        return Workforce(len(self._crew.places), self._crew.running, self._crew.lost)

    def ailments(self) -> list[str]:
        """Return a sentence for each thing that keeps mail from being taken."""
        found = [] if self._crew.running else ["no worker runs"]
        if any(each.condition.journal_failing for each in self._crew.everybody):
            found.append("a worker cannot write the journal, so it accepts no mail")
        return found
