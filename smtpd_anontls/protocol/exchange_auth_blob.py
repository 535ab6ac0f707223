"""What the blob of X-EXPS EXCHANGEAUTH looks like, in a sentence for a person.

No public source says what it is made of; that it has to do with Kerberos and the name SMTPSVC/<fqdn> is
all that public logs show.  So it is described, and not read: its size, how it begins, and which known
frames stand where in it.  None of its octets are repeated.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from smtpd_anontls.protocol.kerberos_messages import (
    INTEGER,
    KERBEROS_OID,
    SEQUENCE,
    SPNEGO_OID,
    ClearTicket,
    begins_gss_token,
    element_at,
    request_at,
)

MAX_BLOB = 12288  # RFC 4954 section 4.9: no line of an exchange is longer.

_MECHANISMS = ((KERBEROS_OID, "Kerberos"), (SPNEGO_OID, "SPNEGO"))
_NTLM = b"NTLMSSP\0"  # MS-NLMP section 2.2.
# The first octets of what is looked for: a GSS token, an AP-REQ, an object identifier, NTLM's signature.
_STARTS = re.compile(b"[\x60\x6e\x06N]")
_DEEPEST = 6
_MOST_SHOWN = 6
_PRINTABLE = frozenset(range(0x20, 0x7F))
_NAMES = {
    INTEGER: "INTEGER",
    0x03: "BIT STRING",
    0x04: "OCTET STRING",
    0x06: "OBJECT IDENTIFIER",
    SEQUENCE: "SEQUENCE",
}
_CLASSES = ("UNIVERSAL ", "APPLICATION ", "", "PRIVATE ")


@dataclass(frozen=True, slots=True)
class Found:
    """A frame that was recognised."""

    what: str
    offset: int
    end: int
    ticket: ClearTicket | None = None
    is_token: bool = False  # Whether it is something whose ticket can be checked.

    def __str__(self) -> str:
        text = f"at {self.offset} {self.what} of {_octets(self.end - self.offset)}"
        return text if self.ticket is None else f"{text} with a ticket for {self.ticket}"


@dataclass(frozen=True, slots=True)
class Blob:
    """What can be said of a blob without knowing what it is."""

    size: int
    beginning: tuple[
        str, ...
    ]  # Its first element of DER, the first in that, and so on; empty where it is no DER.
    is_text: bool
    found: tuple[Found, ...]

    def __str__(self) -> str:
        return "; ".join([f"{_octets(self.size)}, {self._beginning}", *self._known()])

    @property
    def ticket(self) -> ClearTicket | None:
        """The ticket of the first AP-REQ in it."""
        return next((one.ticket for one in self.found if one.ticket is not None), None)

    @property
    def _beginning(self) -> str:
        if self.size > MAX_BLOB:
            return f"more than {MAX_BLOB:,}: it is not looked at"
        if self.is_text:
            return "all of them printable ASCII"
        if not self.beginning:
            return "which begin with no element of ASN.1"
        return f"which begin as ASN.1 would: {', in it '.join(self.beginning)}"

    def _known(self) -> list[str]:
        if self.size > MAX_BLOB:
            return []
        if not self.found:
            return ["no frame of Kerberos, SPNEGO or NTLM is in it"]
        return [*map(str, self.found[:_MOST_SHOWN]), *(["and more"] if len(self.found) > _MOST_SHOWN else [])]


def describe(octets: bytes) -> Blob:
    """Return what *octets* look like."""
    if len(octets) > MAX_BLOB:
        return Blob(len(octets), (), is_text=False, found=())
    is_text = bool(octets) and _PRINTABLE.issuperset(octets)
    return Blob(len(octets), _beginning(octets), is_text, tuple(_known(octets)))


def _beginning(octets: bytes) -> tuple[str, ...]:
    chain: list[str] = []
    at, limit = 0, len(octets)
    while len(chain) < _DEEPEST and (element := element_at(octets, at, limit)) is not None:
        chain.append(f"{_tag(element.tag)} of {_octets(element.size)}")
        if not element.is_constructed:
            break
        at, limit = element.start, element.end
    return tuple(chain)


def _known(octets: bytes) -> list[Found]:
    """Return the frames in the order in which they begin, an outer one before what it holds."""
    found: list[Found] = []
    for start in _STARTS.finditer(octets):
        at = start.start()
        is_inside = any(outer.is_token and at < outer.end for outer in found)
        if (one := _token_at(octets, at) or _mark_at(octets, at, is_inside=is_inside)) is not None:
            found.append(one)
            if len(found) > _MOST_SHOWN:
                break
    return found


def _token_at(octets: bytes, at: int) -> Found | None:
    for mechanism, name in _MECHANISMS:
        if (token := begins_gss_token(octets, mechanism, at)) is not None:
            return Found(f"a GSS token of {name}", at, token.end, is_token=True)
    if (request := request_at(octets, at)) is not None:
        return Found("an AP-REQ", at, request[0].end, request[1], is_token=True)
    return None


def _mark_at(octets: bytes, at: int, *, is_inside: bool) -> Found | None:
    if octets.startswith(_NTLM, at):
        return Found("the signature of NTLM", at, at + len(_NTLM))
    for mechanism, name in _MECHANISMS:
        # Every GSS token begins with one, and SPNEGO lists more: that is no news inside them.
        if not is_inside and octets.startswith(mechanism, at):
            return Found(f"the object identifier of {name}", at, at + len(mechanism))
    return None


def _tag(tag: int) -> str:
    return _NAMES.get(tag, f"[{_CLASSES[tag >> 6]}{tag & 0x1F}]")


def _octets(count: int) -> str:
    return f"{count:,} octet{'' if count == 1 else 's'}"
