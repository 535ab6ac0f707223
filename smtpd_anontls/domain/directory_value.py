"""What msExchServerInternalTLSCert of a server object holds, and what a read of it can answer.

The articles call the value a thumbprint; the servers store the certificate.  So a value is
taken as DER, as PEM, as Windows' serialized certificate (property records around the DER), or
as a bare thumbprint, as text or octets.
Source: section 3.1 of the behaviour notes; CERT_STORE_SAVE_AS_STORE element layout
(property id, encoding type, length, value; all little-endian; id 32 is the certificate).
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
from dataclasses import dataclass
from enum import StrEnum

from smtpd_anontls.domain.certificate import Certificate, CertificateError, normalized_thumbprint

# No real certificate comes near; a larger value is not looked into.
MAX_VALUE_BYTES = 256 * 1024

_RECORD = struct.Struct("<III")
_FRIENDLY_NAME = 0x0B  # CERT_FRIENDLY_NAME_PROP_ID, UTF-16LE with a closing NUL.
_CERTIFICATE = 0x20  # CERT_CERT_PROP_ID
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)
_SHA1_BYTES = 20
_MAX_THUMBPRINT_TEXT_BYTES = 128  # 40 digits, and room for separators.
_ASN1_SEQUENCE = b"\x30"
_X509_ASN_ENCODING = b"\x01\x00\x00\x00"  # The second word of every property record.


class ValueForm(StrEnum):
    """In which form the attribute held its value."""

    DER = "der"
    PEM = "pem"
    SERIALIZED = "serialized"
    THUMBPRINT = "thumbprint"


@dataclass(frozen=True, slots=True)
class Named:
    """The attribute names this certificate."""

    thumbprint: str
    form: ValueForm
    friendly_name: str | None = None  # Only the serialized form can carry one.


@dataclass(frozen=True, slots=True)
class Unset:
    """The attribute is null."""

    note: str = ""  # What the reader should know beside it, as a clause.


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The attribute could not be read; *reason* is a clause that an administrator can act on."""

    reason: str


Answer = Named | Unset | Unreadable


def decode(value: bytes) -> Named | Unreadable:
    """Return what an attribute value names; a value that is not understood says so, and never raises."""
    if len(value) > MAX_VALUE_BYTES:
        return Unreadable(f"its value was not understood: {len(value)} octets are too many for a certificate")
    if len(value) == _SHA1_BYTES:
        return Named(value.hex().upper(), ValueForm.THUMBPRINT)
    if (thumbprint := _thumbprint_in(value)) is not None:
        return Named(thumbprint, ValueForm.THUMBPRINT)
    try:
        if (pem := _PEM.search(value)) is not None:
            return _named(base64.b64decode(b"".join(pem[1].split()), validate=True), ValueForm.PEM)
        # A property record may begin with 0x30 too: ids are in no fixed order.
        if value[:1] == _ASN1_SEQUENCE and value[4:8] != _X509_ASN_ENCODING:
            return _named(value, ValueForm.DER)
        return _serialized(value)
    except (CertificateError, binascii.Error) as error:
        return Unreadable(
            f"its value was not understood ({len(value)} octets, {error}): "
            "neither a certificate (DER, PEM, serialized) nor a thumbprint",
        )


def _thumbprint_in(value: bytes) -> str | None:
    if len(value) > _MAX_THUMBPRINT_TEXT_BYTES:
        return None
    try:
        return normalized_thumbprint(value.decode("utf-8"))
    except ValueError:
        return None


def _named(der: bytes, form: ValueForm, friendly_name: str | None = None) -> Named:
    return Named(Certificate.from_der(der).thumbprint, form, friendly_name)


def _serialized(value: bytes) -> Named:
    """Walk the property records, which come in no fixed order."""
    der: bytes | None = None
    friendly_name: str | None = None
    position = 0
    while position < len(value):
        if position + _RECORD.size > len(value):
            raise CertificateError("a truncated property record")
        kind, _encoding, length = _RECORD.unpack_from(value, position)
        position += _RECORD.size
        if length > len(value) - position:
            raise CertificateError("a truncated property record")
        content = value[position : position + length]
        position += length
        if kind == _CERTIFICATE:
            der = content
        elif kind == _FRIENDLY_NAME:
            friendly_name = content.decode("utf-16-le", "replace").rstrip("\0")
    if der is None:
        raise CertificateError("no certificate among its property records")
    return _named(der, ValueForm.SERIALIZED, friendly_name or None)
