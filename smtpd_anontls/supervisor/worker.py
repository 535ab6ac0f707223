"""A worker: sessions and a writer of the journal, for a supervisor that has the rest.

``python -m smtpd_anontls.supervisor.worker CHANNEL HAND`` is what the supervisor starts, with the numbers of
the sockets over which it is talked to and handed descriptors.  It ends when it is told to, or when the
supervisor is gone: then it drains, and nothing that was acknowledged is lost.
"""

from __future__ import annotations

import asyncio
import logging
import random
import signal
import socket
import sys
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from smtpd_anontls.certificates.store import StoreError
from smtpd_anontls.deciding import Surroundings
from smtpd_anontls.directory.file import DirectoryError
from smtpd_anontls.domain.faults import FaultList
from smtpd_anontls.household import DRAIN_TIMEOUT, Household, journal_of, utc_now
from smtpd_anontls.journal.errors import JournalError
from smtpd_anontls.journal.journal import MemoryJournal
from smtpd_anontls.reloading import is_current
from smtpd_anontls.smtp.event_loop import loop_factory, spare_what_stays
from smtpd_anontls.smtp.listener import Listener
from smtpd_anontls.supervisor.asking import Questions
from smtpd_anontls.supervisor.channel import Channel
from smtpd_anontls.supervisor.limits import AskedLimits
from smtpd_anontls.supervisor.outbox import Kind, Outbox
from smtpd_anontls.supervisor.parts import Discards, TellsEvents, TellsLog, TellsRows, warns
from smtpd_anontls.supervisor.sockets import HandedSockets, take_over
from smtpd_anontls.supervisor.tallies import SharedTallies, handed_name
from smtpd_anontls.supervisor.words import (
    Answer,
    Applied,
    Condition,
    Drain,
    Failed,
    Holds,
    Leaves,
    Opened,
    Refresh,
    Start,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from smtpd_anontls.domain.faults import Tally
    from smtpd_anontls.domain.records import MessageRecord, SessionRecord

# Seconds between two looks at how the worker is, which is told where it has changed.
_CONDITION_EVERY = 0.2


class Worker(Household):
    """Serves what it is handed, until it is told to end."""

    def __init__(self, start: Start, channel: Channel, hand: socket.socket) -> None:
        """Take the first word; nothing is opened yet."""
        settings = start.holds.settings
        self._channel = channel
        self._hand = hand
        self._questions = Questions(channel)
        is_kept = settings.capture.url is not None
        self._outbox = Outbox(channel, written=self._written if is_kept else None)
        self._warn = warns(self._outbox)
        self._journal = journal_of(settings.capture, clock=utc_now, on_warning=self._warn)
        log = settings.protocol_log
        super().__init__(
            surroundings=Surroundings.of(settings, on_warning=self._warn),
            faults=FaultList((), random.random, self._tallies),
            limits=AskedLimits(self._questions),
            journal=Discards(self._outbox, start.first_message_id)
            if isinstance(self._journal, MemoryJournal)
            else self._journal,
            announcer=TellsEvents(self._outbox, utc_now),
            protocol_log=None if log is None else TellsRows(self._outbox, log.layout, utc_now),
            clock=utc_now,
        )
        self._sockets = HandedSockets()
        self._counts: dict[str, int] = {}  # Descriptors of the counts of faults, by name.
        self._listener = Listener(self, on_warning=self._warn, make=self._sockets.make)
        self._held = start.holds
        self._faults_version: int | None = None
        self._draining: asyncio.Task[None] | None = None
        self._drained = asyncio.Event()

    async def run(self) -> None:
        """Serve until it has drained."""
        settings = self._held.settings
        async with AsyncExitStack() as opened:
            opened.push_async_callback(self._close_directories)
            await asyncio.to_thread(self.surroundings.load, [each.server for each in settings.servers])
            await asyncio.to_thread(self.surroundings.authentication.load)
            await self._journal.open()
            opened.push_async_callback(self._journal.close)
            self._outbox.open()
            opened.push_async_callback(self._outbox.close)
            self._channel.send(Opened())
            spare_what_stays()
            tasks = [asyncio.create_task(self._obey()), asyncio.create_task(self._tell_condition())]
            await self._drained.wait()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def record_session(self, record: SessionRecord) -> None:
        """Pass an ended session to the journal, and tell of it."""
        super().record_session(record)
        self._outbox.session(record)

    def _acknowledged(self, message_id: int, message: MessageRecord) -> None:
        """Tell of a message that has become durable."""
        self._outbox.message(message_id, message, self._seconds_since(message.time))

    async def refresh(self) -> None:
        """Have the supervisor read a configuration that has changed; what holds then is here before its answer."""
        if not is_current(self._held.watched, self._held.snapshot):
            await self._questions.ask(Refresh)

    def drain(self, patience: float = 0) -> None:
        """End; sessions get *patience* seconds to end by themselves.  The last word counts."""
        if self._draining is not None:
            self._draining.cancel()
        self._draining = asyncio.create_task(self._drain(patience))

    def leave(self) -> None:
        """Ask for another in this place, after which it is told to drain."""
        self._questions.tell(Leaves())

    async def _drain(self, patience: float) -> None:
        await self._listener.close(DRAIN_TIMEOUT, patience=patience)
        self._drained.set()

    async def _obey(self) -> None:
        while (word := await self._channel.receive()) is not None:
            match word:
                case Answer():
                    self._questions.answered(word)
                case Holds():
                    await self._apply(word)
                    self._channel.send(Applied(word.version))
                case Drain(patience):
                    self.drain(patience)
        self._questions.give_up()
        self.drain()

    async def _apply(self, holds: Holds) -> None:
        """Let *holds* hold, all at once."""
        while (handed := take_over(self._hand)) is not None:
            name, descriptor = handed
            if not self._sockets.put(name, descriptor):
                self._counts[name] = descriptor
        before, self._held = self._held, holds
        if holds.faults_version != self._faults_version:
            self._faults_version = holds.faults_version
            self._faults.replace(holds.faults)
        surroundings = self.surroundings
        if holds.settings != before.settings:
            surroundings = surroundings.adapted_to(holds.settings, on_warning=self._warn)
        if self._draining is None:
            await self._listener.listen({each.binding for each in holds.bindings.bound})
        self._hold(surroundings, holds.bindings)

    def _tallies(self, number: int) -> Sequence[Tally]:
        """Return the counts of the faults that hold now, which all workers share."""
        if not number:
            return ()
        return SharedTallies(self._counts.pop(handed_name(self._held.faults_version)), number).tallies

    async def _written(self) -> None:
        await self._journal.flush()

    async def _tell_condition(self) -> None:
        told = Condition(0, journal_failing=False)
        while True:
            now = Condition(len(self._listener.sessions), self._journal.is_failing)
            if now != told:
                self._outbox.tell(now, Kind.LINES, weight=0)
                told = now
            await asyncio.sleep(_CONDITION_EVERY)


async def work(channel_number: int, hand_number: int) -> None:
    """Be a worker on the sockets of these numbers."""
    channel = await Channel.over(socket.socket(fileno=channel_number))
    try:
        start = await channel.receive()
        if not isinstance(start, Start):
            return  # The supervisor is gone already.
        hand = socket.socket(fileno=hand_number)
        hand.setblocking(False)  # noqa: FBT003 - the standard library's signature
        worker = Worker(start, channel, hand)
        _log_by_telling(worker)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.leave)
        try:
            await worker.run()
        except (StoreError, DirectoryError, JournalError) as error:
            channel.send(Failed(str(error)))
    finally:
        await channel.close()


def _log_by_telling(worker: Worker) -> None:
    log = logging.getLogger("smtpd_anontls")
    log.setLevel(logging.INFO)
    log.addHandler(TellsLog(worker._outbox))  # noqa: SLF001 - the worker's own
    # As cli.logs has it for one process.
    logging.getLogger("mail.log").setLevel(logging.ERROR)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)


def main() -> None:
    """Be what the supervisor starts."""
    # What a terminal or systemd wants of all is the supervisor's business.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(work(int(sys.argv[1]), int(sys.argv[2])))


if __name__ == "__main__":
    main()
