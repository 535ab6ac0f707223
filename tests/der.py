"""Kerberos messages as a client would write them, without a key: DER by hand, from RFC 4120 and RFC 2743."""

from __future__ import annotations

from smtpd_anontls.protocol.kerberos_messages import KERBEROS_OID, SPNEGO_OID

CIPHER = bytes(40)
SERVICE = ("SMTPSVC", "mbx1.contoso.test")


def der(tag: int, *parts: bytes) -> bytes:
    """Return an element with *parts* as its content."""
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def context(number: int, *parts: bytes) -> bytes:
    """Return *parts* under the context tag *number*."""
    return der(0xA0 + number, *parts)


def integer(number: int) -> bytes:
    """Return an INTEGER."""
    return der(0x02, number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True))


def encrypted(encryption_type: int = 18, key_version: int | None = 2) -> bytes:
    """Return an EncryptedData."""
    version = b"" if key_version is None else context(1, integer(key_version))
    return der(0x30, context(0, integer(encryption_type)), version, context(2, der(0x04, CIPHER)))


def ticket(
    *parts: str | bytes,
    realm: str = "CONTOSO.TEST",
    version: int = 5,
    encryption_type: int = 18,
    key_version: int | None = 2,
) -> bytes:
    """Return a Ticket for the service whose name has *parts*."""
    written = [part.encode() if isinstance(part, str) else part for part in parts or SERVICE]
    name = der(0x30, context(0, integer(2)), context(1, der(0x30, *(der(0x1B, part) for part in written))))
    fields = (
        context(0, integer(version)),
        context(1, der(0x1B, realm.encode())),
        context(2, name),
        context(3, encrypted(encryption_type, key_version)),
    )
    return der(0x61, der(0x30, *fields))


def ap_req(of: bytes | None = None, **changed: bytes) -> bytes:
    """Return an AP-REQ with the ticket *of*; *changed* replaces fields: version, kind, options, authenticator."""
    fields = {
        "version": context(0, integer(5)),
        "kind": context(1, integer(14)),
        "options": context(2, der(0x03, bytes(5))),
        "ticket": context(3, ticket() if of is None else of),
        "authenticator": context(4, encrypted(key_version=None)),
    }
    return der(0x6E, der(0x30, *(fields | changed).values()))


def gss_token(inner: bytes) -> bytes:
    """Return the first token of Kerberos (RFC 4121 section 4.1) around an AP-REQ."""
    return der(0x60, KERBEROS_OID, b"\x01\x00", inner)


def negotiate_token(inner: bytes | None, *mechanisms: bytes) -> bytes:
    """Return a NegTokenInit (RFC 4178 section 4.2.1), with *inner* as what its first mechanism begins with."""
    types = context(0, der(0x30, *(mechanisms or (KERBEROS_OID,))))
    token = b"" if inner is None else context(2, der(0x04, inner))
    return der(0x60, SPNEGO_OID, context(0, der(0x30, types, token)))


def negotiate_answer(inner: bytes) -> bytes:
    """Return a NegTokenResp with *inner* as its token (RFC 4178 section 4.2.2)."""
    return context(1, der(0x30, context(2, der(0x04, inner))))
