"""TLS contexts, shown by real handshakes."""

from __future__ import annotations

import re
import ssl
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from smtpd_anontls.certificates.contexts import ContextError, check_ciphers, server_context
from smtpd_anontls.certificates.issue import Issued
from smtpd_anontls.domain.certificate import Certificate
from smtpd_anontls.domain.tls_policy import TlsPolicy, TlsVersion
from tests.components.handshake import (
    client_context,
    exchange_ec,
    exchange_rsa,
    presented,
    shake,
    weak_rsa,
)

if TYPE_CHECKING:
    from collections.abc import Callable

V10, V11, V12, V13 = TlsVersion


def context_of(issued: Issued, policy: TlsPolicy | None = None) -> ssl.SSLContext:
    """Return the server context of a certificate; without a policy, Exchange's."""
    return server_context(
        x509.load_pem_x509_certificates(issued.certificate_pem),
        load_pem_private_key(issued.key_pem, None),
        policy or TlsPolicy(),
    )


@pytest.mark.parametrize("version", list(TlsVersion), ids=str)
@pytest.mark.parametrize("make", [exchange_rsa, exchange_ec, weak_rsa])
def test_presents_the_certificate(make: Callable[[], Issued], version: TlsVersion) -> None:
    """Keys of either kind, also of 1024 bits, serve in every version with Exchange's cipher suites."""
    issued = make()

    connection = shake(context_of(issued, TlsPolicy(V10, V13)), client_context(version, version))

    assert presented(connection) == issued.certificate.thumbprint
    assert connection.version() == version.value


@pytest.mark.slow
def test_presents_a_certificate_signed_with_sha1(tmp_path: Path) -> None:
    """Exchange's own certificates of old were sha1RSA, which OpenSSL takes at security level 0 alone."""
    request = "openssl req -x509 -sha1 -newkey rsa:1024 -nodes -subj /CN=OLD -keyout key.pem -out cert.pem"
    subprocess.run(request.split(), cwd=tmp_path, check=True, capture_output=True)
    pem = (tmp_path / "cert.pem").read_bytes()
    parsed = x509.load_pem_x509_certificate(pem)
    der = ssl.PEM_cert_to_DER_cert(pem.decode())
    issued = Issued(Certificate.from_der(der), pem, (tmp_path / "key.pem").read_bytes())

    connection = shake(context_of(issued), client_context())

    assert parsed.signature_hash_algorithm is not None
    assert parsed.signature_hash_algorithm.name == "sha1"
    assert presented(connection) == issued.certificate.thumbprint


@pytest.mark.parametrize(
    ("policy", "client", "spoken"),
    [
        pytest.param(TlsPolicy(), (V10, V13), V12, id="Exchange's range is TLS 1.2 alone"),
        pytest.param(TlsPolicy(), (V13, V13), None, id="a peer with TLS 1.3 alone fails"),
        pytest.param(TlsPolicy(), (V10, V11), None, id="a peer below the minimum fails"),
        pytest.param(TlsPolicy(V10, V11), (V10, V13), V11, id="the highest version of both is spoken"),
        pytest.param(TlsPolicy(V10, V10), (V10, V13), V10, id="TLS 1.0 alone"),
        pytest.param(TlsPolicy(V11, V12), (V10, V11), V11, id="TLS 1.1 as minimum"),
        pytest.param(TlsPolicy(V12, V13), (V10, V13), V13, id="TLS 1.3 where it is asked for"),
    ],
)
def test_speaks_the_versions_of_its_range(
    policy: TlsPolicy, client: tuple[TlsVersion, TlsVersion], spoken: TlsVersion | None
) -> None:
    """The policy's range decides which versions are spoken, and which peers fail."""
    server = context_of(exchange_ec(), policy)

    if spoken is None:
        with pytest.raises(ssl.SSLError):
            shake(server, client_context(*client))
    else:
        assert shake(server, client_context(*client)).version() == spoken.value


def test_server_prefers_its_own_order_of_suites() -> None:
    """The first suite of the policy that both have is spoken, whatever the client likes best."""
    client = client_context(V12, V12)
    client.set_ciphers("ECDHE-RSA-AES128-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384")

    cipher = shake(context_of(exchange_rsa()), client).cipher()

    assert cipher is not None
    assert cipher[0] == "ECDHE-RSA-AES256-GCM-SHA384"


