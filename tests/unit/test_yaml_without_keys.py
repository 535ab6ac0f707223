"""Taking keys out of a mapping in YAML text, with every other line as it was."""

from __future__ import annotations

import pytest

from smtpd_anontls.notation.edit import EditError, without_keys
from smtpd_anontls.notation.yaml12 import YamlError


@pytest.mark.parametrize(
    ("before", "keys", "after"),
    [
        pytest.param("a: 1\nb: 2\nc: 3\n", {"b"}, "a: 1\nc: 3\n", id="in the middle"),
        pytest.param("a: 1\nb: 2\nc: 3\n", {"a", "c"}, "b: 2\n", id="the first and the last"),
        pytest.param("a: 1\nb: 2", {"b"}, "a: 1\n", id="at the end without a line end"),
        pytest.param("a: 1\r\nb: 2\r\n", {"a"}, "b: 2\r\n", id="lines of Windows"),
        pytest.param("\ufeffa: 1\nb: 2\n", {"a"}, "\ufeffb: 2\n", id="a byte order mark"),
        pytest.param(
            "# Ours.\na: 1  # one\n# Of b.\nb: 2\n", {"a"}, "# Ours.\n# Of b.\nb: 2\n", id="comments"
        ),
        pytest.param("a:\n  - x\n  - y  # why\nb: 2\n", {"a"}, "b: 2\n", id="a list on lines of its own"),
        pytest.param("a: [x,\n    y]\nb: 2\n", {"a"}, "b: 2\n", id="a list over lines"),
        pytest.param("# Ours.\na: 1\n", {"a"}, "# Ours.\n", id="the only one"),
        pytest.param("{a: 1, b: 2, c: 3}\n", {"a"}, "{b: 2, c: 3}\n", id="in brackets, the first"),
        pytest.param("{a: 1, b: 2, c: 3}\n", {"b"}, "{a: 1, c: 3}\n", id="in brackets, in the middle"),
        pytest.param("{a: 1, b: 2, c: 3}\n", {"c"}, "{a: 1, b: 2}\n", id="in brackets, the last"),
        pytest.param("{a: 1, b: 2}\n", {"a", "b"}, "{}\n", id="in brackets, all"),
        pytest.param("a: 1\n", {"b"}, "a: 1\n", id="not there"),
        pytest.param("", {"a"}, "", id="nothing there"),
    ],
)
def test_takes_the_keys_and_nothing_else(before: str, keys: set[str], after: str) -> None:
    """The lines of the keys go, all others stay, octet by octet."""
    assert without_keys(before, keys) == after


def test_text_that_cannot_be_read_is_refused() -> None:
    """A broken text is never edited."""
    with pytest.raises(YamlError):
        without_keys("a: [\n", {"a"})


def test_anchor_that_others_need_stays() -> None:
    """What another value refers to cannot be taken out."""
    with pytest.raises(EditError, match=r"^a cannot be taken out; edit the file by hand$"):
        without_keys("a: &x [1]\nb: *x\n", {"a"})
