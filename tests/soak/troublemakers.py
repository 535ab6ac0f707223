"""Peers that do what no sender should: each is one coroutine that does it once.

None of them may hurt anybody else.  What they are answered is only looked at where it has to be something.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from typing import TYPE_CHECKING

from tests.peer import Peer, believing_context

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from random import Random

    from tests.soak.senders import Shared

MAX_MESSAGE_SIZE = 64 * 1024
INACTIVITY_TIMEOUT = 3.0
HANDSHAKE_TIMEOUT = 3.0
_LINE = re.compile(r"[2-5][0-9]{2}[ -].*")
_LOST = "mallory@evil.test"
_ENVELOPE = f"MAIL FROM:<{_LOST}>\r\nRCPT TO:<nobody@lab.test>\r\n".encode()
_STAGES = (
    b"",
    b"EHLO evil.test\r\n",
    b"EHLO evil.test\r\n" + _ENVELOPE,
    b"EHLO evil.test\r\n" + _ENVELOPE + b"DATA\r\nSubject: never\r\n\r\n.\r",
    b"EHLO evil.test\r\n" + _ENVELOPE + b"BDAT 1000 LAST\r\nSubject: never\r\n",
    b"EHLO evil.test\r\nAUTH NTLM\r\n",
    b"EHLO evil.test\r\nSTARTTLS\r\n",
)


async def reset(shared: Shared, random: Random) -> None:
    """Leave with RST, somewhere."""
    async with await Peer.connect(shared.address) as peer:
        await peer.send(random.choice(_STAGES))
        if random.random() < 0.7:
            await peer.reply()
        peer.reset()


async def half_close(shared: Shared, random: Random) -> None:
    """Say that nothing more will come, somewhere, and take what is still answered."""
    async with await Peer.connect(shared.address) as peer:
        await peer.send(random.choice(_STAGES))
        peer.half_close()
        _judge(shared, await peer.rest())


async def fall_silent(shared: Shared, random: Random) -> None:
    """Say nothing more, somewhere, until the receiver has had enough."""
    async with await Peer.connect(shared.address) as peer:
        await peer.send(random.choice(_STAGES))
        _judge(shared, await peer.rest())


async def talk_garbage(shared: Shared, random: Random) -> None:
    """Send octets of any kind."""
    async with await Peer.connect(shared.address) as peer:
        await peer.send(b"EHLO evil.test\r\n" * random.randint(0, 1))
        for _ in range(random.randint(1, 5)):
            line = random.randbytes(random.choice([1, 20, 500, 5000, 30000]))
            await peer.send(line + b"\r\n" * random.randint(0, 2))
        peer.half_close()
        _judge(shared, await peer.rest())


async def break_tls(shared: Shared, random: Random) -> None:
    """Begin TLS with a half, a damaged or no ClientHello, and wait or leave."""
    async with await Peer.connect(shared.address) as peer:
        await peer.reply()
        await peer.ask("EHLO evil.test")
        await peer.ask(random.choice(["STARTTLS", "X-ANONYMOUSTLS"]))
        hello = bytearray(peer.begin_handshake(believing_context()))
        match random.randrange(4):
            case 0:
                await peer.send(bytes(hello[: random.randrange(len(hello))]))
            case 1:
                hello[random.randrange(len(hello))] ^= 1 << random.randrange(8)
                await peer.send(bytes(hello))
            case 2:
                await peer.send(b"GET / HTTP/1.1\r\n\r\n")
            case _:
                await peer.send(bytes(hello) + random.randbytes(500))
        if random.random() < 0.5:
            await peer.raw_rest()


async def leave_tls(shared: Shared, random: Random) -> None:
    """Leave within a message under TLS, with or without close_notify."""
    async with await Peer.connect(shared.address) as peer:
        await peer.reply()
        await peer.ask("EHLO evil.test")
        await peer.ask("X-ANONYMOUSTLS")
        await peer.upgrade()
        await peer.send(_STAGES[3])
        if random.random() < 0.5:
            await peer.close_notify()


async def send_too_much(shared: Shared, random: Random) -> None:
    """Send a message over MaxMessageSize, by DATA, by BDAT, or declared; it has to be refused with 552."""
    async with await Peer.connect(shared.address) as peer:
        await peer.reply()
        await peer.ask("EHLO evil.test")
        size = MAX_MESSAGE_SIZE + random.randint(1, 4 * MAX_MESSAGE_SIZE)
        match random.randrange(3):
            case 0:
                reply = await peer.ask(f"MAIL FROM:<{_LOST}> SIZE={size}")
            case 1:
                await peer.send(_ENVELOPE + b"DATA\r\n")
                for _ in range(3):
                    await peer.reply()
                await peer.send(b"x" * size + b"\r\n.\r\n")
                reply = await peer.reply()
            case _:
                await peer.send(_ENVELOPE + b"BDAT %d LAST\r\n" % size + b"x" * size)
                for _ in range(2):
                    await peer.reply()
                reply = await peer.reply()
        if not reply or not reply[0].startswith("552 "):
            shared.account.problem(f"a message of {size} octets was answered {reply}")


async def read_slowly(shared: Shared, random: Random) -> None:
    """Ask for more than the sockets hold and take nothing of it, until the receiver has had enough."""
    async with await Peer.connect(shared.address, receive_buffer=2048) as peer:
        try:
            async with asyncio.timeout(INACTIVITY_TIMEOUT):
                await peer.send(b"EHLO evil.test\r\n" * random.randint(10_000, 30_000))
        except TimeoutError:
            # It does not take more, either: that is how it should be.
            shared.account.count("slow readers that were stopped")
        await asyncio.sleep(INACTIVITY_TIMEOUT * random.random() * 2)


KINDS: Mapping[str, Callable[[Shared, Random], Awaitable[None]]] = {
    "resets": reset,
    "half closed connections": half_close,
    "silent peers": fall_silent,
    "garbage": talk_garbage,
    "broken handshakes": break_tls,
    "TLS sessions left": leave_tls,
    "messages too big": send_too_much,
    "slow readers": read_slowly,
}


async def make_trouble_all_the_time(shared: Shared, random: Random, kind: str) -> None:
    """Make trouble of one kind, again and again, until the run ends."""
    while not shared.ending.is_set():
        try:
            await KINDS[kind](shared, random)
        except (OSError, ssl.SSLError):
            # Who makes trouble is cut off now and then.
            shared.account.count("troublemakers cut off")
        except (AssertionError, TimeoutError) as error:
            shared.account.problem(f"{kind}: {error!r}")
        shared.account.count(kind)
        await asyncio.sleep(random.uniform(0, 0.2))


def _judge(shared: Shared, lines: list[str]) -> None:
    """Whatever was said, what comes is well-formed replies."""
    for line in lines:
        if not _LINE.fullmatch(line):
            shared.account.problem(f"no line of a reply: {line!r}")
