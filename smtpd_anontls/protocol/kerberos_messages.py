"""What a Kerberos message says in the clear: its frame, and the service that its ticket is for.

DER (X.690), as far as RFC 2743 section 3.1, RFC 4178 section 4.2 and RFC 4120 section 5 need it.  Nothing
here is verified; that is the library's, which has the key.
"""

from __future__ import annotations

from dataclasses import dataclass

from smtpd_anontls.domain.printable import printable

KERBEROS_OID = bytes.fromhex("06092a864886f712010202")  # 1.2.840.113554.1.2.2
SPNEGO_OID = bytes.fromhex("06062b0601050502")  # 1.3.6.1.5.5.2

GSS_TOKEN = 0x60  # [APPLICATION 0] of RFC 2743 section 3.1.
AP_REQ = 0x6E  # [APPLICATION 14]
INTEGER = 0x02
SEQUENCE = 0x30

_TICKET = 0x61  # [APPLICATION 1]
_OCTET_STRING = 0x04
_BIT_STRING = 0x03
_GENERAL_STRING = 0x1B
_VERSION = 5
_AP_REQ_TYPE = 14
_LONG_TAG = 0x1F
_LONG_LENGTH = 0x80
_MOST_LENGTH_OCTETS = 3
_MOST_PARTS = 16  # No SEQUENCE of these messages, nor a principal's name, has more.
_LONGEST_NAME = 120


@dataclass(frozen=True, slots=True)
class Element:
    """One element of DER: where it stands in the octets that it was read from."""

    tag: int
    offset: int
    start: int  # Where its content begins,
    end: int  # and where the element ends.

    @property
    def size(self) -> int:
        """How many octets its content has."""
        return self.end - self.start

    @property
    def is_constructed(self) -> bool:
        """Whether its content is made of elements."""
        return bool(self.tag & 0x20)


@dataclass(frozen=True, slots=True)
class ClearTicket:
    """What the clear part of a ticket says; whoever sent it may have written anything there."""

    service: str  # SMTPSVC/mbx1.contoso.test@CONTOSO.TEST, control characters escaped.
    encryption_type: int
    key_version: int | None

    def __str__(self) -> str:
        version = "" if self.key_version is None else f", key version {self.key_version}"
        return f"{self.service} (encryption type {self.encryption_type}{version})"


class _NotThisError(Exception):
    """The octets are not what was looked for."""


def element_at(octets: bytes, offset: int, limit: int | None = None) -> Element | None:
    """Return the element that begins at *offset* and ends by *limit*; None where there is no whole one."""
    limit = len(octets) if limit is None else limit
    if offset + 2 > limit or octets[offset] & _LONG_TAG == _LONG_TAG:
        return None
    tag, length, start = octets[offset], octets[offset + 1], offset + 2
    if length >= _LONG_LENGTH:
        count = length - _LONG_LENGTH
        # X.690 section 8.1.3.6: no octets of length stand for an end that comes later; DER has none of that.
        if not 1 <= count <= _MOST_LENGTH_OCTETS or start + count > limit:
            return None
        length, start = int.from_bytes(octets[start : start + count], "big"), start + count
    return Element(tag, offset, start, start + length) if start + length <= limit else None


def request_at(octets: bytes, offset: int) -> tuple[Element, ClearTicket] | None:
    """Return the AP-REQ that begins at *offset*, and its ticket; None where there is no whole one."""
    request = element_at(octets, offset)
    if request is None or request.tag != AP_REQ:
        return None
    try:
        return request, _ticket(octets, request)
    except _NotThisError:
        return None


def begins_gss_token(octets: bytes, mechanism: bytes, offset: int = 0) -> Element | None:
    """Return the first token of RFC 2743 section 3.1 that *mechanism*, an identifier in DER, has at *offset*."""
    token = element_at(octets, offset)
    if token is None or token.tag != GSS_TOKEN or not octets.startswith(mechanism, token.start, token.end):
        return None
    return token


