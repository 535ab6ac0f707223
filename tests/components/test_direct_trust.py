"""The handshake that asks for a client certificate: what it takes, what it refuses, and what it leaves behind."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ObjectIdentifier

from smtpd_anontls.certificates.issue import Issued, KeyType, issue
from smtpd_anontls.domain.certificate import Certificate
from smtpd_anontls.domain.direct_trust import presented
from smtpd_anontls.domain.records import TlsVerb
from smtpd_anontls.domain.tls_policy import TlsPolicy, TlsVersion
from tests.components.handshake import client_context, exchange_ec, exchange_rsa, fresh, weak_rsa
from tests.components.tls_service import (
    READY,
    THUMBPRINT,
    V10,
    V12,
    V13,
    client,
    hello,
    ready,
    serving,
)
from tests.lab import eventually
from tests.making import common_name
from tests.peer import Peer, believing_context

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

IMPATIENT = TlsPolicy(handshake_timeout=0.3)
NOW = datetime.now(UTC).replace(microsecond=0)
MEGABYTES = 4_000_000


@cache
def authority() -> trustme.CA:
    """Return an authority that nobody knows."""
    return trustme.CA().create_child_ca().create_child_ca()


def _by_an_authority() -> Issued:
    leaf = authority().issue_cert("mbx2.contoso.test")
    chain = b"".join(pem.bytes() for pem in leaf.cert_chain_pems)
    der = ssl.PEM_cert_to_DER_cert(leaf.cert_chain_pems[0].bytes().decode())
    return Issued(Certificate.from_der(der), chain, leaf.private_key_pem.bytes())


def _valid(first: int, last: int) -> Issued:
    start, end = NOW + timedelta(days=first), NOW + timedelta(days=last)
    return issue(["MBX2"], now=NOW, valid_from=start, valid_to=end, key_type=KeyType.EC)


def _with(*extensions: x509.ExtensionType, critical: bool = False) -> Issued:
    key, name = ec.generate_private_key(ec.SECP256R1()), common_name("MBX2")
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, NOW, NOW + timedelta(days=1))
    for each in extensions:
        builder = builder.add_extension(each, critical)
    made = builder.sign(key, hashes.SHA256())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    der = made.public_bytes(Encoding.DER)
    return Issued(Certificate.from_der(der), made.public_bytes(Encoding.PEM), pem)


UNKNOWN = ObjectIdentifier("1.3.6.1.4.1.32473.2")
CLIENTS: dict[str, Callable[[], Issued]] = {
    "Exchange's own, for servers alone": lambda: fresh("MBX2"),
    "Exchange's own, RSA": exchange_rsa,
    "of 1024 bits": weak_rsa,
    "by an unknown authority, with its chain": _by_an_authority,
    "expired": lambda: _valid(-400, -2),
    "not yet valid": lambda: _valid(2, 800),
    "without extensions": _with,
    "with a critical extension that nobody knows": lambda: _with(
        x509.UnrecognizedExtension(UNKNOWN, b"\x05\x00"), critical=True
    ),
    "of an authority, for signing certificates alone": lambda: _with(
        x509.BasicConstraints(ca=True, path_length=0), critical=True
    ),
}


# -- what a client may show


@pytest.mark.parametrize("version", [V12, V13], ids=str)
@pytest.mark.parametrize("kind", CLIENTS)
async def test_takes_every_certificate(tmp_path: Path, kind: str, version: TlsVersion) -> None:
    """Whatever a client shows is taken, and known to the octet: what it is worth is not for TLS to say."""
    shown = CLIENTS[kind]()
    async with serving() as service, await ready(service, client(tmp_path, shown, version, version)) as peer:
        assert peer.presented() == exchange_ec().certificate.der

    assert service.session.client_certificate == shown.certificate.der
    assert presented(service.session.client_certificate) == shown.certificate
    assert service.session.facts is not None
    assert service.session.facts.version == version.value


@pytest.mark.parametrize("version", [V12, V13], ids=str)
async def test_takes_none(tmp_path: Path, version: TlsVersion) -> None:
    """A client that shows nothing has its session like any other."""
    async with serving() as service, await ready(service, client(tmp_path, None, version, version)) as peer:
        await peer.send(b"EHLO edge.lab.test\r\n")
        await eventually(lambda: service.session.heard == b"EHLO edge.lab.test\r\n")

    assert service.session.client_certificate is None


async def test_the_fast_handshake_asks_for_none(tmp_path: Path) -> None:
    """Without direct trust a client's certificate is not asked for, and stays unknown."""
    fast = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    file = tmp_path / "server.pem"
    file.write_bytes(exchange_ec().certificate_pem + exchange_ec().key_pem)
    fast.load_cert_chain(file)
    async with serving(fast=fast) as service, await ready(service, client(tmp_path, fresh("MBX2"))):
        pass

    assert service.session.client_certificate is None


