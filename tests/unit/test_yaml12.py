"""YAML 1.2, core schema: what words mean, and that whatever is wrong is one line with its number."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from smtpd_anontls.notation import yaml12

# YAML 1.2.2 section 10.3.2, and what YAML 1.1 would have made of it.
WORDS: list[tuple[str, object]] = [
    ("", None),
    ("null", None),
    ("Null", None),
    ("NULL", None),
    ("~", None),
    ("nUll", "nUll"),
    ("true", True),
    ("True", True),
    ("TRUE", True),
    ("false", False),
    ("tRUE", "tRUE"),
    ("yes", "yes"),
    ("no", "no"),
    ("on", "on"),
    ("off", "off"),
    ("y", "y"),
    ("0", 0),
    ("-19", -19),
    ("+12", 12),
    ("0777", 777),
    ("0o17", 15),
    ("0x3A", 58),
    ("0o8", "0o8"),
    ("-0x1", "-0x1"),
    ("0b1", "0b1"),
    ("1_000", "1_000"),
    ("1:30", "1:30"),
    ("190:20:30.15", "190:20:30.15"),
    ("2026-11-22", "2026-11-22"),
    ("2026-11-22T12:00:00Z", "2026-11-22T12:00:00Z"),
    ("0.", 0.0),
    ("-0.0", -0.0),
    (".5", 0.5),
    (".5e3", 500.0),
    ("12e03", 12000.0),
    ("-2E+05", -200000.0),
    ("1e", "1e"),
    (".", "."),
    (".inf", math.inf),
    ("+.Inf", math.inf),
    ("-.INF", -math.inf),
    (".iNF", ".iNF"),
    ("=", "="),
    ("<<", "<<"),
    ("'null'", "null"),
    ('"12"', "12"),
    ("'off'", "off"),
    ("127.0.0.1:2525", "127.0.0.1:2525"),
    ("!!str 12", "12"),
    ("!!int 0x10", 16),
    ("!!float 12", 12.0),
    ("!!null ''", None),
]


@pytest.mark.parametrize(("written", "value"), WORDS)
def test_a_word_means_what_the_core_schema_says(written: str, value: object) -> None:
    """Each word has its value, and its type with it."""
    assert repr(yaml12.load(f"key: {written}\n")) == repr({"key": value})


def test_not_a_number() -> None:
    """.nan is a number that is none."""
    assert all(math.isnan(number) for number in yaml12.load("[.nan, .NaN, .NAN]"))


@pytest.mark.parametrize(
    "thumbprint",
    [
        "5C7A" + "0" * 36,
        "1" * 40,
        "0" * 40,
        "12E45" + "0" * 35,
        "1e" + "9" * 38,
        "abcdefABCDEF" + "0123456789" * 2 + "01234567",
    ],
)
def test_a_bare_thumbprint_is_text(thumbprint: str) -> None:
    """Forty hexadecimal digits are text, also where they would make a number."""
    assert yaml12.load(f"msExchServerInternalTLSCert: {thumbprint}") == {
        "msExchServerInternalTLSCert": thumbprint
    }


def test_thirty_nine_digits_are_a_number() -> None:
    """The exception is a thumbprint's length and no more."""
    assert yaml12.load("1" * 39) == int("1" * 39)


def test_a_document() -> None:
    """Block and flow, aliases and anchors, comments and folded text come out as plain values."""
    text = """\
    # A comment.
    list: &list [a, {b: 1}]
    again: *list
    folded: >-
      two
      lines
    literal: |
      two
      lines
    multi: first
      second
    """

    assert yaml12.load(text) == {
        "list": ["a", {"b": 1}],
        "again": ["a", {"b": 1}],
        "folded": "two lines",
        "literal": "two\nlines\n",
        "multi": "first second",
    }


def test_an_alias_is_a_copy() -> None:
    """Changing what came from an alias does not change what came from its anchor."""
    document = yaml12.load("a: &a [1]\nb: *a\n")

    document["b"].append(2)

    assert document["a"] == [1]


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "---\n", "---\n...\n", "\ufeff"])
def test_an_empty_text_is_null(text: str) -> None:
    """A text without a document is null."""
    assert yaml12.load(text) is None


def test_a_byte_order_mark_is_no_text() -> None:
    """A byte order mark in front is left out, in octets and in text."""
    assert yaml12.load(yaml12.decode(b"\xef\xbb\xbfa: 1\n")) == {"a": 1}


