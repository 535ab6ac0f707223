"""The rules between a Receive connector's properties, and between connectors of one server.

Each rule is Exchange's (Set-ReceiveConnector, and the error texts that Exchange shows); a
violation names every property that it speaks of, so that a caller who could not read one of
them can leave the rule out.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from smtpd_anontls.domain.events import EventId
from smtpd_anontls.domain.flags import AuthMechanism, PermissionGroups

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smtpd_anontls.domain.connectors import ReceiveConnector, Server


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that does not hold: where, what is wrong, and what would do."""

    connector: str
    properties: tuple[str, ...]  # The first is the one to point at.
    message: str
    event_id: EventId = EventId.INVALID_CONNECTOR


def connector_violations(connector: ReceiveConnector, server: Server) -> Iterator[Violation]:
    """Yield every rule that *connector* of *server* breaks."""
    yield from _auth_mechanism(connector)
    yield from _fqdn(connector, server)
    yield from _extensions_and_times(connector)
    yield from _proxies(connector)


def server_violations(server: Server) -> Iterator[Violation]:
    """Yield the rules that connectors of *server* break together."""
    seen: dict[str, str] = {}
    for connector in server.connectors:
        if connector.name.casefold() in seen:
            yield Violation(
                connector.name, ("name",), "another connector of this server has this name; choose another"
            )
        seen[connector.name.casefold()] = connector.name
    # Exchange keeps ranges apart for each binding: "overlap only where one contains the other".
    for first, second in combinations(server.connectors, 2):
        if first.enabled and second.enabled:
            yield from _ranges(first, second)


def _auth_mechanism(connector: ReceiveConnector) -> Iterator[Violation]:
    mechanism = connector.auth_mechanism

    def broken(message: str, *others: str, event_id: EventId = EventId.INVALID_CONNECTOR) -> Violation:
        return Violation(connector.name, ("auth_mechanism", *others), message, event_id)

    if AuthMechanism.BasicAuthRequireTLS in mechanism:
        missing = (AuthMechanism.BasicAuth | AuthMechanism.Tls) & ~mechanism
        if missing:
            yield broken(f"BasicAuthRequireTLS needs BasicAuth and Tls; add {missing}")
    if AuthMechanism.ExternalAuthoritative in mechanism:
        excess = mechanism & ~(AuthMechanism.ExternalAuthoritative | AuthMechanism.Tls)
        if excess:
            yield broken(f"ExternalAuthoritative goes only with Tls; remove {excess}")
        if PermissionGroups.ExchangeServers not in connector.permission_groups:
            yield broken(
                "ExternalAuthoritative needs permission_groups with ExchangeServers", "permission_groups"
            )
        if connector.domain_secure_enabled:
            yield broken(
                "ExternalAuthoritative excludes domain_secure_enabled; set one of them only",
                "domain_secure_enabled",
            )
    if connector.require_tls and AuthMechanism.Tls not in mechanism:
        yield broken("require_tls needs Tls; add it", "require_tls", event_id=EventId.REQUIRE_TLS_WITHOUT_TLS)
    if connector.domain_secure_enabled and AuthMechanism.Tls not in mechanism:
        yield broken("domain_secure_enabled needs Tls; add it", "domain_secure_enabled")


def _fqdn(connector: ReceiveConnector, server: Server) -> Iterator[Violation]:
    # With ExchangeServer the peer's Kerberos ticket is for the server's own name.
    if AuthMechanism.ExchangeServer not in connector.auth_mechanism or connector.fqdn is None:
        return
    if connector.fqdn.casefold() not in {server.fqdn.casefold(), server.name.casefold()}:
        yield Violation(
            connector.name,
            ("fqdn", "auth_mechanism"),
            f"with ExchangeServer in auth_mechanism {connector.fqdn!r} must be the server's FQDN {server.fqdn!r}, "
            f"its NetBIOS name {server.name!r}, or null",
        )


def _extensions_and_times(connector: ReceiveConnector) -> Iterator[Violation]:
    if connector.binary_mime_enabled and not connector.chunking_enabled:
        yield Violation(
            connector.name,
            ("binary_mime_enabled", "chunking_enabled"),
            "binary_mime_enabled needs chunking_enabled; set both or neither",
        )
    if connector.connection_inactivity_timeout >= connector.connection_timeout:
        yield Violation(
            connector.name,
            ("connection_inactivity_timeout", "connection_timeout"),
            f"must be shorter than connection_timeout ({connector.connection_timeout:g} s)",
        )


def _proxies(connector: ReceiveConnector) -> Iterator[Violation]:
    if connector.proxy_protocol and not connector.trusted_proxies:
        yield Violation(
            connector.name,
            ("proxy_protocol", "trusted_proxies"),
            "needs trusted_proxies, since nobody else may send the header; name them",
        )


def _ranges(first: ReceiveConnector, second: ReceiveConnector) -> Iterator[Violation]:
    # Port 0 gives each connector a port of its own, so nothing is shared.
    shared = [b for b in first.bindings if b.port and b in second.bindings]
    if not shared:
        return
    for mine in first.remote_ip_ranges:
        for theirs in second.remote_ip_ranges:
            if mine.same_addresses(theirs):
                wrong = f"{theirs} is also a range of {first.name!r} on {shared[0]}; only one connector can take it"
            elif mine.overlaps_partly(theirs):
                wrong = (
                    f"{theirs} overlaps {mine} of {first.name!r} on {shared[0]}; "
                    "ranges may overlap only where one contains the other"
                )
            else:
                continue
            yield Violation(second.name, ("remote_ip_ranges", "bindings"), wrong)
