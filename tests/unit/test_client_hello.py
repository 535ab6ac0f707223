"""ClientHellos of real clients, of odd ones, and of peers that speak no TLS."""

from __future__ import annotations

import socket
import ssl
import subprocess
import warnings
from functools import cache

import pytest

from smtpd_anontls.domain.records import ClientHello
from smtpd_anontls.domain.tls_policy import TlsVersion
from smtpd_anontls.protocol import client_hello
from smtpd_anontls.protocol.client_hello import parse_client_hello

ECDHE = "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES128-GCM-SHA256"
ECDHE_NAMES = ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256")
RSA = "AES256-SHA:DES-CBC3-SHA:AES128-GCM-SHA256"
TLS_1_3_NAMES = ("TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256")

GREASE = [0x0A0A, 0x1A1A, 0x2A2A, 0x8A8A, 0xFAFA]


@cache
def sent_by_openssl(minimum: TlsVersion, maximum: TlsVersion, ciphers: str, name: str | None) -> bytes:
    """Return what Python's own client sends first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion[minimum.name]
        context.maximum_version = ssl.TLSVersion[maximum.name]
    context.set_ciphers(f"{ciphers}:@SECLEVEL=0")
    outgoing = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name).do_handshake()
    return outgoing.read()


OLDEST, NEWEST = TlsVersion.TLSv1, TlsVersion.TLSv1_3
REAL: dict[str, tuple[bytes, ClientHello]] = {
    "today's client": (
        sent_by_openssl(TlsVersion.TLSv1_2, NEWEST, ECDHE, "mbx1.contoso.test"),
        ClientHello(("TLSv1.3", "TLSv1.2"), TLS_1_3_NAMES + ECDHE_NAMES, "mbx1.contoso.test"),
    ),
    "every version": (
        sent_by_openssl(OLDEST, NEWEST, ECDHE, "mbx1"),
        ClientHello(("TLSv1.3", "TLSv1.2", "TLSv1.1", "TLSv1"), TLS_1_3_NAMES + ECDHE_NAMES, "mbx1"),
    ),
    "TLS 1.3 alone": (
        sent_by_openssl(NEWEST, NEWEST, ECDHE, None),
        ClientHello(("TLSv1.3",), TLS_1_3_NAMES, None),
    ),
    # A client without TLS 1.3 names its newest version alone; how far down it goes is not said.
    "TLS 1.2 alone": (
        sent_by_openssl(TlsVersion.TLSv1_2, TlsVersion.TLSv1_2, ECDHE, "mbx1.contoso.test"),
        ClientHello(("TLSv1.2", "TLSv1.1", "TLSv1"), ECDHE_NAMES, "mbx1.contoso.test"),
    ),
    "TLS 1.1 at most": (
        sent_by_openssl(OLDEST, TlsVersion.TLSv1_1, RSA, None),
        ClientHello(("TLSv1.1", "TLSv1"), ("TLS_RSA_WITH_AES_256_CBC_SHA",), None),
    ),
    "TLS 1.0, as an old server sends": (
        sent_by_openssl(OLDEST, OLDEST, RSA, None),
        ClientHello(("TLSv1",), ("TLS_RSA_WITH_AES_256_CBC_SHA",), None),
    ),
}


def message(octets: bytes) -> bytes:
    """Return the handshake message in a single record."""
    assert len(octets) == 5 + int.from_bytes(octets[3:5], "big")
    return octets[5:]


def records(message: bytes, size: int) -> bytes:
    """Spread a handshake message over records of *size* octets."""
    pieces = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(b"\x16\x03\x01" + vector(2, piece) for piece in pieces)


def vector(size: int, content: bytes) -> bytes:
    """Return *content* behind its length, a number of *size* octets."""
    return len(content).to_bytes(size, "big") + content


def numbers(values: list[int]) -> bytes:
    """Return numbers of two octets."""
    return b"".join(value.to_bytes(2, "big") for value in values)


def extension(kind: int, content: bytes) -> bytes:
    """Return an extension."""
    return kind.to_bytes(2, "big") + vector(2, content)


def versions(values: list[int]) -> bytes:
    """Return the extension that lists versions."""
    return extension(43, vector(1, numbers(values)))


def server_name(name: bytes) -> bytes:
    """Return the extension that names the server (RFC 6066 section 3)."""
    return extension(0, vector(2, b"\0" + vector(2, name)))


def made(
    suites: list[int],
    extensions: bytes | None = b"",
    *,
    legacy: int = 0x0303,
    kind: int = 1,
) -> bytes:
    """Return a ClientHello; without *extensions* (None) as before RFC 3546."""
    body = legacy.to_bytes(2, "big") + bytes(32) + vector(1, b"session") + vector(2, numbers(suites))
    body += vector(1, b"\0")
    if extensions is not None:
        body += vector(2, extensions)
    return records(bytes([kind]) + vector(3, body), 1 << 14)


@pytest.mark.parametrize(("octets", "offered"), REAL.values(), ids=REAL)
def test_real_clients_are_read(octets: bytes, offered: ClientHello) -> None:
    """Versions, suites and server name as they were asked for, in the client's order."""
    assert parse_client_hello(octets) == offered