BAD: list[tuple[str, str]] = [
    ("a: 1\nb: 2\na: 3\n", "line 3: the key 'a' is already on line 1; remove one of them"),
    ("x:\n  a: 1\n  'a': 3\n", "line 3: the key 'a' is already on line 2; remove one of them"),
    ("{1: a, 0x1: b}", "line 1: the key '0x1' is already on line 1; remove one of them"),
    ("{1: a, true: b}", "line 1: the key 'true' is already on line 1; remove one of them"),
    (
        "? [a]\n: b\n",
        "line 1: a list or a mapping stands where a key must be; put the key in quotes",
    ),
    ("a:\n\tb: 1\n", "line 2: a tab stands where YAML wants spaces; replace it"),
    ("a:\n  b: 1\n\tc: 2\n", "line 3: a tab stands where YAML wants spaces; replace it"),
    ("a: b: c\n", "line 1: a ':' too many, or a wrong indentation; put text with ': ' in quotes"),
    ("a: 1\nbc\nd: 2\n", "line 3: there is no ':' behind the key (it began on line 2)"),
    ("a: @b\n", "line 1: text cannot begin with @ unless it stands in quotes"),
    ("a: 'b\n", "line 2: a quote is not closed (it began on line 1)"),
    ("a: [b\n", "line 2: a ',' or a ']' is missing (it began on line 1)"),
    ("a: [\n", "line 2: a value is missing, or an indicator stands in its place"),
    ("a: *b\n", "line 1: *b has no anchor &b before it"),
    ("a: &b 1\nc: &b 2\n", "line 2: an anchor has this name already; rename one (it began on line 1)"),
    ("a: 1\n---\nb: 2\n", "line 2: a second document begins; a file has one (it began on line 1)"),
    ("a: 1\n...\nb: 2\n", "line 3: something stands behind the end of the document"),
    ("%YAML 2.0\n---\na: 1\n", "line 1: found incompatible YAML document (version 1.* is required)"),
    (f"%YAML 1.{'9' * 5000}\n---\n", "line 1: a number or an escape is out of range"),
    ('a: 1\nb: "\\UFFFFFFFF"\n', "line 2: a number or an escape is out of range"),
    (
        'a: "\\ud83d\\ude00"\n',
        r"line 1: an escape names half of a surrogate pair; write the character or \U and 8 digits",
    ),
    (f"a: {'1' * 5000}\n", "line 1: the number has too many digits"),
    ("a: 1\nb: !!int c\n", "line 2: 'c' is not of the type !!int"),
    ("a: !!timestamp 2026-11-22\n", "line 1: the tag !!timestamp means nothing here; remove it"),
    (
        "a: !!python/object/apply:os.system [x]\n",
        "line 1: the tag !!python/object/apply:os.system means nothing here; remove it",
    ),
    ("a: !mine {b: 1}\n", "line 1: the tag !mine means nothing here; remove it"),
    ("a: 1\r\nb: \x1b[31m\r\n", "line 2: the character U+001B cannot stand here; remove it"),
    ("a: b\x00\n", "line 1: the character U+0000 cannot stand here; remove it"),
    ("a: b\u2028c: d\n", "line 1: the character U+2028 cannot stand here; remove it"),
    ("a: b\x85c: d\n", "line 1: the character U+0085 cannot stand here; remove it"),
    ("a: \ud800\n", "line 1: the character U+D800 cannot stand here; remove it"),
    ("a: &a [*a]\n", "line 1: aliases nest deeper than 64 levels"),
    ("[" * 65 + "]" * 65, "line 1: nested deeper than 64 levels"),
    ("[" * 100_000, "line 1: nested deeper than 64 levels"),
    (
        "a: &a [1,1,1,1,1,1,1,1,1]\n"
        + "".join(
            f"{n}: &{n} [{','.join([f'*{p}'] * 9)}]\n" for p, n in zip("abcdefgh", "bcdefghi", strict=True)
        ),
        "line 1: aliases repeat too much; write the values out",
    ),
]


@pytest.mark.parametrize(("text", "line"), BAD, ids=[line[:60] for _, line in BAD])
def test_a_mistake_is_one_line_with_its_number(text: str, line: str) -> None:
    """The message says where, what is wrong, and what would do."""
    with pytest.raises(yaml12.YamlError) as refused:
        yaml12.load(text)

    assert str(refused.value) == line
    assert line == f"line {refused.value.line}: {refused.value.problem}"


@pytest.mark.parametrize(
    ("octets", "line"),
    [
        (b"a: 1\nb: Z\xfcrich\n", "line 2: octet 0xFC is not UTF-8; save the file as UTF-8"),
        (b"\xff\xfea\x00", "line 1: this is UTF-16; save the file as UTF-8"),
        (b"\xfe\xff\x00a", "line 1: this is UTF-16; save the file as UTF-8"),
        (b"a: \xed\xa0\x80\n", "line 1: octet 0xED is not UTF-8; save the file as UTF-8"),
    ],
)
def test_octets_that_are_no_text_are_one_line(octets: bytes, line: str) -> None:
    """A file in another encoding is named by the line at which that shows."""
    with pytest.raises(yaml12.YamlError) as refused:
        yaml12.decode(octets)

    assert str(refused.value) == line


def test_sixty_four_levels_are_read() -> None:
    """The bound is on what nobody writes, and the last level below it is read."""
    document = yaml12.load("[" * 64 + "]" * 64)

    for _ in range(63):
        (document,) = document
    assert document == []


def test_long_texts_are_bounded_by_their_aliases_alone() -> None:
    """A long list is no bomb: what is written out may be read, however much it is."""
    assert yaml12.load("[" + "1, " * 20_000 + "]") == [1] * 20_000


def test_pyyaml_itself_is_left_as_it_was() -> None:
    """Another user of PyYAML in the process still gets YAML 1.1 from it."""
    yaml12.load("a: off")

    assert yaml.safe_load("a: off") == {"a": False}


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text("ab \n:#-'\"é", max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc: ", max_size=4), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(VALUES)
def test_json_is_read_as_json(value: Any) -> None:
    """YAML 1.2 holds JSON: what a JSON writer writes comes back."""
    text = json.dumps(value).replace("Infinity", ".inf")

    assert yaml12.load(text) == value


@given(st.text() | st.text("[]{}:,&*!|>'\"%@`#-?\n\t 0aA\\x~.<=", max_size=60))
def test_any_text_is_a_value_or_one_line(text: str) -> None:
    """No text leads to another exception than YamlError, whose message is one line that begins with its number."""
    problem = None
    try:
        yaml12.load(text)
    except yaml12.YamlError as error:
        problem = error

    assert problem is None or str(problem).splitlines() == [f"line {problem.line}: {problem.problem}"]


@given(st.binary(max_size=80))
def test_any_octets_are_text_or_one_line(octets: bytes) -> None:
    """No octets lead to another exception than YamlError; text is the octets' own."""
    text = None
    try:
        text = yaml12.decode(octets)
    except yaml12.YamlError as error:
        line = str(error)

    assert line.isprintable() if text is None else text.encode("utf-8") == octets
