"""Floods: whatever is sent, memory stays bounded, and a session beside is served without an error.

The receiver runs as a process of its own, whose memory the system tells.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.lab import eventually
from tests.peer import Peer, believing_context
from tests.serving import Served, served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.lab import Lab

pytestmark = pytest.mark.slow

MIB = 1024 * 1024
GIB = 1024 * MIB
# The largest message, once as it comes and once without its dots, and what a process is anyway.
BOUND = 200 * MIB
OK = ["250 2.0.0 OK"]
SENDER_OK = ["250 2.1.0 Sender OK"]
FREE = {"max_inbound_connection": "unlimited", "max_protocol_errors": "unlimited"}


class Flooded:
    """A receiver under a flood."""

    def __init__(self, running: Served) -> None:
        self.address = running.address
        self._process = Path(f"/proc/{running.process.pid}")

    def memory(self, field: str = "VmRSS") -> int:
        """Return what the process holds, in bytes; VmHWM is the most that it ever held."""
        for line in (self._process / "status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
        raise AssertionError(f"the system does not tell {field}")

    def sockets(self) -> int:
        """Return how many sockets the process has."""
        count = 0
        for descriptor in (self._process / "fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                count += str(descriptor.readlink()).startswith("socket:")
        return count

    async def peer(self, verb: str | None = None) -> Peer:
        """Return a peer that has said EHLO, under TLS where *verb* says so."""
        peer = await Peer.connect(self.address)
        assert (await peer.reply())[0].startswith("220 ")
        await peer.ask("EHLO edge.lab.test")
        if verb is not None:
            await peer.ask(verb)
            await peer.upgrade()
            await peer.ask("EHLO edge.lab.test")
        return peer

    async def delivers(self) -> None:
        """Deliver a message in a session of its own, as a well-behaved sender does."""
        async with await self.peer() as peer:
            assert await peer.ask("MAIL FROM:<a@lab.test>") == SENDER_OK
            assert await peer.ask("RCPT TO:<b@lab.test>") == ["250 2.1.5 Recipient OK"]
            assert (await peer.ask("DATA"))[0].startswith("354 ")
            await peer.send(b"Subject: beside\r\n\r\nx\r\n.\r\n")
            assert (await peer.reply())[0].startswith("250 2.6.0 ")
            assert (await peer.ask("QUIT"))[0].startswith("221 ")


@pytest.fixture
async def flooded(lab: Lab) -> AsyncIterator[Flooded]:
    """Run a receiver without the limits that would end a flood early, and see that it holds no more than it may."""
    config = lab.write(connector=FREE)
    async with served(config) as running:
        receiver = Flooded(running)
        yield receiver
        await receiver.delivers()
        assert receiver.memory("VmHWM") < BOUND
        # Sockets of the flood are gone; those that listen, and the loop's own, stay.
        await eventually(lambda: receiver.sockets() < 20)


async def pour(peer: Peer, octets: int) -> None:
    """Send *octets* without a line end."""
    piece = b"x" * MIB
    for _ in range(octets // len(piece)):
        await peer.send(piece)


@pytest.mark.parametrize("verb", [None, "X-ANONYMOUSTLS"], ids=["in clear", "under TLS"])
@pytest.mark.parametrize(
    ("begin", "end", "reply"),
    [
        pytest.param(b"", b"\r\n", "500 5.5.2 Command line too long", id="a command"),
        pytest.param(
            b"MAIL FROM:<a@lab.test>\r\nRCPT TO:<b@lab.test>\r\nDATA\r\n",
            b"\r\n.\r\n",
            "552 5.3.4 Message size exceeds fixed maximum message size",
            id="DATA",
        ),
        pytest.param(
            b"MAIL FROM:<a@lab.test>\r\nRCPT TO:<b@lab.test>\r\nBDAT %d LAST\r\n",
            b"",
            "552 5.3.4 Message size exceeds fixed maximum message size",
            id="BDAT",
        ),
    ],
)
async def test_a_gibibyte_without_a_line_end(
    flooded: Flooded, verb: str | None, begin: bytes, end: bytes, reply: str
) -> None:
    """As a command, in DATA or in BDAT: it is read, not kept, and refused; the session goes on."""
    size = GIB if verb is None else GIB // 8
    async with await flooded.peer(verb) as peer:
        await peer.send(begin % size if b"%d" in begin else begin)
        for _ in range(begin.count(b"\r\n") - (b"%d" in begin)):
            await peer.reply()
        pouring = asyncio.create_task(pour(peer, size))
        await flooded.delivers()
        await pouring
        await peer.send(end)
        assert await peer.reply() == [reply]
        assert await peer.ask("NOOP") == OK


async def test_a_hundred_thousand_recipients(flooded: Flooded) -> None:
    """MaxRecipientsPerMessage are taken and the others refused; the message arrives."""
    async with await flooded.peer() as peer:
        assert await peer.ask("MAIL FROM:<a@lab.test>") == SENDER_OK
        taken = refused = 0
        for first in range(0, 100_000, 1000):
            await peer.send(b"".join(b"RCPT TO:<r%d@lab.test>\r\n" % n for n in range(first, first + 1000)))
            for _ in range(1000):
                (line,) = await peer.reply()
                taken += line == "250 2.1.5 Recipient OK"
                refused += line == "452 4.5.3 Too many recipients"
            if not first % 20_000:
                await flooded.delivers()
        assert (await peer.ask("DATA"))[0].startswith("354 ")
        await peer.send(b"x\r\n.\r\n")
        assert (await peer.reply())[0].startswith("250 2.6.0 ")

    assert (taken, refused) == (200, 99_800)


@pytest.mark.parametrize("command", [b"NOOP\r\n", b"EHLO edge.lab.test\r\n", b"FOO\r\n", b"\r\n"])
async def test_ten_thousand_commands_in_one_flight(flooded: Flooded, command: bytes) -> None:
    """Each is answered, in order, though the peer listens only behind the last of them."""
    async with await flooded.peer() as peer:
        sending = asyncio.create_task(peer.send(command * 10_000 + b"QUIT\r\n"))
        await flooded.delivers()
        replies = 0
        while (reply := await peer.reply()) and not reply[0].startswith("221 "):
            replies += 1
        await sending

    assert replies == 10_000


async def test_five_thousand_silent_connections(flooded: Flooded) -> None:
    """They cost their sockets and little else, and nobody beside them waits."""
    wanted = 5000
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert most > 2 * wanted, f"this machine allows {most} open files; raise it: ulimit -n 20000"
    silent: list[Peer] = []
    try:
        for _ in range(wanted):
            silent.append(await Peer.connect(flooded.address))
            if len(silent) % 1000 == 0:
                await flooded.delivers()
        for peer in silent:
            assert (await peer.reply())[0].startswith("220 ")
        await flooded.delivers()
        assert flooded.sockets() > wanted
    finally:
        for peer in silent:
            peer.socket.close()


@pytest.mark.parametrize("verb", ["X-ANONYMOUSTLS", "STARTTLS"])
async def test_a_thousand_cut_handshakes(flooded: Flooded, verb: str) -> None:
    """Cut before, within and behind the ClientHello, by FIN or RST, or garbage: nothing of them stays."""
    context = believing_context()
    for number in range(1000):
        peer = await Peer.connect(flooded.address)
        await peer.reply()
        await peer.ask("EHLO edge.lab.test")
        assert await peer.ask(verb) == ["220 2.0.0 SMTP server ready"]
        hello = peer.begin_handshake(context)
        flight = [b"", hello[:5], hello[: len(hello) // 2], hello, b"GET / HTTP/1.1\r\n\r\n"][number % 5]
        await peer.send(flight)
        if number % 2:
            peer.reset()
        else:
            peer.socket.close()
        if number % 250 == 0:
            await flooded.delivers()
