"""``advise``: each broken configuration has exactly its finding, and a healthy one none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.command import call
from tests.lab import ABSENT_THUMBPRINT, CONNECTOR, FQDN, SERVER, USUAL_CONNECTOR

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab import Lab

IDENTITY = f"'{SERVER}\\{CONNECTOR}'"
RELAY = {
    "name": "Relay",
    "bindings": ["127.0.0.1:0"],
    "auth_mechanism": ["Tls"],
    "permission_groups": ["AnonymousUsers"],
    "fqdn": FQDN,
}
ANONYMOUS_TLS_ONLY = {"auth_mechanism": ["ExchangeServer"]}
STARTTLS_ONLY = {"auth_mechanism": ["Tls"]}


def findings(config: Path, *words: str) -> list[dict[str, Any]]:
    """Return what is advised; the exit code says whether that is anything."""
    answer = call("advise", "--config", config, "--json", *words)
    document = answer.document
    assert answer.code == (1 if document["findings"] else 0), answer.stderr
    assert document["ok"] is not bool(document["findings"])
    found: list[dict[str, Any]] = document["findings"]
    return found


def connectors(*more: dict[str, Any], **first: Any) -> dict[str, Any]:
    """Return a server's connectors: that of the lab, and others behind it."""
    return {"connectors": [{**USUAL_CONNECTOR, "bindings": ["0.0.0.0:2525"], **first}, *more]}


def test_a_healthy_server_needs_nothing(lab: Lab) -> None:
    """No finding, exit code 0, and a sentence that says so."""
    config = lab.write()

    assert findings(config) == []
    answer = call("advise", "--config", config)
    assert (answer.code, answer.stderr) == (0, "")
    assert answer.stdout.startswith("Nothing to mend")


@pytest.mark.parametrize(
    ("kind", "overlay", "said", "command"),
    [
        pytest.param(
            "attribute_unreadable",
            {"directory": "unreadable"},
            "could not be read",
            f"Get-TransportService '{SERVER}' | Format-List Name,InternalTransportCertificateThumbprint",
            id="attribute unreadable",
        ),
        pytest.param(
            "not_in_store",
            {"directory": "missing-thumbprint", "store": {"internal": None}},
            ABSENT_THUMBPRINT,
            f"New-ExchangeCertificate -Server '{SERVER}' -Services SMTP",
            id="thumbprint not in the store",
        ),
        pytest.param(
            "no_private_key",
            {"store": {"internal": "no-key"}},
            "has no private key",
            "certutil -repairstore my ",
            id="no private key",
        ),
        pytest.param(
            "no_private_key",
            {"connector": STARTTLS_ONLY, "store": {FQDN: "no-key", "internal": None}, "directory": None},
            "has no private key",
            "certutil -repairstore my ",
            id="no private key for STARTTLS",
        ),
        pytest.param(
            "expired",
            {"store": {"internal": "expired"}},
            "event 12015",
            f"New-ExchangeCertificate -Server '{SERVER}' -Services SMTP",
            id="expired",
        ),
        pytest.param(
            "expired",
            {"store": {FQDN: "expired", "internal": None}, "connector": STARTTLS_ONLY, "directory": None},
            "event 12016",
            "New-ExchangeCertificate -GenerateRequest -Services SMTP",
            id="expired for STARTTLS",
        ),
        pytest.param(
            "expires_soon",
            {"store": {"internal": "soon"}},
            "event 12017",
            "New-ExchangeCertificate",
            id="expires soon",
        ),
        pytest.param(
            "no_starttls_certificate",
            {"store": {FQDN: None, "internal": None}, "connector": STARTTLS_ONLY, "directory": None},
            "event 12014",
            f"New-ExchangeCertificate -Server '{SERVER}' -DomainName '{FQDN}' -Services SMTP",
            id="no certificate for the name",
        ),
        pytest.param(
            "no_starttls_certificate",
            {
                "store": {FQDN: "not-for-smtp", "internal": None},
                "connector": STARTTLS_ONLY,
                "directory": None,
            },
            "is not enabled for SMTP",
            "Enable-ExchangeCertificate",
            id="certificate not enabled for SMTP",
        ),
        pytest.param(
            "internal_certificate_replaced",
            {"directory": FQDN},
            "took the place of the self-signed one",
            "Enable-ExchangeCertificate",
            id="internal certificate replaced",
        ),
        pytest.param(
            "tls_certificate_name",
            {"connector": {"tls_certificate_name": "<I>CN=Nobody<S>CN=nothing.test"}},
            "matches no certificate",
            "Set-ReceiveConnector",
            id="TlsCertificateName matches none",
        ),
        pytest.param(
            "tls_certificate_name",
            {"connector": {"tls_certificate_name": "<I>CN=Nobody<S>CN=nothing.test"}, "store": {FQDN: None}},
            "matches no certificate",
            "Set-ReceiveConnector",
            id="TlsCertificateName matches none, and another would do",
        ),
        pytest.param(
            "rule_broken",
            {
                "connector": {"fqdn": "mail.contoso.test", "tls_certificate_name": None},
                "store": {"mail.contoso.test": "valid"},
            },
            "event 1003",
            f"Set-ReceiveConnector {IDENTITY} -Fqdn '{FQDN}'",
            id="FQDN rule broken",
        ),
    ],
)
def test_one_fault_is_one_finding(
    lab: Lab, kind: str, overlay: dict[str, Any], said: str, command: str
) -> None:
    """The finding says what is wrong, and the command mends it."""
    [found] = findings(lab.write(**overlay))

    assert (found["kind"], found["server"]) == (kind, SERVER)
    assert said in found["detail"]
    assert command in found["command"]


