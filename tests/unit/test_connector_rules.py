"""The rules between a Receive connector's properties, and between connectors of one server."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from smtpd_anontls.domain.connector_rules import connector_violations, server_violations
from smtpd_anontls.domain.connectors import ReceiveConnector, Server
from smtpd_anontls.domain.endpoints import Binding, RemoteIPRange
from smtpd_anontls.domain.events import EventId
from smtpd_anontls.domain.flags import AuthMechanism, PermissionGroups

SERVER = Server(name="MBX1", fqdn="mbx1.contoso.test")
GOOD = ReceiveConnector(name="Default Frontend MBX1", auth_mechanism=AuthMechanism(31))
TLS = AuthMechanism.Tls
EXTERNAL = AuthMechanism.ExternalAuthoritative

# Changes to the good connector that break no rule.
FINE: dict[str, dict[str, Any]] = {
    "the good one": {},
    "no mechanism at all": {"auth_mechanism": AuthMechanism(0)},
    "BasicAuth without BasicAuthRequireTLS": {"auth_mechanism": AuthMechanism.BasicAuth},
    "ExternalAuthoritative alone": {
        "auth_mechanism": EXTERNAL,
        "permission_groups": PermissionGroups.ExchangeServers,
    },
    "ExternalAuthoritative with Tls": {
        "auth_mechanism": EXTERNAL | TLS,
        "permission_groups": PermissionGroups.ExchangeServers,
        "require_tls": True,
    },
    "RequireTLS with Tls": {"require_tls": True},
    "domain security with Tls": {"domain_secure_enabled": True},
    "the server's FQDN": {"fqdn": "MBX1.Contoso.Test"},
    "the server's NetBIOS name": {"fqdn": "mbx1"},
    "another FQDN without ExchangeServer": {"fqdn": "mail.contoso.test", "auth_mechanism": TLS},
    "neither chunking nor BINARYMIME": {"chunking_enabled": False, "binary_mime_enabled": False},
    "chunking without BINARYMIME": {"binary_mime_enabled": False},
    "a proxy with its address": {
        "proxy_protocol": True,
        "trusted_proxies": (RemoteIPRange.parse("192.0.2.1"),),
    },
    "a longer life than silence": {"connection_inactivity_timeout": 599.0},
}

# Changes that break rules: which properties each violation speaks of, and what it says.
BROKEN: dict[str, tuple[dict[str, Any], list[tuple[tuple[str, ...], str]]]] = {
    "BasicAuthRequireTLS alone": (
        {"auth_mechanism": AuthMechanism.BasicAuthRequireTLS},
        [(("auth_mechanism",), "BasicAuthRequireTLS needs BasicAuth and Tls; add Tls, BasicAuth")],
    ),
    "BasicAuthRequireTLS without Tls": (
        {"auth_mechanism": AuthMechanism.BasicAuthRequireTLS | AuthMechanism.BasicAuth},
        [(("auth_mechanism",), "BasicAuthRequireTLS needs BasicAuth and Tls; add Tls")],
    ),
    "BasicAuthRequireTLS without BasicAuth": (
        {"auth_mechanism": AuthMechanism.BasicAuthRequireTLS | TLS},
        [(("auth_mechanism",), "BasicAuthRequireTLS needs BasicAuth and Tls; add BasicAuth")],
    ),
    "ExternalAuthoritative with ExchangeServer": (
        {
            "auth_mechanism": EXTERNAL | TLS | AuthMechanism.ExchangeServer,
            "permission_groups": PermissionGroups.ExchangeServers,
        },
        [(("auth_mechanism",), "ExternalAuthoritative goes only with Tls; remove ExchangeServer")],
    ),
    "ExternalAuthoritative without the group": (
        {"auth_mechanism": EXTERNAL, "permission_groups": PermissionGroups.AnonymousUsers},
        [
            (
                ("auth_mechanism", "permission_groups"),
                "ExternalAuthoritative needs permission_groups with ExchangeServers",
            )
        ],
    ),
    "ExternalAuthoritative with domain security": (
        {
            "auth_mechanism": EXTERNAL | TLS,
            "permission_groups": PermissionGroups.ExchangeServers,
            "domain_secure_enabled": True,
        },
        [
            (
                ("auth_mechanism", "domain_secure_enabled"),
                "ExternalAuthoritative excludes domain_secure_enabled; set one of them only",
            )
        ],
    ),
    "RequireTLS without Tls": (
        {"auth_mechanism": AuthMechanism.Integrated, "require_tls": True},
        [(("auth_mechanism", "require_tls"), "require_tls needs Tls; add it")],
    ),
    "domain security without Tls": (
        {"auth_mechanism": AuthMechanism.Integrated, "domain_secure_enabled": True},
        [(("auth_mechanism", "domain_secure_enabled"), "domain_secure_enabled needs Tls; add it")],
    ),
    "another FQDN with ExchangeServer": (
        {"fqdn": "mail.contoso.test"},
        [
            (
                ("fqdn", "auth_mechanism"),
                (
                    "with ExchangeServer in auth_mechanism 'mail.contoso.test' must be the server's FQDN "
                    "'mbx1.contoso.test', its NetBIOS name 'MBX1', or null"
                ),
            )
        ],
    ),
    "BINARYMIME without chunking": (
        {"chunking_enabled": False},
        [
            (
                ("binary_mime_enabled", "chunking_enabled"),
                "binary_mime_enabled needs chunking_enabled; set both or neither",
            )
        ],
    ),
    "a proxy that nobody is": (
        {"proxy_protocol": True},
        [
            (
                ("proxy_protocol", "trusted_proxies"),
                "needs trusted_proxies, since nobody else may send the header; name them",
            )
        ],
    ),
    "silence as long as life": (
        {"connection_inactivity_timeout": 600.0},
        [
            (
                ("connection_inactivity_timeout", "connection_timeout"),
                "must be shorter than connection_timeout (600 s)",
            )
        ],
    ),
    "two at once": (
        {"fqdn": "mail.contoso.test", "chunking_enabled": False},
        [
            (("fqdn", "auth_mechanism"), "with ExchangeServer in auth_mechanism 'mail.contoso.test'"),
            (("binary_mime_enabled", "chunking_enabled"), "binary_mime_enabled needs chunking_enabled"),
        ],
    ),
}


@pytest.mark.parametrize("change", FINE.values(), ids=FINE.keys())
def test_no_rule_is_broken(change: dict[str, Any]) -> None:
    """What Exchange allows is no violation."""
    assert list(connector_violations(replace(GOOD, **change), SERVER)) == []


@pytest.mark.parametrize(("change", "expected"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_rule_is_named(change: dict[str, Any], expected: list[tuple[tuple[str, ...], str]]) -> None:
    """Every broken rule says which properties it speaks of, and what would do."""
    violations = list(connector_violations(replace(GOOD, **change), SERVER))

    assert [v.properties for v in violations] == [properties for properties, _ in expected]
    for violation, (_, message) in zip(violations, expected, strict=True):
        assert violation.message.startswith(message)
        assert violation.connector == GOOD.name


def test_require_tls_without_tls_has_its_own_event() -> None:
    """RequireTLS without Tls is event 1032, every other rule event 1003."""
    ids = {
        name: [v.event_id for v in connector_violations(replace(GOOD, **change), SERVER)]
        for name, (change, _) in BROKEN.items()
    }

    assert ids.pop("RequireTLS without Tls") == [EventId.REQUIRE_TLS_WITHOUT_TLS]
    assert {event for events in ids.values() for event in events} == {EventId.INVALID_CONNECTOR}


def _connector(
    name: str, ranges: str, bindings: str = "0.0.0.0:25", *, enabled: bool = True
) -> ReceiveConnector:
    return ReceiveConnector(
        name=name,
        enabled=enabled,
        bindings=tuple(Binding.parse(b) for b in bindings.split()),
        remote_ip_ranges=tuple(RemoteIPRange.parse(r) for r in ranges.split()),
    )


RELAY = _connector("Relay", "10.0.0.0-10.0.0.9")
TOGETHER: dict[str, tuple[ReceiveConnector, str | None]] = {
    "a range inside the other": (_connector("Other", "10.0.0.5"), None),
    "a range around the other": (_connector("Other", "10.0.0.0/8"), None),
    "ranges apart": (_connector("Other", "10.1.0.0/16"), None),
    "the same range on another binding": (_connector("Other", "10.0.0.0-10.0.0.9", "127.0.0.1:25"), None),
    "the same range, but disabled": (_connector("Other", "10.0.0.0-10.0.0.9", enabled=False), None),
    "the same range": (
        _connector("Other", "10.0.0.0-10.0.0.9"),
        "10.0.0.0-10.0.0.9 is also a range of 'Relay' on 0.0.0.0:25; only one connector can take it",
    ),
    "the same binding among others": (
        _connector("Other", "192.168.0.1 10.0.0.0-10.0.0.9", "127.0.0.1:26 0.0.0.0:25"),
        "10.0.0.0-10.0.0.9 is also a range of 'Relay' on 0.0.0.0:25; only one connector can take it",
    ),
    "a partial overlap": (
        _connector("Other", "10.0.0.5-10.0.0.20"),
        (
            "10.0.0.5-10.0.0.20 overlaps 10.0.0.0-10.0.0.9 of 'Relay' on 0.0.0.0:25; "
            "ranges may overlap only where one contains the other"
        ),
    ),
}


@pytest.mark.parametrize(("other", "message"), TOGETHER.values(), ids=TOGETHER.keys())
def test_ranges_of_one_binding(other: ReceiveConnector, message: str | None) -> None:
    """Ranges of one binding may overlap only where one contains the other."""
    violations = list(server_violations(replace(SERVER, connectors=(RELAY, other))))

    assert [v.message for v in violations] == ([] if message is None else [message])
    assert all(v.connector == "Other" for v in violations)
    assert all(v.properties == ("remote_ip_ranges", "bindings") for v in violations)


def test_port_zero_is_never_shared() -> None:
    """Port 0 is a port of one's own, so identical ranges there are no conflict."""
    connectors = (_connector("A", "10.0.0.1", "127.0.0.1:0"), _connector("B", "10.0.0.1", "127.0.0.1:0"))

    assert list(server_violations(replace(SERVER, connectors=connectors))) == []


def test_names_are_unique_in_any_case() -> None:
    """Two connectors of one server cannot have one name."""
    connectors = (RELAY, _connector("RELAY", "10.1.0.0/16"), _connector("Other", "10.2.0.0/16"))

    violations = list(server_violations(replace(SERVER, connectors=connectors)))

    assert [(v.connector, v.properties) for v in violations] == [("RELAY", ("name",))]
    assert violations[0].message == "another connector of this server has this name; choose another"
