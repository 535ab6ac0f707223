"""The PROXY protocol header in front of a connection that a load balancer passes on.

Source: HAProxy's proxy-protocol.txt, sections 2.1 (version 1, a line of text) and 2.2 (version
2, binary).  Whether a peer may send one is not decided here.  What follows the addresses of
version 2, the TLVs, is skipped; their CRC32C is one of them and is not verified.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from struct import Struct
from types import MappingProxyType
from typing import TYPE_CHECKING

from smtpd_anontls.domain.endpoints import parse_address

if TYPE_CHECKING:
    from smtpd_anontls.domain.endpoints import IPAddress

PROXY_V2_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_TEXT_MARK = b"PROXY "
_MARKS = (_TEXT_MARK, PROXY_V2_SIGNATURE)

_MAX_LINE = 107  # Section 2.1, its CRLF included.
_FIXED = 16  # Section 2.2: signature, version and command, family and protocol, length.
# The specification has no limit but 65,535; real headers, TLS facts among their TLVs, are far smaller.
_MAX_VARIABLE = 4096
MAX_PROXY_HEADER = _FIXED + _MAX_VARIABLE

_HIGHEST_PORT = 65535
_ADDRESS = r"[0-9A-Fa-f:.]+"  # No "%eth0": a scope means nothing to another machine.
_PORT = r"0|[1-9][0-9]{0,4}"
_LINE = re.compile(
    rf"PROXY TCP(?P<family>[46]) (?P<source>{_ADDRESS}) (?P<destination>{_ADDRESS})"
    rf" (?P<source_port>{_PORT}) (?P<destination_port>{_PORT})",
)
# How far a line has come that can still become one.
_OPENINGS = (b"PROXY TCP4 ", b"PROXY TCP6 ", b"PROXY UNKNOWN ", b"PROXY UNKNOWN\r")
_NOT_IN_ADDRESSES = re.compile(rb"[^0-9A-Fa-f:. \r]")
_BARE_LINE_END = re.compile(rb"\n|\r(?!\Z)")

_COMMAND_AT, _FAMILY_AT, _LENGTH_AT = 12, 13, 14
# Version 2 in the upper four bits.
_LOCAL, _PROXY = 0x20, 0x21
_HIGHEST_FAMILY, _HIGHEST_PROTOCOL = 3, 2
# The addresses and ports that can be those of an SMTP client: TCP over IPv4 and over IPv6.
_ADDRESSES = MappingProxyType({0x11: Struct("!4s4sHH"), 0x21: Struct("!16s16sHH")})


class ProxyHeaderError(ValueError):
    """The octets are no PROXY protocol header and can become none; the text is one sentence."""


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """What a header says; without addresses those of the connection itself hold."""

    version: int
    source: tuple[IPAddress, int] | None
    destination: tuple[IPAddress, int] | None
    length: int  # In octets; the peer's own begin behind it.


def may_begin_proxy_header(octets: bytes | bytearray) -> bool | None:
    """Whether a connection that begins with *octets* begins with a header; None: it may or may not."""
    start = bytes(octets[: len(PROXY_V2_SIGNATURE)])
    if start.startswith(_MARKS):
        return True
    return None if any(mark.startswith(start) for mark in _MARKS) else False


def read_proxy_header(octets: bytes | bytearray) -> ProxyHeader | None:
    """Return the header that *octets* begin with, or None where more octets are needed.

    Raise ProxyHeaderError as soon as they can become none; the addresses of a line are judged when
    it is complete, as section 2.1 asks.  At most MAX_PROXY_HEADER octets are ever needed.  An IPv4
    address inside IPv6 counts as IPv4, as it does in remote ranges.
    """
    begins = may_begin_proxy_header(octets)
    if begins is None:
        return None
    if not begins:
        raise ProxyHeaderError("the connection does not begin with a PROXY protocol header")
    return _read_line(octets) if octets.startswith(_TEXT_MARK) else _read_binary(octets)


def _read_line(octets: bytes | bytearray) -> ProxyHeader | None:
    end = octets.find(b"\r\n", 0, _MAX_LINE)
    if end < 0:
        if len(octets) >= _MAX_LINE:
            raise ProxyHeaderError(f"the PROXY line does not end within {_MAX_LINE} octets")
        _check_unfinished(bytes(octets))
        return None
    line, length = bytes(octets[:end]), end + 2
    # Section 2.1: a lone CR or LF ends no line.
    if b"\r" in line or b"\n" in line:
        raise ProxyHeaderError("the PROXY line holds a CR or LF that is not its end")
    # What follows UNKNOWN is ignored.
    if line == b"PROXY UNKNOWN" or line.startswith(b"PROXY UNKNOWN "):
        return ProxyHeader(1, None, None, length)
    found = _LINE.fullmatch(line.decode("latin-1"))
    if found is None:
        raise ProxyHeaderError("the PROXY line is not of the form PROXY TCP4 SOURCE DESTINATION PORT PORT")
    ports = int(found["source_port"]), int(found["destination_port"])
    if max(ports) > _HIGHEST_PORT:
        raise ProxyHeaderError(f"a port of the PROXY line is over {_HIGHEST_PORT}")
    family = IPv4Address if found["family"] == "4" else IPv6Address
    try:
        source, destination = (parse_address(str(family(found[name]))) for name in ("source", "destination"))
    except ValueError:
        raise ProxyHeaderError("an address of the PROXY line is none of its family") from None
    return ProxyHeader(1, (source, ports[0]), (destination, ports[1]), length)


def _check_unfinished(line: bytes) -> None:
    """Raise ProxyHeaderError where nothing that may follow makes a PROXY line of *line*."""
    if _BARE_LINE_END.search(line):
        raise ProxyHeaderError("the PROXY line holds a CR or LF that is not its end")
    opening = next((o for o in _OPENINGS if line.startswith(o) or o.startswith(line)), None)
    if opening is None:
        raise ProxyHeaderError("the PROXY line names neither TCP4, TCP6 nor UNKNOWN")
    if b"TCP" in opening and _NOT_IN_ADDRESSES.search(line, len(opening)):
        raise ProxyHeaderError("the PROXY line holds characters that are in no address and no port")


def _read_binary(octets: bytes | bytearray) -> ProxyHeader | None:
    if len(octets) > _COMMAND_AT and octets[_COMMAND_AT] not in {_LOCAL, _PROXY}:
        raise ProxyHeaderError("the PROXY header is of a version other than 2 or has an unknown command")
    # Section 2.2: of a connection that the proxy made for itself the family is ignored.
    relayed = len(octets) > _FAMILY_AT and octets[_COMMAND_AT] == _PROXY
    if relayed and (octets[_FAMILY_AT] >> 4 > _HIGHEST_FAMILY or octets[_FAMILY_AT] & 15 > _HIGHEST_PROTOCOL):
        raise ProxyHeaderError("the PROXY header has an unknown address family or protocol")
    if len(octets) < _FIXED:
        return None
    length = int.from_bytes(octets[_LENGTH_AT:_FIXED], "big")
    if length > _MAX_VARIABLE:
        raise ProxyHeaderError(f"the PROXY header announces {length} octets, more than {_MAX_VARIABLE}")
    layout = _ADDRESSES.get(octets[_FAMILY_AT]) if relayed else None
    if layout and length < layout.size:
        raise ProxyHeaderError("the PROXY header is too short for its addresses")
    if len(octets) < _FIXED + length:
        return None
    if not layout:
        return ProxyHeader(2, None, None, _FIXED + length)
    source, destination, *ports = layout.unpack_from(octets, _FIXED)
    return ProxyHeader(
        2,
        (parse_address(str(ip_address(source))), ports[0]),
        (parse_address(str(ip_address(destination))), ports[1]),
        _FIXED + length,
    )