async def test_what_is_known_of_a_handshake(tmp_path: Path) -> None:
    """The facts say what was offered and what was chosen."""
    context = client(tmp_path, fresh("MBX2"))
    context.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384")
    async with serving() as service, await ready(service, context):
        address = service.session.transport.get_extra_info("peername")

    facts = service.session.facts
    assert facts is not None
    assert facts.offered is not None
    assert facts.offered.server_name == "mx1.lab.test"
    assert (facts.verb, facts.thumbprint) == (TlsVerb.X_ANONYMOUSTLS, THUMBPRINT)
    assert (facts.version, facts.cipher, facts.bits) == ("TLSv1.2", "ECDHE-ECDSA-AES256-GCM-SHA384", 256)
    assert (facts.resumed, facts.failure) == (False, None)
    assert address[0] == "127.0.0.1"


@pytest.mark.parametrize("version", [V12, V13], ids=str)
async def test_each_session_shows_its_certificate(tmp_path: Path, version: TlsVersion) -> None:
    """A session is not resumed: the second connection proves its key like the first."""
    shown = fresh("MBX2")
    context = client(tmp_path, shown, version, version)
    async with serving() as service:
        async with await ready(service, context) as first:
            assert first.tls is not None
            ticket = first.tls.session
        async with await service.peer() as second:
            await second.upgrade(context, session=ticket)
            assert await second.line() == READY.decode().strip()
            assert second.tls is not None
            assert not second.tls.session_reused

    assert [session.client_certificate for session in service.sessions] == [shown.certificate.der] * 2


async def test_a_stolen_certificate(tmp_path: Path) -> None:
    """Whoever shows a certificate without its key fails: the certificate itself is no secret."""
    own, stolen = fresh("MBX2"), fresh("MBX2")
    # TLS 1.2 lets it be exchanged in clear on its way; the octets of both have to fit the same lengths.
    while len(stolen.certificate.der) != len(own.certificate.der):
        stolen = fresh("MBX2")
    async with serving() as service, await service.peer() as peer:
        await peer.send(peer.begin_handshake(client(tmp_path, own)))
        flight = await flight_of(peer)
        assert flight.count(own.certificate.der) == 1
        await peer.send(flight.replace(own.certificate.der, stolen.certificate.der))
        facts = await service.ended()
        octets = await peer.raw_rest()

    assert facts.failure == "OpenSSL reports BAD_SIGNATURE"
    assert service.session.client_certificate is None
    assert service.session.heard == b""
    # RFC 5246 section 7.2.2: fatal, decrypt_error.
    assert octets[-2:] == b"\x02\x33"


async def flight_of(peer: Peer) -> bytes:
    """Return what *peer* would answer to the server's flight, once that is here whole."""
    while True:
        await peer._take()
        with contextlib.suppress(ssl.SSLWantReadError):
            peer._tls.do_handshake()
        if flight := peer._outgoing.read():
            return flight