def test_an_attribute_that_is_not_set(lab: Lab) -> None:
    """The command makes the good self-signed certificate of the store the internal one."""
    [found] = findings(lab.write(directory=None))

    assert found["kind"] == "attribute_not_set"
    internal = lab.certificate("internal").thumbprint
    assert found["command"] == (
        f"Enable-ExchangeCertificate -Server '{SERVER}' -Thumbprint {internal} -Services SMTP"
    )


def test_what_no_connector_asks_for_is_no_finding(lab: Lab) -> None:
    """Without ExchangeServer, or where it is suppressed, nobody needs the internal transport certificate."""
    assert findings(lab.write(connector=STARTTLS_ONLY, directory=None)) == []
    assert findings(lab.write(connector={"suppress_x_anonymous_tls": True}, directory=None)) == []


def test_two_certificates_of_an_authority_compete(lab: Lab) -> None:
    """The one that loses is named, and taken out by the command."""
    config = lab.write()
    other = lab.pki.credentials(FQDN, "soon")
    (lab.store / "other.pem").write_bytes(other.chain + other.key)
    services = lab.store / "services.yaml"
    services.write_text(f"{services.read_text()}{other.certificate.thumbprint}: [SMTP]\n")

    [found] = findings(config)

    assert found["kind"] == "certificates_compete"
    assert found["detail"].startswith(lab.certificate(FQDN).thumbprint)
    assert found["command"] == (
        f"Remove-ExchangeCertificate -Server '{SERVER}' -Thumbprint {other.certificate.thumbprint}"
    )


def test_a_relay_connector_that_takes_a_peer(lab: Lab) -> None:
    """A peer Exchange server is named with --peer, and its range need not be wide."""
    relay = {**RELAY, "bindings": ["0.0.0.0:2525"], "remote_ip_ranges": ["10.1.2.3", "10.1.2.4"]}
    config = lab.write(server=connectors(relay))

    assert findings(config) == []
    assert findings(config, "--peer", "10.9.9.9") == []
    [found] = findings(config, "--peer", "10.1.2.3")

    assert (found["kind"], found["connectors"]) == ("exchange_server_missing", ["Relay"])
    assert "the Exchange server 10.1.2.3 that connects to 0.0.0.0:2525" in found["detail"]
    assert found["command"] == f"Set-ReceiveConnector '{SERVER}\\Relay' -RemoteIPRanges …"


def test_a_relay_connector_that_takes_a_whole_subnet(lab: Lab) -> None:
    """Where nobody says which peers there are, a range as wide as a subnet is told."""
    relay = {**RELAY, "bindings": ["0.0.0.0:2525"], "remote_ip_ranges": ["10.1.2.0/24"]}

    [found] = findings(lab.write(server=connectors(relay)))

    assert (found["kind"], found["connectors"]) == ("exchange_server_missing", ["Relay"])
    assert "10.1.2.0/24 is taken from 'Default Frontend MX1'" in found["detail"]


def test_a_relay_connector_on_another_port_takes_nobody_away(lab: Lab) -> None:
    """Only what shares a binding with the connector that is meant for servers captures them."""
    relay = {**RELAY, "bindings": ["0.0.0.0:2526"], "remote_ip_ranges": ["10.1.2.0/24"]}

    assert findings(lab.write(server=connectors(relay))) == []


def test_another_server_of_the_configuration_is_a_peer(lab: Lab) -> None:
    """The addresses that a server is bound to are those that it connects from."""
    relay = {**RELAY, "bindings": ["0.0.0.0:2525"], "remote_ip_ranges": ["192.0.2.7"]}
    lab.write(server=connectors(relay))
    first = connectors(relay)["connectors"]
    other = {
        "name": "MX2",
        "fqdn": "mx2.lab.test",
        "certificate_store": str(lab.store),
        "connectors": [
            {
                **first[0],
                "name": "Default Frontend MX2",
                "bindings": ["192.0.2.7:25"],
                "auth_mechanism": ["None"],
            }
        ],
    }
    config = lab.write(
        settings={
            "servers": [
                {
                    "name": SERVER,
                    "fqdn": FQDN,
                    "certificate_store": str(lab.store),
                    "connectors": first,
                },
                other,
            ]
        }
    )

    [found] = findings(config)

    assert found["kind"] == "exchange_server_missing"
    assert "192.0.2.7" in found["detail"]


def test_at_another_time(lab: Lab) -> None:
    """--at asks what will have expired by then."""
    [found] = findings(lab.write(connector=ANONYMOUS_TLS_ONLY), "--at", "2040-01-01")

    assert found["kind"] == "expired"


def test_what_many_connectors_have_is_said_once(lab: Lab) -> None:
    """One command mends it, so one finding names them all."""
    relay = {**RELAY, "bindings": ["0.0.0.0:2526"]}

    [found] = findings(
        lab.write(
            server=connectors(relay, **STARTTLS_ONLY),
            store={FQDN: "not-for-smtp", "internal": None},
            directory=None,
        )
    )

    assert found["connectors"] == [CONNECTOR, "Relay"]


def test_for_a_person(lab: Lab) -> None:
    """The server, a sentence and the command below it."""
    answer = call("advise", "--config", lab.write(directory=None))
    server, sentence, command = answer.stdout.splitlines()

    assert (answer.code, server) == (1, SERVER)
    assert sentence.startswith("  msExchServerInternalTLSCert is not set")
    assert command.startswith("    Enable-ExchangeCertificate")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--peer", "10.1.2"], "'10.1.2' is not an IP address"),
        (["--server", "MX9"], f"--server: 'MX9' is not one of {SERVER}"),
    ],
)
def test_wrong_words(lab: Lab, words: list[str], said: str) -> None:
    """One line says what is wrong; exit code 2."""
    answer = call("advise", "--config", lab.write(), *words)

    assert answer.code == 2
    assert said in answer.stderr
