"""The receiver itself, in the variants that are compared."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from bench.servers.server import LOOPBACK, Key

if TYPE_CHECKING:
    from bench.load.work import TlsVerb
    from bench.servers.server import Place

# As config/receive.yaml has it, and whole: nothing that the receiver ships with is turned off for the measurement.
_RETENTION = {"messages": 100_000, "sessions": 200_000, "age": "30d", "size": "10GB"}


@dataclass(frozen=True)
class Receiver:
    """``smtpd-anontls serve`` with two Exchange servers, one for each key, and what it records."""

    name: str
    records: str  # In the words of a table.
    capture: bool = False  # The durable journal in SQLite.
    protocol_log: bool = False
    page: bool = False
    workers: int | None = None  # None: what `serve` does by itself.
    verbs: frozenset[TlsVerb] = frozenset({"STARTTLS", "X-ANONYMOUSTLS"})
    keys: frozenset[Key] = frozenset(Key)
    takes_bdat: bool = True
    warm_up: int = 2_000

    @property
    def title(self) -> str:
        """What it is called in a table."""
        return f"smtpd-anontls {version('smtpd-anontls')}, {self.records}"

    def install(self) -> None:
        """Do nothing: it is here."""

    def command(self, place: Place) -> list[str]:
        """Write configuration, certificates and directory, and return ``serve``."""
        directory = {}
        for key, pair in place.keys.items():
            store = place.folder / f"certificates-{key}"
            store.mkdir()
            chain = store / f"{key}.pem"
            chain.touch(0o600)
            chain.write_bytes(pair.certificate.read_bytes() + pair.key.read_bytes())
            directory[_host(key)] = {"msExchServerInternalTLSCert": pair.thumbprint}
        # JSON is YAML.
        (place.folder / "directory.yaml").write_text(json.dumps(directory), encoding="utf-8")
        config = place.folder / "receive.yaml"
        config.write_text(json.dumps(self._configuration(place), indent=1), encoding="utf-8")
        workers = [] if self.workers is None else ["--workers", str(self.workers)]
        return [sys.executable, "-m", "smtpd_anontls", "serve", "--config", str(config), *workers]

    def _configuration(self, place: Place) -> dict[str, Any]:
        return {
            "servers": [_server(key, place) for key in place.keys],
            "directory": {"type": "file", "path": "directory.yaml"},
            "event_log": [
                {"format": "jsonl", "path": "application.jsonl", "max_size": "100MB", "keep": 5},
            ],
            "protocol_log": {"path": "protocol-log" if self.protocol_log else None},
            "capture": {"url": "sqlite:///capture.db" if self.capture else None, "retention": _RETENTION},
            "web": {"bind": f"{LOOPBACK}:0" if self.page else None},
        }


def _host(key: Key) -> str:
    return f"MBX{list(Key).index(key) + 1}"


def _server(key: Key, place: Place) -> dict[str, Any]:
    """Return an Exchange server with the connector of config/receive.yaml."""
    return {
        "name": _host(key),
        "fqdn": place.keys[key].fqdn,
        "role": "Mailbox",
        "certificate_store": f"certificates-{key}",
        "connectors": [
            {
                "name": f"Default Frontend {_host(key)}",
                "transport_role": "FrontendTransport",
                "bindings": [f"{LOOPBACK}:{place.ports[key]}"],
                "auth_mechanism": ["Tls", "Integrated", "BasicAuth", "BasicAuthRequireTLS", "ExchangeServer"],
                "permission_groups": ["AnonymousUsers", "ExchangeServers"],
                # 5,000 is Exchange's limit for a whole connector.
                "max_inbound_connection": "unlimited",
                "max_inbound_connection_per_source": "unlimited",
                "max_inbound_connection_percentage_per_source": 100,
                "tarpit_interval": 0,
            }
        ],
    }


CAPTURE_OFF = Receiver("receiver", "capture off")
# The peers write no log: this shows what it costs.
LOGGED = Receiver("receiver-logged", "capture off, protocol log", protocol_log=True)
DURABLE = Receiver("receiver-durable", "durable SQLite journal", capture=True, protocol_log=True, page=True)
VARIANTS = (CAPTURE_OFF, LOGGED, DURABLE)
