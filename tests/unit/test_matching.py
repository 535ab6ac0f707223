"""Which Receive connector takes a connection."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpd_anontls.domain.connectors import ReceiveConnector, Server
from smtpd_anontls.domain.endpoints import Binding, RemoteIPRange, parse_address
from smtpd_anontls.domain.matching import Bound, NotTaken, Taken, match

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from smtpd_anontls.domain.endpoints import IPAddress

SERVER = Server(name="MBX1", fqdn="mbx1.contoso.test")
OTHER_SERVER = Server(name="MBX2", fqdn="mbx2.contoso.test")


def bound(name: str, binding: str, ranges: str, *, server: Server = SERVER, enabled: bool = True) -> Bound:
    """Return a connector under one binding."""
    connector = ReceiveConnector(
        name=name,
        enabled=enabled,
        bindings=(Binding.parse(binding),),
        remote_ip_ranges=tuple(RemoteIPRange.parse(r) for r in ranges.split()),
    )
    return Bound(server, connector, connector.bindings[0])


# The documentation's example: three ranges, one inside the other.
DEFAULT = bound("Default", "0.0.0.0:25", "0.0.0.0-255.255.255.255")
SUBNET = bound("Subnet", "0.0.0.0:25", "192.168.1.0-192.168.1.255")
HOST = bound("Host", "0.0.0.0:25", "192.168.1.75")
LOOPBACK = bound("Loopback", "127.0.0.1:25", "127.0.0.0/8")
SIX = bound("Six", "[::]:25", "::/0 2001:db8::/32", server=OTHER_SERVER)
OFF = bound("Off", "0.0.0.0:25", "192.168.1.75", enabled=False)
EVERY = (DEFAULT, SUBNET, HOST, LOOPBACK, SIX, OFF)

TAKEN = {
    "the single address": (
        "10.0.0.1",
        "192.168.1.75",
        HOST,
        (
            "binding 0.0.0.0:25 and range 192.168.1.75 match 192.168.1.75; less specific: "
            "'Default' (0.0.0.0-255.255.255.255), 'Subnet' (192.168.1.0-192.168.1.255)"
        ),
    ),
    "the subnet": (
        "10.0.0.1",
        "192.168.1.76",
        SUBNET,
        (
            "binding 0.0.0.0:25 and range 192.168.1.0-192.168.1.255 match 192.168.1.76; less specific: "
            "'Default' (0.0.0.0-255.255.255.255)"
        ),
    ),
    "everybody else": (
        "10.0.0.1",
        "192.168.2.75",
        DEFAULT,
        "binding 0.0.0.0:25 and range 0.0.0.0-255.255.255.255 match 192.168.2.75",
    ),
    "the binding to one address": (
        "127.0.0.1",
        "127.0.0.9",
        LOOPBACK,
        "binding 127.0.0.1:25 and range 127.0.0.0/8 match 127.0.0.9",
    ),
    "IPv6": (
        "::1",
        "2001:db8::1",
        SIX,
        "binding [::]:25 and range 2001:db8::/32 match 2001:db8::1; less specific: 'Six' (::/0)",
    ),
}


@pytest.mark.parametrize(("local", "remote", "winner", "detail"), TAKEN.values(), ids=TAKEN.keys())
def test_the_most_specific_connector_takes_it(local: str, remote: str, winner: Bound, detail: str) -> None:
    """Binding first, then the smallest range; the sentence says which and over whom."""
    taken = match(EVERY, (ip_address(local), 25), ip_address(remote))

    assert taken == Taken(winner.server, winner.connector, detail)


def test_less_specific_connectors_are_named_in_any_order() -> None:
    """The sentence names those that lost, whether they were met before or after the winner."""
    taken = match((HOST, SUBNET), (ip_address("10.0.0.1"), 25), ip_address("192.168.1.75"))

    assert taken.detail.endswith("; less specific: 'Subnet' (192.168.1.0-192.168.1.255)")


@pytest.mark.parametrize(
    ("local", "port", "remote", "server", "detail"),
    [
        pytest.param(
            "10.0.0.1",
            26,
            "10.0.0.2",
            None,
            "no enabled connector has a binding for 10.0.0.1 port 26",
            id="no binding of that port",
        ),
        pytest.param(
            "127.0.0.1",
            25,
            "192.168.1.75",
            SERVER,
            "192.168.1.75 is in no RemoteIPRanges of the connectors on 127.0.0.1:25: 'Loopback'",
            id="the wildcard is not asked behind a binding to one address",
        ),
    ],
)
def test_no_connector_takes_it(
    local: str, port: int, remote: str, server: Server | None, detail: str
) -> None:
    """Where nobody takes the session, the sentence says whether binding or range was missing."""
    assert match(EVERY, (ip_address(local), port), ip_address(remote)) == NotTaken(server, detail)


def test_nobody_at_all() -> None:
    """Without connectors there is no binding; a disabled one does not count."""
    local, remote = (ip_address("10.0.0.1"), 25), ip_address("192.168.1.75")

    assert isinstance(match((), local, remote), NotTaken)
    assert match((OFF,), local, remote) == match((), local, remote)


ADDRESSES_4 = st.integers(0, 2**32 - 1).map(IPv4Address)
ADDRESSES_6 = st.integers(0, 2**128 - 1).map(IPv6Address)
PORTS = st.sampled_from([25, 2525])


@st.composite
def near_networks(draw: st.DrawFn) -> str:
    """Return an IPv4 network around 10.0.0.0; two networks are apart or one contains the other."""
    address = IPv4Address(int(IPv4Address("10.0.0.0")) + draw(st.integers(0, 7)))
    return str(ip_network((int(address), draw(st.integers(24, 32))), strict=False))


@st.composite
def legal_connectors(draw: st.DrawFn) -> list[Bound]:
    """Return connectors of one binding that share no range, as Exchange asks."""
    ranges = draw(st.lists(near_networks(), unique=True, min_size=1, max_size=8))
    owners = draw(st.lists(st.integers(0, 3), min_size=len(ranges), max_size=len(ranges)))
    return [
        bound(
            f"C{owner}", "0.0.0.0:25", " ".join(r for r, o in zip(ranges, owners, strict=True) if o == owner)
        )
        for owner in sorted(set(owners))
    ]


NEAR = st.integers(0, 9).map(lambda n: IPv4Address(int(IPv4Address("10.0.0.0")) + n))
LOCAL = (ip_address("127.0.0.1"), 25)


@given(legal_connectors(), NEAR, st.randoms(use_true_random=False))
def test_the_order_of_connectors_decides_nothing(
    connectors: list[Bound], remote: IPv4Address, shuffle: Random
) -> None:
    """Among legal ranges the winner is the same in any order."""
    shuffled = list(connectors)
    shuffle.shuffle(shuffled)

    first, second = match(connectors, LOCAL, remote), match(shuffled, LOCAL, remote)

    assert type(first) is type(second)
    if isinstance(first, Taken) and isinstance(second, Taken):
        assert first.connector == second.connector


@given(legal_connectors(), NEAR)
def test_no_competitor_is_more_specific(connectors: list[Bound], remote: IPv4Address) -> None:
    """The winner holds the peer in a range than which no other that holds it is smaller."""
    covering = {
        (r.size, b.connector.name)
        for b in connectors
        for r in b.connector.remote_ip_ranges
        if r.covers(remote)
    }

    taken = match(connectors, LOCAL, remote)

    if isinstance(taken, Taken):
        assert min(covering)[1] == taken.connector.name
    else:
        assert not covering


@given(legal_connectors(), NEAR)
def test_ipv4_inside_ipv6_is_the_same_peer(connectors: list[Bound], remote: IPv4Address) -> None:
    """A peer that a socket reports as ::ffff:10.0.0.1 is 10.0.0.1."""
    inside = parse_address(f"::ffff:{remote}")

    assert match(connectors, LOCAL, inside) == match(connectors, LOCAL, remote)


@st.composite
def any_connectors(draw: st.DrawFn) -> Bound:
    """Return a connector with any binding and any ranges, legal beside others or not."""
    binding = Binding(draw(ADDRESSES_4 | ADDRESSES_6 | st.just(LOCAL[0])), draw(PORTS))
    bits = draw(st.sampled_from([32, 128]))
    address: Callable[[int], IPAddress] = IPv4Address if bits == 32 else IPv6Address
    ranges = []
    for _ in range(draw(st.integers(0, 3))):
        low = draw(st.integers(0, 2**bits - 1))
        high = draw(st.integers(low, 2**bits - 1))
        ranges.append(RemoteIPRange(address(low), address(high), f"{low}-{high}"))
    connector = ReceiveConnector(
        name=draw(st.text(max_size=5)), enabled=draw(st.booleans()), remote_ip_ranges=tuple(ranges)
    )
    return Bound(SERVER, connector, binding)


@given(
    st.lists(any_connectors(), max_size=4),
    ADDRESSES_4 | ADDRESSES_6 | st.just(LOCAL[0]),
    PORTS,
    ADDRESSES_4 | ADDRESSES_6,
)
def test_there_is_always_an_answer(
    connectors: list[Bound],
    local: IPv4Address | IPv6Address,
    port: int,
    remote: IPv4Address | IPv6Address,
) -> None:
    """Whatever the connectors and the connection, somebody takes it or a sentence says why nobody does."""
    answer = match(connectors, (local, port), remote)

    assert answer.detail
    if isinstance(answer, Taken):
        assert answer.connector.enabled
        assert any(r.covers(remote) for r in answer.connector.remote_ip_ranges)
