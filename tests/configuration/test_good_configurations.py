"""Configurations that load: what their values are, what is warned of, and the two that ship."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from smtpd_anontls.domain.authentication import ExchangeAuth
from smtpd_anontls.domain.connectors import NOT_YET_HONOURED, ReceiveConnector
from smtpd_anontls.domain.endpoints import Binding
from smtpd_anontls.domain.flags import (
    AuthMechanism,
    ExtendedProtectionPolicy,
    PermissionGroups,
    ServerRole,
    SizeEnabled,
    StartTlsCertificate,
    TransportRole,
)
from smtpd_anontls.domain.protocol_log import Layout
from smtpd_anontls.domain.retention import Retention
from smtpd_anontls.domain.scenarios import Scenario
from smtpd_anontls.domain.syslog_address import SyslogAddress, SyslogTransport
from smtpd_anontls.domain.tls_policy import TlsPolicy, TlsVersion
from smtpd_anontls.settings.connector_shape import ConnectorShape
from smtpd_anontls.settings.load import Loaded, load_config
from smtpd_anontls.settings.values import (
    AuthenticationSettings,
    FileDirectorySettings,
    FileSink,
    PasswordInEnvironment,
    PasswordInFile,
    ProtocolLogSettings,
    SyslogSink,
    WebAuthSettings,
    WebSettings,
    WebTlsSettings,
)

SHIPPED = Path(__file__).parents[2] / "config"
# Exchange's own limits (Set-TransportService).
PROTOCOL_LOG = ProtocolLogSettings(
    path=Path(),
    layout=Layout.CURRENT,
    max_age=timedelta(days=30),
    max_directory_size=250 * 1024**2,
    max_file_size=10 * 1024**2,
)


def load(folder: Path, text: str) -> Loaded:
    """Load *text* as config/lab.yaml below *folder*."""
    path = folder / "config" / "lab.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, "utf-8")
    return load_config(path, environ={}, machine_fqdn="host.test")


def load_connector(folder: Path, **properties: str) -> tuple[ReceiveConnector, tuple[str, ...]]:
    """Load one connector with *properties*, each as it stands behind its colon; return it and the warnings."""
    lines = "".join(f"        {name}: {value}\n" for name, value in properties.items())
    loaded = load(folder, f"servers:\n  - name: MBX1\n    connectors:\n      - name: Default\n{lines}")
    prefix = f"{folder}/config/lab.yaml: servers[0].connectors[0]."
    assert not loaded.findings
    return loaded.settings.servers[0].server.connectors[0], tuple(
        warning.removeprefix(prefix) for warning in loaded.warnings
    )


@pytest.mark.parametrize("name", ["receive.yaml", "gallery.yaml"])
def test_the_shipped_configurations_load_clean(name: str) -> None:
    """Both files load without a warning and without a finding."""
    loaded = load_config(SHIPPED / name, environ={})

    assert loaded.warnings == ()
    assert loaded.findings == ()


def test_the_default_configuration_is_one_server_with_one_connector() -> None:
    """config/receive.yaml has the values that the documentation names."""
    settings = load_config(SHIPPED / "receive.yaml", environ={}).settings

    (server,) = settings.servers
    (connector,) = server.server.connectors
    assert (server.server.name, server.server.fqdn, server.default_certificate) == (
        "MBX1",
        "mbx1.contoso.test",
        True,
    )
    assert server.certificate_store == SHIPPED.parent / "certs"
    assert connector.name == "Default Frontend MBX1"
    assert [str(binding) for binding in connector.bindings] == ["127.0.0.1:2525", "[::1]:2525"]
    assert connector.auth_mechanism == AuthMechanism(31)
    assert connector.max_inbound_connection_per_source is None
    assert connector.max_inbound_connection_percentage_per_source == 100
    assert float(connector.tarpit_interval) == 0
    assert settings.directory == FileDirectorySettings(SHIPPED / "directory.yaml")
    (sink,) = settings.event_log
    assert isinstance(sink, FileSink)
    assert sink.path == SHIPPED.parent / "var" / "application.jsonl"
    assert settings.capture.url == f"sqlite:///{SHIPPED.parent}/var/capture.db"
    assert settings.capture.retention == Retention(
        messages=100_000, sessions=200_000, age=30 * 86400, size=10 * 1024**3
    )
    assert settings.tls == TlsPolicy()


def test_the_gallery_has_a_server_for_every_scenario() -> None:
    """Thirteen servers in the order of the scenarios, ports 2601 to 2613, each with a store of its own."""
    settings = load_config(SHIPPED / "gallery.yaml", environ={}).settings

    assert [each.scenario for each in settings.servers] == list(Scenario)
    assert len({each.certificate_store for each in settings.servers}) == len(Scenario)
    for port, each in enumerate(settings.servers, 2601):
        (connector,) = each.server.connectors
        assert each.server.name == each.scenario
        assert connector.name == f"Default Frontend {each.scenario}"
        assert [(b.address, b.port) for b in connector.bindings] == [(ip_address("127.0.0.1"), port)]


def test_only_one_scenario_of_the_gallery_has_exchange_limits() -> None:
    """exchange-limits is healthy with Exchange's own limits; all others leave them behind."""
    servers = load_config(SHIPPED / "gallery.yaml", environ={}).settings.servers
    limits = {
        each.scenario: (
            connector.max_inbound_connection_per_source,
            connector.max_inbound_connection_percentage_per_source,
            float(connector.tarpit_interval),
        )
        for each in servers
        for connector in each.server.connectors
    }

    assert limits.pop(Scenario.EXCHANGE_LIMITS) == (20, 2, 5)
    assert set(limits.values()) == {(None, 100, 0)}


