"""What one file of the local computer store holds: certificates and private keys, as PEM, DER or PFX.

services.yaml holds neither, but what the certificates are enabled for; exported.yaml what an export says of them.
A ``.pem`` may hold several certificates and keys in any order.  Text between the blocks is a
comment; blocks of other kinds (EC PARAMETERS, CERTIFICATE REQUEST) are passed over.  A PFX file
holds one key, its certificate, and the others of the chain.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_private_key,
    load_pem_private_key,
)
from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12
from cryptography.utils import CryptographyDeprecationWarning

from smtpd_anontls.certificates.exported import EXPORTED_FILE, parse_exported
from smtpd_anontls.certificates.pem import UselessError, blocks
from smtpd_anontls.certificates.services import SERVICES_FILE, parse_services
from smtpd_anontls.domain.certificate import Certificate, CertificateError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
    from cryptography.hazmat.primitives.serialization.pkcs12 import PKCS12KeyAndCertificates

    from smtpd_anontls.certificates.passwords import Password
    from smtpd_anontls.domain.certificate import Exported

PFX_SUFFIXES = (".pfx", ".p12")

_CERTIFICATE_LABELS = {"CERTIFICATE", "X509 CERTIFICATE"}
_KEY_LABEL = "PRIVATE KEY"  # Closes "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY" too.
_ASN1_SEQUENCE = b"\x30"
_LONG_FORM = 0x80  # X.690 section 8.1.3.5: then the next octets hold the length.
_KEY_ENDINGS = (".key", "-key.pem", *PFX_SUFFIXES)


@dataclass(frozen=True, slots=True, eq=False)
class HeldCertificate:
    """A certificate in a file, with what is needed to find its key and its chain."""

    certificate: Certificate
    parsed: x509.Certificate = field(repr=False)
    public_key: bytes | None = field(repr=False)  # None: of a kind that is not understood.
    lines: range | None = None  # Where it stands in a PEM text.


@dataclass(frozen=True, slots=True, eq=False)
class HeldKey:
    """A private key in a file, and the public key by which its certificate is found."""

    public_key: bytes = field(repr=False)
    private_key: PrivateKeyTypes = field(repr=False)
    lines: range | None = None


@dataclass(frozen=True, slots=True, eq=False)
class FileContents:
    """What a file holds; *problems* are clauses about what in it is of no use."""

    certificates: tuple[HeldCertificate, ...] = ()
    keys: tuple[HeldKey, ...] = ()
    has_unreadable_key: bool = False
    services: Mapping[str, frozenset[str]] = field(default_factory=dict)  # Of services.yaml alone.
    exported: Mapping[str, Exported] = field(default_factory=dict)  # Of exported.yaml alone.
    problems: tuple[str, ...] = ()
    is_pfx: bool = False

    def leaves(self, own_keys: Collection[bytes]) -> list[HeldCertificate]:
        """Return the certificates that stand for themselves.

        One that issued another of the same file is only part of that one's chain, unless its own
        key is among *own_keys* (public keys).
        """
        return [
            held
            for held in self.certificates
            if held.public_key in own_keys
            or not any(_is_issued_by(other, held) for other in self.certificates)
        ]

    def chain_of(self, leaf: HeldCertificate) -> list[HeldCertificate]:
        """Return *leaf* and, in order, the other certificates of the file that it chains to."""
        chain = [leaf]
        while True:
            issuer = next(
                (c for c in self.certificates if c not in chain and _is_issued_by(chain[-1], c)), None
            )
            if issuer is None:
                return chain
            chain.append(issuer)


def unreadable(name: str, reason: str) -> FileContents:
    """Return what stands for a file that could not be read: by its name it may have been a key."""
    return FileContents(has_unreadable_key=name.lower().endswith(_KEY_ENDINGS), problems=(reason,))


def parse(name: str, octets: bytes, password: Password) -> FileContents:
    """Return what the file *name* holds; whatever is wrong with it is among the problems.

    The password counts only for what is encrypted.
    """
    if name == SERVICES_FILE:
        services, mistakes = parse_services(octets)
        return FileContents(services=services, problems=tuple(mistakes))
    if name == EXPORTED_FILE:
        exported, mistakes = parse_exported(octets)
        return FileContents(exported=exported, problems=tuple(mistakes))
    try:
        if name.lower().endswith(PFX_SUFFIXES) or _is_pfx(octets):
            return _parse_pfx(octets, password)
        if octets[:1] == _ASN1_SEQUENCE:
            return _parse_der(name, octets, password)
    except UselessError as error:
        return unreadable(name, str(error))
    return _parse_pem(name, octets, password)


def _parse_pem(name: str, octets: bytes, password: Password) -> FileContents:
    certificates: list[HeldCertificate] = []
    keys: list[HeldKey] = []
    has_unreadable_key = False
    problems: list[str] = []
    for block in blocks(octets):
        try:
            if block.label in _CERTIFICATE_LABELS:
                certificates.append(_held_certificate(block.decoded(), block.place))
            elif block.label.endswith(_KEY_LABEL):
                keys.append(_held_key(load_pem_private_key, block.text, password, block.place))
        except UselessError as error:
            problems.append(f"line {block.line}: {error}")
            has_unreadable_key |= block.label.endswith(_KEY_LABEL)
    if not (certificates or keys or problems):
        return unreadable(name, "holds no certificate and no private key in PEM form")
    return FileContents(tuple(certificates), tuple(keys), has_unreadable_key, problems=tuple(problems))


def _parse_der(name: str, octets: bytes, password: Password) -> FileContents:
    if _length_of(octets) > len(octets):
        raise UselessError("the file is cut off; copy it again")
    if name.lower().endswith(".key"):
        return FileContents(keys=(_held_key(load_der_private_key, octets, password),))
    return FileContents((_held_certificate(octets),))


def _parse_pfx(octets: bytes, password: Password) -> FileContents:
    held = _opened(octets, password)
    every = [held.cert, *held.additional_certs]
    certificates = [
        _held_certificate(each.certificate.public_bytes(Encoding.DER)) for each in every if each is not None
    ]
    keys = [_with_public_key(held.key)] if held.key is not None else []
    if not (certificates or keys):
        raise UselessError("a PFX file that holds no certificate and no private key")
    return FileContents(tuple(certificates), tuple(keys), is_pfx=True)


def _opened(octets: bytes, password: Password) -> PKCS12KeyAndCertificates:
    """Open a PFX file; a password that it does not need does no harm."""
    # Its own words tell a file that is none from one that the password does not open; the length
    # alone, in its first octets, tells one that is cut off.
    if _length_of(octets) > len(octets):
        raise UselessError("the PFX file is cut off; copy it again")
    closed = False
    for secret in dict.fromkeys((None, password.octets)):
        try:
            with _old_certificates_are_welcome():
                return load_pkcs12(octets, secret)
        except UnsupportedAlgorithm as error:
            raise UselessError("a PFX file with an encryption that is not known here") from error
        except ValueError as error:
            closed |= "password" in str(error)
    if not closed:
        raise UselessError("not a PFX file that can be understood")
    if password.octets is None:
        raise UselessError(f"the PFX file needs a password, and {password.problem}")
    raise UselessError(f"the password in {password.place} does not open the PFX file; correct it")


def _is_pfx(octets: bytes) -> bool:
    """Whether it begins as a PFX file does, whatever its name: a sequence, and in it version 3 (RFC 7292)."""
    if octets[:1] != _ASN1_SEQUENCE or not octets[1:]:
        return False
    content = 2 if octets[1] < _LONG_FORM else 2 + (octets[1] & 0x7F)
    return octets[content : content + 3] == b"\x02\x01\x03"


def _length_of(octets: bytes) -> int:
    """Return the length that a DER sequence says it has; 0 where it says none."""
    if octets[:1] != _ASN1_SEQUENCE or not octets[1:]:
        return 0
    short, more = octets[1], octets[1] & 0x7F
    return 2 + short if short < _LONG_FORM else 2 + more + int.from_bytes(octets[2 : 2 + more])


def _old_certificates_are_welcome() -> warnings.catch_warnings[None]:
    # As in domain.certificate: an odd serial number of an old certificate harms nothing.
    return warnings.catch_warnings(action="ignore", category=CryptographyDeprecationWarning)


def _held_certificate(der: bytes, lines: range | None = None) -> HeldCertificate:
    try:
        certificate = Certificate.from_der(der)
    except CertificateError as error:
        raise UselessError(str(error)) from error
    with _old_certificates_are_welcome():
        parsed = x509.load_der_x509_certificate(certificate.der)
    try:
        public_key = parsed.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, UnsupportedAlgorithm):
        public_key = None
    return HeldCertificate(certificate, parsed, public_key, lines)


def _held_key(
    load: Callable[[bytes, bytes | None], PrivateKeyTypes],
    octets: bytes,
    password: Password,
    lines: range | None = None,
) -> HeldKey:
    try:
        return _with_public_key(load(octets, None), lines)
    except TypeError:
        pass  # How cryptography says that a password is needed.
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UselessError("not a private key that can be understood") from error
    if password.octets is None:
        raise UselessError(f"the private key is encrypted, and {password.problem}")
    try:
        return _with_public_key(load(octets, password.octets), lines)
    except (TypeError, ValueError, UnsupportedAlgorithm) as error:
        raise UselessError(
            f"the password in {password.place} does not decrypt the private key; correct it"
        ) from error


def _with_public_key(key: PrivateKeyTypes, lines: range | None = None) -> HeldKey:
    try:
        public_key = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UselessError("not a private key that can be understood") from error
    return HeldKey(public_key, key, lines)


def _is_issued_by(child: HeldCertificate, issuer: HeldCertificate) -> bool:
    """Whether *issuer* signed *child*; a self-signed certificate is issued by no other.

    Otherwise an old and a renewed certificate of one self-signed key would issue each other.
    """
    if (
        child is issuer
        or child.certificate.self_signed
        or child.certificate.issuer != issuer.certificate.subject
    ):
        return False
    try:
        child.parsed.verify_directly_issued_by(issuer.parsed)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True
