"""The real command ``serve`` in a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

from tests.peer import PATIENCE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

Json = dict[str, Any]

# Seconds for a start, of several processes on a machine that has other things to do.
STARTING = 120.0

COMMAND = (sys.executable, "-m", "smtpd_anontls")


@dataclass
class Served:
    """A running ``serve``: where it listens, and what it has said so far."""

    process: asyncio.subprocess.Process
    address: tuple[str, int] = ("", 0)  # Of its first connector.
    page: str = ""  # Its URL, where there is one.
    stdout: list[str] = field(default_factory=list)
    stderr: list[str] = field(default_factory=list)
    _said: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def says(self, pattern: str, patience: float = PATIENCE) -> re.Match[str]:
        """Wait for a line that *pattern* finds something in; AssertionError where it never comes."""

        def found() -> re.Match[str] | None:
            lines = (re.search(pattern, line) for line in (*self.stdout, *self.stderr))
            return next((match for match in lines if match), None)

        try:
            async with asyncio.timeout(patience), self._said:
                await self._said.wait_for(found)
        except TimeoutError:
            raise AssertionError(f"{pattern!r} was not said: {self.stdout}, {self.stderr}") from None
        match = found()
        assert match is not None
        return match

    async def ask(self, path: str, *, method: str = "GET", body: object = None) -> Json:
        """Ask the API."""
        content = None if body is None else json.dumps(body).encode()
        headers = {"content-type": "application/json"}
        request = Request(f"{self.page}api/v1/{path}", content, headers, method=method)  # noqa: S310 - http, to ourselves
        found: Json = json.loads(await asyncio.to_thread(_octets, request))
        return found

    async def metrics(self) -> dict[str, float]:
        """Return every sample, by its name and labels."""
        octets = await asyncio.to_thread(_octets, f"{self.page}metrics")
        lines = (line.rpartition(" ") for line in octets.decode().splitlines() if line[0] != "#")
        return {name: float(value) for name, _, value in lines}

    async def listen(self, stream: asyncio.StreamReader, lines: list[str]) -> None:
        """Collect the lines of a stream up to its end."""
        while line := await stream.readline():
            async with self._said:
                lines.append(line.decode().rstrip("\n"))
                self._said.notify_all()


@asynccontextmanager
async def served(
    config: Path, *words: str, before: Sequence[str] = (), has_page: bool = False
) -> AsyncIterator[Served]:
    """Run ``serve`` until the block ends, behind the words *before*; SIGTERM ends it unless it has ended."""
    process = await asyncio.create_subprocess_exec(
        *before,
        *COMMAND,
        "serve",
        "--config",
        str(config),
        *words,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        # Wide enough that no line is wrapped.
        env={
            **os.environ,
            "COLUMNS": "400",
            "SMTPD_ANONTLS__WEB__BIND": "127.0.0.1:0" if has_page else "null",
        },
    )
    assert process.stdout is not None
    assert process.stderr is not None
    running = Served(process)
    streams = ((process.stdout, running.stdout), (process.stderr, running.stderr))
    listening = [asyncio.create_task(running.listen(stream, lines)) for stream, lines in streams]
    try:
        where = await running.says(r"\b(127\.0\.0\.1):(\d+)\b", STARTING)
        running.address = (where[1], int(where[2]))
        if has_page:
            running.page = (await running.says(r"^The page and the API: (http://\S+)$", STARTING))[1]
        yield running
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.wait()
        await asyncio.gather(*listening)


def _octets(asked: str | Request) -> bytes:
    with urlopen(asked, timeout=PATIENCE) as answer:  # noqa: S310 - http, to ourselves
        octets: bytes = answer.read()
    return octets
