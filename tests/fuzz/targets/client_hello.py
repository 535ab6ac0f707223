"""The ClientHello of a failed handshake: read or not, whatever follows and however it is cut into records."""

from __future__ import annotations

from smtpd_anontls.domain.records import ClientHello
from smtpd_anontls.protocol.client_hello import parse_client_hello
from tests.fuzz.choices import Choices

RUNS = 300_000
MAX_LENGTH = 700
WORDS = (
    b"\x16\x03\x01", b"\x01\0\0", b"\x03\x03", b"\0\x2b\0\x03\x02\x03\x04", b"\0\0\0\x0e\0\x0c\0\0\x09localhost",
    b"\xc0\x2f", b"\x0a\x0a", b"\0\xff", b"\x56\0",
)  # fmt: skip


def target(data: bytes) -> None:
    """Read what a client sent."""
    choices = Choices(data)
    longest, octets = 1 + choices.number(), choices.rest()
    found = parse_client_hello(octets)
    if found is None:
        return

    assert isinstance(found, ClientHello)
    assert all(text.isascii() for text in (*found.versions, *found.cipher_suites, found.server_name or ""))
    assert parse_client_hello(octets + b"\x16\x03\x01\0\x01\0") == found
    assert parse_client_hello(_in_records(octets, longest)) == found


def _in_records(octets: bytes, longest: int) -> bytes:
    """Cut the handshake into records that hold no more than *longest* octets each."""
    message = bytearray()
    while octets[:1] == b"\x16" and not _is_whole(message):
        length = int.from_bytes(octets[3:5], "big")
        message += octets[5 : 5 + length]
        octets = octets[5 + length :]
    parts = [bytes(message[at : at + longest]) for at in range(0, len(message), longest)]
    return b"".join(b"\x16\x03\x03" + len(part).to_bytes(2, "big") + part for part in parts)


def _is_whole(message: bytearray) -> bool:
    return len(message) >= 4 and len(message) >= 4 + int.from_bytes(message[1:4], "big")
