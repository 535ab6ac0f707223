"""Text from peers, made safe to show."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpd_anontls.domain.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("EHLO mbx2.contoso.test", "EHLO mbx2.contoso.test"),
        ("B\u00fccher \u4e2d\u6587 \U0001f4e7", "B\u00fccher \u4e2d\u6587 \U0001f4e7"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\tb\r\nc", "a\\x09b\\x0d\\x0ac"),
        ("\x00\x1f\x7f\x80\x9f", "\\x00\\x1f\\x7f\\x80\\x9f"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\u2066a\u2069\u200e\u200f\u061c", "\\u2066a\\u2069\\u200e\\u200f\\u061c"),
        ("a\u2028b\u2029c", "a\\u2028b\\u2029c"),
        ("\udcff", "\\udcff"),
        ("", ""),
    ],
)
def test_controls_are_shown_as_escapes(text: str, shown: str) -> None:
    """Letters of every script stay; what would steer a terminal or the reading direction is written out."""
    assert printable(text) == shown


@given(st.text(st.characters()))
def test_any_text_is_one_safe_line(text: str) -> None:
    """What comes out is one line that can be encoded, and is safe already."""
    shown = printable(text)

    assert len(shown.splitlines()) <= 1
    assert shown.encode().decode() == shown
    assert printable(shown) == shown