def test_the_gallery_connectors_differ_only_where_their_scenario_is_theirs() -> None:
    """AuthMechanism and the suppression are what five scenarios are made of."""
    servers = load_config(SHIPPED / "gallery.yaml", environ={}).settings.servers
    usual = AuthMechanism.Tls | AuthMechanism.Integrated | AuthMechanism.ExchangeServer
    mechanisms = {each.scenario: each.server.connectors[0].auth_mechanism for each in servers}
    suppressed = [each.scenario for each in servers if each.server.connectors[0].suppress_x_anonymous_tls]

    assert suppressed == [Scenario.SUPPRESSED]
    assert {name: each for name, each in mechanisms.items() if each != usual} == {
        Scenario.AUTH_MECHANISM: AuthMechanism.Tls | AuthMechanism.Integrated,
        Scenario.STARTTLS_ONLY: AuthMechanism.Tls,
        Scenario.ANONYMOUS_TLS_ONLY: AuthMechanism.ExchangeServer | AuthMechanism.Integrated,
        Scenario.NO_TLS: AuthMechanism.Integrated,
    }


def test_a_connector_has_exchange_defaults(tmp_path: Path) -> None:
    """A connector of which only the name is written is the domain's default connector."""
    connector, warnings = load_connector(tmp_path)

    assert connector == ReceiveConnector(name="Default")
    assert warnings == ()


def test_every_connector_property_is_a_key_with_its_meaning() -> None:
    """The keys are the fields of ReceiveConnector, each described by the field's own words."""
    described = {name: key.description for name, key in ConnectorShape.model_fields.items()}

    assert described == {field.name: field.metadata["doc"] for field in fields(ReceiveConnector)}


