"""What one file of the local computer store holds: certificates and private keys, as PEM or DER.

services.yaml holds neither, but what the certificates are enabled for.
A ``.pem`` may hold several certificates and keys in any order.  Text between the blocks is a
comment; blocks of other kinds (EC PARAMETERS, CERTIFICATE REQUEST) are passed over.
"""

from __future__ import annotations

import base64
import binascii
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_private_key,
    load_pem_private_key,
)
from cryptography.utils import CryptographyDeprecationWarning

from smtpd_anontls.certificates.services import SERVICES_FILE, parse_services
from smtpd_anontls.domain.certificate import Certificate, CertificateError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

_CERTIFICATE_LABELS = {"CERTIFICATE", "X509 CERTIFICATE"}
_KEY_LABEL = "PRIVATE KEY"  # Closes "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY" too.
_ASN1_SEQUENCE = b"\x30"
_KEY_ENDINGS = (".key", "-key.pem")


@dataclass(frozen=True, slots=True, eq=False)
class HeldCertificate:
    """A certificate in a file, with what is needed to find its key and its chain."""

    certificate: Certificate
    parsed: x509.Certificate = field(repr=False)
    public_key: bytes | None = field(repr=False)  # None: of a kind that is not understood.


@dataclass(frozen=True, slots=True, eq=False)
class HeldKey:
    """A private key in a file, and the public key by which its certificate is found."""

    public_key: bytes = field(repr=False)
    private_key: PrivateKeyTypes = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class FileContents:
    """What a file holds; *problems* are clauses about what in it is of no use."""

    certificates: tuple[HeldCertificate, ...] = ()
    keys: tuple[HeldKey, ...] = ()
    has_unreadable_key: bool = False
    services: Mapping[str, frozenset[str]] = field(default_factory=dict)  # Of services.yaml alone.
    problems: tuple[str, ...] = ()

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


def parse(name: str, octets: bytes) -> FileContents:
    """Return what the file *name* holds; whatever is wrong with it is among the problems."""
    if name == SERVICES_FILE:
        services, mistakes = parse_services(octets)
        return FileContents(services=services, problems=tuple(mistakes))
    if octets[:1] == _ASN1_SEQUENCE:
        return _parse_der(name, octets)
    certificates: list[HeldCertificate] = []
    keys: list[HeldKey] = []
    has_unreadable_key = False
    problems: list[str] = []
    for block in _blocks(octets):
        try:
            if block.label in _CERTIFICATE_LABELS:
                certificates.append(_held_certificate(block.decoded()))
            elif block.label.endswith(_KEY_LABEL):
                keys.append(_held_key(block))
        except _BlockError as error:
            problems.append(f"line {block.line}: {error}")
            has_unreadable_key |= block.label.endswith(_KEY_LABEL)
    if not (certificates or keys or problems):
        return unreadable(name, "holds no certificate and no private key in PEM form")
    return FileContents(tuple(certificates), tuple(keys), has_unreadable_key, problems=tuple(problems))


def _parse_der(name: str, octets: bytes) -> FileContents:
    try:
        if name.lower().endswith(".key"):
            return FileContents(keys=(_loaded(lambda: load_der_private_key(octets, None)),))
        return FileContents((_held_certificate(octets),))
    except _BlockError as error:
        return unreadable(name, str(error))


class _BlockError(Exception):
    """A block is of no use; a clause says why and what would do."""


class _Block(NamedTuple):
    """A PEM block: its label, the line of its BEGIN, and its lines; not closed where END is missing."""

    label: str
    line: int
    lines: list[bytes]
    closed: bool

    def decoded(self) -> bytes:
        self.check_closed()
        try:
            return base64.b64decode(b"".join(self.lines[1:-1]), validate=True)
        except binascii.Error as error:
            raise _BlockError(f"not base64 between BEGIN and END {self.label}") from error

    def check_closed(self) -> None:
        if not self.closed:
            raise _BlockError(f"BEGIN {self.label} has no END; the file seems cut off")


def _blocks(octets: bytes) -> Iterator[_Block]:
    """Walk the PEM blocks line by line, so that no content makes it slow."""
    block: _Block | None = None
    for number, raw in enumerate(octets.splitlines(), start=1):
        line = raw.strip().removeprefix(b"\xef\xbb\xbf")
        is_boundary = line.endswith(b"-----")
        if is_boundary and line.startswith(b"-----BEGIN "):
            if block is not None:
                yield block
            block = _Block(line[11:-5].decode("ascii", "replace"), number, [line], closed=False)
        elif block is not None:
            block.lines.append(line)
            if is_boundary and line == f"-----END {block.label}-----".encode():
                yield block._replace(closed=True)
                block = None
    if block is not None:
        yield block


def _held_certificate(der: bytes) -> HeldCertificate:
    try:
        certificate = Certificate.from_der(der)
    except CertificateError as error:
        raise _BlockError(str(error)) from error
    with warnings.catch_warnings():
        # As in domain.certificate: an odd serial number of an old certificate harms nothing.
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        parsed = x509.load_der_x509_certificate(certificate.der)
    try:
        public_key = parsed.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, UnsupportedAlgorithm):
        public_key = None
    return HeldCertificate(certificate, parsed, public_key)


def _held_key(block: _Block) -> HeldKey:
    block.check_closed()
    return _loaded(lambda: load_pem_private_key(b"\n".join(block.lines) + b"\n", None))


def _loaded(load: Callable[[], PrivateKeyTypes]) -> HeldKey:
    try:
        key = load()
        public_key = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except TypeError as error:
        # How cryptography says that a password is needed.
        raise _BlockError(
            "the private key is encrypted; store it without a password (openssl pkey -in … -out …)"
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _BlockError("not a private key that can be understood") from error
    return HeldKey(public_key, key)


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
