"""``serve --workers``: its processes, its API, and sessions that are spread over it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tests.peer import Peer
from tests.serving import STARTING, Served, served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.serving import Json

T = TypeVar("T")
# So many connections that all of them go to one of two workers once in half a million runs.
MANY = 20


@dataclass(frozen=True)
class Crew:
    """A running supervisor with its workers."""

    served: Served

    @property
    def address(self) -> tuple[str, int]:
        """Where its connector listens."""
        return self.served.address

    @property
    def workers(self) -> set[int]:
        """The process ids of the workers that there are now."""
        found: set[int] = set()
        for task in Path(f"/proc/{self.served.process.pid}/task").iterdir():
            with contextlib.suppress(FileNotFoundError):
                found |= {int(each) for each in (task / "children").read_text().split()}
        return {each for each in found if is_worker(each)}

    async def ask(self, path: str, *, method: str = "GET", body: object = None) -> Json:
        """Ask the API."""
        return await self.served.ask(path, method=method, body=body)

    async def metrics(self) -> dict[str, float]:
        """Return every sample, by its name and labels."""
        return await self.served.metrics()

    async def lose_one(self) -> None:
        """Kill a worker, and wait until another serves in its place."""
        before = self.workers
        kill(min(before))
        await until(lambda: len(self.workers) == len(before) and min(before) not in self.workers)
        await comes(self.metrics, lambda samples: samples["smtpd_anontls_workers"] == len(before))

    async def replaced(self, before: set[int]) -> set[int]:
        """Wait until all workers are others than *before*, and as many; return them."""
        await until(lambda: len(self.workers) == len(before) and not self.workers & before)
        return self.workers

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the supervisor."""
        self.served.process.send_signal(number)


@asynccontextmanager
async def crew(config: Path, *words: str, number: int = 2, has_page: bool = True) -> AsyncIterator[Crew]:
    """Run ``serve --workers`` until the block ends."""
    async with served(config, "--workers", str(number), *words, has_page=has_page) as running:
        yield Crew(running)
        if running.process.returncode is None:
            running.process.send_signal(signal.SIGTERM)
            assert await running.process.wait() == 0, running.stderr
    assert not [line for line in running.stderr if "Traceback" in line], running.stderr


async def until(holds: Callable[[], bool]) -> None:
    """Wait until *holds* is true; TimeoutError where it does not become so."""
    async with asyncio.timeout(STARTING):
        while not holds():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.02)


async def comes(ask: Callable[[], Awaitable[T]], holds: Callable[[T], bool]) -> T:
    """Ask again and again until *holds* of the answer is true, and return it; TimeoutError where it does not."""
    async with asyncio.timeout(STARTING):
        while not holds(answer := await ask()):  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.05)
    return answer


def is_worker(process: int) -> bool:
    """Whether a process runs and is a worker."""
    try:
        line = Path(f"/proc/{process}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return b"smtpd_anontls.supervisor.worker" in line


def kill(process: int) -> None:
    """Send SIGKILL to a process that a test has started."""
    os.kill(process, signal.SIGKILL)


def events_in(folder: Path) -> list[Json]:
    """Return the events in the event log of a lab."""
    return [json.loads(line) for line in (folder / "application.jsonl").read_text().splitlines()]


async def deliver(address: tuple[str, int], subject: str, *, recipient: str = "b@lab.test") -> int:
    """Deliver a message over a connection of its own; return its InternalId."""
    async with await Peer.connect(address) as peer:
        assert (await peer.reply())[0].startswith("220 ")
        for command, reply in (
            ("HELO edge.lab.test", "250 "),
            ("MAIL FROM:<a@lab.test>", "250 2.1.0"),
            (f"RCPT TO:<{recipient}>", "250 2.1.5"),
            ("DATA", "354 "),
        ):
            said = await peer.ask(command)
            assert said[0].startswith(reply), said
        await peer.send(f"Subject: {subject}\r\n\r\nBody\r\n.\r\n".encode())
        (queued,) = await peer.reply()
        assert queued.startswith("250 2.6.0 "), queued
        assert await peer.ask("QUIT") == ["221 2.0.0 Service closing transmission channel"]
    return int(queued.partition("InternalId=")[2].partition(",")[0])


async def first_lines(address: tuple[str, int], number: int = MANY) -> list[str]:
    """Return the first line of each of so many connections, one after another."""
    lines = []
    for _ in range(number):
        async with await Peer.connect(address) as peer:
            lines.append((await peer.reply())[0])
            await peer.send(b"QUIT\r\n")
            await peer.rest()
    return lines
