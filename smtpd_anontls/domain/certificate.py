"""A certificate as Exchange's selections see it: thumbprint, names, dates, and who issued it.

Parsing is all that happens here; files, keys and TLS contexts belong to the store.
"""

from __future__ import annotations

import hashlib
import re
import warnings
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import NameOID

from smtpd_anontls.domain import distinguished_names
from smtpd_anontls.domain.distinguished_names import same_distinguished_name

if TYPE_CHECKING:
    from datetime import datetime

_THUMBPRINT = re.compile(r"[0-9A-Fa-f]{40}")
# Spaces and the left-to-right mark that the certificate dialog of Windows puts in front.
_THUMBPRINT_NOISE = re.compile("[\\s:\u200e\u200f]")


# RFC 5929 section 4.1: the hash of the certificate's own signature, but SHA-256 in place of MD5 and SHA-1.
# Where the signature names none (Ed25519) the RFC leaves it open; OpenSSL's users take SHA-256 there too.
_END_POINT_HASHES = {"sha224": hashlib.sha224, "sha384": hashlib.sha384, "sha512": hashlib.sha512}


class CertificateError(ValueError):
    """The octets are not a certificate that can be understood."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """What the selections ask of an X.509 certificate."""

    thumbprint: str  # SHA-1 of the DER, 40 upper-case hexadecimal digits.
    subject: str  # As Windows shows it: 'CN=mbx1, O="Contoso, Ltd."'; may be empty.
    issuer: str
    serial_number: str  # The octets of the INTEGER in upper-case hexadecimal, as Windows shows it.
    not_before: datetime  # Valid from, UTC.
    not_after: datetime  # Valid to, UTC.
    subject_alternative_names: tuple[str, ...]  # DNS names and IP addresses.
    common_names: tuple[str, ...]
    self_signed: bool  # Issuer and subject are the same name, which is all that Exchange looks at.
    version: int  # 1 or 3.
    der: bytes = field(repr=False)

    @classmethod
    def from_der(cls, der: bytes) -> Certificate:
        """Read a certificate; CertificateError where the octets are none."""
        try:
            with warnings.catch_warnings():
                # What RFC 5280 forbids but old certificates have, and harms nothing here: serial
                # numbers of zero or below, and parts of names that are too long or too short.
                warnings.filterwarnings("ignore", category=CryptographyDeprecationWarning)
                warnings.filterwarnings("ignore", message="Attribute's length", category=UserWarning)
                return cls._from_parsed(x509.load_der_x509_certificate(der), der)
        except Exception as error:
            # The parser raises ValueError and its relatives, and others on malformed names.
            raise CertificateError("not an X.509 certificate that can be read") from error

    @classmethod
    def _from_parsed(cls, parsed: x509.Certificate, der: bytes) -> Certificate:
        serial = parsed.serial_number
        octets = (serial + (serial < 0)).bit_length() // 8 + 1
        return cls(
            thumbprint=thumbprint_of(der),
            subject=distinguished_names.written(parsed.subject),
            issuer=distinguished_names.written(parsed.issuer),
            serial_number=serial.to_bytes(octets, "big", signed=True).hex().upper(),
            not_before=parsed.not_valid_before_utc,
            not_after=parsed.not_valid_after_utc,
            subject_alternative_names=_alternative_names(parsed),
            common_names=tuple(
                str(a.value) for a in parsed.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
            ),
            self_signed=parsed.subject == parsed.issuer,
            version=parsed.version.value + 1,
            der=der,
        )

    def is_expired(self, now: datetime) -> bool:
        """Whether Valid to is over; at Valid to itself the certificate still counts (RFC 5280 section 4.1.2.5)."""
        return self.not_after < now

    def is_not_yet_valid(self, now: datetime) -> bool:
        """Whether Valid from is still to come."""
        return now < self.not_before

    @property
    def tls_server_end_point(self) -> bytes:
        """What a channel binding says of a server with this certificate (RFC 5929 section 4)."""
        return tls_server_end_point(self.der)

    def has_name(self, name: str) -> bool:
        """Whether Subject CN or a subject alternative name is *name*; a wildcard stands for one label."""
        return any(name_matches(own, name) for own in (*self.common_names, *self.subject_alternative_names))


class KeyState(Enum):
    """Whether the store can sign with the certificate's private key."""

    USABLE = "has a usable private key"
    MISSING = "has no private key"
    UNREADABLE = "has a private key that cannot be read"
    MISMATCH = "has a private key that does not belong to it"
    ELSEWHERE = "has its private key on the server that it was exported from"

    @property
    def is_there(self) -> bool:
        """Whether the server that a selection speaks of has the key, if only that server."""
        return self in (KeyState.USABLE, KeyState.ELSEWHERE)


