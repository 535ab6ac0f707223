"""``Get-ExchangeCertificate``, and certificates by themselves: each with what the export says of it."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from smtpd_anontls.domain.certificate import Certificate, CertificateError, Exported, PrivateKey
from smtpd_anontls.exchange_export.dumped import boolean, shown, text_of, words
from smtpd_anontls.exchange_export.findings import Dropped, NotUnderstoodError, Taken
from smtpd_anontls.exchange_export.names import POWERSHELL, POWERSHELL_OWN, host_label
from smtpd_anontls.exchange_export.nrbf import root_members

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from smtpd_anontls.exchange_export.dumped import Dumped, Value
    from smtpd_anontls.exchange_export.nrbf import Member

KIND = "ExchangeCertificate"
PENDING = "PendingRequest"

# AllowedServices in the order that it declares; 16 is SMTP and 27 is "IMAP, POP, IIS, SMTP" in public dumps
# of the certificates that Exchange's setup makes, whose services are documented.
_SERVICES = {1: "IMAP", 2: "POP", 4: "UM", 8: "IIS", 16: "SMTP", 32: "Federation", 64: "UMCallRouter"}
_VALID = 1  # CertificateStatus; the numbers of the others are not public.

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)
_FROM_THE_OCTETS = "says what the certificate itself says"
_OF_THE_CERTIFICATE = frozenset(
    {
        "AccessRules", "CertificateDomains", "CertificateRequest", "Extensions", "FriendlyName", "Archived", "Handle",
        "Issuer", "IssuerName", "IsSelfSigned", "SelfSigned", "NotAfter", "NotBefore", "PrivateKey", "PublicKey",
        "PublicKeySize", "SerialNumber", "SignatureAlgorithm", "Subject", "SubjectName", "SubjectKeyIdentifier",
        "Thumbprint", "Version", "CertData",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ReadCertificate:
    """A certificate of the export."""

    certificate: Certificate
    server: str | None  # Whose store held it; None: not told.
    services: frozenset[str] | None  # None: not told.
    exported: Exported
    taken: tuple[Taken, ...] = ()
    dropped: tuple[Dropped, ...] = ()


def read_exchange_certificate(exported: Dumped, source: str) -> ReadCertificate:
    """Return a certificate of Get-ExchangeCertificate; NotUnderstoodError says why it cannot be."""
    certificate = certificate_of(exported, source)
    told = _told(exported, source, certificate)
    try:
        services = _services(told.get("Services"))
        key, status = _private_key(told), _status(told.get("Status"))
    except ValueError as error:
        raise NotUnderstoodError([f"{source}: {certificate.thumbprint}: {error}"]) from None
    owner = certificate.thumbprint
    keys = {
        "RawData": "certificate_store",
        "Services": "services.yaml",
        "Status": "exported.yaml",
        "HasPrivateKey": "exported.yaml",
        "PrivateKeyExportable": "exported.yaml",
        "Identity": "servers.name",
    }
    taken = tuple(
        Taken(KIND, owner, name, shown(value), keys[name]) for name, value in told.items() if name in keys
    )
    dropped = tuple(
        Dropped(KIND, owner, name, shown(value), _reason(name))
        for name, value in told.items()
        if name not in keys
    )
    # Its identity is the server's name and the thumbprint.
    server, separator, _ = (text_of(told.get("Identity")) or "").partition("\\")
    held_by = host_label(server) if separator and server else None
    return ReadCertificate(certificate, held_by, services, Exported(key, status), taken, dropped)


def read_plain_certificates(octets: bytes) -> list[Certificate]:
    """Return the certificates of a ``.cer`` file, DER or PEM; ValueError where it has none."""
    try:
        blocks = [
            base64.b64decode(b"".join(found[1].split()), validate=True) for found in _PEM.finditer(octets)
        ]
        return [Certificate.from_der(der) for der in blocks or [octets]]
    except (binascii.Error, CertificateError):
        raise ValueError("is not a certificate that can be read; export it again as DER or PEM") from None


def certificate_of(exported: Dumped, source: str) -> Certificate:
    """Return the certificate that an object carries; NotUnderstoodError where it carries none."""
    raw = exported.get("RawData")
    name = text_of(exported.get("Thumbprint")) or text_of(exported.get("Subject")) or "a certificate"
    if not isinstance(raw, bytes):
        raise NotUnderstoodError(
            [f"{source}: {name} has no RawData, the certificate itself; export whole objects, on the server"]
        )
    try:
        return Certificate.from_der(raw)
    except CertificateError as error:
        raise NotUnderstoodError([f"{source}: {name}: RawData is {error}"]) from None


def _told(exported: Dumped, source: str, certificate: Certificate) -> Mapping[str, Value]:
    """Return what the dump says of a certificate: its properties, and what they lack from its own stream."""
    stream = exported.get("SerializationData")
    members: Mapping[str, Member] = {}
    if isinstance(stream, bytes):
        try:
            members = root_members(stream)
        except ValueError as error:
            raise NotUnderstoodError(
                [f"{source}: {certificate.thumbprint}: SerializationData: {error}; export it again"]
            ) from None
    return {**members, **exported.properties}


def _services(value: Value) -> frozenset[str] | None:
    if value is None:
        return None
    if isinstance(value, int):
        unknown = value & ~sum(_SERVICES)
        if value < 0 or unknown:
            raise ValueError(f"Services is {value}, which has services that are not known")
        return frozenset(name for bit, name in _SERVICES.items() if value & bit)
    known = {name.casefold(): name for name in _SERVICES.values()}
    names = [word for word in words(value) if word.casefold() != "none"]
    if strange := [word for word in names if word.casefold() not in known]:
        raise ValueError(f"Services has {strange[0]!r}, which is not one of {', '.join(known.values())}")
    return frozenset(known[word.casefold()] for word in names)


def _status(value: Value) -> str | None:
    if isinstance(value, int):
        return "Valid" if value == _VALID else f"number {value}"
    return text_of(value)


def _private_key(told: Mapping[str, Value]) -> PrivateKey:
    has, exportable = told.get("HasPrivateKey"), told.get("PrivateKeyExportable")
    if exportable is not None and boolean(exportable):
        return PrivateKey.EXPORTABLE
    if has is not None:
        return PrivateKey.PRESENT if boolean(has) else PrivateKey.NONE
    return PrivateKey.UNTOLD


def _reason(name: str) -> str:
    if name in POWERSHELL and name != "SerializationData":
        return POWERSHELL_OWN
    if name == "SerializationData":
        return "Services, Status and PrivateKeyExportable are read from it, the rest is the certificate"
    if name in _OF_THE_CERTIFICATE:
        return _FROM_THE_OCTETS
    return "plays no part in the selections"


def pending(read: ReadCertificate) -> Iterator[Dropped]:
    """Yield why a certificate is left out: a request that waits for its certificate is in no personal store."""
    if (read.exported.status or "").casefold() == PENDING.casefold():
        yield Dropped(
            KIND,
            read.certificate.thumbprint,
            "(the object)",
            read.certificate.subject,
            "a request that waits for its certificate is not in the personal store",
        )
