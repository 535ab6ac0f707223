"""Changing one value in a YAML text: the value changes, and nothing else does."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given, reject
from hypothesis import strategies as st

from smtpd_anontls.notation import yaml12
from smtpd_anontls.notation.edit import EditError, value_text, with_value, write_atomically

if TYPE_CHECKING:
    from pathlib import Path

TEXT = """\
# Two connectors, written by hand.
servers:
  - name:   MBX1          # aligned on purpose
    fqdn: null            # the machine's own
    ports: [ 25,
             587 ]        # a list over two lines
    flow: [Tls, ExchangeServer]   # trailing
    quoted: ["127.0.0.1:25", '[::1]:25']
    block:   # why
      # first
      - one  # kept
      - "two"
      # before the next key
    nothing:
    folded: >
      some
      text

    last: {a: 1, b: 'x'}   # the end of the entry
# A comment behind everything.
other: "a very long line that nobody breaks \
a very long line that nobody breaks a very long line that nobody breaks a very long line that nobody breaks"
"""

SERVER: list[str | int] = ["servers", 0]

# What is changed, to what, and the lines that leave and come.
EDITS: dict[str, tuple[list[str | int], object, list[str]]] = {
    "a word": (
        [*SERVER, "name"],
        "MBX2",
        [
            "-  - name:   MBX1          # aligned on purpose",
            "+  - name:   MBX2          # aligned on purpose",
        ],
    ),
    "null becomes text": (
        [*SERVER, "fqdn"],
        "mx.test",
        [
            "-    fqdn: null            # the machine's own",
            "+    fqdn: mx.test            # the machine's own",
        ],
    ),
    "a flow list stays one": (
        [*SERVER, "flow"],
        ["Tls", "BasicAuth"],
        [
            "-    flow: [Tls, ExchangeServer]   # trailing",
            "+    flow: [Tls, BasicAuth]   # trailing",
        ],
    ),
    "items keep their quotes, new ones take the first item's": (
        [*SERVER, "quoted"],
        ["[::1]:25", "127.0.0.1:26"],
        [
            "-    quoted: [\"127.0.0.1:25\", '[::1]:25']",
            "+    quoted: ['[::1]:25', \"127.0.0.1:26\"]",
        ],
    ),
    "an item of a block list": (
        [*SERVER, "block", 0],
        None,
        ["-      - one  # kept", "+      - null  # kept"],
    ),
    "a block list stays one": (
        [*SERVER, "block"],
        ["one", "two", "three"],
        # The comment at an item belongs to the list, and goes where the list is written anew.
        ["-      - one  # kept", "+      - one", "+      - three"],
    ),
    "a block list becomes a word": (
        [*SERVER, "block"],
        "None",
        [
            "-    block:   # why",
            "+    block: None   # why",
            "-      - one  # kept",
            '-      - "two"',
        ],
    ),
    "a block list becomes empty": (
        [*SERVER, "block"],
        [],
        [
            "-    block:   # why",
            "+    block: []   # why",
            "-      - one  # kept",
            '-      - "two"',
        ],
    ),
    "where nothing was written": (
        [*SERVER, "nothing"],
        False,
        ["-    nothing:", "+    nothing: false"],
    ),
    "folded text becomes a line": (
        [*SERVER, "folded"],
        "1:30",
        ["-    folded: >", "-      some", "-      text", "+    folded: 1:30"],
    ),
    "inside a flow mapping": (
        [*SERVER, "last", "b"],
        "it's",
        [
            "-    last: {a: 1, b: 'x'}   # the end of the entry",
            "+    last: {a: 1, b: 'it''s'}   # the end of the entry",
        ],
    ),
    "a new key of a flow mapping": (
        [*SERVER, "last", "c"],
        ["x"],
        [
            "-    last: {a: 1, b: 'x'}   # the end of the entry",
            "+    last: {a: 1, b: 'x', c: [x]}   # the end of the entry",
        ],
    ),
    "a new key of a block mapping stands behind the last line": (
        [*SERVER, "banner"],
        "220 hello: you",
        ["+    banner: '220 hello: you'"],
    ),
    "a new key of the document, and a mapping below it": (
        ["capture", "url"],
        None,
        ["+capture: {url: null}"],
    ),
    "what reads as a number is quoted": (
        [*SERVER, "name"],
        "0o17",
        [
            "-  - name:   MBX1          # aligned on purpose",
            "+  - name:   '0o17'          # aligned on purpose",
        ],
    ),
}


@pytest.mark.parametrize("case", EDITS)
def test_the_diff_is_the_edited_value(case: str) -> None:
    """The lines that differ are the value's own."""
    path, value, expected = EDITS[case]

    edited = with_value(TEXT, path, value)

    assert sorted(_diff(TEXT, edited)) == sorted(expected)


