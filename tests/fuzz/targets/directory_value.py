"""Values of msExchServerInternalTLSCert: each names a certificate by the hash of its octets, or says why not."""

from __future__ import annotations

import base64
import hashlib
import re
import struct

from smtpd_anontls.domain.directory_value import Named, Unreadable, ValueForm, decode
from smtpd_anontls.domain.printable import printable

RUNS = 1_000_000
MAX_LENGTH = 1200
WORDS = (
    b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----", b"\x20\0\0\0\x01\0\0\0", b"\x0b\0\0\0\x01\0\0\0",
    b"\x03\0\0\0\x01\0\0\0\x14\0\0\0", b"\x30\x82", b"AB" * 20, "\u200e".encode(),
)  # fmt: skip


def target(data: bytes) -> None:
    """Decode a value."""
    found = decode(data)
    if isinstance(found, Unreadable):
        assert found.reason
        assert printable(found.reason) == found.reason
        return

    assert isinstance(found, Named)
    assert re.fullmatch("[0-9A-F]{40}", found.thumbprint)
    assert found.friendly_name is None or found.form is ValueForm.SERIALIZED
    match found.form:
        case ValueForm.DER:
            assert found.thumbprint == _sha1(data)
        case ValueForm.PEM:
            between = data.partition(b"-----BEGIN CERTIFICATE-----")[2].partition(b"-----END")[0]
            assert found.thumbprint == _sha1(base64.b64decode(between))
        case ValueForm.SERIALIZED:
            assert found.thumbprint in [_sha1(each) for each in _records(data, 0x20)]
        case ValueForm.THUMBPRINT:
            shown = data.hex().upper() if len(data) == 20 else data.decode().upper()
            assert found.thumbprint == re.sub("[\\s:\u200e\u200f]", "", shown)


def _sha1(octets: bytes) -> str:
    return hashlib.sha1(octets, usedforsecurity=False).hexdigest().upper()


def _records(value: bytes, wanted: int) -> list[bytes]:
    """Return the contents of the property records of one kind."""
    found = []
    while value:
        kind, _, length = struct.unpack_from("<III", value)
        if kind == wanted:
            found.append(value[12 : 12 + length])
        value = value[12 + length :]
    return found
