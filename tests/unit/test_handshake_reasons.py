"""The sentences about failed handshakes, for reasons that OpenSSL itself gives."""

from __future__ import annotations

import ssl
import warnings
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from smtpd_anontls.domain.records import ClientHello
from smtpd_anontls.domain.tls_policy import TlsPolicy, TlsVersion
from smtpd_anontls.protocol.client_hello import parse_client_hello
from smtpd_anontls.protocol.handshake import describe_failure, describe_loss, describe_silence, failure_class
from tests.making import der, key

if TYPE_CHECKING:
    from pathlib import Path

POLICY = TlsPolicy()
HELLO = ClientHello(("TLSv1.1", "TLSv1"), ("TLS_RSA_WITH_3DES_EDE_CBC_SHA", "0xABCD"), None)
NOTHING_KNOWN = ClientHello((), (), None)
NOT_TLS = "the peer sent something that is not TLS"
HTTP = "the peer sent an HTTP request instead of a ClientHello"


@pytest.fixture
def server(tmp_path: Path) -> ssl.SSLContext:
    """Return a server as the policy has it: TLS 1.2 alone, with an ECDSA certificate."""
    secret = key("server").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file = tmp_path / "mbx1.pem"
    file.write_bytes(ssl.DER_cert_to_PEM_cert(der()).encode() + secret)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(POLICY.cipher_string)
    return context


def client(minimum: TlsVersion, maximum: TlsVersion, ciphers: str = "ALL:@SECLEVEL=0") -> ssl.SSLContext:
    """Return a client that trusts nobody's certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion[minimum.name]
        context.maximum_version = ssl.TLSVersion[maximum.name]
    context.set_ciphers(ciphers)
    return context


def explained(server: ssl.SSLContext, octets: bytes) -> str:
    """Feed the server what a peer sends first, and return the sentence about the failure."""
    incoming = ssl.MemoryBIO()
    incoming.write(octets)
    with pytest.raises(ssl.SSLError) as raised:
        server.wrap_bio(incoming, ssl.MemoryBIO(), server_side=True).do_handshake()
    assert raised.value.reason
    return describe_failure(raised.value.reason, parse_client_hello(octets), POLICY)


def first_flight(context: ssl.SSLContext) -> bytes:
    """Return what the client sends first."""
    outgoing = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing).do_handshake()
    return outgoing.read()


@pytest.mark.parametrize(
    ("minimum", "maximum", "offers"),
    [
        (TlsVersion.TLSv1, TlsVersion.TLSv1, "TLSv1"),
        (TlsVersion.TLSv1, TlsVersion.TLSv1_1, "TLSv1.1, TLSv1"),
        (TlsVersion.TLSv1_3, TlsVersion.TLSv1_3, "TLSv1.3"),
    ],
)
def test_no_common_version(
    server: ssl.SSLContext, minimum: TlsVersion, maximum: TlsVersion, offers: str
) -> None:
    """A client too old, or too new, for Exchange: the sentence has both sides."""
    sentence = explained(server, first_flight(client(minimum, maximum)))

    assert sentence == f"no common TLS version: the peer offers {offers}, this receiver speaks TLSv1.2"


def test_no_common_suite(server: ssl.SSLContext) -> None:
    """A client with suites of RSA alone: they are named."""
    old = client(TlsVersion.TLSv1_2, TlsVersion.TLSv1_2, "AES256-SHA:AES128-GCM-SHA256:@SECLEVEL=0")

    sentence = explained(server, first_flight(old))

    assert sentence == (
        "no common cipher suite: the peer offers "
        "TLS_RSA_WITH_AES_256_CBC_SHA, TLS_RSA_WITH_AES_128_GCM_SHA256"
    )


@pytest.mark.parametrize(
    ("octets", "sentence"),
    [
        (b"GET / HTTP/1.1\r\nHost: mbx1\r\n\r\n", HTTP),
        (b"POST / HTTP/1.1\r\n\r\n", HTTP),
        (b"CONNECT mbx1:25 HTTP/1.1\r\n\r\n", HTTP),
        (b"EHLO edge.contoso.test\r\n", NOT_TLS),
        (b"SSH-2.0-OpenSSH_9.2\r\n", NOT_TLS),
        (bytes(64), NOT_TLS),
        (b"\xff" * 64, NOT_TLS),
    ],
)
def test_what_is_not_tls(server: ssl.SSLContext, octets: bytes, sentence: str) -> None:
    """A browser, a session that goes on in clear, another protocol, noise."""
    assert explained(server, octets) == sentence


def test_a_certificate_that_the_peer_refuses(server: ssl.SSLContext) -> None:
    """The peer's alert is quoted in words."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    doubting = client(TlsVersion.TLSv1_2, TlsVersion.TLSv1_2)
    there = doubting.wrap_bio(to_client, to_server)
    here = server.wrap_bio(to_server, to_client, server_side=True)
    for side in (there, here):
        with pytest.raises(ssl.SSLWantReadError):
            side.do_handshake()
    with pytest.raises(ssl.SSLCertVerificationError):
        there.do_handshake()
    with pytest.raises(ssl.SSLError) as raised:
        here.do_handshake()

    sentence = describe_failure(raised.value.reason, HELLO, POLICY)

    assert sentence == "the peer ended the handshake with the alert 'unknown ca'"


