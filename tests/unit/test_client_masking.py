"""What a server repeats of an authentication is not shown, and everything else is."""

from __future__ import annotations

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpd_anontls.client.masking import DATA, Mask

TOKEN = b64encode(b"a password of some length")


def mask() -> Mask:
    """Return a mask that hides a password and its token."""
    made = Mask()
    made.conceal(b"a (password) of some length")
    made.conceal_token(TOKEN)
    return made


@pytest.mark.parametrize(
    ("octets", "shown"),
    [
        (TOKEN, DATA),
        (TOKEN.lower(), DATA),
        (b"'" + TOKEN[4:14] + b"'", f"'{DATA}'"),
        (b"A (PASSWORD) of some LENGTH?", f"{DATA}?"),
        (TOKEN[:5], TOKEN[:5].decode()),
        (b"5.7.3 Authentication unsuccessful", "5.7.3 Authentication unsuccessful"),
        (b"", ""),
    ],
)
def test_what_is_hidden(octets: bytes, shown: str) -> None:
    """Whole tokens, parts of them, and the password itself, in any case; chance finds stay."""
    assert mask().of(octets) == shown.encode()


@pytest.mark.parametrize(
    ("code", "text", "shown"),
    [
        (334, b"VXNlcm5hbWU6", DATA),
        (235, b"YIIBAg==", DATA),
        (334, b"NTLM supported", "NTLM supported"),
        (334, b"", ""),
        (250, b"CHUNKING", "CHUNKING"),
        (220, b"VXNlcm5hbWU6", "VXNlcm5hbWU6"),
    ],
)
def test_tokens_of_the_server_are_hidden(code: int, text: bytes, shown: str) -> None:
    """Base64 behind 334 and 235 is a token; elsewhere, and in words, it is none."""
    assert Mask().of_reply(code, text) == shown.encode()


@given(st.binary(max_size=200))
def test_without_a_secret_nothing_is_hidden(octets: bytes) -> None:
    """Before anybody authenticates, everything is shown as it came."""
    assert Mask().of(octets) == octets


@given(st.binary(min_size=6, max_size=60), st.binary(max_size=20), st.binary(max_size=20))
def test_no_token_is_ever_shown(token: bytes, before: bytes, behind: bytes) -> None:
    """Wherever its base64 stands between other octets, it is not there afterwards."""
    encoded = b64encode(token)
    made = Mask()
    made.conceal_token(encoded)

    assert encoded not in made.of(before + b" " + encoded + b" " + behind)
