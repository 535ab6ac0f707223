"""What a test asks of its receiver, and the configuration that comes of it.

As usual it is the server of the shipped ``config/receive.yaml``: MBX1 with the connector "Default
Frontend MBX1".  A scenario gives it the certificate, the directory entry and the connector's
properties of the gallery's server of that name; what the test says itself goes before both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Self, TypedDict

from smtpd_anontls.domain.scenarios import Scenario

Json = dict[str, Any]

SERVER = "MBX1"
FQDN = "mbx1.contoso.test"
CONNECTOR = "Default Frontend MBX1"
USERS_FILE = "users.txt"

# Tests connect from one address, often, are refused on purpose and log on in vain: with Exchange's own
# limits they would wait, or fail for reasons of their own.
_NO_LIMITS: Mapping[str, object] = MappingProxyType(
    {
        "max_inbound_connection_per_source": "unlimited",
        "max_inbound_connection_percentage_per_source": 100,
        "tarpit_interval": 0,
        "auth_tarpit_interval": 0,
        "max_protocol_errors": "unlimited",
        "max_logon_failures": 0,  # Any number.
    }
)

_OF_RECEIVE_YAML = ("Tls", "Integrated", "BasicAuth", "BasicAuthRequireTLS", "ExchangeServer")
_OF_THE_GALLERY = ("Tls", "Integrated", "ExchangeServer")
_AUTH_MECHANISMS: Mapping[Scenario, tuple[str, ...]] = MappingProxyType(
    {
        **dict.fromkeys(Scenario, _OF_THE_GALLERY),
        Scenario.AUTH_MECHANISM: ("Tls", "Integrated"),
        Scenario.STARTTLS_ONLY: ("Tls",),
        Scenario.ANONYMOUS_TLS_ONLY: ("ExchangeServer", "Integrated"),
        Scenario.NO_TLS: ("Integrated",),
    }
)

# Sections whose keys do not go together with those that stand here: a test's own takes their place.
_REPLACED = frozenset({"servers", "directory", "event_log"})


class ArrangementError(ValueError):
    """A test asks for something that there is not; the text says what, and what there is."""


class Terms(TypedDict, total=False):
    """What a test may ask for; every key is optional."""

    scenario: str  # A name of the gallery.
    connector: Mapping[str, Any]  # Properties of its Receive connector, as in the configuration.
    server: Mapping[str, Any]  # Keys of its server.
    settings: Mapping[str, Any]  # Sections of the configuration, such as tls.
    users: Mapping[str, str]  # Those of NTLM and LOGIN, with their passwords.


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrangement:
    """What a test asks for; where it says nothing, all is well."""

    scenario: Scenario | None = None
    connector: Mapping[str, Any] = field(default_factory=dict)
    server: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    users: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def read(cls, *terms: Mapping[str, Any]) -> Self:
        """Return what *terms* ask for, the later ones before the earlier; ArrangementError says what there is."""
        merged: Json = {}
        for each in terms:
            for key, value in each.items():
                merged[key] = _laid_over(merged.get(key), _checked(key, value))
        return cls(**merged)

    def configuration(self) -> Json:
        """Return the content of the configuration file; its relative paths begin at the file's folder."""
        server: Json = {"name": SERVER, "fqdn": FQDN, "certificate_store": "certs"}
        if self.scenario is not None or "directory" not in self.settings:
            # Without the embedded directory there is no entry to make, and no certificate to go with it.
            server["scenario"] = self.scenario or Scenario.HEALTHY
        server = {**server, "connectors": [{**self._connector(), **self.connector}], **self.server}
        content: Json = {
            "servers": [server],
            "directory": {"type": "file", "path": "directory.yaml"},
            "event_log": {"format": "jsonl", "path": "application.jsonl"},
            "protocol_log": {"path": None},
            "capture": {"url": "sqlite:///capture.db"},
            "web": {"bind": None},
        }
        if self.users:
            content["authentication"] = {"credentials": USERS_FILE}
        for key, value in self.settings.items():
            content[key] = value if key in _REPLACED else _laid_over(content.get(key), value)
        return content

    def _connector(self) -> Json:
        """Return the connector's properties before the test's own."""
        mechanisms = _OF_RECEIVE_YAML if self.scenario is None else _AUTH_MECHANISMS[self.scenario]
        groups = ["AnonymousUsers", "ExchangeServers"]
        if self.users:
            # Who logs on is a user, and would otherwise be let in to do nothing.
            groups.append("ExchangeUsers")
        properties: Json = {
            "name": CONNECTOR,
            "bindings": ["127.0.0.1:0"],
            "auth_mechanism": list(mechanisms),
            "permission_groups": groups,
        }
        if self.scenario is Scenario.SUPPRESSED:
            properties["suppress_x_anonymous_tls"] = True
        if self.scenario is not Scenario.EXCHANGE_LIMITS:
            properties.update(_NO_LIMITS)
        return properties


def _checked(key: str, value: Any) -> Any:
    """Return *value* as the arrangement has it; ArrangementError where there is no such key or scenario."""
    if key not in Terms.__annotations__:
        raise ArrangementError(f"{key!r} is nothing to ask for; there are {', '.join(Terms.__annotations__)}")
    if key == "scenario":
        try:
            return Scenario(value)
        except ValueError:
            raise ArrangementError(
                f"scenario: {value!r} is not one of {', '.join(each.value for each in Scenario)}"
            ) from None
    if not isinstance(value, Mapping):
        raise ArrangementError(f"{key}: {value!r} is not a mapping")
    return value


def _laid_over(below: Any, above: Any) -> Any:
    """Return *above*, and where both are mappings, *below* with *above* key by key before it."""
    if not isinstance(below, Mapping) or not isinstance(above, Mapping):
        return above
    return {**below, **{key: _laid_over(below.get(key), value) for key, value in above.items()}}
