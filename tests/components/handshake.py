"""TLS handshakes without a socket, and the certificates that these tests are made of."""

from __future__ import annotations

import ssl
import warnings
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from smtpd_anontls.certificates.issue import Issued, KeyType, issue
from smtpd_anontls.domain.certificate import Certificate, thumbprint_of
from smtpd_anontls.domain.tls_policy import TlsVersion

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def fresh(name: str = "MBX1") -> Issued:
    """Return a new certificate on P-256, which is quick to make."""
    return issue([name, f"{name}.contoso.test"], now=NOW, key_type=KeyType.EC)


@cache
def exchange_rsa() -> Issued:
    """Return what Exchange makes by default: RSA of 2048 bits."""
    return issue(["MBX1", "mbx1.contoso.test"], now=NOW)


@cache
def exchange_ec() -> Issued:
    """Return the same on P-256."""
    return fresh()


@cache
def weak_rsa() -> Issued:
    """Return a certificate with a key of 1024 bits, as old servers have."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 - that is the point
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "OLD")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, NOW, NOW + timedelta(days=1))
    signed = builder.sign(key, hashes.SHA256())
    return Issued(
        Certificate.from_der(signed.public_bytes(Encoding.DER)),
        signed.public_bytes(Encoding.PEM),
        key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()),
    )


def client_context(
    minimum: TlsVersion = TlsVersion.TLSv1, maximum: TlsVersion = TlsVersion.TLSv1_3
) -> ssl.SSLContext:
    """Return a client that believes every certificate and takes every cipher suite."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion[minimum.name]
        context.maximum_version = ssl.TLSVersion[maximum.name]
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


def shake(
    server: ssl.SSLContext,
    client: ssl.SSLContext,
    *,
    session: ssl.SSLSession | None = None,
    name: str | None = None,
) -> ssl.SSLObject:
    """Run a handshake, let the server say something, and return the client's side."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    there = client.wrap_bio(to_client, to_server, server_hostname=name, session=session)
    here = server.wrap_bio(to_server, to_client, server_side=True)
    unfinished = [there, here]
    while unfinished:
        for side in tuple(unfinished):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            unfinished.remove(side)
    here.write(b"220")
    if there.read(3) != b"220":
        raise AssertionError("what the server said did not arrive")
    return there


def presented(connection: ssl.SSLObject) -> str:
    """Return the thumbprint of the certificate that the server presented."""
    der = connection.getpeercert(binary_form=True)
    return thumbprint_of(der or b"")