def in_gss_frame(request: bytes) -> bytes:
    """Return *request*, an AP-REQ, as the first token of Kerberos (RFC 4121 section 4.1)."""
    content = KERBEROS_OID + b"\x01\x00" + request
    length = len(content).to_bytes(_MOST_LENGTH_OCTETS, "big")
    return bytes([GSS_TOKEN, _LONG_LENGTH + _MOST_LENGTH_OCTETS]) + length + content


def _ticket(octets: bytes, request: Element) -> ClearTicket:
    # RFC 4120 section 5.5.1.
    fields = _fields(octets, request)
    if (_number(octets, fields, 0), _number(octets, fields, 1)) != (_VERSION, _AP_REQ_TYPE):
        raise _NotThisError
    _field(octets, fields, 2, _BIT_STRING)
    _encrypted(octets, fields, 4)
    # Section 5.3.
    ticket = _fields(octets, _field(octets, fields, 3, _TICKET))
    if _number(octets, ticket, 0) != _VERSION:
        raise _NotThisError
    realm = _text(octets, _field(octets, ticket, 1, _GENERAL_STRING))
    name = _members(octets, _field(octets, ticket, 2, SEQUENCE))
    # Section 5.2.2.
    service = "/".join(_text(octets, part) for part in _elements(octets, _field(octets, name, 1, SEQUENCE)))
    return ClearTicket(_shown(f"{service}@{realm}"), *_encrypted(octets, ticket, 3))


def _encrypted(octets: bytes, fields: dict[int, Element], number: int) -> tuple[int, int | None]:
    """Return the encryption type and the key's version (section 5.2.9)."""
    members = _members(octets, _field(octets, fields, number, SEQUENCE))
    _field(octets, members, 2, _OCTET_STRING)
    return _number(octets, members, 0), _number(octets, members, 1) if _context(1) in members else None


def _fields(octets: bytes, application: Element) -> dict[int, Element]:
    """Return the fields of the SEQUENCE that *application* holds, by their tags."""
    return _members(octets, _only(octets, application, SEQUENCE))


def _members(octets: bytes, sequence: Element) -> dict[int, Element]:
    """Return the elements of a SEQUENCE by their tags."""
    return {member.tag: member for member in _elements(octets, sequence)}


def _elements(octets: bytes, sequence: Element) -> list[Element]:
    """Return the elements of which *sequence* is wholly made."""
    found: list[Element] = []
    at = sequence.start
    while at < sequence.end:
        element = element_at(octets, at, sequence.end)
        if element is None or len(found) == _MOST_PARTS:
            raise _NotThisError
        found.append(element)
        at = element.end
    return found


def _field(octets: bytes, fields: dict[int, Element], number: int, tag: int) -> Element:
    """Return what stands under the context tag *number*."""
    field = fields.get(_context(number))
    if field is None:
        raise _NotThisError
    return _only(octets, field, tag)


def _only(octets: bytes, outer: Element, tag: int) -> Element:
    inner = element_at(octets, outer.start, outer.end)
    if inner is None or inner.tag != tag or inner.end != outer.end:
        raise _NotThisError
    return inner


def _number(octets: bytes, fields: dict[int, Element], number: int) -> int:
    element = _field(octets, fields, number, INTEGER)
    # RFC 4120 section 5.2.4: Int32 and UInt32.
    if not 1 <= element.size <= 5:  # noqa: PLR2004 - UInt32 with its sign
        raise _NotThisError
    return int.from_bytes(octets[element.start : element.end], "big", signed=True)


def _text(octets: bytes, element: Element) -> str:
    return octets[element.start : element.end].decode("utf-8", "backslashreplace")


def _shown(text: str) -> str:
    return printable(text if len(text) <= _LONGEST_NAME else f"{text[:_LONGEST_NAME]}…")


def _context(number: int) -> int:
    """Return the tag [*number*] of the context class."""
    return 0xA0 + number
