"""The head of a .NET binary stream: its root's members, or a clause that says why there are none."""

from __future__ import annotations

from smtpd_anontls.domain.printable import printable
from smtpd_anontls.exchange_export.nrbf import root_members

RUNS = 1_000_000
MAX_LENGTH = 1500
WORDS = (
    b"\0\x01\0\0\0\xff\xff\xff\xff\x01\0\0\0\0\0\0\0", b"\x0c\x02\0\0\0", b"\x05\x01\0\0\0", b"\x04\x01\0\0\0",
    b"\x07value__\0\x08", b"\x05\xfc\xff\xff\xff", b"\x06\x08\0\0\0", b"\x09\x03\0\0\0", b"\x0a", b"\x08\x08", b"\x01",
)  # fmt: skip


def target(data: bytes) -> None:
    """Read a stream."""
    try:
        members = root_members(data)
    except ValueError as error:
        # A text that is not UTF-8 is told in Python's words.
        assert printable(str(error)) == str(error) != ""
        return

    assert all(isinstance(name, str) for name in members)
    assert all(each is None or isinstance(each, bool | int | float | str) for each in members.values())