def test_the_same_value_changes_nothing() -> None:
    """A value that is there already leaves the text as it is, however it is written."""
    assert with_value(TEXT, [*SERVER, "flow"], ("Tls", "ExchangeServer")) == TEXT
    assert with_value(TEXT, [*SERVER, "nothing"], None) == TEXT


def test_line_ends_and_byte_order_mark_stay() -> None:
    """A text from Windows stays one."""
    text = "\ufeffa:\r\n- x # one\r\nb: 1\r\n"

    edited = with_value(with_value(text, ["a"], ["x", "y"]), ["c"], 2)

    assert edited == "\ufeffa:\r\n- x\r\n- y # one\r\nb: 1\r\nc: 2\r\n"


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "# nothing yet", "---\n", "{}\n", "null"])
def test_an_empty_document_takes_its_first_key(text: str) -> None:
    """A file that holds nothing, or comments alone, can be given a value."""
    edited = with_value(text, ["MBX1", "readable"], value=False)

    assert yaml12.load(edited) == {"MBX1": {"readable": False}}
    assert ("# nothing yet" in edited) == ("# nothing yet" in text)


@pytest.mark.parametrize(
    ("text", "path", "says"),
    [
        ("a: &x 1\nb: *x\n", ["a"], "a cannot be changed in place; edit the file by hand"),
        ("a: &x {k: 1}\nb: *x\n", ["b", "k"], "b.k is written as an alias"),
        ("a: 1\n", ["a", "b"], "there is no b that could be changed"),
        ("a: [1]\n", ["a", 1], "there is no [1] that could be changed"),
    ],
)
def test_what_cannot_be_changed_is_refused(text: str, path: list[str | int], says: str) -> None:
    """An edit that would change something else, or has no place, is an EditError."""
    with pytest.raises(EditError) as refused:
        with_value(text, path, 2)

    assert says in str(refused.value)


def test_an_alias_itself_can_be_replaced() -> None:
    """A value written as an alias is replaced; what stands at the anchor stays."""
    assert with_value("a: &x 1\nb: *x # c\n", ["b"], 2) == "a: &x 1\nb: 2 # c\n"


def test_nothing_is_found_behind_an_alias() -> None:
    """Neither reading nor adding a key goes through an alias to what stands elsewhere."""
    text = "a: &x {k: [1]}\nb: *x\n"

    with pytest.raises(EditError, match=r"b\.k\[0\] is written as an alias"):
        value_text(text, ["b", "k", 0])
    with pytest.raises(EditError, match=r"b\.new is written as an alias"):
        with_value(text, ["b", "new"], 1)


def test_what_has_no_form_in_yaml_is_our_own_mistake() -> None:
    """A value that no YAML can hold is a TypeError."""
    with pytest.raises(TypeError, match="bytes has no form in YAML"):
        with_value(TEXT, ["other"], b"octets")


