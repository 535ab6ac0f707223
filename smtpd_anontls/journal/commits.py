"""What other processes commit, told to who waits in this one."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from smtpd_anontls.journal.errors import JournalError
from smtpd_anontls.journal.position import Position

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpd_anontls.journal.database import Watch
    from smtpd_anontls.journal.reader import JournalReader

    Listener = Callable[[Position, Position], None]

# Seconds between two looks at the least, so that a busy journal is not asked for each transaction,
# and at the most, in case that nothing was noticed.
_GATHER = 0.01
_LOOK_EVERY = 1.0


class Commits:
    """Watches the journal of *reader* in a thread, while it runs."""

    def __init__(self, reader: JournalReader) -> None:
        self._reader = reader
        self._watch: Watch | None = None
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="journal-watch", daemon=True)
        self._listeners: list[Listener] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    def listen(self, listener: Listener) -> None:
        """Let *listener* be called in the loop with how far the journal was and how far it is now.

        Commits of this process may be among them; the first call tells of all that there is.
        """
        self._listeners.append(listener)

    def start(self) -> None:
        """Begin to watch; listeners are called in the running loop."""
        self._loop = asyncio.get_running_loop()
        self._watch = self._reader.watch()
        self._thread.start()

    def stop(self) -> None:
        """End it."""
        self._closed.set()
        if self._watch is not None:
            self._watch.close()
            self._thread.join()

    def _run(self) -> None:
        watch = self._watch
        assert watch is not None
        seen = Position()
        while not self._closed.is_set():
            with suppress(JournalError):  # It is told by who writes; here it is looked at again.
                now = self._reader.position()
                if now != seen and self._loop is not None:
                    with suppress(RuntimeError):  # The loop is closed: nobody waits any more.
                        self._loop.call_soon_threadsafe(self._tell, seen, now)
                    seen = now
            if self._closed.wait(_GATHER):
                break
            watch.wait(_LOOK_EVERY)
        watch.release()

    def _tell(self, before: Position, now: Position) -> None:
        for listener in self._listeners:
            listener(before, now)
