"""Well-behaved senders: every reply has to be the right one, and what was answered 250 is looked up at once."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from smtpd_anontls.domain.certificate import thumbprint_of
from smtpd_anontls.journal.reader import JournalReader
from tests.peer import Peer

if TYPE_CHECKING:
    from random import Random

    from tests.soak.figures import Account

SENDER, RECIPIENT = "alice@edge.test", "bob@lab.test"
_QUEUED = re.compile(r"250 2\.6\.0 <[^>]+> \[InternalId=([0-9]+), Hostname=mx1\.lab\.test\] Queued")
_REFUSED = "452 4.3.1"
_VERBS = ("X-ANONYMOUSTLS", "STARTTLS", "")
# Seconds that a refusal may come behind the end of a lock that was held for too long.
_AFTERMATH = 3.0


@dataclass
class Shared:
    """What senders, troublemakers and the one who looks after them have in common."""

    address: tuple[str, int]
    account: Account
    ending: asyncio.Event = field(default_factory=asyncio.Event)
    thumbprints: set[str] = field(default_factory=set)  # Of all certificates that were ever in the store.
    promised: dict[int, bytes] = field(default_factory=dict)  # What was answered 250, until it was looked up.
    kept: set[int] = field(default_factory=set)  # The ids of those that were found.
    locked_until: float = 0.0  # Until when a lock longer than the journal's patience is or was held.

    @property
    def may_refuse(self) -> bool:
        """Whether 452 is the right answer now."""
        return time.monotonic() < self.locked_until + _AFTERMATH


class WrongReplyError(Exception):
    """A well-behaved sender was answered what it should not be."""


async def send_all_the_time(shared: Shared, random: Random) -> None:
    """Hold one session after another until the run ends."""
    while not shared.ending.is_set():
        try:
            await _session(shared, random)
            shared.account.count("sessions of senders")
        except (WrongReplyError, OSError, TimeoutError, AssertionError) as error:
            shared.account.problem(f"a well-behaved sender did not get through: {error}")
        await asyncio.sleep(random.uniform(0, 0.05))


async def _session(shared: Shared, random: Random) -> None:
    async with await Peer.connect(shared.address) as peer:
        remote = peer.remote
        try:
            await _converse(shared, peer, random)
        except (WrongReplyError, OSError, TimeoutError, AssertionError) as error:
            raise WrongReplyError(f"{remote}: {error!r}") from error


async def _converse(shared: Shared, peer: Peer, random: Random) -> None:
    verb = random.choice(_VERBS)
    _hold(await peer.reply(), "220 ")
    offered = await _ask(shared, peer, "EHLO edge.test", "250")
    if verb:
        if f"250-{verb}" not in offered:
            raise WrongReplyError(f"{verb} was not offered: {offered}")
        await _ask(shared, peer, verb, "220 2.0.0 ")
        await peer.upgrade()
        if thumbprint_of(peer.presented() or b"") not in shared.thumbprints:
            raise WrongReplyError("a certificate was presented that was never in the store")
        await _ask(shared, peer, "EHLO edge.test", "250")
        shared.account.count(f"handshakes by {verb}")
    for _ in range(random.randint(1, 5)):
        await _message(shared, peer, random)
    await _ask(shared, peer, "QUIT", "221 ")
    if await peer.rest():
        raise WrongReplyError("something came behind 221")


async def _message(shared: Shared, peer: Peer, random: Random) -> None:
    content = _content(random)
    while True:
        reply = await (_by_data if random.random() < 0.7 else _by_chunks)(shared, peer, random, content)
        if found := _QUEUED.match(reply[0] if reply else ""):
            shared.promised[int(found[1])] = content
            shared.account.count("messages answered 250")
            return
        if not (reply and reply[0].startswith(_REFUSED) and shared.may_refuse):
            raise WrongReplyError(f"the message was answered {reply}")
        # RFC 5321 section 4.2.1: a sender tries again, and this one at once.
        shared.account.count("messages refused while the journal was locked")
        await asyncio.sleep(0.5)


async def _by_data(shared: Shared, peer: Peer, random: Random, content: bytes) -> list[str]:
    if random.random() < 0.5:
        await peer.send(f"MAIL FROM:<{SENDER}>\r\nRCPT TO:<{RECIPIENT}>\r\nDATA\r\n".encode())
        for start in ("250 2.1.0 ", "250 2.1.5 ", "354 "):
            _hold(await _reply(shared, peer), start)
    else:
        await _ask(shared, peer, f"MAIL FROM:<{SENDER}> SIZE={len(content)}", "250 2.1.0 ")
        await _ask(shared, peer, f"RCPT TO:<{RECIPIENT}>", "250 2.1.5 ")
        await _ask(shared, peer, "DATA", "354 ")
    stuffed = b"".join(b"." * line.startswith(b".") + line + b"\r\n" for line in content.split(b"\r\n")[:-1])
    cut = random.randint(0, len(stuffed))
    await peer.send(stuffed[:cut])
    await peer.send(stuffed[cut:] + b".\r\n")
    return await _reply(shared, peer)


async def _by_chunks(shared: Shared, peer: Peer, random: Random, content: bytes) -> list[str]:
    await _ask(shared, peer, f"MAIL FROM:<{SENDER}> BODY=BINARYMIME", "250 2.1.0 ")
    await _ask(shared, peer, f"RCPT TO:<{RECIPIENT}>", "250 2.1.5 ")
    cut = random.randint(0, len(content))
    first, last = content[:cut], content[cut:]
    await peer.send(b"BDAT %d\r\n%sBDAT %d LAST\r\n%s" % (len(first), first, len(last), last))
    _hold(await _reply(shared, peer), "250 2.0.0 ")
    return await _reply(shared, peer)


def _content(random: Random) -> bytes:
    lines = [b"Subject: soak", b"", b".", b"..", b"a line\nwith its own", b"\xff\0", b"x" * 900]
    # Six of the longest stay under MaxMessageSize.
    picked = random.choices(lines, k=random.randint(0, 6))
    marked = [b"X-Mark: %d" % random.getrandbits(64), *picked]
    return b"\r\n".join(marked) + b"\r\n"


async def _ask(shared: Shared, peer: Peer, command: str, start: str) -> list[str]:
    await peer.send(command.encode() + b"\r\n")
    reply = await _reply(shared, peer)
    _hold(reply, start)
    return reply


async def _reply(shared: Shared, peer: Peer) -> list[str]:
    began = time.monotonic()
    reply = await peer.reply()
    shared.account.slowest = max(shared.account.slowest, time.monotonic() - began)
    return reply


def _hold(reply: list[str], start: str) -> None:
    if not (reply and reply[0].startswith(start)):
        raise WrongReplyError(f"{reply} came where {start!r} was due")


# -- whether a promise was kept


async def look_up_all_the_time(shared: Shared, url: str) -> None:
    """Look up what was promised as soon as it was, until the run ends."""
    while not shared.ending.is_set():
        await look_up(shared, url)
        await asyncio.sleep(0.2)


async def look_up(shared: Shared, url: str) -> None:
    """Look up all that has been promised by now."""
    reader = JournalReader(url)
    for message_id, raw in (await asyncio.to_thread(_read, reader, list(shared.promised))).items():
        content = shared.promised.pop(message_id)
        if raw is None:
            shared.account.problem(f"message {message_id} was answered 250 and is not in the journal")
        elif raw != content:
            shared.account.problem(f"message {message_id} is not in the journal as it was sent")
        elif message_id in shared.kept:
            shared.account.problem(f"two messages were answered with the same id {message_id}")
        shared.kept.add(message_id)


def _read(reader: JournalReader, ids: list[int]) -> dict[int, bytes | None]:
    return {each: reader.raw(each) for each in ids}


def count_again(shared: Shared, url: str) -> None:
    """Go through the whole journal: all that was promised is still there, and nothing that was not."""
    reader = JournalReader(url)
    found: set[int] = set()
    before: int | None = None
    while rows := reader.messages(limit=1000, before=before):
        before = int(rows[-1]["id"])
        for row in rows:
            if row["recipients"] == [RECIPIENT] and row["sender"] == SENDER:
                found.add(int(row["id"]))
    for message_id in sorted(shared.kept - found):
        shared.account.problem(f"message {message_id} has gone from the journal")
    for message_id in sorted(found - shared.kept):
        shared.account.problem(f"message {message_id} is in the journal, and its sender never had a 250")