def test_speaks_the_suites_that_it_is_told_to() -> None:
    """A cipher string in the policy replaces Exchange's list."""
    policy = TlsPolicy(ciphers="ECDHE-RSA-AES128-SHA256")

    cipher = shake(context_of(exchange_rsa(), policy), client_context()).cipher()

    assert cipher is not None
    assert cipher[0] == "ECDHE-RSA-AES128-SHA256"


@pytest.mark.parametrize("version", [V12, V13], ids=str)
def test_resumes_a_session(version: TlsVersion) -> None:
    """A peer that comes back with its ticket is spared the full handshake."""
    server, client = context_of(exchange_ec(), TlsPolicy(version, version)), client_context(version, version)

    first = shake(server, client)
    second = shake(server, client, session=first.session)

    assert not first.session_reused
    assert second.session_reused


def test_asks_for_no_more_than_it_needs() -> None:
    """No client certificate is asked for; compression and renegotiation are off."""
    context = context_of(exchange_ec())

    assert context.verify_mode is ssl.CERT_NONE
    assert context.options & ssl.OP_NO_COMPRESSION
    assert context.options & ssl.OP_NO_RENEGOTIATION


def test_presents_the_chain() -> None:
    """A peer that knows the root alone can verify a certificate of an intermediate authority."""
    root = trustme.CA()
    leaf = root.create_child_ca().issue_cert("mbx1.contoso.test")
    pem = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
    key = load_pem_private_key(leaf.private_key_pem.bytes(), None)
    client = ssl.create_default_context(cadata=root.cert_pem.bytes().decode())

    connection = shake(
        server_context(x509.load_pem_x509_certificates(pem), key, TlsPolicy()),
        client,
        name="mbx1.contoso.test",
    )

    assert connection.version() == "TLSv1.2"


def test_leaves_no_descriptor_behind() -> None:
    """The memory in which OpenSSL reads the key is gone afterwards, also where it does not take it."""
    descriptors = list(Path("/proc/self/fd").iterdir())
    certificates = x509.load_pem_x509_certificates(exchange_ec().certificate_pem)
    other_key = load_pem_private_key(exchange_rsa().key_pem, None)

    context_of(exchange_ec())
    with pytest.raises(ContextError, match="does not take it"):
        server_context(certificates, other_key, TlsPolicy())

    assert list(Path("/proc/self/fd").iterdir()) == descriptors


def test_says_what_would_take_a_weak_key() -> None:
    """A cipher string without a security level refuses 1024 bits, and the reason names the remedy."""
    with pytest.raises(ContextError, match=r"key too small.*@SECLEVEL=0"):
        context_of(weak_rsa(), TlsPolicy(ciphers="HIGH:@SECLEVEL=2"))


@pytest.mark.parametrize(
    ("policy", "complaint"),
    [
        pytest.param(TlsPolicy(), None, id="Exchange's list"),
        pytest.param(TlsPolicy(V10, V10), None, id="Exchange's list with its legacy suites"),
        pytest.param(TlsPolicy(V13, V13), None, id="TLS 1.3 has suites of its own"),
        pytest.param(TlsPolicy(ciphers="ECDHE+AESGCM"), None, id="a string of OpenSSL's"),
        pytest.param(TlsPolicy(ciphers="FOO"), "'FOO' is no OpenSSL cipher string", id="unknown"),
        pytest.param(TlsPolicy(ciphers=""), "'' is no OpenSSL cipher string", id="empty"),
        pytest.param(
            TlsPolicy(V10, V11, ciphers="AES128-SHA"), "end it with ':@SECLEVEL=0'", id="TLS 1.1 at level 1"
        ),
        pytest.param(
            TlsPolicy(V10, V11, ciphers="ECDHE-RSA-AES128-GCM-SHA256:@SECLEVEL=0"),
            "holds no cipher suite that TLSv1.1 can use",
            id="suites of TLS 1.2 below TLS 1.2",
        ),
    ],
)
def test_checks_cipher_strings(policy: TlsPolicy, complaint: str | None) -> None:
    """A cipher string with which no handshake can work is refused in one sentence."""
    said = check_ciphers(policy)

    assert (said is None) if complaint is None else re.search(re.escape(complaint), said or "")
