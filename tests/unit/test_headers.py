"""Header sections: what a tolerant reader makes of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpd_anontls.protocol.headers import (
    MAX_FIELDS,
    MAX_SECTION_OCTETS,
    decoded_subject,
    has_bare_line_end,
    header_section_octets,
    local_received_count,
    message_id,
    parse_header_section,
    received_count,
    run_of,
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


@pytest.mark.parametrize(
    ("section", "body"),
    [
        (b"A: 1\r\nB: 2\r\n\r\n", b"C: 3\r\n\r\nD: 4\n\n"),
        (b"A: 1\nB: 2\n\n", b"C: 3\r\n\r\n"),
        (b"A: 1\n\r\n", b"C: 3\n\n"),
        (b"A: 1\r\n\n", b"\r\n"),
        (b"\r\n", b"A: 1\r\n\r\n"),
        (b"\n", b"\n"),
        (b"A: 1\r\n\r\n", b""),
        # Without an empty line all of it is the section.
        (b"A: 1\r\nB: 2\r\n", b""),
        (b"A: 1\r\n \r\n", b""),
        (b"\r", b""),
        (b"", b""),
    ],
)
def test_size_of_the_header_section(section: bytes, body: bytes) -> None:
    """It ends with the first empty line, whose octets count, whatever stands behind it."""
    assert header_section_octets(section + body) == len(section)


@given(st.lists(st.sampled_from([b"\r\n", b"\n", b"\r", b"a", b": "])).map(b"".join))
def test_header_section_and_its_size_agree(raw: bytes) -> None:
    """Cutting the body off changes neither the size of the section nor its fields."""
    size = header_section_octets(raw)

    assert size <= len(raw)
    assert header_section_octets(raw[:size]) == size
    assert parse_header_section(raw[:size]) == parse_header_section(raw)


BY_MBX1: list[str] = [
    "from MBX2.contoso.test (192.0.2.7) by MBX1.contoso.test (192.0.2.8) with Microsoft SMTP Server (version=TLS1_2) id 15.1.2507.6; Tue, 1 Jun 2027 12:00:00 +0000",
    "by mbx1.contoso.test; Tue, 1 Jun 2027 12:00:00 +0000",
    "BY mbx1.CONTOSO.test",
    "from by by mbx1.contoso.test with SMTP",
    "from a (by b) by\tmbx1.contoso.test. (c)",
    r"from a (by (nested) \) b) by(c)mbx1.contoso.test;x",
    "from a ) by mbx1.contoso.test",
]
NOT_BY_MBX1: list[str] = [
    "",
    "by",
    "by;",
    "from mbx1.contoso.test by mbx2.contoso.test; date",
    "from a (by mbx1.contoso.test) by mbx2.contoso.test; date",
    "from a (by mbx1.contoso.test",
    "from mbx1.contoso.test",
    "by mbx1.contoso.test.example",
    "by xmbx1.contoso.test",
    "from a by mbx2.contoso.test for <x@y>; mbx1.contoso.test",
    "mbx1.contoso.test",
    "mbx1.contoso.test \\",
]


@pytest.mark.parametrize("value", BY_MBX1)
def test_received_by_this_server(value: str) -> None:
    """The name behind "by" counts, in any case, and comments do not."""
    assert local_received_count((("RECEIVED", value),), "Mbx1.Contoso.test") == 1


@pytest.mark.parametrize("value", NOT_BY_MBX1)
def test_received_by_others(value: str) -> None:
    """The name anywhere else does not count."""
    assert local_received_count((("Received", value),), "mbx1.contoso.test") == 0


def test_hops_are_counted() -> None:
    """Every Received field is a hop, of this server or another; no other field is."""
    raw = (
        "".join(f"Received: {value}\r\nX-Received: {value}\r\n" for value in [*BY_MBX1, *NOT_BY_MBX1])
        + "received:\r\n by MBX1.contoso.test\r\n (folded); date\r\n\r\nReceived: by mbx1.contoso.test\r\n"
    )
    headers = parse_header_section(raw.encode())

    assert received_count(headers) == len(BY_MBX1) + len(NOT_BY_MBX1) + 1
    assert local_received_count(headers, "mbx1.contoso.test") == len(BY_MBX1) + 1
    assert received_count(()) == local_received_count((), "mbx1.contoso.test") == 0


@given(
    st.lists(st.sampled_from(["(", ")", "\\", "by", "from", " ", ";", "a.test", "\n"])).map("".join)
    | st.text()
)
def test_any_received_field(value: str) -> None:
    """Nothing is raised, and no field is by this server without its name."""
    assert local_received_count((("Received", value),), "a.test") <= ("a.test" in value.lower())


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"a",
        b"A: 1\r\n\r\nb\r\n",
        b"\r\n\r\n.\r\n..\r\n",
        # A NUL elsewhere is none of its business: BINARYMIME may carry it.
        b"a\0b\r\n",
        b"\0\r\n.a\0\r\n\0.a\r\n",
        b"a\0.\0\r\n",
        b"\r\n.\0",
    ],
)
def test_proper_line_ends(raw: bytes) -> None:
    """Text whose lines end in CRLF, the last one or not."""
    assert not has_bare_line_end(raw)


@pytest.mark.parametrize(
    "end",
    [
        *(
            b"\n.\n",
            b"\n.\r\n",
            b"\r\n.\n",
            b"\r.\r",
            b"\r.\r\n",
            b"\r\n.\r",
            b"\n.\r",
            b"\r.\n",
            b"\r\r\n.\r\r\n",
        ),
        *(b"\n", b"\r", b"\n\r", b"\r\r\n", b"\r\n\n", b"\n\r\n"),
        *(b"\r\0\n.\r\n", b"\r\n.\r\0\n", b"\0\n.\r\n", b"\r\n\0.\r\n", b"\r\n.\0\r\n", b"\r\n\0\0.\0\0\r\n"),
    ],
)
@pytest.mark.parametrize(
    ("before", "behind"), [(b"", b""), (b"A: 1\r\n\r\nb", b"MAIL FROM:<a@b>\r\n"), (b"\r\n", b"\r\n")]
)
def test_smuggled_ends_are_seen(end: bytes, before: bytes, behind: bytes) -> None:
    """Each form that some receiver has taken for the end of a message, wherever it stands."""
    assert has_bare_line_end(before + end + behind)


@pytest.mark.parametrize("raw", [b"\0.\r\nMAIL", b".\0\r\n", b"\0\0.\0\r\n"])
def test_an_end_may_stand_at_the_very_start(raw: bytes) -> None:
    """A line end stands before the first line, too."""
    assert has_bare_line_end(raw)


@given(st.lists(st.sampled_from([b"\r\n", b"\n", b"\r", b"\0", b".", b"a"])).map(b"".join))
def test_line_ends_as_a_naive_reader_sees_them(raw: bytes) -> None:
    """The counting agrees with a look at each octet, and with what is left when NULs are dropped."""
    bare = any(
        (octet == 10 and raw[at - 1 : at] != b"\r") or (octet == 13 and raw[at + 1 : at + 2] != b"\n")
        for at, octet in enumerate(raw)
    )
    hidden = any(b"\0" in line and line.replace(b"\0", b"") == b"." for line in raw.split(b"\r\n")[:-1])

    assert has_bare_line_end(raw) == (bare or hidden)


@pytest.mark.parametrize(
    ("fields", "recipients", "run"),
    [
        pytest.param((), ("a@x.test",), None, id="neither"),
        pytest.param((("X-Run-Id", " ci-7 "),), ("a@x.test",), "ci-7", id="the header"),
        pytest.param((("x-run-id", "ci-7"),), ("a+other@x.test",), "ci-7", id="the header wins"),
        pytest.param((), ("a@x.test", "b+ci-8@x.test", "c+ci-9@x.test"), "ci-8", id="the first tag"),
        pytest.param((), ("a+b+c@x.test",), "b+c", id="a tag begins behind the first plus"),
        pytest.param((), ('"a+b c"@x.test',), "b c", id="a quoted local part"),
        pytest.param((), ("a@x+y.test",), None, id="a domain has no tag"),
        pytest.param((), ("a+@x.test",), None, id="an empty tag"),
        pytest.param((("X-Run-Id", ""),), ("a+ci-8@x.test",), "ci-8", id="an empty header"),
        pytest.param((("X-Run-Id", "x" * 128),), (), "x" * 128, id="just short enough"),
        pytest.param((("X-Run-Id", "x" * 129),), ("a+ci-8@x.test",), "ci-8", id="too long"),
        pytest.param((("X-Run-Id", "a\x1bb"),), (), None, id="not printable"),
        pytest.param((), ("postmaster",), None, id="no domain"),
    ],
)
def test_run(fields: tuple[tuple[str, str], ...], recipients: tuple[str, ...], run: str | None) -> None:
    """A message belongs to the run of its X-Run-Id, else of the first recipient with a tag."""
    assert run_of(fields, recipients) == run
