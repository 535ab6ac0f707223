"""The messages of a running receiver, for who drives it from Python: wait for one, and look at it.

Nothing is looked at again and again: the receiver says when a message has become durable, and the
journal when another process has committed one; it is then asked for those that are waited for.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypedDict, Unpack

from smtpd_anontls.domain.filters import Filter
from smtpd_anontls.domain.instants import parse_instant
from smtpd_anontls.domain.printable import printable
from smtpd_anontls.journal.errors import JournalError
from smtpd_anontls.journal.memory import MemoryJournal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from smtpd_anontls.domain.records import Json, MessageRecord
    from smtpd_anontls.journal.journal import JournalLike
    from smtpd_anontls.journal.position import Position

# So much of what there is instead is shown where nobody came.
_SHOWN = 5


class Terms(TypedDict, total=False):
    """What a message must be like; see domain.filters for what each compares."""

    recipient: str
    sender: str
    subject: str
    header: str
    server: str
    connector: str
    session: str
    run: str
    since: datetime | int  # From an instant on, or after the message of this id.


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message as it was received."""

    id: int
    time: datetime
    server: str
    connector: str
    session_id: str
    run: str | None
    sender: str  # Empty: the null sender.
    recipients: tuple[str, ...]
    subject: str | None
    message_id: str | None
    size: int
    verb: str | None  # The TLS verb of its session.
    raw: bytes = field(repr=False)


@dataclass(slots=True, eq=False)
class _Waiting:
    wanted: Filter
    came: asyncio.Event = field(default_factory=asyncio.Event)


class Messages:
    """The messages in *journal*."""

    def __init__(self, journal: JournalLike) -> None:
        self._journal = journal
        self._waiting: set[_Waiting] = set()
        journal.listen(self._committed)

    async def wait(self, *, timeout: float = 5.0, **terms: Unpack[Terms]) -> Message:  # noqa: ASYNC109 - its public name
        """Return the newest message that meets *terms*, as soon as there is one.

        TimeoutError after *timeout* seconds; it tells what came instead, and how the last sessions went.
        """
        return (await self.wait_many(1, timeout=timeout, **terms))[0]

    async def wait_many(self, count: int, *, timeout: float = 5.0, **terms: Unpack[Terms]) -> list[Message]:  # noqa: ASYNC109
        """Return the newest *count* messages that meet *terms*, the newest first, as soon as there are so many.

        TimeoutError as of ``wait``.
        """
        found = await self.shown(Filter(**terms), count, timeout)
        if len(found) < count:
            raise TimeoutError(await self._what_came_instead(terms, count, timeout))
        return [await self._message(each) for each in found]

    async def shown(self, wanted: Filter, count: int, timeout: float) -> list[Json]:  # noqa: ASYNC109
        """Return the newest *count* messages that *wanted* takes as soon as there are so many, as every surface shows them.

        After *timeout* seconds: those that there are.
        """
        if isinstance(self._journal, MemoryJournal):
            raise JournalError("capture.url is null: messages are discarded, so none can be waited for")
        waiting = _Waiting(wanted)
        self._waiting.add(waiting)
        try:
            async with asyncio.timeout(timeout):
                while len(found := await self._journal.messages(wanted, limit=count)) < count:
                    await waiting.came.wait()
                    waiting.came.clear()
                return found
        except TimeoutError:
            return await self._journal.messages(wanted, limit=count)
        finally:
            self._waiting.discard(waiting)

    @property
    def are_awaited(self) -> bool:
        """Whether anybody waits for any."""
        return bool(self._waiting)

    def arrived(self, message: MessageRecord) -> None:
        """Wake those who wait for *message*, which has become durable."""
        for each in self._waiting:
            if each.wanted.takes_place(
                message.server, message.connector, message.session_id
            ) and each.wanted.takes_message(message):
                each.came.set()

    def _committed(self, before: Position, now: Position) -> None:
        """Wake everybody where another process may have taken a message; what it is like is not known."""
        if now.message != before.message:
            for each in self._waiting:
                each.came.set()

    async def _message(self, shown: Json) -> Message:
        raw = await self._journal.raw(shown["id"])
        if raw is None:
            raise JournalError(f"message {shown['id']} was removed before it could be read")
        changed = {
            "time": parse_instant(shown["time"]),
            "recipients": tuple(shown["recipients"]),
            "raw": raw,
        }
        return Message(**{**shown, **changed})

    async def _what_came_instead(self, terms: Terms, count: int, seconds: float) -> str:
        wanted = ", ".join(f"{name} {value!r}" for name, value in terms.items()) or "any terms"
        matching = await self._journal.messages(Filter(**terms), limit=count)
        messages = await self._journal.messages(limit=_SHOWN)
        sessions = await self._journal.sessions(limit=_SHOWN)
        lines = [f"{len(matching)} of {count} messages with {wanted} within {seconds:g} seconds"]
        lines += (
            ["messages, the newest first:", *map(_message_line, messages)]
            if messages
            else ["no message at all"]
        )
        lines += ["sessions, the newest first:"] if sessions else ["no session at all"]
        for session in sessions:
            lines.extend(_session_lines(session))
        return "\n".join(map(printable, lines))


def _message_line(shown: Json) -> str:
    recipients = ", ".join(shown["recipients"])
    return (
        f"  {shown['id']}: from <{shown['sender']}> to {recipients}, subject {shown['subject']!r}, "
        f"session {shown['session_id']}"
    )


def _session_lines(shown: Json) -> Iterator[str]:
    how = f"{shown['outcome'] or 'running'}: {shown['outcome_detail']}"
    yield f"  {shown['id']} from {shown['remote']} on {shown['connector'] or 'no connector'}: {how}"
    for selection in shown["selections"]:
        if not selection["advertised"] and selection["steps"]:
            yield f"    {selection['verb']} not advertised: {selection['steps'][-1]['detail']}"