def test_value_text_is_what_is_written() -> None:
    """The value's own text, quotes and all; None where there is none."""
    assert value_text(TEXT, [*SERVER, "flow"]) == "[Tls, ExchangeServer]"
    assert value_text(TEXT, [*SERVER, "quoted", 1]) == "'[::1]:25'"
    assert value_text(TEXT, [*SERVER, "missing"]) is None
    assert value_text(TEXT, [*SERVER, "name", "deeper"]) is None
    assert value_text("# nothing\n", ["a"]) is None


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats()
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
    | st.sampled_from(
        ["", "null", "1:30", "off", ".5e3", "0x1F", "[::1]:25", "a: b", "#", "-", "- a", "2" * 40]
    )
)
KEYS = st.text("abcXYZ _-.019", min_size=1, max_size=4)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


@st.composite
def written_documents(draw: st.DrawFn) -> str:
    """Write a document in some layout, with comments strewn over it."""
    text = yaml.safe_dump(
        draw(st.dictionaries(KEYS, VALUES, min_size=1, max_size=4)),
        default_flow_style=draw(st.sampled_from([True, False, None])),
        indent=draw(st.sampled_from([2, 4, 7])),
        width=draw(st.sampled_from([10, 80])),
        allow_unicode=draw(st.booleans()),
        sort_keys=False,
    )
    lines = [
        line + draw(st.sampled_from(["", "", "", "  # - a: comment", "\n# - b: c"]))
        for line in text.split("\n")
    ]
    return "\n".join(lines)


def _paths(document: Any) -> list[list[str | int]]:
    """Return the path of every value below the top."""
    pairs: list[tuple[str | int, Any]] = []
    if isinstance(document, dict):
        pairs = list(document.items())
    if isinstance(document, list):
        pairs = list(enumerate(document))
    return [[key, *rest] for key, value in pairs for rest in ([], *_paths(value))]


@given(written_documents(), VALUES, st.data())
def test_only_the_value_at_the_path_changes(text: str, value: object, data: st.DataObject) -> None:
    """Read back, the value is there, every other value is as before."""
    try:
        document = yaml12.load(text)
    except yaml12.YamlError:
        reject()
    path: list[str | int] = data.draw(st.sampled_from([*_paths(document), ["a new key"]]))

    edited = with_value(text, path, value)

    holder = yaml12.load(edited)
    for key in path[:-1]:
        holder = holder[key]
    assert repr(holder[path[-1]]) == repr(value)

    # With the same value at the path, both documents are the same.
    assert repr(_blanked(edited, path)) == repr(_blanked(text, path))


def _blanked(text: str, path: list[str | int]) -> Any:
    """Return the document in *text* with null at *path*."""
    document = yaml12.load(text)
    holder = document
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = None
    return document


def test_the_file_keeps_its_mode(tmp_path: Path) -> None:
    """The new file has the old one's mode, and nothing else is left in the folder."""
    path = tmp_path / "receive.yaml"
    path.write_text("a: 1\n")
    path.chmod(0o640)

    write_atomically(path, "a: é\n")

    assert path.read_text("utf-8") == "a: é\n"
    assert path.stat().st_mode & 0o7777 == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_and_its_target_is_written(tmp_path: Path) -> None:
    """A symbolic link goes on naming the file that is written."""
    (tmp_path / "real").mkdir()
    target = tmp_path / "real" / "receive.yaml"
    target.write_text("a: 1\n")
    link = tmp_path / "receive.yaml"
    link.symlink_to("real/receive.yaml")

    write_atomically(link, "a: 2\n")

    assert link.is_symlink()
    assert target.read_text() == "a: 2\n"


def test_a_first_file_is_made_under_the_umask(tmp_path: Path) -> None:
    """A file that was not there gets the mode that any new file gets."""
    (tmp_path / "other").touch()

    write_atomically(tmp_path / "new.yaml", "a: 1\n")

    assert (tmp_path / "new.yaml").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    """Text that no file can hold leaves everything as it was."""
    path = tmp_path / "receive.yaml"
    path.write_text("a: 1\n")

    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "\ud800")

    assert list(tmp_path.iterdir()) == [path]
    assert path.read_text() == "a: 1\n"


def _diff(before: str, after: str) -> list[str]:
    lines = difflib.ndiff(before.splitlines(), after.splitlines())
    return [line[0] + line[2:] for line in lines if line[0] in "+-"]
