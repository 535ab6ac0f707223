"""What a worker has to tell: it gathers for a moment, goes in batches, and never holds a session up.

Where the supervisor does not take it, so much waits and the rest is dropped, counted, and told once it
takes something again.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

from smtpd_anontls.supervisor.words import Batch, Ended, Took, Warned, packed_message, packed_session

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from smtpd_anontls.domain.records import MessageRecord, SessionRecord
    from smtpd_anontls.protocol_log.rows import Row
    from smtpd_anontls.supervisor.channel import Channel
    from smtpd_anontls.supervisor.words import Happened, Told

GATHERING = 0.01  # Seconds from the first word to the moment when all are sent.
LINGER = 0.1  # ... and from the end of a session, which the journal writes at its own pace.


class Kind(StrEnum):
    """What is counted apart."""

    EVENTS = "events"
    ROWS = "protocol log rows"
    SESSIONS = "sessions"
    MESSAGES = "notices of messages"
    LINES = "log lines"


# How many wait at most; of rows, octets.
MOST: Mapping[Kind, int] = MappingProxyType(
    {
        Kind.EVENTS: 10_000,
        Kind.ROWS: 16 * 1024**2,
        Kind.SESSIONS: 10_000,
        Kind.MESSAGES: 50_000,
        Kind.LINES: 1_000,
    }
)


class Outbox:
    """Sends over *channel*; sessions once *written* has returned, so that who is told can read them."""

    def __init__(self, channel: Channel, *, written: Callable[[], Awaitable[None]] | None) -> None:
        """Without *written* sessions go at once, and whole: nobody can read them elsewhere."""
        self._loop = asyncio.get_running_loop()
        self._channel = channel
        self._written = written
        self._waiting: list[Told] = []
        self._rows: list[Row] = []
        self._sessions: list[SessionRecord] = []
        self._weight: Counter[Kind] = Counter()
        self._dropped: Counter[Kind] = Counter()
        self._came = asyncio.Event()
        self._session_came = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def open(self) -> None:
        """Begin to send."""
        self._tasks = [asyncio.create_task(self._run()), asyncio.create_task(self._follow_sessions())]

    async def close(self) -> None:
        """Send what waits; nothing is sent afterwards."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._release_sessions()
        self._send()

    def tell(self, word: Told, kind: Kind, *, weight: int = 1) -> bool:
        """Take *word*; False: too many wait, and it is dropped."""
        if self._weight[kind] + weight > MOST[kind]:
            self._dropped[kind] += 1
            return False
        self._weight[kind] += weight
        self._waiting.append(word)
        self._came.set()
        return True

    def tell_soon(self, word: Told, kind: Kind) -> None:
        """Take *word* from any thread, whether there is room for it or not; never raise."""
        with suppress(RuntimeError):  # The loop is closed: nobody would send it.
            self._loop.call_soon_threadsafe(self.tell, word, kind)

    def event(self, word: Happened) -> None:
        """Tell of an event."""
        self.tell(word, Kind.EVENTS)

    def rows(self, *rows: Row) -> bool:
        """Take rows of the protocol log; False: none of them, and their session says so in the next one."""
        weight = sum([each.size for each in rows])
        if self._weight[Kind.ROWS] + weight > MOST[Kind.ROWS]:
            self._dropped[Kind.ROWS] += len(rows)
            return False
        self._weight[Kind.ROWS] += weight
        self._rows += rows
        self._came.set()
        return True

    def message(self, message_id: int, message: MessageRecord, seconds: float) -> None:
        """Tell of a message that has become durable, so many seconds after its last octet."""
        self.tell(Took(message_id, len(message.raw), seconds, packed_message(message)), Kind.MESSAGES)

    def session(self, record: SessionRecord) -> None:
        """Tell of a session."""
        if self._written is None:
            self.tell(Ended(packed_session(record)), Kind.SESSIONS)
        elif self._weight[Kind.SESSIONS] >= MOST[Kind.SESSIONS]:
            self._dropped[Kind.SESSIONS] += 1
        else:
            self._weight[Kind.SESSIONS] += 1
            self._sessions.append(record)
            self._session_came.set()

    async def _run(self) -> None:
        with suppress(ConnectionError):  # The supervisor is gone.
            while True:
                await self._came.wait()
                await asyncio.sleep(GATHERING)
                self._came.clear()
                self._send()
                await self._channel.taken()

    def _send(self) -> None:
        words: Sequence[Told] = self._waiting
        if self._dropped:
            lost = ", ".join(f"{number} {kind}" for kind, number in self._dropped.items())
            words = [*words, Warned(f"a worker could not tell the supervisor in time; dropped: {lost}")]
            self._dropped.clear()
        if words or self._rows:
            self._channel.send(Batch(tuple(words), tuple(self._rows)))
        self._waiting, self._rows = [], []
        self._weight = Counter({Kind.SESSIONS: len(self._sessions)})

    async def _follow_sessions(self) -> None:
        while True:
            await self._session_came.wait()
            await asyncio.sleep(LINGER)
            self._session_came.clear()
            await self._release_sessions()

    async def _release_sessions(self) -> None:
        ended, self._sessions = self._sessions, []
        if ended and self._written is not None:
            await self._written()
            # The journal has what was said.
            self._waiting += [Ended(packed_session(replace(each, transcript=()))) for each in ended]
            self._came.set()
