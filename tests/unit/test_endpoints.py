"""Bindings and remote ranges, as Exchange writes them."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from smtpd_anontls.domain.endpoints import Binding, RemoteIPRange, bracketed, parse_address


@pytest.mark.parametrize(
    ("text", "shown", "wildcard"),
    [
        ("127.0.0.1:2525", "127.0.0.1:2525", False),
        (" 0.0.0.0:25 ", "0.0.0.0:25", True),
        ("[::]:25", "[::]:25", True),
        ("[::1]:0", "[::1]:0", False),
        ("[2001:DB8:0::1]:65535", "[2001:db8::1]:65535", False),
    ],
)
def test_binding_is_read_and_written(text: str, shown: str, *, wildcard: bool) -> None:
    """A binding prints as Exchange writes it, and knows whether it is a wildcard."""
    binding = Binding.parse(text)

    assert str(binding) == shown
    assert binding.is_wildcard is wildcard


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("127.0.0.1", "write 127.0.0.1:2525 or [::1]:2525"),
        ("127.0.0.1:65536", "write 127.0.0.1:2525 or [::1]:2525"),
        ("127.0.0.1:\u0662\u0665", "write 127.0.0.1:2525 or [::1]:2525"),
        ("::1:25", "write 127.0.0.1:2525 or [::1]:2525"),
        ("", "write 127.0.0.1:2525 or [::1]:2525"),
        ("localhost:25", "its address is not an IP address"),
        ("[fe80::x]:25", "its address is not an IP address"),
        ("[127.0.0.1]:25", "an IPv6 address stands in brackets, an IPv4 one does not"),
        ("[::ffff:127.0.0.1]:25", "an IPv6 address stands in brackets, an IPv4 one does not"),
    ],
)
def test_binding_that_is_none_says_what_would_do(text: str, message: str) -> None:
    """The message repeats the text and says what is wrong."""
    with pytest.raises(ValueError, match="is not a binding") as raised:
        Binding.parse(text)

    assert str(raised.value) == f"{text!r} is not a binding; {message}"


@pytest.mark.parametrize(
    ("binding", "address", "port", "covered"),
    [
        ("127.0.0.1:25", "127.0.0.1", 25, True),
        ("127.0.0.1:25", "127.0.0.2", 25, False),
        ("127.0.0.1:25", "127.0.0.1", 26, False),
        ("0.0.0.0:25", "127.0.0.2", 25, True),
        ("0.0.0.0:25", "::1", 25, False),
        ("[::]:25", "::1", 25, True),
        ("[::]:25", "127.0.0.1", 25, False),
        ("[::1]:25", "::1", 25, True),
    ],
)
def test_binding_covers_its_own_connections(binding: str, address: str, port: int, *, covered: bool) -> None:
    """Port, family and address decide; a wildcard stands for its own family only."""
    assert Binding.parse(binding).covers(ip_address(address), port) is covered


def test_bindings_sort_across_families() -> None:
    """IPv4 goes before IPv6, then address and port decide."""
    texts = ["[::1]:25", "127.0.0.1:26", "[::]:25", "127.0.0.1:25", "10.0.0.1:99"]

    ordered = sorted(Binding.parse(text) for text in texts)

    assert [str(b) for b in ordered] == ["10.0.0.1:99", "127.0.0.1:25", "127.0.0.1:26", "[::]:25", "[::1]:25"]


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("10.1.2.3", "10.1.2.3", "10.1.2.3"),
        ("10.1.2.0-10.1.2.255", "10.1.2.0", "10.1.2.255"),
        (" 10.1.2.0 - 10.1.2.255 ", "10.1.2.0", "10.1.2.255"),
        ("192.168.1.1/24", "192.168.1.0", "192.168.1.255"),
        ("10.0.0.0/255.0.0.0", "10.0.0.0", "10.255.255.255"),
        ("0.0.0.0-255.255.255.255", "0.0.0.0", "255.255.255.255"),  # noqa: S104 - a range
        ("2001:db8::1", "2001:db8::1", "2001:db8::1"),
        ("2001:db8::1/126", "2001:db8::", "2001:db8::3"),
        ("::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("::ffff:10.1.2.3", "10.1.2.3", "10.1.2.3"),
        ("::ffff:10.1.2.0-::ffff:10.1.2.9", "10.1.2.0", "10.1.2.9"),
        ("::ffff:10.0.0.0/104", "10.0.0.0", "10.255.255.255"),
        ("::-::ffff:10.1.2.3", "::", "::ffff:10.1.2.3"),
        ("fe80::1%eth0", "fe80::1", "fe80::1"),
    ],
)
def test_range_is_read(text: str, first: str, last: str) -> None:
    """One address, first-last and CIDR with host bits are read; the text stays as it was written."""
    found = RemoteIPRange.parse(text)

    assert (found.first, found.last) == (ip_address(first), ip_address(last))
    assert found.size == int(ip_address(last)) - int(ip_address(first)) + 1
    assert str(found) == text.strip()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("10.1.2", "write 10.1.2.3, 10.1.2.0-10.1.2.255 or 10.1.2.0/24"),
        ("10.1.2.3-", "write 10.1.2.3"),
        ("10.1.2.0-10.1.2.3-10.1.2.9", "write 10.1.2.3"),
        ("10.1.2.0/33", "write 10.1.2.3"),
        ("contoso.test", "write 10.1.2.3"),
        ("", "write 10.1.2.3"),
        ("10.1.2.3-::1", "begins in IPv4 and ends in IPv6"),
        ("::1-10.1.2.3", "begins in IPv6 and ends in IPv4"),
        ("10.1.2.9-10.1.2.3", "ends before it begins"),
    ],
)
def test_range_that_is_none_says_what_is_wrong(text: str, message: str) -> None:
    """The message repeats the text and says what is wrong."""
    with pytest.raises(ValueError, match=r"write|begins") as raised:
        RemoteIPRange.parse(text)

    assert repr(text) in str(raised.value)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("first", "second", "same", "partly"),
    [
        ("10.0.0.0/8", "10.0.0.0-10.255.255.255", True, False),
        ("10.0.0.0/8", "10.1.0.0/16", False, False),
        ("10.1.0.0/16", "10.0.0.0/8", False, False),
        ("10.0.0.0/8", "192.168.0.0/16", False, False),
        ("10.0.0.0-10.0.0.9", "10.0.0.5-10.0.0.20", False, True),
        ("10.0.0.5-10.0.0.20", "10.0.0.0-10.0.0.9", False, True),
        ("10.0.0.0-10.0.0.9", "10.0.0.9-10.0.0.20", False, True),
        ("10.0.0.0-10.0.0.9", "10.0.0.10-10.0.0.20", False, False),
        ("0.0.0.0-255.255.255.255", "::-::ffff", False, False),
    ],
)
def test_ranges_are_compared_by_their_addresses(first: str, second: str, *, same: bool, partly: bool) -> None:
    """Equal, containing, disjoint and partly overlapping ranges are told apart."""
    mine, theirs = RemoteIPRange.parse(first), RemoteIPRange.parse(second)

    assert mine.same_addresses(theirs) is same
    assert mine.overlaps_partly(theirs) is partly


def test_range_covers_its_ends_and_no_other_family() -> None:
    """Both ends belong to a range, their neighbours and the other family do not."""
    found = RemoteIPRange.parse("10.1.2.3-10.1.2.5")

    assert [found.covers(ip_address(f"10.1.2.{n}")) for n in range(2, 7)] == [False, True, True, True, False]
    assert not found.covers(ip_address(int(ip_address("10.1.2.3")) + 2**64))


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("10.1.2.3", "10.1.2.3"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("::ffff:a01:203", "10.1.2.3"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:10.1.2.3%eth0", "10.1.2.3"),
        (" ::1 ", "::1"),
        ("::10.1.2.3", "::a01:203"),
    ],
)
def test_address_of_a_peer_is_plain(text: str, address: str) -> None:
    """IPv4 inside IPv6 counts as IPv4, and a scope is left out."""
    assert parse_address(text) == ip_address(address)


def test_address_can_be_followed_by_a_port() -> None:
    """IPv6 stands in brackets, IPv4 does not."""
    assert bracketed(ip_address("::1")) == "[::1]"
    assert bracketed(ip_address("10.1.2.3")) == "10.1.2.3"