READINGS: list[tuple[str, str, object]] = [
    ("auth_mechanism", "[tls, exchangeserver]", AuthMechanism.Tls | AuthMechanism.ExchangeServer),
    ("auth_mechanism", "Tls, Integrated", AuthMechanism.Tls | AuthMechanism.Integrated),
    ("auth_mechanism", "ExchangeServer", AuthMechanism.ExchangeServer),
    ("auth_mechanism", "31", AuthMechanism(31)),
    ("auth_mechanism", "None", AuthMechanism(0)),
    ("auth_mechanism", "[none]", AuthMechanism(0)),
    ("auth_mechanism", "[]", AuthMechanism(0)),
    ("permission_groups", "13", PermissionGroups(13)),
    ("transport_role", "hubtransport", TransportRole.HubTransport),
    ("extended_protection_policy", "None", ExtendedProtectionPolicy.NotUsed),
    ("size_enabled", "ENABLEDWITHOUTVALUE", SizeEnabled.EnabledWithoutValue),
    ("max_message_size", "36MB", 37_748_736),
    ("max_message_size", "256 KB", 262_144),
    ("max_message_size", "1.5 kb", 1536),
    ("max_message_size", "1000", 1000),
    ("max_message_size", "1000B", 1000),
    ("max_inbound_connection_per_source", "Unlimited", None),
    ("connection_timeout", "00:10:00", 600),
    ("connection_timeout", "1.02:03:04", 93_784),
    ("connection_timeout", "00:10:00.5", 600.5),
    ("connection_timeout", "700", 700),
    ("connection_timeout", "700.25", 700.25),
    ("connection_timeout", "1h", 3600),
    ("fqdn", "null", None),
    ("fqdn", "MBX1", "MBX1"),
    ("banner", "220 hello", "220 hello"),
    ("comment", '"two\\nlines"', "two\nlines"),
    ("tls_certificate_name", "<I>CN=ca<S>CN=mbx1", "<I>CN=ca<S>CN=mbx1"),
    ("trusted_proxies", "[]", ()),
]


@pytest.mark.parametrize(("name", "written", "value"), READINGS)
def test_a_property_is_read_in_every_spelling(tmp_path: Path, name: str, written: str, value: object) -> None:
    """Flags, enumerations, sizes, durations and limits mean what Exchange means by them."""
    connector, _ = load_connector(tmp_path, **{name: written})

    assert getattr(connector, name) == value


@pytest.mark.parametrize(
    "written", ["127.0.0.1:25", "[127.0.0.1:25]", '["127.0.0.1:25", "[::]:25"]', '"127.0.0.1:25, [::]:25"']
)
def test_bindings_are_a_list_or_text(tmp_path: Path, written: str) -> None:
    """One binding needs no list, and commas separate several."""
    connector, _ = load_connector(tmp_path, bindings=written)

    assert [str(binding) for binding in connector.bindings] in (["127.0.0.1:25"], ["127.0.0.1:25", "[::]:25"])


WARNED = [
    ("domain_secure_enabled", "true", True),
    ("domain_secure_enabled", "false", False),
    ("max_header_size", "256KB", False),
]


@pytest.mark.parametrize(("name", "written", "warned"), WARNED)
def test_a_property_that_is_not_honoured_yet_is_warned_of(
    tmp_path: Path,
    name: str,
    written: str,
    warned: bool,  # noqa: FBT001 - a column of the table
) -> None:
    """One warning for a key that was written and would make a difference, none where it makes none."""
    _, warnings = load_connector(tmp_path, **{name: written})

    assert warnings == ((f"{name}: accepted, but not yet honoured",) if warned else ())


def test_every_property_not_yet_honoured_is_a_property() -> None:
    """The domain's list names real properties only, so that no warning is lost to a spelling."""
    assert set(NOT_YET_HONOURED) <= set(ConnectorShape.model_fields)