class PrivateKey(StrEnum):
    """What an export says of a certificate's private key, which it never holds."""

    EXPORTABLE = "exportable"
    PRESENT = "present"
    NONE = "none"
    UNTOLD = "untold"


@dataclass(frozen=True, slots=True)
class Exported:
    """What the export of a server says of a certificate."""

    private_key: PrivateKey
    status: str | None  # As Get-ExchangeCertificate shows it, such as Valid; None: it does not say.


@dataclass(frozen=True, slots=True)
class StoreCertificate:
    """A certificate in the local computer store, and what the store knows about it."""

    certificate: Certificate
    key: KeyState
    services: frozenset[str] | None  # None: services.yaml does not list it.
    file: str  # Relative to the store.
    exported: Exported | None = None  # Only where the store is an export's.

    @property
    def key_remark(self) -> str:
        """What a sentence about the certificate adds of its key; empty where the key is here, or nowhere."""
        if self.key is not KeyState.ELSEWHERE:
            return ""
        assumed = self.exported is None or self.exported.private_key is PrivateKey.UNTOLD
        remark = "its private key is on the server that was exported"
        return f"; {remark} (assumed: the export does not say)" if assumed else f"; {remark}"

    @property
    def enabled_for_smtp(self) -> bool:
        """Whether it may serve SMTP; a certificate that services.yaml does not list may."""
        return self.services is None or "SMTP" in self.services


def thumbprint_of(der: bytes) -> str:
    """Return the SHA-1 of *der* as Windows shows it: 40 upper-case hexadecimal digits."""
    return hashlib.sha1(der, usedforsecurity=False).hexdigest().upper()


def tls_server_end_point(der: bytes) -> bytes:
    """Return what a channel binding says of a server with this certificate (RFC 5929 section 4).

    That is the whole application data, ``tls-server-end-point:`` and the hash.  CertificateError where
    the octets are no certificate.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            algorithm = x509.load_der_x509_certificate(der).signature_hash_algorithm
    except UnsupportedAlgorithm:
        algorithm = None
    except Exception as error:
        raise CertificateError("not an X.509 certificate that can be read") from error
    chosen = _END_POINT_HASHES.get(algorithm.name if algorithm else "", hashlib.sha256)
    return b"tls-server-end-point:" + chosen(der).digest()


def normalized_thumbprint(text: str) -> str:
    """Return *text* as a thumbprint; spaces, colons and case do not matter; ValueError says why not."""
    plain = _THUMBPRINT_NOISE.sub("", text)
    if not _THUMBPRINT.fullmatch(plain):
        raise ValueError(f"{text!r} is not a thumbprint; it has 40 hexadecimal digits")
    return plain.upper()


def name_matches(own: str, wanted: str) -> bool:
    """Whether a certificate's name *own* stands for *wanted*: equal, or ``*.`` for one first label."""
    own, wanted = own.casefold().rstrip("."), wanted.casefold().rstrip(".")
    if own.startswith("*."):
        label, dot, rest = wanted.partition(".")
        return bool(label and dot and rest) and rest == own[2:]
    return own == wanted


@dataclass(frozen=True, slots=True)
class CertificateName:
    """A TlsCertificateName: ``<I>X.500 issuer<S>X.500 subject``."""

    issuer: str
    subject: str
    text: str

    @classmethod
    def parse(cls, text: str) -> CertificateName:
        """Read the ``<I>…<S>…`` form; ValueError says what would do."""
        found = re.fullmatch(r"\s*<I>(.+)<S>(.+)", text, re.IGNORECASE | re.DOTALL)
        if not found:
            raise ValueError(f"{text!r} is not a certificate name; write <I>issuer<S>subject")
        issuer, subject = found[1].strip(), found[2].strip()
        if not issuer or not subject:
            raise ValueError(f"{text!r} is not a certificate name; neither issuer nor subject may be empty")
        return cls(issuer, subject, text.strip())

    def matches(self, certificate: Certificate) -> bool:
        """Whether issuer and subject are those of *certificate*; keys, spacing and case as in X.500."""
        return same_distinguished_name(self.issuer, certificate.issuer) and same_distinguished_name(
            self.subject,
            certificate.subject,
        )


def _alternative_names(parsed: x509.Certificate) -> tuple[str, ...]:
    try:
        names = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, ValueError):
        # Windows loads a certificate whose extensions are malformed or unknown, and so does OpenSSL;
        # its thumbprint can still be named, it only has no names to be found by.
        return ()
    dns = names.get_values_for_type(x509.DNSName)
    return (*dns, *(str(address) for address in names.get_values_for_type(x509.IPAddress)))
