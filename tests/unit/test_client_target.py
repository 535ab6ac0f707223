"""What may be written where a command asks for a server."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpd_anontls.client.target import Target


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("mx1.contoso.test", "mx1.contoso.test", 25),
        ("mx1.contoso.test:2525", "mx1.contoso.test", 2525),
        (" mx1:475 ", "mx1", 475),
        ("192.0.2.1", "192.0.2.1", 25),
        ("192.0.2.1:26", "192.0.2.1", 26),
        ("::1", "::1", 25),
        ("2001:db8::25", "2001:db8::25", 25),
        ("fe80::1%eth0", "fe80::1%eth0", 25),
        ("[::1]", "::1", 25),
        ("[::1]:25", "::1", 25),
        ("[2001:db8::1]:65535", "2001:db8::1", 65535),
    ],
)
def test_a_server_is_read(text: str, host: str, port: int) -> None:
    """Names and addresses, with and without a port; 25 where none is given."""
    assert Target.parse(text) == Target(host, port)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "write mx1.contoso.test"),
        (":25", "write mx1.contoso.test"),
        ("mx1:", "the port is a number from 1 to 65535"),
        ("mx1:0", "the port is a number"),
        ("mx1:65536", "the port is a number"),
        ("mx1:smtp", "the port is a number"),
        ("mx1:٢٥", "the port is a number"),
        ("smtp://mx1", "the port is a number"),
        ("mx1/25", "write mx1.contoso.test"),
        ("user@mx1", "write mx1.contoso.test"),
        ("two words", "write mx1.contoso.test"),
        ("mx1\x00", "write mx1.contoso.test"),
        ("[mx1]:25", "only an IPv6 address stands in brackets"),
        ("[192.0.2.1]", "only an IPv6 address stands in brackets"),
        ("[::1", "write mx1.contoso.test"),
        ("[::1]25", "write mx1.contoso.test"),
    ],
)
def test_what_is_no_server_is_told(text: str, said: str) -> None:
    """A mistake is a ValueError that quotes it and says what would do."""
    with pytest.raises(ValueError, match="is not a server") as caught:
        Target.parse(text)

    assert said in str(caught.value)
    assert repr(text) in str(caught.value)


@given(st.text(max_size=40))
def test_any_text_is_a_server_or_a_value_error(text: str) -> None:
    """What is read can be written and read again; anything else is a ValueError."""
    try:
        target = Target.parse(text)
    except ValueError:
        return

    assert Target.parse(str(target)) == target
