"""A certificate as Exchange's selections see it: thumbprint, names, dates, and who issued it.

Parsing is all that happens here; files, keys and TLS contexts belong to the store.
"""

from __future__ import annotations

import hashlib
import re
import warnings
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import ExtensionOID, NameOID

if TYPE_CHECKING:
    from datetime import datetime

# Names as Windows writes them where they differ from RFC 4514 (CertNameToStr, X500DistinguishedName).
_ALIASES = {
    "S": "ST",
    "E": "1.2.840.113549.1.9.1",
    "EMAILADDRESS": "1.2.840.113549.1.9.1",
    "STREET": "2.5.4.9",
}
_SHOWN = {NameOID.EMAIL_ADDRESS: "E", NameOID.STATE_OR_PROVINCE_NAME: "S"}
_THUMBPRINT = re.compile(r"[0-9A-Fa-f]{40}")
# Spaces and the left-to-right mark that the certificate dialog of Windows puts in front.
_THUMBPRINT_NOISE = re.compile("[\\s:\u200e\u200f]")


class CertificateError(ValueError):
    """The octets are not a certificate that can be understood."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """What the selections ask of an X.509 certificate."""

    thumbprint: str  # SHA-1 of the DER, 40 upper-case hexadecimal digits.
    subject: str  # As Windows shows it: "CN=mbx1, O=Contoso".
    issuer: str
    serial_number: str  # Upper-case hexadecimal digits, an even number of them.
    not_before: datetime  # Valid from, UTC.
    not_after: datetime  # Valid to, UTC.
    subject_alternative_names: tuple[str, ...]  # DNS names and IP addresses.
    common_names: tuple[str, ...]
    self_signed: bool
    version: int  # 1 to 3.
    der: bytes = field(repr=False)

    @classmethod
    def from_der(cls, der: bytes) -> Certificate:
        """Read a certificate; CertificateError where the octets are none."""
        try:
            with warnings.catch_warnings():
                # A serial number of zero or a negative one is found in old certificates and harms nothing here.
                warnings.simplefilter("ignore", CryptographyDeprecationWarning)
                return cls._from_parsed(x509.load_der_x509_certificate(der))
        except CertificateError:
            raise
        except Exception as error:
            # The parser raises ValueError and its relatives, and others on malformed extensions.
            raise CertificateError("not an X.509 certificate") from error

    @classmethod
    def _from_parsed(cls, parsed: x509.Certificate) -> Certificate:
        der = parsed.public_bytes(Encoding.DER)
        serial = f"{abs(parsed.serial_number):X}"
        return cls(
            thumbprint=thumbprint_of(der),
            subject=_shown(parsed.subject),
            issuer=_shown(parsed.issuer),
            serial_number=serial.zfill(len(serial) + len(serial) % 2),
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
        """Whether Valid to is over: RFC 5280 section 4.1.2.5 includes the last second."""
        return self.not_after < now

    def is_not_yet_valid(self, now: datetime) -> bool:
        """Whether Valid from is still to come."""
        return now < self.not_before

    def has_name(self, name: str) -> bool:
        """Whether Subject CN or a subject alternative name is *name*; a wildcard stands for one label."""
        return any(name_matches(own, name) for own in (*self.common_names, *self.subject_alternative_names))


class KeyState(Enum):
    """Whether the store can sign with the certificate's private key."""

    USABLE = "has a usable private key"
    MISSING = "has no private key"
    UNREADABLE = "has a private key that cannot be read"
    MISMATCH = "has a private key that does not belong to it"


@dataclass(frozen=True, slots=True)
class StoreCertificate:
    """A certificate in the local computer store, and what the store knows about it."""

    certificate: Certificate
    key: KeyState
    services: frozenset[str] | None  # None: services.yaml does not list it.
    file: str  # Relative to the store.

    @property
    def enabled_for_smtp(self) -> bool:
        """Whether it may serve SMTP; a certificate that services.yaml does not list may."""
        return self.services is None or "SMTP" in self.services


def thumbprint_of(der: bytes) -> str:
    """Return the SHA-1 of *der* as Windows shows it: 40 upper-case hexadecimal digits."""
    return hashlib.sha1(der, usedforsecurity=False).hexdigest().upper()


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
        return cls(found[1].strip(), found[2].strip(), text.strip())

    def matches(self, certificate: Certificate) -> bool:
        """Whether issuer and subject are those of *certificate*; spelling, order and case of types as X.500."""
        return same_distinguished_name(self.issuer, certificate.issuer) and same_distinguished_name(
            self.subject,
            certificate.subject,
        )


def same_distinguished_name(first: str, second: str) -> bool:
    """Whether two written X.500 names are the same, white space and case aside."""
    return _relative_names(first) == _relative_names(second)


def _relative_names(name: str) -> list[tuple[tuple[str, str], ...]]:
    """Split a written name into its relative names; a malformed part stays as it is."""
    relative = []
    for part in _split(name, ",;"):
        pairs = []
        for attribute in _split(part, "+"):
            kind, _, value = attribute.partition("=")
            key = kind.strip().upper().removeprefix("OID.")
            pairs.append((_ALIASES.get(key, key), " ".join(_unquoted(value).casefold().split())))
        relative.append(tuple(sorted(pairs)))
    return relative


def _split(text: str, separators: str) -> list[str]:
    """Split at separators that are neither quoted nor escaped."""
    parts, current, quoted, escaped = [], "", False, False
    for character in text:
        if escaped:
            current, escaped = current + character, False
        elif character == "\\":
            current, escaped = current + character, True
        elif character == '"':
            current, quoted = current + character, not quoted
        elif character in separators and not quoted:
            parts.append(current)
            current = ""
        else:
            current += character
    return [*parts, current]


def _unquoted(value: str) -> str:
    value = value.strip()
    if len(value) > 1 and value[0] == value[-1] == '"':
        return value[1:-1].replace('""', '"')
    return re.sub(r"\\(.)", r"\1", value)


def _shown(name: x509.Name) -> str:
    """Write a name as Windows does: most specific part first, comma and space between."""
    return ", ".join(relative.rfc4514_string(_SHOWN) for relative in reversed(name.rdns))


def _alternative_names(parsed: x509.Certificate) -> tuple[str, ...]:
    try:
        extension = parsed.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME)
    except x509.ExtensionNotFound:
        return ()
    names = extension.value
    if not isinstance(names, x509.SubjectAlternativeName):
        raise CertificateError("its subject alternative names cannot be read")
    dns = names.get_values_for_type(x509.DNSName)
    return (*dns, *(str(address) for address in names.get_values_for_type(x509.IPAddress)))