async def test_a_certificate_without_end(tmp_path: Path) -> None:
    """What a client shows has a limit of OpenSSL's, and is not kept beyond it."""
    huge = _with(x509.UnrecognizedExtension(UNKNOWN, b"\x04\x84" + bytes(200_000)))
    async with serving() as service, await service.peer() as peer:
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            await peer.upgrade(client(tmp_path, huge))
            await peer.line()
        facts = await service.ended()

    assert facts.failure == "OpenSSL reports EXCESSIVE_MESSAGE_SIZE"


# -- handshakes that fail


@pytest.mark.parametrize(
    ("said", "why", "offered"),
    [
        pytest.param(b"", "no ClientHello came within 0.3 s", False, id="nothing"),
        pytest.param(hello()[:40], "no ClientHello came within 0.3 s", False, id="half a ClientHello"),
        pytest.param(
            hello(), "the handshake was not finished within 0.3 s", True, id="a ClientHello and no more"
        ),
    ],
)
async def test_a_silent_peer(said: bytes, why: str, *, offered: bool) -> None:
    """handshake_timeout ends a handshake in which nothing more comes, and says how far it came."""
    async with serving(IMPATIENT) as service, await service.peer() as peer:
        await peer.send(said)
        facts = await service.ended()
        await peer.raw_rest()

    assert facts.failure == why
    assert (facts.offered is not None) is offered


async def test_a_peer_that_shows_nothing_of_what_it_was_asked_for() -> None:
    """A peer that falls silent between the request and its certificate is given up too."""
    async with serving(IMPATIENT) as service, await service.peer() as peer:
        await peer.send(peer.begin_handshake(believing_context()))
        await flight_of(peer)
        facts = await service.ended()
        await peer.raw_rest()

    assert facts.failure == "the handshake was not finished within 0.3 s"


@pytest.mark.parametrize(
    ("said", "why"),
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost: mx1\r\n\r\n", "the peer sent an HTTP request", id="HTTP"),
        pytest.param(b"EHLO edge.lab.test\r\n", "the peer sent something that is not TLS", id="SMTP goes on"),
        pytest.param(b"\x00" * 64, "the peer sent something that is not TLS", id="zeros"),
        pytest.param(b"\xff" * 20000, "the peer sent something that is not TLS", id="many octets"),
        pytest.param(b"\x16\x03\x01\x00\x05hello", "", id="a record without a ClientHello"),
    ],
)
async def test_octets_that_are_no_tls(said: bytes, why: str) -> None:
    """What is no TLS ends the handshake with a sentence, and nothing of it is heard."""
    async with serving() as service, await service.peer() as peer:
        await peer.send(said)
        facts = await service.ended()
        await peer.raw_rest()

    assert facts.failure is not None
    assert facts.failure.startswith(why)
    assert (facts.version, facts.cipher) == (None, None)
    assert service.session.heard == b""


@pytest.mark.parametrize(
    ("said", "why"),
    [
        pytest.param(b"", "the peer closed the connection before it sent a ClientHello", id="at once"),
        pytest.param(
            hello()[:40], "the peer closed the connection before it sent a ClientHello", id="within"
        ),
        pytest.param(
            hello(), "the peer closed the connection during the handshake", id="behind a ClientHello"
        ),
    ],
)
@pytest.mark.parametrize("end", [Peer.half_close, Peer.reset], ids=["FIN", "RST"])
async def test_a_peer_that_leaves(end: Callable[[Peer], None], said: bytes, why: str) -> None:
    """A handshake that the peer gives up says so."""
    async with serving() as service, await service.peer() as peer:
        await eventually(lambda: bool(service.sessions))
        await peer.send(said)
        await eventually(lambda: service.session.upgrade._tls.first_octets == said)
        end(peer)
        facts = await service.ended()

    assert facts.failure == why


async def test_a_failed_handshake_sends_its_alert() -> None:
    """The alert leaves before the connection is closed."""
    async with serving() as service, await service.peer() as peer:
        await peer.send(b"\x16\x03\x01\x00\x05hello")
        octets = await peer.raw_rest()

    # RFC 5246 section 7.2: fatal, and in clear, since nothing has been agreed upon.
    assert octets.startswith(b"\x15\x03")
    assert octets[5] == 2