def test_sections_outside_connectors_are_all_honoured(tmp_path: Path) -> None:
    """Every key outside connectors has its value, and none is warned of."""
    loaded = load(
        tmp_path,
        """
servers:
  - name: MBX1
    ephemeral_fallback: true
    keytab: mbx1.keytab
    certificate_passwords: {mbx1.pfx: {env: PASSWORD}, mbx2.pfx: {file: secret.txt}}
  - name: MBX2
    ephemeral_fallback: false
    keytab: null
    certificate_passwords: {}
protocol_log: {path: ../var/protocol-log}
authentication: {credentials: users, ntlmv1: true, identities: {'CONTOSO\\MBX2$': [ExchangeServers]}, exchange_auth: off}
web:
  bind: "0.0.0.0:8025"
  auth: {users_file: page-users, token_env: TOKEN}
  tls: {server: MBX2, certificate: internal_transport}
  allowed_hosts: [mail.test]
""",
    )

    assert loaded.warnings == ()
    first, second = loaded.settings.servers
    assert (first.server.ephemeral_fallback, second.server.ephemeral_fallback) == (True, False)
    assert first.certificate_passwords == {
        "mbx1.pfx": PasswordInEnvironment("PASSWORD"),
        "mbx2.pfx": PasswordInFile(tmp_path / "config" / "secret.txt"),
    }
    assert first.keytab == tmp_path / "config" / "mbx1.keytab"
    assert loaded.settings.protocol_log == replace(PROTOCOL_LOG, path=tmp_path / "var" / "protocol-log")
    assert loaded.settings.authentication == AuthenticationSettings(
        credentials=tmp_path / "config" / "users",
        ntlmv1=True,
        identities={"CONTOSO\\MBX2$": PermissionGroups.ExchangeServers},
        exchange_auth=ExchangeAuth.OFF,
    )
    assert loaded.settings.web == WebSettings(
        bind=Binding.parse("0.0.0.0:8025"),
        auth=WebAuthSettings(tmp_path / "config" / "page-users", "TOKEN"),
        tls=WebTlsSettings("MBX2", StartTlsCertificate.internal_transport),
        allowed_hosts=("mail.test",),
    )


@pytest.mark.parametrize(
    ("written", "differs"),
    [
        # YAML reads the year as a number; both are the layout.
        ("layout: 2013", {"layout": Layout.EXCHANGE_2013}),
        ('layout: "2013"', {"layout": Layout.EXCHANGE_2013}),
        ("layout: Current, max_age: 1.5", {"max_age": timedelta(seconds=1.5)}),
        ("max_age: 1.00:00:00, max_file_size: 1KB", {"max_age": timedelta(days=1), "max_file_size": 1024}),
        (
            "max_age: null, max_directory_size: null, max_file_size: 1GB",
            {"max_age": None, "max_directory_size": None, "max_file_size": 1024**3},
        ),
        ("max_age: 1e300", {"max_age": None}),
        ("max_directory_size: 10MB", {"max_directory_size": 10 * 1024**2}),
    ],
)
def test_the_protocol_log(tmp_path: Path, written: str, differs: dict[str, Any]) -> None:
    """Its keys are Exchange's limits and which Exchange it looks like; null is no limit."""
    loaded = load(tmp_path, f"servers: [{{name: MBX1}}]\nprotocol_log: {{path: log, {written}}}\n")

    assert loaded.settings.protocol_log == replace(PROTOCOL_LOG, path=tmp_path / "config" / "log", **differs)
    assert loaded.warnings == ()


def test_no_protocol_log(tmp_path: Path) -> None:
    """Without a path there is none, whatever else is written."""
    loaded = load(tmp_path, "servers: [{name: MBX1}]\nprotocol_log: {path: null, layout: 2013}\n")

    assert loaded.settings.protocol_log is None


def test_what_is_not_written_has_its_default(tmp_path: Path) -> None:
    """A server with nothing but a name is a whole configuration."""
    loaded = load(tmp_path, "servers: [{name: MBX1}]")
    settings = loaded.settings

    (server,) = settings.servers
    assert server.server.fqdn == "host.test"
    assert server.server.role is ServerRole.Mailbox
    assert server.server.expiry_warning_days == 30
    assert server.certificate_store == tmp_path / "certs"
    assert (server.scenario, server.default_certificate) == (None, False)
    assert settings.directory == FileDirectorySettings(tmp_path / "config" / "directory.yaml")
    assert settings.event_log == (
        FileSink(format="jsonl", path=tmp_path / "var" / "application.jsonl", max_size=100 * 1024**2, keep=5),
    )
    assert settings.capture.url == f"sqlite:///{tmp_path}/var/capture.db"
    assert settings.capture.retention == Retention(
        messages=100_000, sessions=200_000, age=30 * 86400, size=10 * 1024**3
    )
    assert settings.protocol_log == replace(PROTOCOL_LOG, path=tmp_path / "var" / "protocol-log")
    assert settings.authentication == AuthenticationSettings(
        credentials=None, ntlmv1=False, identities=None, exchange_auth=ExchangeAuth.OFF
    )
    assert settings.web == WebSettings(
        bind=Binding.parse("127.0.0.1:8025"), auth=None, tls=None, allowed_hosts=()
    )
    assert settings.path == tmp_path / "config" / "lab.yaml"
    assert settings.text_name == str(settings.path)
    assert loaded.warnings == ()


