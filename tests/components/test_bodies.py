"""DATA and BDAT bring the same octets, however the network cuts them, in clear and under both TLS verbs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.lab import CONNECTOR
from tests.peer import Peer

if TYPE_CHECKING:
    from tests.lab import Lab

pytestmark = pytest.mark.slow

# Every way to write an end of data that is none, and other things that mail is not supposed to hold.
NASTY = {
    "empty": b"",
    "an empty line": b"\r\n",
    "a dot": b".\r\n",
    "dots": b".\r\n..\r\n...\r\n",
    "an end of data": b"a\r\n.\r\nb\r\n",
    "LF . LF": b"a\n.\nb\r\n",
    "CRLF . LF": b"a\r\n.\nb\r\n",
    "LF . CRLF": b"a\n.\r\nb\r\n",
    "CR . CR": b"a\r.\rb\r\n",
    "CRLF . CR": b"a\r\n.\rb\r\n",
    "CR . CRLF": b"a\r.\r\nb\r\n",
    "NUL before the dot": b"a\r\n\0.\r\nb\r\n",
    "NUL behind the dot": b"a\r\n.\0\r\nb\r\n",
    "NUL in the line end": b"a\r\0\n.\r\0\nb\r\n",
    "CR CRLF": b"a\r\r\n.\r\r\nb\r\n",
    "commands": b"QUIT\r\nBDAT 5 LAST\r\nRSET\r\nMAIL FROM:<evil@lab.test>\r\n",
    "every octet": bytes(range(256)) + b"\r\n",
    "a line without end": b"x" * 3000 + b"\r\n",
    "dots at the cuts": b"..\r\n.\r\n" * 20,
}
# What BDAT alone can bring, since DATA ends with a line end.
BINARY = {"no line end": b"no line end", "a CR": b"\r", "half an end of data": b"a\r\n."}
UPGRADES = ["in clear", "STARTTLS", "X-ANONYMOUSTLS"]


async def meet(address: tuple[str, int], upgrade: str) -> Peer:
    """Return a peer that has said EHLO, under TLS where *upgrade* is a verb."""
    peer = await Peer.connect(address)
    await peer.reply()
    await peer.ask("EHLO edge.lab.test")
    if upgrade != "in clear":
        assert await peer.ask(upgrade) == ["220 2.0.0 SMTP server ready"]
        await peer.upgrade()
        await peer.ask("EHLO edge.lab.test")
    return peer


async def envelope(peer: Peer, sender: str) -> None:
    """Open a transaction."""
    assert await peer.ask(f"MAIL FROM:<{sender}@lab.test>") == ["250 2.1.0 Sender OK"]
    assert await peer.ask("RCPT TO:<b@lab.test>") == ["250 2.1.5 Recipient OK"]


async def send_in_pieces(peer: Peer, octets: bytes, step: int | None) -> None:
    """Send *octets*, each *step* of them in a flight, and TLS record, of its own; None: all at once."""
    for at in range(0, len(octets), step or len(octets)):
        await peer.send(octets[at : at + step] if step else octets)
        # The other end, in the same loop, takes this piece before the next is sent.
        await asyncio.sleep(0)


def stuffed(raw: bytes) -> bytes:
    """Return a message as DATA carries it (RFC 5321 section 4.5.2)."""
    return (b"\r\n" + raw).replace(b"\r\n.", b"\r\n..")[2:]


@pytest.mark.parametrize("upgrade", UPGRADES)
@pytest.mark.parametrize(
    "step", [pytest.param(1, marks=pytest.mark.slow), 2, 3, None], ids=lambda step: f"by {step}"
)
async def test_data_and_bdat_bring_the_same_octets(lab: Lab, upgrade: str, step: int | None) -> None:
    """Each message of the corpus arrives as it is, by DATA and by BDAT, whole or in pieces."""
    async with (
        lab.receiver() as receiver,
        await meet(receiver.address(CONNECTOR), upgrade) as peer,
    ):
        for raw in NASTY.values():
            await envelope(peer, "data")
            assert (await peer.ask("DATA"))[0].startswith("354 ")
            await send_in_pieces(peer, stuffed(raw) + b".\r\n", step)
            assert (await peer.reply())[0].startswith("250 2.6.0 ")
        for raw in (NASTY | BINARY).values():
            await envelope(peer, "bdat")
            await send_in_pieces(peer, b"BDAT %d LAST\r\n%b" % (len(raw), raw), step)
            assert (await peer.reply())[0].startswith("250 2.6.0 ")

    taken = {who: [] for who in ("data", "bdat")}  # type: dict[str, list[bytes]]
    for message in reversed(lab.messages):
        taken[message["sender"].partition("@")[0]].append(lab.raw[message["id"]])
    assert taken["data"] == list(NASTY.values())
    assert taken["bdat"] == [*NASTY.values(), *BINARY.values()]


@pytest.mark.parametrize("upgrade", UPGRADES)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 65_536])
async def test_chunks_of_any_size_make_one_message(lab: Lab, upgrade: str, size: int) -> None:
    """A message cut into chunks is whole again; all of them may come in one flight."""
    raw = b"".join(NASTY.values()) * (1 if size < 7 else 20)
    raw = raw[: size * 700]
    chunks = [raw[at : at + size] for at in range(0, len(raw), size)]
    flight = b"".join(b"BDAT %d\r\n%b" % (len(chunk), chunk) for chunk in chunks)
    async with (
        lab.receiver() as receiver,
        await meet(receiver.address(CONNECTOR), upgrade) as peer,
    ):
        await envelope(peer, "a")
        await peer.send(flight + b"BDAT 0 LAST\r\nNOOP\r\n")
        replies = [await peer.reply() for _ in chunks]
        last, noop = await peer.reply(), await peer.reply()

    assert replies == [[f"250 2.0.0 {len(chunk)} octets received"] for chunk in chunks]
    assert last[0].startswith("250 2.6.0 ")
    assert noop == ["250 2.0.0 OK"]
    assert list(lab.raw.values()) == [raw]


@pytest.mark.parametrize("upgrade", UPGRADES)
@pytest.mark.parametrize("verb", ["DATA", "BDAT"])
async def test_the_next_message_may_follow_at_once(lab: Lab, upgrade: str, verb: str) -> None:
    """Two transactions in one flight are two messages."""
    content = {"DATA": b"DATA\r\n%b.\r\n", "BDAT": b"BDAT 5 LAST\r\n%b"}[verb]
    flight = b"".join(
        b"MAIL FROM:<a@lab.test>\r\nRCPT TO:<b@lab.test>\r\n" + content % body
        for body in (b"one\r\n", b"two\r\n")
    )
    async with (
        lab.receiver() as receiver,
        await meet(receiver.address(CONNECTOR), upgrade) as peer,
    ):
        await peer.send(flight)
        replies = [await peer.reply() for _ in range(8 if verb == "DATA" else 6)]

    assert sum(reply[0].startswith("250 2.6.0 ") for reply in replies) == 2
    assert [lab.raw[message["id"]] for message in reversed(lab.messages)] == [b"one\r\n", b"two\r\n"]


async def test_a_refused_chunk_costs_no_memory(lab: Lab) -> None:
    """Chunks without an envelope, and beyond the limit, are read to their end and not kept."""
    async with (
        lab.receiver(connector={"max_message_size": 1000}) as receiver,
        await meet(receiver.address(CONNECTOR), "in clear") as peer,
    ):
        (session,) = receiver.listener.sessions
        await peer.send(b"BDAT 5000000\r\n")
        for _ in range(5):
            await peer.send(b"x" * 1_000_000)
        assert await peer.reply() == ["503 5.5.2 Need mail command"]
        await envelope(peer, "a")
        await peer.send(b"BDAT 1001\r\n" + b"x" * 1001)
        assert await peer.reply() == ["552 5.3.4 Message size exceeds fixed maximum message size"]
        assert session._content is None  # type: ignore[attr-defined]

    assert lab.messages == []
    assert lab.session()["limits"] == ["MaxMessageSize: the message is over 1000 octets"]