@pytest.mark.parametrize(
    ("context", "why"),
    [
        pytest.param(
            client_context(V10, V10),
            "no common TLS version: the peer offers TLSv1, this receiver speaks TLSv1.2 to TLSv1.3",
            id="version",
        ),
        pytest.param(
            "AES128-SHA256",
            "no common cipher suite: the peer offers TLS_RSA_WITH_AES_128_CBC_SHA256",
            id="suite",
        ),
        pytest.param(
            ssl.create_default_context(),
            "the peer ended the handshake with the alert 'unknown ca'",
            id="disbelief",
        ),
    ],
)
async def test_peers_that_do_not_agree(context: ssl.SSLContext | str, why: str) -> None:
    """Whoever breaks off, the sentence names the reason that the fast handshake would name."""
    if isinstance(context, str):
        suites, context = context, believing_context()
        context.set_ciphers(suites)
    async with serving() as service, await service.peer() as peer:
        with pytest.raises(ssl.SSLError):
            await peer.upgrade(context)
        facts = await service.ended()
        await peer.raw_rest()

    assert facts.failure == why


async def test_a_peer_that_ends_tls_within_the_handshake() -> None:
    """close_notify in place of a certificate is a failure like another."""
    async with serving() as service, await service.peer() as peer:
        await peer.send(peer.begin_handshake(believing_context()))
        await flight_of(peer)
        # RFC 5246 section 7.2.1: a warning in clear.
        await peer.send(b"\x15\x03\x03\x00\x02\x01\x00")
        facts = await service.ended()
        await peer.raw_rest()

    assert facts.failure == "the peer closed the connection during the handshake"


# -- what goes through it


async def test_octets_in_the_flight_of_the_finished(tmp_path: Path) -> None:
    """In TLS 1.3 the client's Finished is the last, and what comes with it is heard."""
    async with serving() as service, await service.peer() as peer:
        flight = peer.begin_handshake(client(tmp_path, fresh("MBX2"), V13, V13))
        await peer.finish_handshake(flight, behind=b"EHLO edge.lab.test\r\n")
        assert await peer.line() == READY.decode().strip()

    assert service.session.heard == b"EHLO edge.lab.test\r\n"
    assert service.session.client_certificate is not None


async def test_a_handshake_octet_by_octet(tmp_path: Path) -> None:
    """However small the pieces are, the handshake works, and the ClientHello is known whole."""
    shown = fresh("MBX2")
    async with serving() as service, await service.peer() as peer:
        await peer.send(peer.begin_handshake(client(tmp_path, shown)), singly=True)
        await peer.send(await flight_of(peer), singly=True)
        await peer.finish_handshake(b"")
        assert await peer.line() == READY.decode().strip()

    assert service.session.client_certificate == shown.certificate.der
    assert service.session.facts is not None
    assert service.session.facts.offered is not None


