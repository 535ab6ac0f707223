"""Header sections: what a tolerant reader makes of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpd_anontls.protocol.headers import (
    MAX_FIELDS,
    MAX_SECTION_OCTETS,
    decoded_subject,
    message_id,
    parse_header_section,
)

SECTIONS: dict[str, tuple[bytes, tuple[tuple[str, str], ...]]] = {
    "two fields": (b"A: 1\r\nB: 2\r\n\r\nC: 3\r\n", (("A", "1"), ("B", "2"))),
    "nothing": (b"", ()),
    "a body alone": (b"\r\nA: 1\r\n", ()),
    "a body alone, bare LF": (b"\nA: 1\n", ()),
    "no empty line": (b"A: 1\r\nB: 2", (("A", "1"), ("B", "2"))),
    "no value": (b"A:\r\nB: \r\n\r\n", (("A", ""), ("B", ""))),
    "order and doubles": (b"B: 1\r\nA: 2\r\nb: 3\r\n\r\n", (("B", "1"), ("A", "2"), ("b", "3"))),
    "folded with a space": (b"A: one\r\n two\r\nB: x\r\n\r\n", (("A", "one two"), ("B", "x"))),
    "folded with a tab, twice": (b"A: one\r\n\ttwo\r\n  three\r\n\r\n", (("A", "one\ttwo  three"),)),
    "folded before the value": (b"A:\r\n one\r\n\r\n", (("A", "one"),)),
    "a line of white space is part of the field": (b"A: one\r\n \r\n two\r\n\r\n", (("A", "one  two"),)),
    "bare LF": (b"A: 1\nB: 2\n two\n\nC: 3", (("A", "1"), ("B", "2 two"))),
    "white space before the colon": (b"A \t: 1\r\n\r\n", (("A", "1"),)),
    "colons in the value": (b"A: b: c\r\n\r\n", (("A", "b: c"),)),
    "a line without a colon": (
        b"junk\r\nA: 1\r\nmore junk\r\n goes on\r\nB: 2\r\n\r\n",
        (("A", "1"), ("B", "2")),
    ),
    "mbox": (b"From a@b Sun Nov 22 12:00:00 2026\r\nA: 1\r\n\r\n", (("A", "1"),)),
    "a name with a space in it": (b"A B: 1\r\nC: 2\r\n\r\n", (("C", "2"),)),
    "a continuation of nothing": (b" A: 1\r\nB: 2\r\n\r\n", (("B", "2"),)),
    "no name": (b": 1\r\nB: 2\r\n\r\n", (("B", "2"),)),
    "UTF-8": ("A: grüße\r\n\r\n".encode(), (("A", "grüße"),)),
    "Latin-1 beside UTF-8": (
        "A: grüße\r\n".encode() + b"B: gr\xfc\xdfe\r\n\r\n",
        (("A", "grüße"), ("B", "grüße")),
    ),
    "a name that is not ASCII": ("Ä: 1\r\nB: 2\r\n\r\n".encode(), (("B", "2"),)),
    "controls are no line ends": (
        b"A: a\x00b\x0bc\x0cd\x1ce\rf\xc2\x85g\xe2\x80\xa8h\r\n\r\n",
        (("A", "a\0b\vc\fd\x1ce\rf\x85g\u2028h"),),
    ),
}


@pytest.mark.parametrize("name", SECTIONS)
def test_sections(name: str) -> None:
    """Each section gives exactly these fields."""
    raw, fields = SECTIONS[name]

    assert parse_header_section(raw) == fields


def test_bounds() -> None:
    """No more octets and fields are looked at than the bounds say."""
    assert len(parse_header_section(b"A: 1\r\n" * (MAX_FIELDS + 1))) == MAX_FIELDS
    assert parse_header_section(b"A: " + b"x" * 2 * MAX_SECTION_OCTETS)[0][1] == "x" * (
        MAX_SECTION_OCTETS - 3
    )
    late = b"A: 1\r\n" + b"x" * MAX_SECTION_OCTETS + b"\r\nB: 2\r\n\r\n"
    assert parse_header_section(late) == (("A", "1"),)


@given(st.binary(max_size=400), st.lists(st.sampled_from([b"A: ", b"\r\n", b"\n", b"\r", b" ", b":", b"x"])))
def test_any_octets(octets: bytes, pieces: list[bytes]) -> None:
    """Whatever comes, names are printable ASCII without a colon, and no value holds a line feed."""
    for name, value in parse_header_section(b"".join(pieces) + octets):
        assert name
        assert all("!" <= character <= "~" and character != ":" for character in name)
        assert "\n" not in value
        assert value == value.strip(" \t\r")


@given(st.lists(st.tuples(st.from_regex(r"[A-Za-z][A-Za-z-]{0,9}", fullmatch=True), st.text(max_size=20))))
def test_what_is_written_is_read(fields: list[tuple[str, str]]) -> None:
    """Fields that are written in the plain form are read back."""
    plain = tuple((name, "".join(value.split("\n")).strip(" \t\r")) for name, value in fields)
    raw = (
        "".join(f"{name}: {value}\r\n" for name, value in plain).encode("utf-8", "replace") + b"\r\nX: y\r\n"
    )

    read = parse_header_section(raw)

    assert [name for name, _ in read] == [name for name, _ in plain]
    assert [value for _, value in read] == [value.encode("utf-8", "replace").decode() for _, value in plain]


SUBJECTS = {
    "plain": "plain",
    "ümlaut": "ümlaut",
    "=?utf-8?q?gr=C3=BC=C3=9Fe?=": "grüße",
    "=?iso-8859-1?B?Z3L83+U=?=": "grüßå",
    "=?utf-8?q?one?= =?utf-8?q?_two?=": "one two",
    "a =?utf-8?q?b?= c": "a b c",
    "ü =?utf-8?q?b?= €": "ü b €",
    "=?utf-8?b?w?= =?utf-8?q?=C3?=": "=?utf-8?b?w?= =?utf-8?q?=C3?=",
    "=?utf-8?q?=FF?=": "\N{REPLACEMENT CHARACTER}",
    "=?x-unknown?q?abc?=": "=?x-unknown?q?abc?=",
    "=?base64?q?abc?=": "=?base64?q?abc?=",
    "=?idna?q?..?=": "=?idna?q?..?=",
    "=?utf-8?x?abc?=": "=?utf-8?x?abc?=",
    "=?utf-8?q?abc": "=?utf-8?q?abc",
    "=?": "=?",
}


@pytest.mark.parametrize("value", SUBJECTS)
def test_subjects(value: str) -> None:
    """Encoded words are decoded; what cannot be decoded stays as it is."""
    assert decoded_subject(value) == SUBJECTS[value]


@given(
    st.text(),
    st.lists(st.sampled_from(["=?", "?=", "?q?", "?b?", "utf-8", "utf-7", "idna", "=C3", "QQ=", " "])),
)
def test_any_subject(text: str, pieces: list[str]) -> None:
    """No subject makes it raise."""
    assert isinstance(decoded_subject("".join(pieces) + text), str)


def test_a_very_long_subject() -> None:
    """Behind its bound encoded text is left as it stands."""
    value = "=?utf-8?q?a?= " * 2000

    assert decoded_subject(value).endswith("=?utf-8?q?a?= ")
    assert len(decoded_subject(value)) < len(value)


MESSAGE_IDS: dict[str, str | None] = {
    "<a@b>": "<a@b>",
    "<a@b> (comment)": "<a@b>",
    "a@b": "a@b",
    "<grüße@b>": "<grüße@b>",
    "": None,
    "<>": None,
    "<a b>": None,
    "<a\x00b>": None,
    "<a\rb>": None,
    "<a\x85b>": None,
    f"<{'x' * 997}>": None,
    f"<{'x' * 996}>": f"<{'x' * 996}>",
}


@pytest.mark.parametrize("value", MESSAGE_IDS)
def test_message_ids(value: str) -> None:
    """What is returned fits into a reply; the first field counts, its name in any case."""
    headers = (("Subject", "x"), ("MESSAGE-ID", value), ("Message-ID", "<second@b>"))

    assert message_id(headers) == MESSAGE_IDS[value]


def test_no_message_id() -> None:
    """A message without the field has none."""
    assert message_id((("Subject", "x"),)) is None
