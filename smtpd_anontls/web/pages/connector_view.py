"""What the page about Receive connectors shows: flags in words, properties, and who would take a peer."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING

from smtpd_anontls.domain.connectors import ReceiveConnector
from smtpd_anontls.domain.flags import AuthMechanism, ExchangeFlag, PermissionGroups
from smtpd_anontls.domain.matching import NotTaken, match

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from smtpd_anontls.domain.connectors import Server
    from smtpd_anontls.domain.endpoints import Binding, IPAddress
    from smtpd_anontls.domain.matching import Bound
    from smtpd_anontls.web.pages.flow import Chart, Offer

# What each flag does here ("Receive connectors": authentication mechanisms, permission groups).
_MEANINGS: Mapping[ExchangeFlag, str] = MappingProxyType(
    {
        AuthMechanism.Tls: "Advertises STARTTLS, where there is a certificate for it.",
        AuthMechanism.Integrated: "Offers NTLM, and GSSAPI where Kerberos is set up.",
        AuthMechanism.BasicAuth: "Offers AUTH LOGIN.",
        AuthMechanism.BasicAuthRequireTLS: "Offers AUTH LOGIN under TLS only.",
        AuthMechanism.ExchangeServer: "Advertises X-ANONYMOUSTLS, where there is a certificate for it, and X-EXPS.",
        AuthMechanism.ExternalAuthoritative: "Takes every peer as secured by other means, and trusts it.",
        PermissionGroups.AnonymousUsers: "Senders that have not authenticated may submit mail.",
        PermissionGroups.ExchangeUsers: "Users that have authenticated may submit mail, to any recipient.",
        PermissionGroups.ExchangeServers: "Exchange servers that have authenticated may submit mail, with every right.",
        PermissionGroups.ExchangeLegacyServers: "Exchange 2003 servers that have authenticated may submit mail.",
        PermissionGroups.Partners: "Partner domains that have authenticated by mutual TLS may submit mail.",
        PermissionGroups.Custom: "Permissions were set one by one.",
    }
)


@dataclass(frozen=True, slots=True)
class FlagView:
    """A flag, whether it is set, and what it does."""

    name: str
    is_set: bool
    meaning: str


@dataclass(frozen=True, slots=True)
class Property:
    """A property of a connector."""

    name: str
    value: str
    is_default: bool
    meaning: str


@dataclass(frozen=True, slots=True)
class ConnectorView:
    """A Receive connector."""

    server: str
    name: str
    slug: str
    enabled: bool
    transport_role: str
    bindings: tuple[str, ...]
    listening: tuple[str, ...]  # Where it really listens: port 0 has become a port.
    remote_ip_ranges: tuple[str, ...]
    auth_mechanism: tuple[FlagView, ...]
    permission_groups: tuple[FlagView, ...]
    properties: tuple[Property, ...]
    charts: tuple[Chart, ...]
    offers: tuple[Offer, ...]

    @classmethod
    def of(
        cls,
        number: int,
        server: Server,
        connector: ReceiveConnector,
        bound: Iterable[Bound],
        charts: Sequence[Chart],
    ) -> ConnectorView:
        """Return the view of a connector of *server*."""
        return cls(
            server.name,
            connector.name,
            f"connector-{number}",
            connector.enabled,
            connector.transport_role.value,
            tuple(map(str, connector.bindings)),
            tuple(
                str(each.binding)
                for each in bound
                if (each.server.name, each.connector.name) == (server.name, connector.name)
            ),
            tuple(map(str, connector.remote_ip_ranges)),
            _flags(connector.auth_mechanism),
            _flags(connector.permission_groups),
            properties_of(connector),
            tuple(charts),
            tuple(chart.offer() for chart in charts),
        )


@dataclass(frozen=True, slots=True)
class Taking:
    """What would become of a peer that connects to a local address."""

    local: str
    server: str | None
    connector: str | None  # None: no connector takes it.
    slug: str
    detail: str


def properties_of(connector: ReceiveConnector) -> tuple[Property, ...]:
    """Return the properties in the order of the reference; the name is no property."""
    return tuple(
        Property(
            each.name,
            written(getattr(connector, each.name)),
            getattr(connector, each.name) == each.default,
            str(each.metadata["doc"]),
        )
        for each in fields(ReceiveConnector)
        if each.name != "name"
    )


def written(value: object) -> str:
    """Return a property's value as the configuration writes it."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case tuple():
            return ", ".join(map(str, value)) or "none"
        case ExchangeFlag():
            return str(value)
        case Enum():
            return str(value.value)
    return str(value)


def takings(
    bound: Sequence[Bound],
    endpoints: Iterable[Binding],
    remote: IPAddress,
    slugs: Mapping[tuple[str, str], str],
) -> tuple[Taking, ...]:
    """Return for each local address which connector would take *remote*, and why."""
    found = []
    for endpoint in endpoints:
        result = match(bound, (endpoint.address, endpoint.port), remote)
        if isinstance(result, NotTaken):
            server = None if result.server is None else result.server.name
            found.append(Taking(str(endpoint), server, None, "", result.detail))
        else:
            place = (result.server.name, result.connector.name)
            found.append(Taking(str(endpoint), *place, slugs.get(place, ""), result.detail))
    return tuple(found)


def _flags(value: ExchangeFlag) -> tuple[FlagView, ...]:
    return tuple(FlagView(str(each.name), each in value, _MEANINGS[each]) for each in type(value))