@pytest.mark.parametrize("size", [1, 16 * 1024, 16 * 1024 + 1, MEGABYTES])
async def test_sizes(tmp_path: Path, size: int) -> None:
    """Whatever the size, what is said comes out at the other end, either way."""
    said = bytes(range(256)) * (size // 256 + 1)
    async with serving() as service, await ready(service, client(tmp_path, fresh("MBX2"))) as peer:
        await peer.send(said[:size])
        await eventually(lambda: len(service.session.heard) == size)
        service.session.transport.write(said[:size].replace(b"\n", b" ") + b"\r\n")
        line = await line_of(peer)

    assert service.session.heard == said[:size]
    assert line == said[:size].replace(b"\n", b" ")


async def line_of(peer: Peer) -> bytes:
    """Return the octets up to the next line end."""
    octets = bytearray()
    while not octets.endswith(b"\n"):
        octets += await peer._receive()
    return bytes(octets[:-2])


async def test_a_peer_that_does_not_listen(tmp_path: Path) -> None:
    """Whoever writes is told to wait, and to go on when the peer listens again."""
    async with serving() as service, await ready(service, client(tmp_path, fresh("MBX2"))) as peer:
        transport = service.session.transport
        while "pause" not in service.session.pauses:
            transport.write(b"x" * 100_000)
        waiting = transport.get_write_buffer_size() + service.session.raw.get_write_buffer_size()
        transport.write(b"\r\n")
        await line_of(peer)
        await eventually(lambda: service.session.pauses[-1] == "resume")

    assert waiting > 0
    assert service.session.pauses == ["pause", "resume"]


async def test_a_session_that_does_not_listen(tmp_path: Path) -> None:
    """What comes while reading is paused waits in the kernel, not here, and is heard afterwards."""
    async with serving() as service, await ready(service, client(tmp_path, fresh("MBX2"))) as peer:
        service.session.transport.pause_reading()
        sending = asyncio.create_task(peer.send(b"x" * MEGABYTES))
        await eventually(lambda: not service.session.raw.is_reading())
        heard = len(service.session.heard)
        kept = service.session.upgrade._tls._incoming.pending
        service.session.transport.resume_reading()
        await sending
        await eventually(lambda: len(service.session.heard) == MEGABYTES)

    assert heard == 0
    assert kept < MEGABYTES / 4


# -- the end


async def test_the_end_of_tls_in_order(tmp_path: Path) -> None:
    """close_notify is answered with close_notify."""
    async with serving() as service, await ready(service, client(tmp_path, fresh("MBX2"))) as peer:
        await peer.close_notify()
        assert await peer.rest() == []

    assert peer.saw_close_notify
    assert service.session.saw_eof


async def test_the_session_ends_tls_in_order(tmp_path: Path) -> None:
    """What was written leaves, then close_notify, then the connection ends."""
    async with serving() as service, await ready(service, client(tmp_path, fresh("MBX2"))) as peer:
        service.session.transport.write(b"221 bye\r\n")
        service.session.transport.close()
        assert service.session.transport.is_closing()
        assert await peer.rest() == ["221 bye"]
        assert peer.saw_close_notify
        await peer.close_notify()
        await eventually(lambda: service.session.is_over)


@pytest.mark.parametrize("end", [Peer.half_close, Peer.reset], ids=["FIN", "RST"])
async def test_an_end_without_a_word(tmp_path: Path, end: Callable[[Peer], None]) -> None:
    """A connection that is cut off ends the session, whatever it had been about to say."""
    async with serving() as service, await ready(service, client(tmp_path, fresh("MBX2"))) as peer:
        end(peer)
        await eventually(lambda: service.session.is_over)


async def test_garbage_within_tls(tmp_path: Path) -> None:
    """A record that cannot be decrypted ends the session, and nothing of it is heard."""
    async with serving() as service, await ready(service, client(tmp_path, fresh("MBX2"))) as peer:
        await peer._send_raw(b"\x17\x03\x03\x00\x20" + bytes(32))
        await eventually(lambda: service.session.is_over)
        await peer.raw_rest()

    assert service.session.heard == b""


async def test_an_aborted_session(tmp_path: Path) -> None:
    """An abort waits for nobody."""
    async with serving() as service, await ready(service, client(tmp_path, fresh("MBX2"))) as peer:
        service.session.transport.abort()
        await eventually(lambda: service.session.is_over)
        assert await peer.rest() == []

    assert not peer.saw_close_notify


@pytest.mark.slow  # It waits for a time-out of three seconds.
async def test_a_peer_that_does_not_answer_the_end(tmp_path: Path) -> None:
    """Who leaves close_notify unanswered and the connection open is cut off after a while."""
    async with serving() as service, await ready(service, client(tmp_path, fresh("MBX2"))) as peer:
        service.session.transport.close()
        await eventually(lambda: service.session.is_over)
        await peer.raw_rest()
