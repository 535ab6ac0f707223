"""One worker process, as its supervisor has it."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

from smtpd_anontls.household import DRAIN_TIMEOUT
from smtpd_anontls.supervisor.channel import Channel
from smtpd_anontls.supervisor.sockets import hand_over
from smtpd_anontls.supervisor.tallies import handed_name
from smtpd_anontls.supervisor.words import Applied, Batch, Condition, Drain, Failed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from smtpd_anontls.domain.endpoints import Binding
    from smtpd_anontls.domain.limits import Place
    from smtpd_anontls.protocol_log.rows import Row
    from smtpd_anontls.supervisor.tallies import SharedTallies
    from smtpd_anontls.supervisor.words import Holds

# Seconds that a worker gets to end beyond what its sessions get.
_GRACE = 5.0
_STARTING_TIMEOUT = 120.0


class WorkerError(Exception):
    """A worker could not start; the text is one line for a person."""


class Hears(Protocol):
    """Who listens to workers."""

    def hear(self, worker: WorkerProcess, word: object) -> None:
        """Take a question or an item of a batch."""
        ...

    def log_rows(self, rows: Sequence[Row]) -> None:
        """Take rows of the protocol log."""
        ...

    def lost(self, worker: WorkerProcess) -> None:
        """Take note that a worker has ended, told to or not."""
        ...


class WorkerProcess:
    """A worker from its start to its end."""

    def __init__(
        self, number: int, process: subprocess.Popen[bytes], channel: Channel, hand: socket.socket
    ) -> None:
        """Take what ``spawn`` has made."""
        self.number = number  # Its place, from 0.
        self.began = time.monotonic()
        self.entered: Counter[tuple[Place, str]] = Counter()  # Sessions that count in limits.
        self.condition = Condition(0, journal_failing=False)
        self.is_told = False  # Whether it knows what holds; before, it serves nobody.
        self._process = process
        self._channel = channel
        self._hand = hand
        self._handed: dict[Binding, socket.socket] = {}
        self._faults_version: int | None = None
        self._applied = 0
        self._awaited: list[tuple[int, asyncio.Future[None]]] = []
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._failure: str | None = None
        self._gone = asyncio.Event()

    @classmethod
    async def spawn(cls, number: int) -> Self:
        """Start a process for a place; it waits for its first word."""
        ours, theirs = socket.socketpair()
        # Each descriptor with the name of what it is: SEQPACKET keeps them apart.
        our_hand, their_hand = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, their_hand:
            inherited = (theirs.fileno(), their_hand.fileno())
            process = await asyncio.to_thread(_start, inherited)
        our_hand.setblocking(False)  # noqa: FBT003 - the standard library's signature
        return cls(number, process, await Channel.over(ours), our_hand)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def how_it_ended(self) -> str:
        """Say it in a clause; it has ended."""
        code = self._process.returncode
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        return f"ended {how}" if self._failure is None else f"ended: {self._failure}"

    def hold(
        self, holds: Holds, sockets: Mapping[Binding, socket.socket], counts: SharedTallies | None
    ) -> None:
        """Say what holds from now on; the first time it begins to serve."""
        if not self._gone.is_set():
            self.is_told = True
            self._hand_over(holds, sockets, counts)
            self._channel.send(holds)

    def _hand_over(
        self, holds: Holds, sockets: Mapping[Binding, socket.socket], counts: SharedTallies | None
    ) -> None:
        try:
            for binding, held in sockets.items():
                if self._handed.get(binding) is not held:
                    hand_over(self._hand, str(binding), held.fileno())
            if counts is not None and holds.faults_version != self._faults_version:
                hand_over(self._hand, handed_name(holds.faults_version), counts.descriptor)
        except OSError:
            # It has ended, or takes nothing any more, which is as good.
            self.kill()
        self._handed = dict(sockets)
        self._faults_version = holds.faults_version

    def say(self, word: object) -> None:
        """Send a word; it is lost where the worker has ended."""
        if not self._gone.is_set():
            self._channel.send(word)

    async def listen(self, house: Hears) -> None:
        """Let *house* hear what it says, up to its end."""
        while (word := await self._channel.receive()) is not None:
            match word:
                case Failed(reason):
                    self._failure = reason
                case Applied(version):
                    self._applied = version
                    self._release()
                    if not self._ready.done():
                        self._ready.set_result(None)
                case Batch(items, rows):
                    for item in items:
                        house.hear(self, item)
                    house.log_rows(rows)
                case _:
                    house.hear(self, word)
        # It has closed its end, or is about to be gone.
        await asyncio.to_thread(self._wait)
        self._gone.set()
        self._release()
        if not self._ready.done():
            self._ready.set_exception(WorkerError(f"worker {self.number + 1} {self.how_it_ended}"))
        await self._channel.close()
        self._hand.close()

    def _wait(self) -> None:
        try:
            self._process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _release(self) -> None:
        still = [(version, future) for version, future in self._awaited if not self._has(version)]
        for version, future in self._awaited:
            if self._has(version) and not future.done():
                future.set_result(None)
        self._awaited = still

    def _has(self, version: int) -> bool:
        return self._gone.is_set() or self._applied >= version

    async def serves(self) -> None:
        """Return when it serves; WorkerError where that does not come about."""
        try:
            async with asyncio.timeout(_STARTING_TIMEOUT):
                await asyncio.shield(self._ready)
        except TimeoutError:
            self.kill()
            raise WorkerError(
                f"worker {self.number + 1} does not serve within {_STARTING_TIMEOUT:g} s"
            ) from None

    async def has_applied(self, version: int) -> None:
        """Return when what was told as *version* holds in it, or it has ended."""
        if self._has(version):
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._awaited.append((version, future))
        await future

    async def gone(self) -> None:
        """Return when it has ended."""
        await self._gone.wait()

    async def end(self, patience: float = 0) -> None:
        """Let it drain and end; its sessions get *patience* seconds to end by themselves."""
        self.say(Drain(patience))
        try:
            async with asyncio.timeout(patience + DRAIN_TIMEOUT + _GRACE):
                await self._gone.wait()
        except TimeoutError:
            self.kill()
            await self._gone.wait()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()


def _start(inherited: tuple[int, int]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - this program
        [*_python(), "-m", "smtpd_anontls.supervisor.worker", *map(str, inherited)],
        stdin=subprocess.DEVNULL,
        pass_fds=inherited,
        # Ctrl-C is for the supervisor, which drains the workers.
        start_new_session=True,
    )


def _python() -> list[str]:
    """Return this Python; it looks for modules where we stand only if this process does."""
    looks_here = {"", str(Path.cwd())} & set(sys.path)
    return [sys.executable] if looks_here else [sys.executable, "-P"]