@pytest.mark.parametrize("reason", ["UNSUPPORTED_PROTOCOL", "VERSION_TOO_LOW", "NO_PROTOCOLS_AVAILABLE"])
@pytest.mark.parametrize("offered", [None, NOTHING_KNOWN])
def test_versions_that_are_not_known(reason: str, offered: ClientHello | None) -> None:
    """Without a version to name the sentence still says what would be understood."""
    policy = TlsPolicy(minimum=TlsVersion.TLSv1, maximum=TlsVersion.TLSv1_2)

    assert describe_failure(reason, offered, policy) == (
        "no common TLS version: the peer offers no version that is known here, "
        "this receiver speaks TLSv1 to TLSv1.2"
    )


@pytest.mark.parametrize("reason", ["WRONG_VERSION_NUMBER", "TLSV1_ALERT_PROTOCOL_VERSION"])
def test_a_peer_that_wants_a_later_version(reason: str) -> None:
    """It breaks off when it is answered with an older one, in a record of its own version."""
    policy = TlsPolicy(minimum=TlsVersion.TLSv1, maximum=TlsVersion.TLSv1_1)

    assert describe_failure(reason, ClientHello(("TLSv1.2", "TLSv1.1", "TLSv1"), (), None), policy) == (
        "no common TLS version: the peer did not take TLSv1.1, the latest of this receiver, which speaks "
        "TLSv1 to TLSv1.1; the peer offers TLSv1.2, TLSv1.1, TLSv1"
    )


@pytest.mark.parametrize(
    ("reason", "offered", "sentence"),
    [
        ("NO_SHARED_CIPHER", None, "no common cipher suite: the peer offers no suite that is known here"),
        (
            "NO_SHARED_CIPHER",
            NOTHING_KNOWN,
            "no common cipher suite: the peer offers no suite that is known here",
        ),
        (
            "NO_SHARED_CIPHER",
            HELLO,
            "no common cipher suite: the peer offers TLS_RSA_WITH_3DES_EDE_CBC_SHA, 0xABCD",
        ),
        # With OpenSSL 3.2 and later.
        ("RECORD_LAYER_FAILURE", None, NOT_TLS),
        ("BAD_RECORD_TYPE", None, NOT_TLS),
        ("UNKNOWN_PROTOCOL", None, NOT_TLS),
        # What began as TLS and went wrong later is no other protocol.
        ("WRONG_VERSION_NUMBER", HELLO, "OpenSSL reports WRONG_VERSION_NUMBER"),
        (
            "SSLV3_ALERT_BAD_CERTIFICATE",
            HELLO,
            "the peer ended the handshake with the alert 'bad certificate'",
        ),
        (
            "TLSV13_ALERT_CERTIFICATE_REQUIRED",
            None,
            "the peer ended the handshake with the alert 'certificate required'",
        ),
        (
            "TLSV1_ALERT_PROTOCOL_VERSION",
            HELLO,
            "the peer ended the handshake with the alert 'protocol version'",
        ),
        ("BAD_EXTENSION", HELLO, "OpenSSL reports BAD_EXTENSION"),
        ("an unknown error", None, "OpenSSL reports an unknown error"),
    ],
)
def test_other_reasons(reason: str, offered: ClientHello | None, sentence: str) -> None:
    """Alerts in words, and what has no sentence of its own by OpenSSL's name for it."""
    assert describe_failure(reason, offered, POLICY) == sentence


def test_a_lost_connection() -> None:
    """Whether the ClientHello had come tells a port scan from a refusal."""
    assert describe_loss(None) == "the peer closed the connection before it sent a ClientHello"
    assert describe_loss(HELLO) == "the peer closed the connection during the handshake"


def test_a_silent_peer() -> None:
    """The same for the time-out, which is named."""
    assert describe_silence(None, 30.0) == "no ClientHello came within 30 s"
    assert describe_silence(HELLO, 0.5) == "the handshake was not finished within 0.5 s"


@pytest.mark.parametrize(
    ("sentence", "word"),
    [
        (describe_failure("UNSUPPORTED_PROTOCOL", HELLO, POLICY), "no_common_version"),
        (describe_failure("NO_SHARED_CIPHER", HELLO, POLICY), "no_common_cipher_suite"),
        (describe_failure("SSLV3_ALERT_BAD_CERTIFICATE", HELLO, POLICY), "alert_from_peer"),
        (NOT_TLS, "not_tls"),
        (HTTP, "not_tls"),
        (describe_loss(None), "connection_lost"),
        (describe_loss(HELLO), "connection_lost"),
        (describe_silence(None, 30), "timeout"),
        (describe_silence(HELLO, 30), "timeout"),
        (describe_failure("INTERNAL_ERROR", HELLO, POLICY), "other"),
    ],
)
def test_each_sentence_is_of_a_class(sentence: str, word: str) -> None:
    """Failures are counted by a word of their sentence."""
    assert failure_class(sentence) == word
