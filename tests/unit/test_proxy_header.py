"""PROXY protocol headers, of version 1 and 2: read as they arrive, and what is none."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smtpd_anontls.protocol.proxy_header import (
    MAX_PROXY_HEADER,
    PROXY_V2_SIGNATURE,
    ProxyHeader,
    ProxyHeaderError,
    may_begin_proxy_header,
    read_proxy_header,
)

if TYPE_CHECKING:
    from smtpd_anontls.domain.endpoints import IPAddress

TCP4, UDP4, TCP6, UDP6, UNIX, UNSPECIFIED = 0x11, 0x12, 0x21, 0x22, 0x31, 0x00
PROXY, LOCAL = 0x21, 0x20
FOUR = IPv4Address("192.0.2.1").packed + IPv4Address("198.51.100.2").packed + b"\xdb\x44\x00\x19"
SIX = IPv6Address("2001:db8::1").packed + IPv6Address("2001:db8::2").packed + b"\xdb\x44\x00\x19"


def binary(family: int, block: bytes, *, command: int = PROXY, length: int | None = None) -> bytes:
    """Return a header of version 2."""
    announced = len(block) if length is None else length
    return PROXY_V2_SIGNATURE + bytes([command, family]) + announced.to_bytes(2, "big") + block


def fed(octets: bytes) -> ProxyHeader | None:
    """Feed *octets* one at a time; None where they run out before the header does."""
    coming = bytearray()
    for octet in octets:
        coming.append(octet)
        header = read_proxy_header(coming)
        if header is not None:
            assert header.length == len(coming)
            return header
    return None


READ: dict[str, tuple[bytes, str | None, str | None]] = {
    "version 1, IPv4": (
        b"PROXY TCP4 192.0.2.1 198.51.100.2 56132 25\r\n",
        "192.0.2.1 56132",
        "198.51.100.2 25",
    ),
    "version 1, the longest IPv4": (
        b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
        "255.255.255.255 65535",
        "255.255.255.255 65535",
    ),
    "version 1, the least": (b"PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", "0.0.0.0 0", "0.0.0.0 0"),
    "version 1, IPv6": (b"PROXY TCP6 2001:db8::1 ::1 56132 25\r\n", "2001:db8::1 56132", "::1 25"),
    "version 1, IPv6 in capitals and in full": (
        b"PROXY TCP6 FFFF:ffff:FFFF:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535",
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535",
    ),
    "version 1, IPv4 inside IPv6": (b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", "192.0.2.1 1", "::1 2"),
    "version 1, unknown": (b"PROXY UNKNOWN\r\n", None, None),
    "version 1, unknown with anything": (b"PROXY UNKNOWN \x00\xff anything, TCP4\r\n", None, None),
    "version 1, unknown at its longest": (b"PROXY UNKNOWN " + b"f" * 91 + b"\r\n", None, None),
    "version 2, IPv4": (binary(TCP4, FOUR), "192.0.2.1 56132", "198.51.100.2 25"),
    "version 2, IPv6": (binary(TCP6, SIX), "2001:db8::1 56132", "2001:db8::2 25"),
    "version 2, IPv4 inside IPv6": (
        binary(TCP6, b"\0" * 10 + b"\xff\xff\xc0\x00\x02\x01" + SIX[16:]),
        "192.0.2.1 56132",
        "2001:db8::2 25",
    ),
    "version 2, TLVs": (
        binary(TCP4, FOUR + b"\x02\x00\x04mbx1" + b"\x04\x00\x00"),
        "192.0.2.1 56132",
        "198.51.100.2 25",
    ),
    "version 2, a CRC32C that is wrong": (
        binary(TCP4, FOUR + b"\x03\x00\x04\0\0\0\0"),
        "192.0.2.1 56132",
        "198.51.100.2 25",
    ),
    "version 2, as long as may be": (
        binary(TCP4, FOUR + b"\xff" * (MAX_PROXY_HEADER - 28)),
        "192.0.2.1 56132",
        "198.51.100.2 25",
    ),
    "version 2, local": (binary(UNSPECIFIED, b"", command=LOCAL), None, None),
    "version 2, local with addresses": (binary(TCP4, FOUR, command=LOCAL), None, None),
    "version 2, local of a family that is ignored": (binary(0xFF, b"\1\2\3", command=LOCAL), None, None),
    "version 2, unspecified": (binary(UNSPECIFIED, b""), None, None),
    "version 2, unspecified with octets": (binary(UNSPECIFIED, FOUR), None, None),
    "version 2, IPv4 of an unspecified protocol": (binary(0x10, FOUR), None, None),
    "version 2, UDP": (binary(UDP4, FOUR), None, None),
    "version 2, UDP over IPv6": (binary(UDP6, SIX), None, None),
    "version 2, Unix": (binary(UNIX, b"/run/mail".ljust(108, b"\0") * 2), None, None),
}


def endpoint(text: str | None) -> tuple[IPAddress, int] | None:
    """Read "address port"."""
    if text is None:
        return None
    address, _, port = text.partition(" ")
    return ip_address(address), int(port)


@pytest.mark.parametrize("name", READ)
@pytest.mark.parametrize("behind", [b"", b"EHLO edge.contoso.test\r\n", b"\0"])
def test_header_is_read(name: str, behind: bytes) -> None:
    """Addresses and length come out, whole or octet by octet, and what is behind is not looked at."""
    octets, source, destination = READ[name]
    version = 1 if octets.startswith(b"PROXY") else 2
    header = ProxyHeader(version, endpoint(source), endpoint(destination), len(octets))

    assert read_proxy_header(octets + behind) == header
    assert read_proxy_header(bytearray(octets + behind)) == header
    assert fed(octets + behind) == header
    assert len(octets) <= MAX_PROXY_HEADER


# Each with the octet at which it cannot become a header any more.
REFUSED: dict[str, tuple[bytes, int]] = {
    "SMTP": (b"EHLO edge.contoso.test\r\n", 1),
    "TLS": (b"\x16\x03\x01\x02\x00", 1),
    "small letters": (b"proxy TCP4 192.0.2.1 198.51.100.2 1 2\r\n", 1),
    "blank in front": (b" PROXY UNKNOWN\r\n", 1),
    "other word": (b"PROXYTCP4 192.0.2.1 198.51.100.2 1 2\r\n", 6),
    "tab": (b"PROXY\tTCP4 192.0.2.1 198.51.100.2 1 2\r\n", 6),
    "two blanks": (b"PROXY  TCP4 192.0.2.1 198.51.100.2 1 2\r\n", 7),
    "other protocol": (b"PROXY UDP4 192.0.2.1 198.51.100.2 1 2\r\n", 8),
    "TCP5": (b"PROXY TCP5 192.0.2.1 198.51.100.2 1 2\r\n", 10),
    "protocol in small letters": (b"PROXY tcp4 192.0.2.1 198.51.100.2 1 2\r\n", 7),
    "no protocol": (b"PROXY \r\n", 7),
    "more than UNKNOWN": (b"PROXY UNKNOWNS\r\n", 14),
    "no addresses": (b"PROXY TCP4\r\n", 11),
    "no port": (b"PROXY TCP4 192.0.2.1 198.51.100.2 1\r\n", 37),
    "a word too many": (b"PROXY TCP4 192.0.2.1 198.51.100.2 1 2 3\r\n", 41),
    "blank at the end": (b"PROXY TCP4 192.0.2.1 198.51.100.2 1 2 \r\n", 40),
    "two blanks between addresses": (b"PROXY TCP4 192.0.2.1  198.51.100.2 1 2\r\n", 40),
    "port over 65535": (b"PROXY TCP4 192.0.2.1 198.51.100.2 65536 2\r\n", 43),
    "port of six digits": (b"PROXY TCP4 192.0.2.1 198.51.100.2 1 100000\r\n", 44),
    "port with a leading zero": (b"PROXY TCP4 192.0.2.1 198.51.100.2 01 2\r\n", 40),
    "negative port": (b"PROXY TCP4 192.0.2.1 198.51.100.2 -1 2\r\n", 35),
    "port with a sign": (b"PROXY TCP4 192.0.2.1 198.51.100.2 1 +2\r\n", 37),
    "IPv4 with a leading zero": (b"PROXY TCP4 192.0.02.1 198.51.100.2 1 2\r\n", 40),
    "IPv4 of three numbers": (b"PROXY TCP4 192.0.2 198.51.100.2 1 2\r\n", 37),
    "IPv4 over 255": (b"PROXY TCP4 192.0.2.1 198.51.100.256 1 2\r\n", 41),
    "IPv6 as TCP4": (b"PROXY TCP4 ::1 ::2 1 2\r\n", 24),
    "IPv4 as TCP6": (b"PROXY TCP6 192.0.2.1 198.51.100.2 1 2\r\n", 39),
    "IPv6 with a scope": (b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n", 19),
    "IPv6 in brackets": (b"PROXY TCP6 [::1] ::1 1 2\r\n", 12),
    "IPv6 too long": (b"PROXY TCP6 1:2:3:4:5:6:7:8:9 ::1 1 2\r\n", 38),
    "name": (b"PROXY TCP4 mbx1.contoso.test 198.51.100.2 1 2\r\n", 12),
    "digits of another script": ("PROXY TCP4 \u0661.0.0.1 198.51.100.2 1 2\r\n".encode(), 12),
    "bare LF": (b"PROXY TCP4 192.0.2.1 198.51.100.2 1 2\nQUIT\r\n", 38),
    "bare CR": (b"PROXY TCP4 192.0.2.1 198.51.100.2 1 2\rQUIT\r\n", 39),
    "two CRs": (b"PROXY UNKNOWN\r\r\n", 15),
    "bare LF behind UNKNOWN": (b"PROXY UNKNOWN a\nb\r\n", 16),
    "line of 108 octets": (b"PROXY UNKNOWN " + b"f" * 92 + b"\r\n", 107),
    "line without end": (b"PROXY UNKNOWN " + b"f" * 5000, 107),
    "CR at the octet before the last": (b"PROXY UNKNOWN " + b"f" * 92 + b"\r", 107),
    "other signature": (PROXY_V2_SIGNATURE[:-1] + b"\r" + b"\x21\x11\0\0", 12),
    "empty lines": (b"\r\n\r\nQUIT\r\n", 5),
    "version 1 in binary": (binary(TCP4, FOUR, command=0x11), 13),
    "version 3": (binary(TCP4, FOUR, command=0x31), 13),
    "unknown command": (binary(TCP4, FOUR, command=0x22), 13),
    "unknown family": (binary(0x41, FOUR), 14),
    "unknown protocol": (binary(0x13, FOUR), 14),
    "too short for IPv4": (binary(TCP4, FOUR[:-1]), 16),
    "too short for IPv6": (binary(TCP6, SIX[:-1]), 16),
    "no addresses of IPv4": (binary(TCP4, b""), 16),
    "too long": (binary(TCP4, FOUR, length=MAX_PROXY_HEADER - 15), 16),
    "too long, local": (binary(UNSPECIFIED, b"", command=LOCAL, length=65535), 16),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_header(name: str) -> None:
    """It is refused at the octet that spoils it, and from there on whatever comes behind."""
    octets, spoilt_at = REFUSED[name]

    with pytest.raises(ProxyHeaderError) as raised:
        read_proxy_header(octets)
    assert str(raised.value).isprintable()
    assert read_proxy_header(octets[: spoilt_at - 1]) is None
    for count in range(spoilt_at, len(octets) + 1):
        with pytest.raises(ProxyHeaderError):
            read_proxy_header(octets[:count])


@pytest.mark.parametrize(
    ("octets", "begins"),
    [
        (b"", None),
        (b"P", None),
        (b"PROXY", None),
        (b"PROXY ", True),
        (b"PROXY TCP4 ", True),
        (b"PROXY nonsense", True),
        (b"PROXYX", False),
        (b"PR\r\n", False),
        (b"proxy ", False),
        (b"EHLO", False),
        (b"\r", None),
        (b"\r\n", None),
        (b"\r\n\r\n", None),
        (b"\r\nEHLO", False),
        (PROXY_V2_SIGNATURE[:-1], None),
        (PROXY_V2_SIGNATURE, True),
        (PROXY_V2_SIGNATURE + b"\xff", True),
        (b"\r\n\r\n\0\r\nQUIT\r\n", False),
        (b"\0", False),
    ],
)
def test_what_may_begin_a_header(octets: bytes, *, begins: bool | None) -> None:
    """The first octets tell; until they do, it is neither yes nor no."""
    assert may_begin_proxy_header(octets) is begins
    assert may_begin_proxy_header(bytearray(octets)) is begins


PORTS = st.integers(min_value=0, max_value=65535)
PAIRS = st.tuples(st.ip_addresses(v=4), st.ip_addresses(v=4)) | st.tuples(
    st.ip_addresses(v=6), st.ip_addresses(v=6)
)


@given(PAIRS, PORTS, PORTS, st.binary(max_size=40), st.binary(max_size=8))
def test_what_is_written_is_read(
    pair: tuple[IPAddress, IPAddress], port: int, other: int, tlvs: bytes, behind: bytes
) -> None:
    """Both versions carry any two addresses and ports of one family."""
    source, destination = pair
    line = f"PROXY TCP{source.version} {source} {destination} {port} {other}\r\n".encode()
    ports = port.to_bytes(2, "big") + other.to_bytes(2, "big")
    family = TCP4 if source.version == 4 else TCP6
    block = binary(family, source.packed + destination.packed + ports + tlvs)
    # IPv4 inside IPv6 counts as IPv4.
    plain = [getattr(address, "ipv4_mapped", None) or address for address in pair]
    ends = (plain[0], port), (plain[1], other)

    assert read_proxy_header(line + behind) == ProxyHeader(1, *ends, len(line))
    assert read_proxy_header(block + behind) == ProxyHeader(2, *ends, len(block))


LINE_PIECES = st.sampled_from(
    [
        b"TCP4 ",
        b"TCP6 ",
        b"UNKNOWN",
        b" ",
        b"192.0.2.1",
        b"::1",
        b"25",
        b"0",
        b"65536",
        b"\r",
        b"\n",
        b"\r\n",
        b"%",
        b"\0",
    ]
)
LINES = st.lists(LINE_PIECES, max_size=12).map(lambda pieces: b"PROXY " + b"".join(pieces))
BLOCKS = st.builds(
    binary,
    st.sampled_from([TCP4, UDP4, TCP6, UNIX, UNSPECIFIED, 0x41, 0x13]),
    st.binary(max_size=60),
    command=st.sampled_from([PROXY, LOCAL, 0x22, 0x31]),
    length=st.none() | st.integers(min_value=0, max_value=70),
)


@given(st.binary(max_size=120) | LINES | BLOCKS | st.lists(LINE_PIECES).map(b"".join))
@example(b"PROXY UNKNOWN " + b"\r" * 120)
def test_any_octets(octets: bytes) -> None:
    """Each prefix waits until one decides; from there on the answer stays what it is."""
    answer: ProxyHeader | str | None = None
    for count in range(len(octets) + 1):
        prefix = octets[:count]
        try:
            now: ProxyHeader | str | None = read_proxy_header(prefix)
        except ProxyHeaderError:
            now = "refused"
        if answer is None:
            answer = now
            assert not isinstance(now, ProxyHeader) or now.length == count
        assert now == answer
        begins = may_begin_proxy_header(prefix)
        assert begins is True or not isinstance(now, ProxyHeader)
        assert begins is not False or now == "refused"
