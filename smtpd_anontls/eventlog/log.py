"""The Application log and its sinks; mail never waits for one."""

from __future__ import annotations

import errno
import queue
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from smtpd_anontls.domain.records import EventRecord

MAX_WAITING = 10_000  # Events, for each sink.
CLOSING_TIMEOUT = 5.0  # Seconds; a pipe that nobody reads must not keep the receiver from ending.


class EventLogError(Exception):
    """A sink cannot be opened at start; the text is one line for a person."""


class NotNowError(OSError):
    """A sink cannot take an event now; it will be offered again after *wait* seconds."""

    def __init__(self, wait: float, why: str) -> None:
        super().__init__(errno.EAGAIN, why)
        self.wait = wait


class Sink(Protocol):
    """Where events go, written by one thread."""

    @property
    def name(self) -> str:
        """What warnings call it."""
        ...

    def open(self) -> None:
        """Make ready; OSError says why that did not work."""
        ...

    def write(self, record: EventRecord) -> None:
        """Write one event, opening again what was lost; OSError: the event is not written.

        NotNowError: it is not written yet, and is offered again; those behind it wait.
        """
        ...

    def close(self) -> None:
        """Let go; never raise."""
        ...


class EventLog:
    """Hands each event to every sink, each in a thread of its own.

    A sink that fails drops events, one that is away lets them wait; either with one warning until it
    works again.  *on_warning* is called from those threads.
    """

    def __init__(self, sinks: Sequence[Sink], on_warning: Callable[[str], None]) -> None:
        self._feeders = [_Feeder(sink, on_warning) for sink in sinks]

    def open(self) -> None:
        """Open every sink; EventLogError in one line where one cannot be opened, and then none is."""
        opened: list[_Feeder] = []
        for feeder in self._feeders:
            try:
                feeder.sink.open()
            except OSError as error:
                for other in opened:
                    other.sink.close()
                raise EventLogError(f"{feeder.sink.name}: cannot be written: {_why(error)}") from error
            opened.append(feeder)
        for feeder in opened:
            feeder.start()

    def write(self, record: EventRecord) -> None:
        """Pass *record* on; never wait and never raise."""
        for feeder in self._feeders:
            feeder.put(record)

    def close(self) -> None:
        """Write out what waits, and close the sinks; one that does not get on is left after 5 seconds."""
        for feeder in self._feeders:
            feeder.stop()


class _Feeder:
    """One sink, its queue and its thread."""

    def __init__(self, sink: Sink, on_warning: Callable[[str], None]) -> None:
        self.sink = sink
        self._on_warning = on_warning
        self._waiting: queue.Queue[EventRecord | None] = queue.Queue()
        self._thread = threading.Thread(target=self._run, name=f"event log {sink.name}", daemon=True)
        self._stopping = threading.Event()
        self._lost = 0
        self._failing = False
        self._overflowing = False

    def start(self) -> None:
        self._thread.start()

    def put(self, record: EventRecord) -> None:
        if self._waiting.qsize() < MAX_WAITING:
            self._overflowing = False
            self._waiting.put_nowait(record)
        elif not self._overflowing:
            self._overflowing = True
            self._warn(f"takes no more; events are dropped while {MAX_WAITING} wait")

    def stop(self) -> None:
        if not self._thread.is_alive():
            return
        self._stopping.set()
        self._waiting.put_nowait(None)
        self._thread.join(CLOSING_TIMEOUT)
        if self._thread.is_alive():
            self._warn(f"does not get on; events lost: {self._waiting.qsize() - 1}")

    def _run(self) -> None:
        unreached = 0
        while (record := self._waiting.get()) is not None:
            try:
                self._write(record)
            except NotNowError:
                unreached += 1
            except Exception as error:  # noqa: BLE001 - nothing that a sink does ends its thread.
                self._lost += 1
                self._fails("cannot be written, events are dropped", error)
            else:
                if self._failing:
                    self._failing = False
                    self._warn(f"is written again; events dropped: {self._lost}")
                    self._lost = 0
        if unreached:
            self._warn(f"was not reached before the end; events lost: {unreached}")
        self.sink.close()

    def _write(self, record: EventRecord) -> None:
        """Write *record*, however long its sink is away; NotNowError: the end has come first."""
        while True:
            try:
                self.sink.write(record)
            except NotNowError as error:
                self._fails("cannot be reached, events wait", error)
                if self._stopping.is_set():
                    raise
                self._stopping.wait(error.wait)
            else:
                return

    def _fails(self, how: str, error: Exception) -> None:
        if not self._failing:
            self._failing = True
            self._warn(f"{how}: {_why(error)}")

    def _warn(self, text: str) -> None:
        with suppress(Exception):  # A warning that fails ends neither the thread nor a session.
            self._on_warning(f"event log {self.sink.name}: {text}")


def _why(error: Exception) -> str:
    said = error.strerror if isinstance(error, OSError) else None
    return said or f"{type(error).__name__}: {error}"
