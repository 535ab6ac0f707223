"""A receiver in the loop of an asynchronous test."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar, Unpack
from weakref import WeakSet

from smtpd_anontls.certificates.issue import KeyType
from smtpd_anontls.domain.filters import Filter
from smtpd_anontls.domain.instants import parse_instant
from smtpd_anontls.household import utc_now
from smtpd_anontls.journal.waiting import Message
from smtpd_anontls.provisioning import provision
from smtpd_anontls.receiver import Receiver
from smtpd_anontls.testing.arrangement import Arrangement
from smtpd_anontls.testing.files import CONFIG_FILE, prepare
from smtpd_anontls.testing.observed import Event, Session, described

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable
    from pathlib import Path

    from smtpd_anontls.domain.records import SessionRecord
    from smtpd_anontls.journal.waiting import Messages
    from smtpd_anontls.journal.waiting import Terms as MessageTerms
    from smtpd_anontls.smtp.session import WireSession
    from smtpd_anontls.testing.arrangement import Terms

T = TypeVar("T")

_EVERY = 2**31  # More than any test makes.
# Rounds of the loop in which it takes what peers have sent, and that they have gone: one for the octets,
# one for TLS, one for the session that they wake, and some to spare.
_ROUNDS = 10
_NOT_HERE = (
    "the event loop of async_receiver does not run here: it is that of a function, so let the test be asynchronous, with "
    "loop_scope='function'; or take the fixture receiver, which runs in a thread of its own"
)


class AsyncMessages:
    """The messages that were taken."""

    def __init__(self, receiver: AsyncReceiver) -> None:
        self._receiver = receiver

    async def wait(self, *, timeout: float = 5.0, **terms: Unpack[MessageTerms]) -> Message:  # noqa: ASYNC109 - its public name
        """Return the newest message that meets *terms*, as soon as there is one.

        TimeoutError after *timeout* seconds; it tells what came instead, and how the last sessions went.
        """
        __tracebackhide__ = True
        return await _plainly(self._messages().wait(timeout=timeout, **terms))

    async def wait_many(
        self,
        count: int,
        *,
        timeout: float = 5.0,  # noqa: ASYNC109
        **terms: Unpack[MessageTerms],
    ) -> list[Message]:
        """Return the newest *count* messages that meet *terms*, the newest first, as soon as there are so many.

        TimeoutError as of ``wait``.
        """
        __tracebackhide__ = True
        return await _plainly(self._messages().wait_many(count, timeout=timeout, **terms))

    async def matching(self, **terms: Unpack[MessageTerms]) -> list[Message]:
        """Return the messages that are there now and meet *terms*, the oldest first."""
        journal = self._receiver.running().journal
        shown = await journal.messages(Filter(**terms), limit=_EVERY)
        return [_message(each, await journal.raw(each["id"]) or b"") for each in reversed(shown)]

    def _messages(self) -> Messages:
        return self._receiver.running().messages


class AsyncReceiver:
    """A running receiver, to be asked from its own loop."""

    def __init__(self, receiver: Receiver, config: Path, warnings: list[str], url: str | None) -> None:
        self._receiver = receiver
        self._loop = asyncio.get_running_loop()
        self.config = config  # Its configuration, for `smtpd-anontls … --config`.
        self.warnings = warnings  # What it had to say to its operator.
        self.url = url  # Of its page and its HTTP API; None unless the settings have web.bind.
        self.messages = AsyncMessages(self)

    def address(self, connector: str | None = None, server: str | None = None) -> tuple[str, int]:
        """Return host and port on which *connector* listens, or the first one that does.

        KeyError where it does not.
        """
        receiver = self.running()
        if connector is not None:
            return receiver.address(connector, server)
        for bound in receiver.bound:
            if server in {None, bound.server.name}:
                return str(bound.binding.address), bound.binding.port
        raise KeyError("no connector listens")

    async def sessions(self) -> list[Session]:
        """Return the sessions as of now, the oldest first; those that are running, too."""
        receiver = self.running()
        await settle()
        running = [each.record() for each in receiver.listener.sessions if each.arrival is not None]
        records = {each.id: each.as_json(transcript=True) for each in running}
        for row in await receiver.journal.sessions(limit=_EVERY):
            whole = await receiver.journal.session(row["id"])
            # The journal has a running session as it was when it delivered its last message.
            if whole is not None and (whole["outcome"] is not None or row["id"] not in records):
                records[row["id"]] = whole
        ordered = sorted(records.values(), key=lambda record: (record["started"], record["id"]))
        return [Session.of(record) for record in ordered]

    async def events(self) -> list[Event]:
        """Return the events as of now, the oldest first."""
        receiver = self.running()
        await settle()
        return [Event.of(each) for each in reversed(await receiver.journal.events(limit=_EVERY))]

    async def assert_event(self, event_id: int) -> Event:
        """Return the newest event of this id; fail, and explain why, where there is none."""
        __tracebackhide__ = True
        events = await self.events()
        found = [each for each in events if each.event_id == event_id]
        if not found:
            raise AssertionError(f"no event {event_id}\n{described(await self.sessions(), events)}")
        return found[-1]

    async def report(self) -> str:
        """Return what a person wants to know of the receiver when a test has failed."""
        listening = [
            f"{bound.server.name}: {bound.connector.name} on {bound.binding}"
            for bound in self.running().bound
        ]
        warnings = [f"warning: {each}" for each in self.warnings]
        return "\n".join([*listening, *warnings, described(await self.sessions(), await self.events())])

    def running(self) -> Receiver:
        """Return the receiver itself; RuntimeError where its loop does not run, or another one does."""
        try:
            here = asyncio.get_running_loop()
        except RuntimeError:
            # Another thread may ask for the address while the loop runs in its own.
            here = self._loop
        if here is not self._loop or not self._loop.is_running():
            raise RuntimeError(_NOT_HERE)
        return self._receiver


class _Receiver(Receiver):
    """A receiver that knows its sessions beyond their end, when a socket may still be open."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._met: WeakSet[WireSession] = WeakSet()

    def record_session(self, record: SessionRecord) -> None:
        """Pass an ended session to the journal; it is still among the listener's."""
        self._met.update(self.listener.sessions)
        super().record_session(record)

    async def hang_up(self) -> None:
        """End every session, and close sockets that wait for their peer: the test is over."""
        await settle()
        for session in self.listener.sessions:
            session.abandon()
        await settle()
        for session in self._met:
            session.raw_transport.abort()
        await settle()


