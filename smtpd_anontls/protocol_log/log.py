"""The protocol log: rows of many sessions, written by one thread; no session ever waits for it."""

from __future__ import annotations

import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from smtpd_anontls.protocol_log.folder import LogFolder
from smtpd_anontls.protocol_log.session import SessionRows

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime, timedelta
    from pathlib import Path

    from smtpd_anontls.domain.protocol_log import Layout
    from smtpd_anontls.protocol_log.rows import Row

MAX_WAITING = 16 * 1024**2  # Bytes of rows that are not written yet.
GATHERING = 0.2  # Seconds from the first such row to the moment when all are written.
CLOSING_TIMEOUT = 5.0  # Seconds; a disk that hangs must not keep the receiver from ending.


class ProtocolLogError(Exception):
    """The folder cannot be written at start; the text is one line for a person."""


class ProtocolLog:
    """Writes the sessions' rows into the files of *folder*.

    Rows are dropped while the folder cannot be written, or too many wait, each with one warning until it
    works again.  *on_warning* is called from the thread that writes, or from the caller's.
    """

    def __init__(
        self,
        folder: Path,
        layout: Layout,
        *,
        max_age: timedelta | None,
        max_directory_size: int | None,
        max_file_size: int,
        clock: Callable[[], datetime],
        on_warning: Callable[[str], None],
    ) -> None:
        self._folder = LogFolder(
            folder, max_age=max_age, max_directory_size=max_directory_size, max_file_size=max_file_size
        )
        self._layout = layout
        self._clock = clock
        self._on_warning = on_warning
        self._lock = threading.Lock()  # Held for the queue and its counts alone.
        self._waiting: deque[Row] = deque()
        self._waiting_octets = 0
        self._refused = 0  # Rows that were too many; while it is not 0, that has been said.
        self._unwritten = 0  # Rows that could not be written.
        self._failing = False
        self._arrived = threading.Event()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"protocol log {folder}", daemon=True)

    def open(self) -> None:
        """Make ready; ProtocolLogError says in one line why that did not work."""
        try:
            self._folder.prepare(self._clock())
        except OSError as error:
            raise ProtocolLogError(
                f"protocol log {self._folder.path}: cannot be written: {_why(error)}"
            ) from error
        self._thread.start()

    def session(self, session_id: str, connector_id: str, local: str, remote: str) -> SessionRows:
        r"""Return what takes the rows of a session; *connector_id* is ``SERVER\Connector Name``."""
        return SessionRows(
            self.put,
            self._clock,
            self._layout,
            session_id=session_id,
            connector_id=connector_id,
            local=local,
            remote=remote,
        )

    def close(self) -> None:
        """Write out what waits, and close; a folder that does not get on is left after 5 seconds."""
        self._ending.set()
        self._arrived.set()
        if not self._thread.is_alive():
            return
        self._thread.join(CLOSING_TIMEOUT)
        if self._thread.is_alive():
            self._warn("does not get on; rows that wait are lost")

    def put(self, *rows: Row) -> bool:
        """Take *rows* and return True; False: too many wait already.  Never wait, never raise."""
        octets = sum([each.size for each in rows])
        with self._lock:
            # One that is refused is followed by others until there is room for all: a gap, not a sieve.
            fits = not self._refused and self._waiting_octets + octets <= MAX_WAITING
            if fits:
                self._waiting.extend(rows)
                self._waiting_octets += octets
            else:
                self._refused += 1
            is_first = self._refused == 1
        if not self._arrived.is_set():
            self._arrived.set()
        if is_first:
            self._warn(f"takes no more; rows are dropped while {MAX_WAITING} bytes wait")
        return fits

    def _take(self) -> deque[Row]:
        with self._lock:
            rows, self._waiting = self._waiting, deque()
            self._waiting_octets = 0
            refused, self._refused = self._refused, 0
        if refused:
            self._warn(f"takes rows again; rows dropped: {refused}")
        return rows

    def _run(self) -> None:
        ending = False
        while not ending:
            self._arrived.wait()
            ending = self._ending.wait(GATHERING)
            self._arrived.clear()
            if rows := self._take():
                self._write(rows)
        self._folder.close()

    def _write(self, rows: deque[Row]) -> None:
        try:
            self._folder.write(rows)
        except Exception as error:  # noqa: BLE001 - nothing that a disk does ends the thread.
            self._unwritten += len(rows)
            if not self._failing:
                self._failing = True
                self._warn(f"cannot be written, rows are dropped: {_why(error)}")
        else:
            if self._failing:
                self._failing = False
                self._warn(f"is written again; rows dropped: {self._unwritten}")
                self._unwritten = 0

    def _warn(self, text: str) -> None:
        with suppress(Exception):  # A warning that fails ends neither the thread nor a session.
            self._on_warning(f"protocol log {self._folder.path}: {text}")


def _why(error: Exception) -> str:
    said = error.strerror if isinstance(error, OSError) else None
    return said or f"{type(error).__name__}: {error}"
