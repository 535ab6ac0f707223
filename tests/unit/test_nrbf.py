"""The head of a .NET binary stream: real ones, and ones cut, changed and made up."""

from __future__ import annotations

import base64
import re
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpd_anontls.exchange_export.nrbf import root_members
from tests.dumps import REAL_CERTIFICATES

STREAMS = [
    base64.b64decode(found)
    for found in re.findall(r'N="SerializationData">([^<]*)<', REAL_CERTIFICATES.read_text("utf-8-sig"))
]
HEADER = b"\0" + struct.pack("<4i", 1, -1, 1, 0)


def text(written: str) -> bytes:
    """Return a text with its length; only short ones are needed."""
    return bytes([len(written)]) + written.encode()


def root(members: dict[str, tuple[bytes, bytes]]) -> bytes:
    """Return a stream whose root has *members*: each with its type and its value."""
    kinds = b"".join(kind[:1] for kind, _ in members.values())
    more = b"".join(kind[1:] for kind, _ in members.values())
    values = b"".join(value for _, value in members.values())
    names = b"".join(map(text, members))
    shape = struct.pack("<i", 1) + text("A.Class") + struct.pack("<i", len(members)) + names + kinds + more
    return HEADER + b"\4" + shape + values


STRING, OBJECT = b"\1", b"\2"
INT32, INT64, BOOLEAN, UNKNOWN = b"\0\x08", b"\0\x09", b"\0\x01", b"\0\x03"


def test_a_real_certificate() -> None:
    """Its numbers, its identity, and nothing for the arrays behind them."""
    members = root_members(STREAMS[1])

    assert (members["Services"], members["Status"], members["RootCAType"]) == (11, 1, 3)
    assert (members["SelfSigned"], members["PrivateKeyExportable"]) == (True, False)
    assert members["Identity"] == "WIN-CTD3L0RGEN4.exlab.dom\\611C687DFC4343A5A03E0005A1EC6E9B6AFF586D"
    assert members["CertData"] is members["IISServices"] is None


def test_each_kind_of_member() -> None:
    """Primitives, texts, nothing, references, typed values, and an object like an earlier one."""
    enumeration = struct.pack("<i", 2) + text("An.Enum") + struct.pack("<i", 1) + text("value__") + INT32
    members = root_members(
        root(
            {
                "number": (INT64, struct.pack("<q", -5)),
                "flag": (BOOLEAN, b"\1"),
                "text": (STRING, b"\6" + struct.pack("<i", 3) + text("hello")),
                "nothing": (OBJECT, b"\x0a"),
                "elsewhere": (OBJECT, b"\x09" + struct.pack("<i", 9)),
                "typed": (OBJECT, b"\x08\x12" + text("typed")),
                "enum": (OBJECT, b"\4" + enumeration + struct.pack("<i", 3)),
                "like": (OBJECT, b"\1" + struct.pack("<iii", 4, 2, 7)),
                "library": (OBJECT, b"\x0c" + struct.pack("<i", 8) + text("lib") + b"\x0a"),
            }
        )
    )

    assert members == {
        "number": -5,
        "flag": True,
        "text": "hello",
        "nothing": None,
        "elsewhere": None,
        "typed": "typed",
        "enum": 3,
        "like": 7,
        "library": None,
    }


@pytest.mark.parametrize(
    ("stream", "why"),
    [
        (b"\1", "it does not begin as a .NET binary stream"),
        (b"", "it is cut off"),
        (HEADER + b"\x0b", "its root is no object"),
        (HEADER + b"\4" + struct.pack("<i", 1) + text("A") + struct.pack("<i", 201), "an object has 201 members"),
        (HEADER + b"\4" + struct.pack("<i", 1) + text("A") + struct.pack("<i", -1), "an object has -1 members"),
        (HEADER + b"\4" + struct.pack("<i", 1) + b"\xff" * 5, "a text has a length that is none"),
        (HEADER + b"\4" + struct.pack("<i", 1) + b"\xff\xff\xff\xff\x07", "it is cut off"),
        (root({"a": (OBJECT, b"\x0f")}), "record 15 stands where a value must be"),
        (root({"a": (UNKNOWN, b"")}), "a value is of the unknown type 3"),
        (root({"a": (OBJECT, b"\1" + struct.pack("<ii", 2, 7))}), "an object is like one that is not there"),
        (
            root({"a": (OBJECT, (b"\4" + struct.pack("<i", 2) + text("B") + struct.pack("<i", 1) + text("b") + OBJECT) * 9)}),
            "objects stand in one another deeper than 8 levels",
        ),
    ],
)  # fmt: skip
def test_what_is_no_stream(stream: bytes, why: str) -> None:
    """One clause says why; nothing is set aside for what it merely announces."""
    with pytest.raises(ValueError, match=f"^{re.escape(why)}$"):
        root_members(stream)


@given(st.sampled_from(STREAMS), st.integers(0, 1200))
def test_a_stream_that_is_cut_off(stream: bytes, length: int) -> None:
    """It says so, or the cut is behind what is read."""
    outcome: object
    try:
        outcome = root_members(stream[:length])
    except ValueError as error:
        outcome = str(error)

    assert outcome in ("it is cut off", root_members(stream))
