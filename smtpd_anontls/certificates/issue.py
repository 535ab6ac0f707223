"""Issuing a certificate such as Exchange makes for itself, and the successor of one.

Subject and issuer ``CN=<NetBIOS name>``; subject alternative names NetBIOS name and FQDN; key
usage digital signature and key encipherment; server authentication; end entity; five years.
These four extensions, in this order and criticality, and no other, are what a "Microsoft
Exchange" certificate of an Exchange 2019 server carries; only its SHA-1 signature is not copied.
"""

from __future__ import annotations

import re
import secrets
import warnings
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from smtpd_anontls.domain.certificate import Certificate

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

YEARS_VALID = 5

_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_DNS_NAME = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")
_LONGEST_DNS_NAME = 253
_LONGEST_COMMON_NAME = 64  # RFC 5280 appendix A.1, ub-common-name.


class KeyType(StrEnum):
    """Which key a new certificate gets."""

    RSA = "rsa"  # 2048 bits, Exchange's own.
    EC = "ec"  # P-256.


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate and its private key, as they stand in a file of the store."""

    certificate: Certificate
    certificate_pem: bytes = field(repr=False)  # Its chain behind it, where there is one.
    key_pem: bytes = field(repr=False)


def issue(
    names: Sequence[str],
    *,
    now: datetime,
    valid_from: datetime | None = None,
    valid_to: datetime | None = None,
    key_type: KeyType = KeyType.RSA,
) -> Issued:
    """Make a certificate for *names*, the first of which is its CN; ValueError says what would do.

    Valid from *now* for five years unless told otherwise.  An RSA key takes up to a second.
    """
    unique = _unique(names)
    start = valid_from or now
    end = valid_to or years_after(start, YEARS_VALID)
    if end <= start:
        raise ValueError(f"Valid to ({end:%Y-%m-%d}) has to be later than Valid from ({start:%Y-%m-%d})")
    key = (
        ec.generate_private_key(ec.SECP256R1())
        if key_type is KeyType.EC
        else rsa.generate_private_key(public_exponent=65537, key_size=2048)
    )
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, unique[0])])
    names_extension = x509.SubjectAlternativeName([x509.DNSName(name) for name in unique])
    return _self_signed(subject, names_extension, key, start, end)


def succeed(certificate: Certificate, *, now: datetime) -> Issued:
    """Make the successor of a self-signed certificate, with a key of its own; ValueError says why it cannot.

    Subject, subject alternative names, type and size of the key are the same; valid from *now* for
    five years.
    """
    with warnings.catch_warnings():
        # As in domain.certificate: an odd serial number or name of an old certificate harms nothing.
        warnings.simplefilter("ignore")
        parsed = x509.load_der_x509_certificate(certificate.der)
        subject = parsed.subject
    try:
        names = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, ValueError):
        names = None  # It has none to be found by, and neither will its successor.
    try:
        public_key = parsed.public_key()
    except (ValueError, UnsupportedAlgorithm):
        public_key = None
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
    match public_key:
        case rsa.RSAPublicKey():
            key = rsa.generate_private_key(public_exponent=65537, key_size=public_key.key_size)
        case ec.EllipticCurvePublicKey():
            key = ec.generate_private_key(public_key.curve)
        case _:
            raise ValueError("its key is neither RSA nor of a known curve; make a new certificate instead")
    return _self_signed(subject, names, key, now, years_after(now, YEARS_VALID))


def _self_signed(
    subject: x509.Name,
    names: x509.SubjectAlternativeName | None,
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey,
    start: datetime,
    end: datetime,
) -> Issued:
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(_KEY_USAGE, critical=True)
    )
    if names is not None:
        builder = builder.add_extension(names, critical=False)
    certificate = (
        builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Issued(
        Certificate.from_der(certificate.public_bytes(Encoding.DER)),
        certificate.public_bytes(Encoding.PEM),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )


_KEY_USAGE = x509.KeyUsage(
    digital_signature=True,
    key_encipherment=True,
    content_commitment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)


def years_after(instant: datetime, years: int) -> datetime:
    """Return the same day *years* later; 28 February for the 29th where there is none."""
    try:
        return instant.replace(year=instant.year + years)
    except ValueError:
        return instant.replace(year=instant.year + years, day=28)


def _unique(names: Sequence[str]) -> list[str]:
    """Return *names* without repetitions in another case."""
    unique = list({name.casefold(): name for name in reversed(names)}.values())[::-1]
    for name in unique:
        if len(name) > _LONGEST_DNS_NAME or not _DNS_NAME.fullmatch(name):
            raise ValueError(
                f"{name!r} is not a DNS name; letters, digits, hyphens and dots make one "
                "(a name in another script in its xn-- form)"
            )
    if not unique:
        raise ValueError("a certificate needs a name")
    if len(unique[0]) > _LONGEST_COMMON_NAME:
        raise ValueError(
            f"{unique[0]!r} is too long for a CN of {_LONGEST_COMMON_NAME} characters; name a shorter one first"
        )
    return unique


def _serial_number() -> int:
    """Return a random number of sixteen octets, as Windows makes it: positive, the first octet not zero."""
    return secrets.randbits(126) | 1 << 126
