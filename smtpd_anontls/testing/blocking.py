"""A receiver in a thread of its own, so that a test may block in swaks, smtplib or anything else."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar, Unpack, overload

from smtpd_anontls.testing.arrangement import Arrangement
from smtpd_anontls.testing.asynchronous import arranged_async_receiver

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from pathlib import Path
    from typing import Any

    from smtpd_anontls.journal.waiting import Message
    from smtpd_anontls.journal.waiting import Terms as MessageTerms
    from smtpd_anontls.testing.arrangement import Terms
    from smtpd_anontls.testing.asynchronous import AsyncReceiver
    from smtpd_anontls.testing.observed import Event, Session

T = TypeVar("T")


class BlockingMessages(Sequence["Message"]):
    """The messages that were taken, as of each look at them, the oldest first."""

    def __init__(self, thread: _ReceiverThread) -> None:
        self._thread = thread

    def wait(self, *, timeout: float = 5.0, **terms: Unpack[MessageTerms]) -> Message:
        """Return the newest message that meets *terms*, as soon as there is one.

        TimeoutError after *timeout* seconds; it tells what came instead, and how the last sessions went.
        """
        __tracebackhide__ = True
        return self._thread.ask(lambda receiver: receiver.messages.wait(timeout=timeout, **terms))

    def wait_many(self, count: int, *, timeout: float = 5.0, **terms: Unpack[MessageTerms]) -> list[Message]:
        """Return the newest *count* messages that meet *terms*, the newest first, as soon as there are so many.

        TimeoutError as of ``wait``.
        """
        __tracebackhide__ = True
        return self._thread.ask(lambda receiver: receiver.messages.wait_many(count, timeout=timeout, **terms))

    def matching(self, **terms: Unpack[MessageTerms]) -> list[Message]:
        """Return the messages that are there now and meet *terms*, the oldest first."""
        return self._thread.ask(lambda receiver: receiver.messages.matching(**terms))

    def __len__(self) -> int:
        return len(self.matching())

    @overload
    def __getitem__(self, index: int) -> Message: ...

    @overload
    def __getitem__(self, index: slice) -> list[Message]: ...

    def __getitem__(self, index: int | slice) -> Message | list[Message]:
        return self.matching()[index]

    def __iter__(self) -> Iterator[Message]:
        return iter(self.matching())

    def __repr__(self) -> str:
        return repr(self.matching())


class BlockingReceiver:
    """A running receiver, to be asked from any thread."""

    def __init__(self, thread: _ReceiverThread) -> None:
        self._thread = thread
        self.messages = BlockingMessages(thread)

    @property
    def config(self) -> Path:
        """Its configuration, for ``smtpd-anontls … --config``."""
        return self._thread.receiver.config

    @property
    def warnings(self) -> list[str]:
        """What it had to say to its operator so far."""
        return list(self._thread.receiver.warnings)

    @property
    def url(self) -> str | None:
        """Where its page and its HTTP API are; None unless the settings have ``web.bind``."""
        return self._thread.receiver.url

    @property
    def sessions(self) -> list[Session]:
        """The sessions as of now, the oldest first; those that are running, too."""
        return self._thread.ask(lambda receiver: receiver.sessions())

    @property
    def events(self) -> list[Event]:
        """The events as of now, the oldest first."""
        return self._thread.ask(lambda receiver: receiver.events())

    def address(self, connector: str | None = None, server: str | None = None) -> tuple[str, int]:
        """Return host and port on which *connector* listens, or the first one that does.

        KeyError where it does not.
        """
        __tracebackhide__ = True

        async def look(receiver: AsyncReceiver) -> tuple[str, int]:
            return receiver.address(connector, server)

        return self._thread.ask(look)

    def assert_event(self, event_id: int) -> Event:
        """Return the newest event of this id; fail, and explain why, where there is none."""
        __tracebackhide__ = True
        return self._thread.ask(lambda receiver: receiver.assert_event(event_id))

    def report(self) -> str:
        """Return what a person wants to know of the receiver when a test has failed."""
        return self._thread.ask(lambda receiver: receiver.report())


class _ReceiverThread:
    """The thread, its loop and its receiver."""

    def __init__(self, arrangement: Arrangement, folder: Path) -> None:
        self._arrangement = arrangement
        self._folder = folder
        self._started: Future[tuple[AsyncReceiver, asyncio.AbstractEventLoop, asyncio.Event]] = Future()
        self._ended: Future[None] = Future()
        # A daemon: a test run that is killed before it could stop the receiver ends all the same.
        self._thread = threading.Thread(target=self._run, name="smtpd-anontls receiver", daemon=True)

    def start(self) -> None:
        """Start it and wait until it listens; raise what kept it from that."""
        self._thread.start()
        try:
            self.receiver, self._loop, self._stop = self._started.result()
        except BaseException:
            self._thread.join()
            raise

    def stop(self) -> None:
        """Stop it and wait until it has; raise what went wrong in it."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._ended.result()

    def ask(self, question: Callable[[AsyncReceiver], Coroutine[Any, Any, T]]) -> T:
        """Ask the receiver in its own loop, and wait for the answer."""
        __tracebackhide__ = True
        if self._loop.is_closed():
            raise RuntimeError("the receiver has ended, with its test")
        asked = asyncio.run_coroutine_threadsafe(question(self.receiver), self._loop)
        try:
            error = asked.exception()
        except BaseException:
            # Ctrl-C, or a time-out of the test: nobody waits for it any more.
            asked.cancel()
            raise
        if isinstance(error, (AssertionError, LookupError, TimeoutError)):
            # What is meant for the test's author is told without our own way to it.
            raise error.with_traceback(None)
        return asked.result()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - whoever started it gets to see it
            if self._started.done():
                self._ended.set_exception(error)
            else:
                self._started.set_exception(error)
        else:
            self._ended.set_result(None)

    async def _serve(self) -> None:
        async with arranged_async_receiver(self._arrangement, self._folder) as receiver:
            stop = asyncio.Event()
            self._started.set_result((receiver, asyncio.get_running_loop(), stop))
            await stop.wait()


@contextmanager
def running_receiver(folder: Path, **terms: Unpack[Terms]) -> Iterator[BlockingReceiver]:
    """Run a receiver in a thread until the block ends, with its files in *folder*; see Terms.

    ArrangementError where *terms* ask for something that there is not.
    """
    with arranged_blocking_receiver(Arrangement.read(terms), folder) as receiver:
        yield receiver


@contextmanager
def arranged_blocking_receiver(arrangement: Arrangement, folder: Path) -> Iterator[BlockingReceiver]:
    """Run the receiver of *arrangement* in a thread until the block ends."""
    thread = _ReceiverThread(arrangement, folder)
    thread.start()
    try:
        yield BlockingReceiver(thread)
    finally:
        thread.stop()