@pytest.mark.parametrize(("octets", "offered"), REAL.values(), ids=REAL)
def test_a_client_hello_is_read_when_it_is_whole(octets: bytes, offered: ClientHello) -> None:
    """Cut anywhere it is not there yet; what follows it does not matter."""
    assert {parse_client_hello(octets[:at]) for at in range(len(octets))} == {None}
    assert parse_client_hello(octets + b"\x14\x03\x03\x00\x01\x01") == offered
    assert parse_client_hello(octets + octets) == offered
    assert parse_client_hello(octets + b"\x16") == offered


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 64, 100])
@pytest.mark.parametrize(("octets", "offered"), REAL.values(), ids=REAL)
def test_fragments_are_joined(octets: bytes, offered: ClientHello, size: int) -> None:
    """RFC 8446 section 5.1: a handshake message may be spread over records."""
    spread = records(message(octets), size)

    assert parse_client_hello(spread) == offered
    # Cut at places that fall into each part of a record, by and by.
    assert {parse_client_hello(spread[:at]) for at in range(0, len(spread), 17)} == {None}
    assert parse_client_hello(spread[:-1]) is None


def test_empty_records_add_nothing() -> None:
    """A record without content, which TLS 1.2 allows, does not end the message."""
    octets, offered = REAL["today's client"]
    first, second = message(octets)[:10], message(octets)[10:]

    spread = records(first, 10) + b"\x16\x03\x01\0\0" + records(second, len(second))

    assert parse_client_hello(spread) == offered


def test_another_record_in_between_ends_the_reading() -> None:
    """A handshake message is not interleaved with an alert."""
    octets, _ = REAL["today's client"]
    first, second = message(octets)[:10], message(octets)[10:]

    assert parse_client_hello(records(first, 10) + b"\x15\x03\x01\0\x02\x01\0" + records(second, 512)) is None


@pytest.mark.parametrize("grease", GREASE)
def test_grease_means_nothing(grease: int) -> None:
    """RFC 8701: such values stand among suites, versions and extensions, and are left out."""
    octets = made(
        [grease, 0xC02F, grease],
        extension(grease, b"\0") + versions([grease, 0x0304, 0x0303]) + server_name(b"mbx1"),
    )

    assert parse_client_hello(octets) == ClientHello(
        ("TLSv1.3", "TLSv1.2"), ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",), "mbx1"
    )


def test_only_the_sixteen_values_are_grease() -> None:
    """Two octets that differ are a number like any other."""
    assert len(client_hello._GREASE) == 16
    assert parse_client_hello(made([0x1A2A, 0xCACA, 0x0A1A], versions([0x7A8A, 0x7A7A]))) == ClientHello(
        ("0x7A8A",), ("0x1A2A", "0x0A1A"), None
    )


def test_signals_are_no_suites() -> None:
    """The signalling values of RFC 5746 and RFC 7507 are left out; suites without a name show their number."""
    assert parse_client_hello(made([0x00FF, 0x002F, 0x5600, 0xABCD])) == ClientHello(
        ("TLSv1.2", "TLSv1.1", "TLSv1"), ("TLS_RSA_WITH_AES_128_CBC_SHA", "0xABCD"), None
    )


@pytest.mark.parametrize(
    ("legacy", "offered"),
    [
        (0x0002, ("SSLv2",)),
        (0x0300, ("SSLv3",)),
        (0x0301, ("TLSv1",)),
        (0x0302, ("TLSv1.1", "TLSv1")),
        (0x0303, ("TLSv1.2", "TLSv1.1", "TLSv1")),
        # RFC 8446 section 4.2.1: without the extension it is TLS 1.2 or older, whatever stands here.
        (0x0304, ("TLSv1.2", "TLSv1.1", "TLSv1")),
        (0x7F1C, ("TLSv1.2", "TLSv1.1", "TLSv1")),
        (0x0000, ("0x0000",)),
    ],
)
@pytest.mark.parametrize("extensions", [None, b""], ids=["before extensions", "no extension"])
def test_versions_without_the_extension(
    legacy: int, offered: tuple[str, ...], extensions: bytes | None
) -> None:
    """The version in the message is the newest one, and SSL versions stand alone."""
    read = parse_client_hello(made([0x002F], extensions, legacy=legacy))

    assert read is not None
    assert read.versions == offered


