"""The PROXY protocol: who a session's peer is when a proxy passes the connection on."""

from __future__ import annotations

import ipaddress
import struct
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab import CONNECTOR
from tests.peer import Peer
from tests.running import connector, running, visit

if TYPE_CHECKING:
    from smtpd_anontls.receiver import Receiver
    from tests.lab import Lab

PROXY = {"proxy_protocol": True, "trusted_proxies": ["127.0.0.1"]}
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
VERSION_1 = b"PROXY TCP4 192.0.2.1 192.0.2.25 56324 25\r\n"


def version_2(source: str, destination: str, *, tlvs: bytes = b"") -> bytes:
    """Return a header of version 2 for TCP."""
    ends = ipaddress.ip_address(source), ipaddress.ip_address(destination)
    family = 0x11 if ends[0].version == 4 else 0x21
    body = ends[0].packed + ends[1].packed + struct.pack("!HH", 56324, 25) + tlvs
    return SIGNATURE + struct.pack("!BBH", 0x21, family, len(body)) + body


LOCAL = SIGNATURE + b"\x20\0\0\0"


async def hello(receiver: Receiver, header: bytes, *, singly: bool = False) -> list[str]:
    """Send *header*, then EHLO, and return the answer to it; nothing where the receiver hangs up."""
    async with await Peer.connect(receiver.address(CONNECTOR)) as peer:
        await peer.send(header, singly=singly)
        banner = await peer.rest() if not header else await peer.reply()
        if not banner:
            return []
        assert banner[0].startswith("220 ")
        said = await peer.ask("EHLO edge.lab.test")
        await peer.ask("QUIT")
        return said


@pytest.mark.parametrize("singly", [False, True], ids=["whole", "octet by octet"])
@pytest.mark.parametrize(
    ("header", "peer"),
    [
        pytest.param(VERSION_1, "192.0.2.1:56324", id="1, IPv4"),
        pytest.param(
            b"PROXY TCP6 2001:db8::1 2001:db8::19 56324 25\r\n", "[2001:db8::1]:56324", id="1, IPv6"
        ),
        pytest.param(version_2("192.0.2.1", "192.0.2.25"), "192.0.2.1:56324", id="2, IPv4"),
        pytest.param(version_2("2001:db8::1", "2001:db8::19"), "[2001:db8::1]:56324", id="2, IPv6"),
        pytest.param(
            version_2("192.0.2.1", "192.0.2.25", tlvs=b"\x04\0\x03abc"), "192.0.2.1:56324", id="2, with a TLV"
        ),
    ],
)
async def test_the_peer_is_whom_the_proxy_names(lab: Lab, header: bytes, peer: str, *, singly: bool) -> None:
    """EHLO, record and matching go by the address in the header; the proxy is recorded beside it."""
    async with lab.receiver(connector=PROXY) as receiver:
        said = await hello(receiver, header, singly=singly)

    address = peer.rpartition(":")[0].strip("[]")
    assert said[0] == f"250-mx1.lab.test Hello [{address}]"
    assert lab.session()["remote"] == peer
    assert lab.session()["proxy"].startswith("127.0.0.1:")


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", LOCAL], ids=["1, UNKNOWN", "2, LOCAL"])
async def test_a_proxy_may_speak_for_itself(lab: Lab, header: bytes) -> None:
    """A health check of the proxy is a session from the proxy's own address."""
    async with lab.receiver(connector=PROXY) as receiver:
        said = await hello(receiver, header)

    assert said[0] == "250-mx1.lab.test Hello [127.0.0.1]"


@pytest.mark.parametrize("verb", ["X-ANONYMOUSTLS", "STARTTLS"])
async def test_the_peer_stays_who_it_is_under_tls(lab: Lab, verb: str) -> None:
    """The address of the header holds after the upgrade."""
    async with (
        lab.receiver(connector=PROXY) as receiver,
        await Peer.connect(receiver.address(CONNECTOR)) as peer,
    ):
        await peer.send(VERSION_1 + b"EHLO edge.lab.test\r\n")
        await peer.reply()
        await peer.reply()
        assert await peer.ask(verb) == ["220 2.0.0 SMTP server ready"]
        await peer.upgrade()
        said = await peer.ask("EHLO edge.lab.test")

    assert said[0] == "250-mx1.lab.test Hello [192.0.2.1]"
    assert lab.session()["remote"] == "192.0.2.1:56324"