@asynccontextmanager
async def running_async_receiver(folder: Path, **terms: Unpack[Terms]) -> AsyncIterator[AsyncReceiver]:
    """Run a receiver in this loop until the block ends, with its files in *folder*; see Terms.

    ArrangementError where *terms* ask for something that there is not.
    """
    async with arranged_async_receiver(Arrangement.read(terms), folder) as receiver:
        yield receiver


@asynccontextmanager
async def arranged_async_receiver(arrangement: Arrangement, folder: Path) -> AsyncIterator[AsyncReceiver]:
    """Run the receiver of *arrangement* in this loop until the block ends."""
    loaded = await asyncio.to_thread(prepare, arrangement, folder)
    warnings = list(loaded.warnings)
    # An RSA key would take up to a second; a certificate that is there the receiver leaves alone.
    await provision(loaded.settings, now=utc_now(), on_made=_say_nothing, key_type=KeyType.EC)
    async with AsyncExitStack() as opened:
        receiver = await opened.enter_async_context(
            _Receiver(loaded, on_warning=warnings.append, on_made=_say_nothing)
        )
        opened.push_async_callback(receiver.hang_up)
        url = None
        if loaded.settings.web.bind is not None:
            # Here, since what serves it takes its time to load and most tests do without.
            from smtpd_anontls.web.page import Page  # noqa: PLC0415

            url = (await opened.enter_async_context(Page(receiver))).url
        yield AsyncReceiver(receiver, folder / CONFIG_FILE, warnings, url)


async def settle() -> None:
    """Let the loop take what peers have sent by now."""
    for _ in range(_ROUNDS):
        await asyncio.sleep(0)


async def _plainly(awaited: Awaitable[T]) -> T:
    """Await it; a time-out is told without our own way to it."""
    __tracebackhide__ = True
    try:
        return await awaited
    except TimeoutError as error:
        raise error.with_traceback(None) from None


def _message(shown: dict[str, Any], raw: bytes) -> Message:
    changed = {
        "time": parse_instant(shown["time"]),
        "recipients": tuple(shown["recipients"]),
        "raw": raw,
    }
    return Message(**{**shown, **changed})


def _say_nothing(_: str) -> None:
    """Take a line that a test does not need."""
