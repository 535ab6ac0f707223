"""The blob of X-EXPS EXCHANGEAUTH: described in a printable sentence, whose frames lie within it."""

from __future__ import annotations

from smtpd_anontls.domain.printable import printable
from smtpd_anontls.protocol.exchange_auth_blob import describe

RUNS = 100_000
MAX_LENGTH = 700
WORDS = (
    b"NTLMSSP\0", bytes.fromhex("06092a864886f712010202"), bytes.fromhex("06062b0601050502"), b"\x60\x82", b"\x6e\x82",
    b"\x30\x82", b"\xa0\x03\x02\x01\x05", b"\xa1\x03\x02\x01\x0e", b"\x61\x82", b"\x1b\x07SMTPSVC", b"\x04\x04", b"\x80",
)  # fmt: skip

_LONGEST = 2000


def target(data: bytes) -> None:
    """Describe a blob."""
    blob = describe(data)
    shown = str(blob)

    assert printable(shown) == shown
    assert len(shown) <= _LONGEST
    assert blob.size == len(data)
    places = [(each.offset, each.end) for each in blob.found]
    assert places == sorted(places, key=lambda place: place[0])
    assert all(0 <= start < end <= len(data) for start, end in places)
    for each in blob.found:
        # The same frame is found where the blob begins with it.
        assert describe(data[each.offset :]).found[0].what == each.what