def test_sections_as_written(tmp_path: Path) -> None:
    """Sinks, URLs, retention and the TLS range are what the file says, with paths made absolute."""
    settings = load(
        tmp_path,
        """
servers: [{name: MBX1, certificate_store: /certs, scenario: Expired}]
directory: {path: sub/../other.yaml}
event_log:
  - {path: "-"}
  - {path: events.jsonl, max_size: 1KB, keep: 0}
  - {format: windows-xml}
  - {format: windows-xml, path: events.xml}
  - {format: syslog, address: "udp://[::1]:514"}
  - {format: Syslog, address: unix:///dev/log}
capture:
  url: sqlite:////data/x.db
  retention: {age: 12h, size: null}
tls: {minimum: tlsv1, maximum: TLSv1.3, ciphers: ALL, handshake_timeout: 00:00:05}
""",
    ).settings

    assert settings.servers[0].certificate_store == Path("/certs")
    assert settings.servers[0].scenario is Scenario.EXPIRED
    assert settings.directory == FileDirectorySettings(tmp_path / "config" / "other.yaml")
    assert settings.event_log == (
        FileSink(format="jsonl", path=None, max_size=100 * 1024**2, keep=5),
        FileSink(format="jsonl", path=tmp_path / "config" / "events.jsonl", max_size=1024, keep=0),
        FileSink(
            format="windows-xml", path=tmp_path / "var" / "application.xml", max_size=100 * 1024**2, keep=5
        ),
        FileSink(
            format="windows-xml", path=tmp_path / "config" / "events.xml", max_size=100 * 1024**2, keep=5
        ),
        SyslogSink(SyslogAddress(SyslogTransport.UDP, "::1", 514)),
        SyslogSink(SyslogAddress(SyslogTransport.UNIX, path="/dev/log")),
    )
    assert settings.capture.url == "sqlite:////data/x.db"
    assert settings.capture.retention == Retention(
        messages=100_000, sessions=200_000, age=12 * 3600, size=None
    )
    assert settings.tls == TlsPolicy(TlsVersion.TLSv1, TlsVersion.TLSv1_3, "ALL", 5)


def test_null_keeps_everything_and_turns_off(tmp_path: Path) -> None:
    """A null URL keeps nothing, a null retention keeps everything; one sink needs no list, and none is none."""
    one = load(
        tmp_path, "servers: [{name: A}]\ncapture: {url: null, retention: null}\nevent_log: {keep: 1}\n"
    )
    none = load(tmp_path, "servers: [{name: A}]\nevent_log: []\n")

    assert one.settings.capture.url is None
    assert one.settings.capture.retention == Retention()
    (sink,) = one.settings.event_log
    assert isinstance(sink, FileSink)
    assert (sink.path, sink.keep) == (tmp_path / "var" / "application.jsonl", 1)
    assert none.settings.event_log == ()


def test_specific_bindings_share_a_wildcard_of_another_server(tmp_path: Path) -> None:
    """Only the same binding is an error: a specific one under another server's wildcard is not."""
    loaded = load(
        tmp_path,
        """
servers:
  - {name: A, connectors: [{name: A, bindings: "0.0.0.0:25"}]}
  - {name: B, connectors: [{name: B, bindings: ["127.0.0.1:25", "[::]:25"]}]}
""",
    )

    assert loaded.findings == ()


def test_the_environment_is_not_read_behind_the_callers_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the caller hands an environment over, this process's own has no say."""
    monkeypatch.setenv("SMTPD_ANONTLS__SERVERS__0__NAME", "OTHER")

    assert load(tmp_path, "servers: [{name: MBX1}]").settings.servers[0].server.name == "MBX1"
