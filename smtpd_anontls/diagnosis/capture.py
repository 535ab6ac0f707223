"""Receive connectors that take other Exchange servers away from the connector that is meant for them.

An Exchange server that connects is taken by the most specific remote range, whoever made it; where that
is a relay connector without ExchangeServer, X-ANONYMOUSTLS is not advertised, and the sender's queue says
"451 5.7.3 Cannot achieve Exchange Server authentication".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from smtpd_anontls.domain.flags import AuthMechanism
from smtpd_anontls.domain.matching import Bound, Taken, match

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from smtpd_anontls.domain.connectors import ReceiveConnector, Server
    from smtpd_anontls.domain.endpoints import Binding, IPAddress, RemoteIPRange

# A range of a whole subnet: where servers may stand that nobody thought of.  Of IPv4 a /24, of IPv6 a /64.
_SUBNET = {4: 2**8, 6: 2**64}


@dataclass(frozen=True, slots=True)
class Captured:
    """A connector that takes Exchange servers and has no ExchangeServer for them."""

    connector: ReceiveConnector
    detail: str


def captures(server: Server, peers: Sequence[IPAddress]) -> Iterator[Captured]:
    """Yield connectors that take one of *peers*; without any peer, those whose ranges may hold some."""
    bound = [Bound(server, each, binding) for each in server.connectors for binding in each.bindings]
    meant = [b for b in bound if b.connector.enabled and _is_for_exchange(b.connector)]
    if peers:
        yield from _taking(bound, meant, peers)
        return
    for each in server.connectors:
        if not each.enabled or _is_for_exchange(each):
            continue
        for one in each.remote_ip_ranges:
            wider = _wider(each, one, meant)
            if wider is not None and one.size >= _SUBNET[one.first.version]:
                yield Captured(
                    each,
                    f"{one} is taken from {wider.connector.name!r} on {wider.binding}, and ExchangeServer is not in "
                    "AuthMechanism: an Exchange server in that range would be offered no X-ANONYMOUSTLS; name only the "
                    "hosts that relay",
                )


def _taking(bound: Sequence[Bound], meant: Sequence[Bound], peers: Sequence[IPAddress]) -> Iterator[Captured]:
    for peer in dict.fromkeys(peers):
        endpoints = dict.fromkeys(b.binding for b in meant if b.binding.address.version == peer.version)
        for binding in endpoints:
            taken = match(bound, (binding.address, binding.port), peer)
            if isinstance(taken, Taken) and not _is_for_exchange(taken.connector):
                yield Captured(
                    taken.connector,
                    f"the Exchange server {peer} that connects to {binding} is taken by this connector ({taken.detail}), "
                    "and ExchangeServer is not in AuthMechanism, so it is offered no X-ANONYMOUSTLS",
                )


def _wider(connector: ReceiveConnector, one: RemoteIPRange, meant: Sequence[Bound]) -> Bound | None:
    """Return where the addresses of *one* would go without *connector*: the first that has them all, and more."""
    for candidate in meant:
        if not _meet(candidate.binding, connector.bindings):
            continue
        for other in candidate.connector.remote_ip_ranges:
            if other.covers(one.first) and other.covers(one.last) and other.size > one.size:
                return candidate
    return None


def _meet(binding: Binding, others: Sequence[Binding]) -> bool:
    return any(
        binding.covers(other.address, other.port) or other.covers(binding.address, binding.port)
        for other in others
    )


def _is_for_exchange(connector: ReceiveConnector) -> bool:
    return AuthMechanism.ExchangeServer in connector.auth_mechanism
