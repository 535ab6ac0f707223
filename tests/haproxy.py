"""Debian's HAProxy with ``deploy/scale/haproxy.cfg``, in front of receivers on loopback."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from tests.serving import Served

CONFIGURATION = Path(__file__).parents[1] / "deploy" / "scale" / "haproxy.cfg"
# As many as the file has servers.
PLACES = 3

# Daemons lie where an ordinary user's PATH does not look.
_PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"


@dataclass
class Balancer:
    """A running HAProxy."""

    address: tuple[str, int]  # For mail.
    page: str  # A URL.
    process: asyncio.subprocess.Process
    lines: list[str]  # What it has logged so far.

    async def heard(self) -> list[str]:
        """Return what it has logged so far; AssertionError where it has ended."""
        assert self.process.returncode is None, self.lines
        return self.lines


def program() -> str:
    """Return the path of haproxy; the test fails where there is none."""
    found = shutil.which("haproxy", path=_PATH)
    if found is None:
        pytest.fail("haproxy is not installed: run sudo ./.ci/packages", pytrace=False)
    return found


@asynccontextmanager
async def balancing(receivers: Sequence[Served]) -> AsyncIterator[Balancer]:
    """Run HAProxy until the block ends; where it has more places than *receivers*, nobody listens there."""
    with ExitStack() as opened:
        mail, page, nobody = (opened.enter_context(_bound()) for _ in range(3))
        places = [(_name(each.address), urlsplit(each.page).netloc) for each in receivers]
        away = _name(nobody.getsockname())
        places += [(away, away)] * (PLACES - len(places))
        process = await asyncio.create_subprocess_exec(
            program(),
            "-db",  # In the foreground.
            "-f",
            str(CONFIGURATION),
            env={
                "SMTP_BIND": f"fd@{mail.fileno()}",
                "PAGE_BIND": f"fd@{page.fileno()}",
                "SMTPD_ANONTLS_TOKEN": "none is needed on loopback",
                **{f"RECEIVER_{n}_SMTP": smtp for n, (smtp, _) in enumerate(places, 1)},
                **{f"RECEIVER_{n}_PAGE": web for n, (_, web) in enumerate(places, 1)},
            },
            pass_fds=(mail.fileno(), page.fileno()),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        assert process.stdout is not None
        running = Balancer(mail.getsockname(), f"http://{_name(page.getsockname())}/", process, [])
        listening = asyncio.create_task(_listen(process.stdout, running.lines))
        try:
            yield running
            assert process.returncode is None, running.lines
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
            await listening


def _bound() -> socket.socket:
    """Return a socket with a port that nobody else gets; HAProxy listens on it where it is told to."""
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    return taken


def _name(address: tuple[str, int]) -> str:
    return "{}:{}".format(*address)


async def _listen(stream: asyncio.StreamReader, lines: list[str]) -> None:
    while line := await stream.readline():
        lines.append(line.decode(errors="backslashreplace").rstrip("\n"))