def test_the_extension_overrides_the_message() -> None:
    """Its versions are shown in the client's order, and those that nobody knows by number."""
    read = parse_client_hello(made([0x002F], versions([0x0303, 0x7F1C, 0x0304])))

    assert read is not None
    assert read.versions == ("TLSv1.2", "0x7F1C", "TLSv1.3")


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (server_name(b"mbx1.contoso.test"), "mbx1.contoso.test"),
        (server_name(b"m\xfcnchen\xff"), "m\\xfcnchen\\xff"),
        (server_name(b""), ""),
        # As a server answers; some clients send it.
        (extension(0, b""), None),
    ],
)
def test_server_name(content: bytes, name: str | None) -> None:
    """The name is US-ASCII, and octets that are not are shown escaped."""
    read = parse_client_hello(made([0x002F], content))

    assert read is not None
    assert read.server_name == name


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\x16",
        b"GET / HTTP/1.1\r\nHost: mbx1.contoso.test\r\n\r\n",
        b"EHLO edge.contoso.test\r\n",
        b"QUIT\r\n",
        bytes(100),
        b"\xff" * 100,
        b"\x16" * 100,
        # A hello of SSLv2 that announces TLS 1.0, as OpenSSL 0.9 sent.
        b"\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10" + bytes(100),
        # An alert; application data.
        b"\x15\x03\x01\x00\x02\x02\x28",
        b"\x17\x03\x03\x00\x05hello",
        # A record of the largest length with nothing in it.
        b"\x16\x03\x01\xff\xff",
        b"\x16\x03\x01\x00\x00" * 100,
        # Messages whose lengths do not hold.
        records(b"\x01" + vector(3, b""), 100),
        records(b"\x01" + vector(3, bytes(34)), 100),
        records(b"\x01\xff\xff\xff" + bytes(100), 100),
        made([0x002F])[:-2] + b"\x00\x01",
        made([0x002F], b"\x00"),
        made([0x002F], extension(43, b"\x02\x03\x04")[:-1]),
        made([0x002F], extension(43, b"\x03\x03\x04\x03")),
        made([0x002F], extension(43, b"")),
        made([0x002F], extension(0, b"\x00\x05\x00\x00\x09mbx1")),
        # Another handshake message: a ServerHello.
        made([0x002F], kind=2),
    ],
)
def test_what_is_no_client_hello(octets: bytes) -> None:
    """Other protocols, other records and broken lengths give nothing, and raise nothing."""
    assert parse_client_hello(octets) is None


@pytest.mark.slow
def test_suites_have_their_names() -> None:
    """OpenSSL's own table has the same name for each number."""
    listed = subprocess.run(
        ["openssl", "ciphers", "-V", "-stdname", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    names = {}
    for line in listed.splitlines():
        number, _, name, *_ = line.split()
        high, low = number.split(",")
        names[int(high, 16) << 8 | int(low, 16)] = name

    # Debian's OpenSSL is built without 3DES; IANA lists it so.
    assert names | {0x000A: "TLS_RSA_WITH_3DES_EDE_CBC_SHA"} == names | dict(client_hello._SUITES)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "offered"),
    [
        (
            ["-tls1_2", "-servername", "mbx1"],
            ClientHello(("TLSv1.2", "TLSv1.1", "TLSv1"), ECDHE_NAMES, "mbx1"),
        ),
        (
            ["-no_tls1", "-no_tls1_1", "-noservername"],
            ClientHello(("TLSv1.3", "TLSv1.2"), TLS_1_3_NAMES + ECDHE_NAMES, None),
        ),
    ],
)
def test_openssl_s_client_is_read(options: list[str], offered: ClientHello) -> None:
    """The command that administrators try, over a socket."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(20)
        host, port = listening.getsockname()
        command = ["openssl", "s_client", "-connect", f"{host}:{port}", "-cipher", ECDHE, *options]
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ):
            connection, _ = listening.accept()
            with connection:
                connection.settimeout(20)
                octets = b""
                while parse_client_hello(octets) is None:
                    received = connection.recv(100)
                    assert received
                    octets += received

    assert parse_client_hello(octets) == offered
