"""The one writer thread, and group commit.

Deliveries queue up while a transaction is being made durable; the next transaction takes all
of them, so that they share one sync.  A sender's future is resolved when that transaction has
been committed, not before.  Rows of sessions and events ride along, or follow within a moment.

Two kinds of failure are told apart.  Where the *world* fails (disk full, locked), every
delivery of the round fails, rows are kept for the next try, and the writer goes on as soon as
the world does.  Where a *record* cannot be written, each of its group is written alone, so
that its neighbours do not suffer.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError

from smtpd_anontls.domain.printable import printable
from smtpd_anontls.domain.records import SessionRecord
from smtpd_anontls.journal.backlog import GROUP_ROWS, MAX_ROWS, Delivery, Rows, divide
from smtpd_anontls.journal.errors import JournalError
from smtpd_anontls.journal.feeding import Feeding
from smtpd_anontls.journal.statements import add_events, add_messages, add_sessions
from smtpd_anontls.journal.sweep import sweep

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from smtpd_anontls.domain.records import EventRecord, MessageRecord
    from smtpd_anontls.domain.retention import Retention
    from smtpd_anontls.journal.backlog import Group
    from smtpd_anontls.journal.database import Database

# Seconds.
LINGER = 0.1  # Rows that nobody waits for gather so long.
RETRY_EVERY = 1.0  # ... and where they could not be written, are tried again.
SWEEP_EVERY = 60.0
SWEEP_EVERY_MESSAGES = 1000

_Answer = tuple["asyncio.Future[int]", "int | JournalError"]
_Waiter = tuple[asyncio.AbstractEventLoop, "asyncio.Future[None]"]


class Writer:
    """Writes in its own thread; *on_warning* is called there."""

    def __init__(
        self,
        database: Database,
        retention: Retention,
        *,
        clock: Callable[[], datetime],
        on_warning: Callable[[str], None],
    ) -> None:
        self._database = database
        self._retention = retention
        self._clock = clock
        self._on_warning = on_warning
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)

        self._wake = threading.Condition()  # Guards what follows, up to the empty line.
        self._deliveries: list[Delivery] = []
        self._rows = Rows()
        self._rows_due = 0.0
        self._waiters: list[_Waiter] = []
        self._closing = False
        self._overflowing = False

        # The thread's own.
        self._feeding = Feeding(database, time.monotonic)
        self._failing = False
        self._last_message_id = 0
        self._unswept = 0
        self._sweep_due = 0.0

    @property
    def is_failing(self) -> bool:
        """Whether the last try to write failed, so that no mail is accepted."""
        return self._failing

    def start(self) -> None:
        """Begin to write; the database is open."""
        self._thread.start()

    def deliver(self, message: MessageRecord, session: SessionRecord | None) -> asyncio.Future[int]:
        """Queue a message; the future has its id once it is durable, or a JournalError."""
        loop = asyncio.get_running_loop()
        delivery = Delivery(message, session, loop, loop.create_future())
        with self._wake:
            if not self._deliveries:
                self._wake.notify()
            self._deliveries.append(delivery)
            if session is not None:
                self._rows.replaced_by(session)
        return delivery.future

    def record(self, record: SessionRecord | EventRecord) -> None:
        """Queue a row; never wait and never raise."""
        with self._wake:
            if not self._rows:
                self._rows_due = time.monotonic() + LINGER
                self._wake.notify()
            overflow = bool(self._rows.add(record))
            first = overflow and not self._overflowing
            self._overflowing = self._overflowing or overflow
        if first:
            self._warn(f"more than {MAX_ROWS} sessions and events wait to be written; the oldest are dropped")

    def flush(self) -> asyncio.Future[None]:
        """Return a future that is done once all that waits now has been written, or has failed."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        with self._wake:
            self._waiters.append((loop, future))
            self._wake.notify()
        return future

    def stop(self) -> None:
        """Write everything out and end the thread; what cannot be written is lost with a warning."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()

    def _run(self) -> None:
        closing = False
        while not closing:
            groups, waiters, closing = self._next_round()
            self._write(groups)
            for loop, future in waiters:
                _call(loop, _release, future)
            if not closing and time.monotonic() >= self._sweep_due:
                self._sweep()
            if not closing and time.monotonic() >= self._feeding.due:
                self._feed()
        try:
            if self._database.loss():
                self._database.empty_log()
        except JournalError as error:
            self._warn(f"its log could not be written into it: {error}")
        if self._rows:
            self._warn(f"could not be written to the end; sessions and events lost: {len(self._rows)}")

    def _next_round(self) -> tuple[list[Group], list[_Waiter], bool]:
        """Wait until there is something to do, and take it."""
        with self._wake:
            while not (self._deliveries or self._waiters or self._closing):
                due = min(self._sweep_due, self._feeding.due, *([self._rows_due] if self._rows else []))
                patience = due - time.monotonic()
                if patience <= 0:
                    break
                self._wake.wait(patience)
            everything = self._closing or bool(self._waiters)
            limit = None if everything else GROUP_ROWS
            if self._failing and not self._closing and time.monotonic() < self._rows_due:
                limit = 0  # They have just failed; readers need not wait for that again.
            groups = divide(self._deliveries, self._rows, limit)
            self._deliveries = []
            waiters, self._waiters = self._waiters, []
            self._overflowing = self._overflowing and bool(self._rows)
            return groups, waiters, self._closing

    def _write(self, groups: Sequence[Group]) -> None:
        work = deque(groups)
        while work:
            group = work.popleft()
            try:
                ids = self._commit(group)
            except JournalError as error:
                self._give_up([group, *work], error)
                return
            except Exception as error:  # noqa: BLE001 - whatever one record does, the others are written.
                if len(group) > 1:
                    work.extendleft(reversed(group.alone()))
                else:
                    self._reject(group, error)
                continue
            _answer(group.deliveries, ids)
            self._unswept += len(ids)
            self._feeding.delivered(len(ids))
            if self._failing:
                self._failing = False
                self._warn("is written again")
        if self._unswept >= SWEEP_EVERY_MESSAGES:
            self._sweep_due = 0.0

    def _commit(self, group: Group) -> Sequence[int]:
        """Write one transaction and return the ids of its messages; JournalError where the world fails."""
        self._leave_lost_file()
        if not self._database.is_open:
            self._database.create(last_message_id=self._last_message_id)
        try:
            with self._database.writing() as connection:
                ids = add_messages(connection, [delivery.message for delivery in group.deliveries])
                add_sessions(connection, [row for row in group.records if isinstance(row, SessionRecord)])
                add_events(connection, [row for row in group.records if not isinstance(row, SessionRecord)])
        except DBAPIError as error:
            if self._database.is_of_the_world(error):
                raise self._database.explain(error) from error
            raise
        self._last_message_id = ids[-1] if ids else self._last_message_id
        if self._is_lost():
            raise JournalError(f"{self._database.name}: was moved or removed while it was written")
        return ids

    def _is_lost(self) -> bool:
        """Whether what has just been committed may be lost; what cannot be looked at may be.

        It never raises: the group is written, and whatever a record did wrong would have shown before.
        """
        try:
            return self._database.loss() is not None
        except Exception:  # noqa: BLE001 - as said
            return True

    def _leave_lost_file(self) -> None:
        """Close a file that is no longer at its path, complete; JournalError where that cannot be done now."""
        if self._database.is_open and (loss := self._database.loss()) is not None:
            self._database.empty_log()
            self._database.close()
            self._warn(loss)

    def _give_up(self, groups: Sequence[Group], error: JournalError) -> None:
        """Fail every delivery, and keep the rows for the next try."""
        for group in groups:
            _answer(group.deliveries, [JournalError(str(error)) for _ in group.deliveries])
        with self._wake:
            self._rows.put_back([record for group in groups for record in group.records])
            self._rows_due = time.monotonic() + RETRY_EVERY
        if not self._failing:
            self._failing = True
            self._warn(f"cannot be written, and mail is not accepted: {error}")

    def _reject(self, group: Group, error: Exception) -> None:
        """Fail the one delivery of *group*, or drop its one row."""
        why = f"{type(error).__name__}: {printable(str(error).partition(chr(10))[0])}"
        for delivery in group.deliveries:
            self._warn(f"a message of session {delivery.message.session_id} cannot be written: {why}")
            _answer(
                [delivery], [JournalError(f"{self._database.name}: the message cannot be written: {why}")]
            )
        for record in group.records:
            kind = "session" if isinstance(record, SessionRecord) else "event"
            self._warn(f"{kind} {record.id} cannot be written and is dropped: {why}")

    def _sweep(self) -> None:
        self._unswept = 0
        self._sweep_due = time.monotonic() + SWEEP_EVERY
        if self._database.loss():
            return
        try:
            with self._database.writing() as connection:
                more = self._database.may_sweep(connection) and sweep(
                    connection, self._retention, self._clock()
                )
        except Exception as error:  # noqa: BLE001 - mail goes on where retention cannot.
            self._warn(f"retention could not be kept: {self._why(error)}")
            return
        if more:
            self._sweep_due = 0.0
            self._feeding.removed()

    def _feed(self) -> None:
        if self._database.loss():
            self._feeding.later()
            return
        try:
            self._feeding.feed()
        except Exception as error:  # noqa: BLE001 - mail goes on, and what is not in the index is found without it.
            self._feeding.later()
            self._warn(f"its search index could not be kept up: {self._why(error)}")

    def _why(self, error: Exception) -> str:
        if isinstance(error, DBAPIError):
            error = self._database.explain(error)
        return str(error) if isinstance(error, JournalError) else repr(error)

    def _warn(self, text: str) -> None:
        with suppress(Exception):  # A warning that fails ends neither the thread nor a session.
            self._on_warning(f"journal {self._database.name}: {text}")


def _answer(deliveries: Sequence[Delivery], answers: Sequence[int | JournalError]) -> None:
    """Resolve the futures, with one call into each loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Answer]] = {}
    for delivery, answer in zip(deliveries, answers, strict=True):
        by_loop.setdefault(delivery.loop, []).append((delivery.future, answer))
    for loop, some in by_loop.items():
        _call(loop, _settle, some)


def _call(loop: asyncio.AbstractEventLoop, function: Callable[..., None], argument: object) -> None:
    with suppress(RuntimeError):  # The loop is closed: nobody waits any more.
        loop.call_soon_threadsafe(function, argument)


def _settle(answers: Sequence[_Answer]) -> None:
    for future, answer in answers:
        if future.done():  # Cancelled meanwhile.
            continue
        if isinstance(answer, JournalError):
            future.set_exception(answer)
        else:
            future.set_result(answer)


def _release(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