async def test_the_connector_is_matched_by_the_address_in_the_header(lab: Lab) -> None:
    """Of two connectors on one port, the one whose RemoteIPRanges hold the named address takes the session."""
    properties: dict[str, Any] = {**PROXY, "bindings": ["127.0.0.1:0"]}
    lab.write(server={"connectors": [connector(CONNECTOR, **properties, remote_ip_ranges=["192.0.2.0/24"])]})
    async with running(lab) as receiver:
        said = await hello(receiver, VERSION_1)
        async with await Peer.connect(receiver.address(CONNECTOR)) as peer:
            await peer.send(b"PROXY TCP4 198.51.100.1 192.0.2.25 56324 25\r\n")
            refused = await peer.rest()

    assert said[0].startswith("250-")
    assert refused == ["421 4.3.2 Service not available"]


@pytest.mark.parametrize(
    ("octets", "why"),
    [
        pytest.param(b"EHLO edge.lab.test\r\n", "the trusted proxy sent no PROXY protocol header", id="SMTP"),
        pytest.param(
            b"PROXY TCP4 nobody\r\n", "the trusted proxy sent no PROXY protocol header", id="broken"
        ),
        pytest.param(b"PROXY " + b"x" * 200, "the trusted proxy sent no PROXY protocol header", id="endless"),
        pytest.param(SIGNATURE + b"\x31\x11\0\0", "the trusted proxy sent no PROXY protocol header", id="3"),
    ],
)
async def test_a_trusted_proxy_has_to_send_a_header(lab: Lab, octets: bytes, why: str) -> None:
    """What is no header ends the connection without a word: nobody knows whom it is from."""
    async with (
        lab.receiver(connector=PROXY) as receiver,
        await Peer.connect(receiver.address(CONNECTOR)) as peer,
    ):
        await peer.send(octets)
        said = await peer.rest()

    assert said == []
    assert lab.session()["outcome"] == "refused"
    assert lab.session()["outcome_detail"].startswith(why)


async def test_a_proxy_that_leaves_within_its_header(lab: Lab) -> None:
    """A connection that ends within the header is recorded as one that the peer closed."""
    async with (
        lab.receiver(connector=PROXY) as receiver,
        await Peer.connect(receiver.address(CONNECTOR)) as peer,
    ):
        await peer.send(VERSION_1[:20])

    assert lab.session()["outcome"] == "peer_disconnected"


async def test_others_are_taken_as_they_are(lab: Lab) -> None:
    """On the same port a peer that is no trusted proxy gets its banner at once, by its own address."""
    other = {"proxy_protocol": True, "trusted_proxies": ["192.0.2.0/24"]}
    async with lab.receiver(connector=other) as receiver:
        await visit(receiver)

    assert lab.session()["remote"].startswith("127.0.0.1:")
    assert lab.session()["proxy"] is None


async def test_limits_count_the_address_in_the_header(lab: Lab) -> None:
    """Sessions of two clients behind one proxy are two sources."""
    limits = {**PROXY, "max_inbound_connection_per_source": 1}
    async with (
        lab.receiver(connector=limits) as receiver,
        await Peer.connect(receiver.address(CONNECTOR)) as first,
        await Peer.connect(receiver.address(CONNECTOR)) as second,
        await Peer.connect(receiver.address(CONNECTOR)) as third,
    ):
        await first.send(VERSION_1)
        assert (await first.reply())[0].startswith("220 ")
        await second.send(VERSION_1)
        assert (await second.reply())[0].startswith("421 4.3.2 ")
        await third.send(version_2("192.0.2.2", "192.0.2.25"))
        assert (await third.reply())[0].startswith("220 ")
