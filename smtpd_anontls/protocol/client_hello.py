"""What a TLS client offers, read from the first octets that it sends.

RFC 8446 section 4.1.2 (and RFC 5246 section 7.4.1.2).  It explains a failed handshake; the
handshake itself is OpenSSL's.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING

from smtpd_anontls.domain.records import ClientHello

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# What is kept for reading; a ClientHello is far smaller.
MAX_CLIENT_HELLO = 16 * 1024

_HANDSHAKE_RECORD = 22
_CLIENT_HELLO = 1
_SERVER_NAME = 0
_SUPPORTED_VERSIONS = 43
_TLS_1_0 = 0x0301
_TLS_1_2 = 0x0303
_EXTENSION = struct.Struct(">HH")  # Its type, and how many octets follow.

_VERSIONS: Mapping[int, str] = MappingProxyType(
    {
        0x0002: "SSLv2",
        0x0300: "SSLv3",
        0x0301: "TLSv1",
        0x0302: "TLSv1.1",
        0x0303: "TLSv1.2",
        0x0304: "TLSv1.3",
    },
)
# Names of the suites that mail servers offer, as IANA lists them; others are shown by number.
_SUITES: Mapping[int, str] = MappingProxyType(
    {
        0x000A: "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
        0x002F: "TLS_RSA_WITH_AES_128_CBC_SHA",
        0x0033: "TLS_DHE_RSA_WITH_AES_128_CBC_SHA",
        0x0035: "TLS_RSA_WITH_AES_256_CBC_SHA",
        0x0039: "TLS_DHE_RSA_WITH_AES_256_CBC_SHA",
        0x003C: "TLS_RSA_WITH_AES_128_CBC_SHA256",
        0x003D: "TLS_RSA_WITH_AES_256_CBC_SHA256",
        0x009C: "TLS_RSA_WITH_AES_128_GCM_SHA256",
        0x009D: "TLS_RSA_WITH_AES_256_GCM_SHA384",
        0x009E: "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256",
        0x009F: "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384",
        0x1301: "TLS_AES_128_GCM_SHA256",
        0x1302: "TLS_AES_256_GCM_SHA384",
        0x1303: "TLS_CHACHA20_POLY1305_SHA256",
        0xC009: "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
        0xC00A: "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
        0xC013: "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
        0xC014: "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
        0xC023: "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
        0xC024: "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384",
        0xC027: "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
        0xC028: "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384",
        0xC02B: "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        0xC02C: "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        0xC02F: "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        0xC030: "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        0xCCA8: "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        0xCCA9: "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    },
)
# RFC 5746 and RFC 7507: they signal, they are no suites.
_SIGNALS = frozenset({0x00FF, 0x5600})
# RFC 8701: values that mean nothing; 0x0A0A, 0x1A1A, up to 0xFAFA.
_GREASE = frozenset(0x0A0A + 0x1010 * n for n in range(16))


class _Reader:
    """Big-endian vectors of a TLS message; IndexError where one runs out."""

    def __init__(self, octets: bytes | bytearray | memoryview) -> None:
        # A view: taking from the front does not copy the rest each time.
        self.octets = memoryview(octets)

    def take(self, count: int) -> memoryview:
        if count > len(self.octets):
            raise IndexError
        taken, self.octets = self.octets[:count], self.octets[count:]
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int) -> _Reader:
        return _Reader(self.take(self.number(size)))


def parse_client_hello(octets: bytes) -> ClientHello | None:
    """Return what the client offers, or None where *octets* do not begin with a whole ClientHello."""
    try:
        message = _handshake_octets(_Reader(octets))
        if message.number(1) != _CLIENT_HELLO:
            return None
        return _body(message.vector(3))
    except IndexError:
        return None


def _handshake_octets(records: _Reader) -> _Reader:
    """Join the handshake records: a ClientHello may be spread over several."""
    joined = bytearray()
    while records.octets and records.octets[0] == _HANDSHAKE_RECORD:
        records.take(3)
        joined += records.vector(2).octets
        if len(joined) >= 4 and len(joined) - 4 >= int.from_bytes(joined[1:4], "big"):  # noqa: PLR2004 - its header
            break
    return _Reader(joined)


def _body(body: _Reader) -> ClientHello:
    legacy_version = body.number(2)
    body.take(32)  # random
    body.vector(1)  # session id
    suites = _named_suites(bytes(body.vector(2).octets))
    body.vector(1)  # compression methods
    # Without the extension the client speaks the versions up to the one named here, TLS 1.2 at
    # most (RFC 8446 section 4.2.1); one older than TLS is the only one that it names.
    highest = min(legacy_version, _TLS_1_2)
    versions = [number for number in sorted(_VERSIONS, reverse=True) if _TLS_1_0 <= number <= highest]
    versions = versions or [legacy_version]
    server_name: str | None = None
    extensions = bytes(body.vector(2).octets) if body.octets else b""
    for kind, content in _extensions(extensions):
        if kind == _SUPPORTED_VERSIONS:
            versions = _numbers(bytes(_Reader(content).vector(1).octets))
        elif kind == _SERVER_NAME and content:
            names = _Reader(content).vector(2)
            names.take(1)
            server_name = bytes(names.vector(2).octets).decode("ascii", "backslashreplace")
    return ClientHello(
        versions=tuple([_VERSIONS.get(number, f"0x{number:04X}") for number in versions]),
        cipher_suites=suites,
        server_name=server_name,
    )


def _extensions(octets: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield type and content of each extension; unpacked at its place, since there are a dozen of them."""
    at = 0
    while at < len(octets):
        begin = at + _EXTENSION.size
        if begin > len(octets):
            raise IndexError
        kind, size = _EXTENSION.unpack_from(octets, at)
        at = begin + size
        if at > len(octets):
            raise IndexError
        yield kind, octets[begin:at]


# A client offers the same suites each time, some thirty of them.
@lru_cache(maxsize=10)
def _named_suites(octets: bytes) -> tuple[str, ...]:
    return tuple(
        [_SUITES.get(number, f"0x{number:04X}") for number in _numbers(octets) if number not in _SIGNALS]
    )


def _numbers(octets: bytes) -> list[int]:
    count, rest = divmod(len(octets), 2)
    if rest:
        raise IndexError
    return [number for number in struct.unpack(f">{count}H", octets) if number not in _GREASE]
