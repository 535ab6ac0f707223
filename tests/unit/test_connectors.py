"""A Receive connector's defaults and the documentation of its properties."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest

from smtpd_anontls.domain.connectors import NOT_YET_HONOURED, ReceiveConnector, Server, connector_json
from smtpd_anontls.domain.endpoints import Binding
from smtpd_anontls.domain.flags import (
    AuthMechanism,
    ExtendedProtectionPolicy,
    MessageRateSource,
    PermissionGroups,
    SizeEnabled,
)

# New-ReceiveConnector, and a dump of an Exchange 2019 server where that is not documented.
EXCHANGE_DEFAULTS = {
    "enabled": True,
    "auth_mechanism": AuthMechanism.Tls,
    "permission_groups": PermissionGroups(0),
    "fqdn": None,
    "tls_certificate_name": None,
    "suppress_x_anonymous_tls": False,
    "require_tls": False,
    "require_ehlo_domain": False,
    "banner": None,
    "max_message_size": 37748736,
    "max_header_size": 262144,
    "max_recipients_per_message": 200,
    "max_hop_count": 60,
    "max_local_hop_count": 5,
    "max_protocol_errors": 5,
    "max_logon_failures": 3,
    "max_inbound_connection": 5000,
    "max_inbound_connection_per_source": 20,
    "max_inbound_connection_percentage_per_source": 2,
    "message_rate_limit": None,
    "message_rate_source": MessageRateSource.IPAddress,
    "connection_timeout": 600,
    "connection_inactivity_timeout": 300,
    "tarpit_interval": 5,
    "auth_tarpit_interval": 5,
    "size_enabled": SizeEnabled.Enabled,
    "pipelining_enabled": True,
    "enhanced_status_codes_enabled": True,
    "eight_bit_mime_enabled": True,
    "delivery_status_notification_enabled": True,
    "chunking_enabled": True,
    "binary_mime_enabled": True,
    "smtp_utf8_enabled": True,
    "enable_auth_gssapi": False,
    "extended_protection_policy": ExtendedProtectionPolicy.NotUsed,
    "domain_secure_enabled": False,
    "bare_linefeed_rejection_enabled": False,
    "long_addresses_enabled": False,
    "orar_enabled": False,
}


@pytest.mark.parametrize(("name", "value"), EXCHANGE_DEFAULTS.items())
def test_default_is_that_of_exchange(name: str, value: object) -> None:
    """A property that is not set has the value that Exchange gives it."""
    assert getattr(ReceiveConnector(name="C"), name) == value


def test_default_ranges_are_every_address() -> None:
    """A connector takes every peer of both families unless it is told otherwise."""
    assert [str(r) for r in ReceiveConnector(name="C").remote_ip_ranges] == [
        "0.0.0.0-255.255.255.255",
        "::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    ]


def test_every_property_says_what_it_means() -> None:
    """The reference is made of these sentences, so there is one for each property."""
    for declared in fields(ReceiveConnector):
        assert declared.metadata["doc"].endswith("."), declared.name


def test_what_is_not_yet_honoured_is_a_property() -> None:
    """The list of properties that earn a warning names none that does not exist."""
    assert set(NOT_YET_HONOURED) <= {declared.name for declared in fields(ReceiveConnector)}


@pytest.mark.parametrize(
    ("fqdn", "used"), [(None, "mbx1.contoso.test"), ("", "mbx1.contoso.test"), ("m", "m")]
)
def test_fqdn_is_the_connectors_or_the_servers(fqdn: str | None, used: str) -> None:
    """The connector's FQDN goes before the server's."""
    server = Server(name="MBX1", fqdn="mbx1.contoso.test")

    assert server.fqdn_of(ReceiveConnector(name="C", fqdn=fqdn)) == used


def test_a_connector_as_json() -> None:
    """Values stand in the JSON as the configuration has them."""
    connector = ReceiveConnector(
        name="Default",
        bindings=(Binding.parse("127.0.0.1:2525"),),
        auth_mechanism=AuthMechanism.Tls | AuthMechanism.ExchangeServer,
        message_rate_source=MessageRateSource.NotUsed,
    )

    shown = connector_json("MBX1", connector)

    assert list(shown) == ["server", *(each.name for each in fields(ReceiveConnector))]
    assert (shown["server"], shown["bindings"]) == ("MBX1", ["127.0.0.1:2525"])
    assert shown["auth_mechanism"] == ["Tls", "ExchangeServer"]
    assert (shown["message_rate_source"], shown["message_rate_limit"]) == ("None", None)
    assert json.loads(json.dumps(shown)) == shown
