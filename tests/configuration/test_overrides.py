"""Values from the command line and the environment, laid over the file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from smtpd_anontls.domain.flags import AuthMechanism
from smtpd_anontls.settings.load import ConfigError, Loaded, load_config
from smtpd_anontls.settings.values import FileDirectorySettings, FileSink

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FILE = """
servers:
  - name: MBX1
    fqdn: file.test
    connectors:
      - name: Default
        bindings: ["127.0.0.1:2525"]
capture:
  url: sqlite:///file.db
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Return a file whose values can be overridden."""
    path = tmp_path / "lab" / "lab.yaml"
    path.parent.mkdir()
    path.write_text(FILE)
    return path


def load(path: Path, *overrides: str, environ: Mapping[str, str] | None = None) -> Loaded:
    """Load *path* under *overrides* and *environ*."""
    return load_config(path, overrides=overrides, environ=environ or {}, machine_fqdn="host.test")


def lines(path: Path, *overrides: str, environ: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Return the lines of the error that *overrides* lead to."""
    with pytest.raises(ConfigError) as refused:
        load(path, *overrides, environ=environ)
    return refused.value.lines


def test_file_then_environment_then_command_line(config: Path) -> None:
    """The command line goes before the environment, and that before the file."""
    environ = {"SMTPD_ANONTLS__SERVERS__0__FQDN": "environment.test"}

    assert load(config).settings.servers[0].server.fqdn == "file.test"
    assert load(config, environ=environ).settings.servers[0].server.fqdn == "environment.test"
    assert (
        load(config, "servers[0].fqdn=line.test", environ=environ).settings.servers[0].server.fqdn
        == "line.test"
    )
    assert load(config, "servers[0].fqdn=a", "servers[0].fqdn=b").settings.servers[0].server.fqdn == "b"


def test_values_are_yaml(config: Path) -> None:
    """null, numbers, lists and mappings are what they are in the file."""
    settings = load(
        config,
        "capture.url=null",
        "capture.retention={messages: 10, age: null}",
        "servers[0].connectors[0].auth_mechanism=[Tls, BasicAuth]",
        "servers[0].connectors[0].max_message_size=1MB",
        "servers[0].fqdn=",
    ).settings

    assert settings.capture.url is None
    assert (settings.capture.retention.messages, settings.capture.retention.age) == (10, None)
    connector = settings.servers[0].server.connectors[0]
    assert connector.auth_mechanism == AuthMechanism.Tls | AuthMechanism.BasicAuth
    assert connector.max_message_size == 1024**2
    assert settings.servers[0].server.fqdn == "host.test"


def test_entries_can_be_added_in_any_order(config: Path) -> None:
    """Positions of the environment are numbers: 2 comes before 10, whatever the order of the variables."""
    environ = {f"SMTPD_ANONTLS__SERVERS__{n}__NAME": f"S{n}" for n in (10, 2, 1, 3, 9, 4, 8, 5, 7, 6)}

    names = [each.server.name for each in load(config, environ=environ).settings.servers]

    assert names == ["MBX1", *(f"S{n}" for n in range(1, 11))]


def test_paths_begin_where_they_are_written(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path of the file begins at the file's folder, one of the command line at the working directory."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)

    plain = load(config, "tls.handshake_timeout=5").settings
    moved = load(
        config,
        "capture.url=sqlite:///line.db",
        "servers[0].certificate_store=certs",
        "event_log={path: events.jsonl}",
        environ={"SMTPD_ANONTLS__DIRECTORY__PATH": "../directory.yaml"},
    ).settings

    assert plain.capture.url == f"sqlite:///{config.parent}/file.db"
    assert moved.capture.url == f"sqlite:///{elsewhere}/line.db"
    assert moved.servers[0].certificate_store == elsewhere / "certs"
    (sink,) = moved.event_log
    assert isinstance(sink, FileSink)
    assert sink.path == elsewhere / "events.jsonl"
    assert moved.directory == FileDirectorySettings(tmp_path / "directory.yaml")


MISTAKES = [
    ("capture.ulr=null", "--set capture.ulr=…: capture.ulr: unknown key; did you mean url?"),
    ("captrue.url=null", "--set captrue.url=…: captrue: unknown key; did you mean capture?"),
    (
        "servers[0].connectors[0].auth_mechanism=[Tls, Foo]",
        (
            "--set servers[0].connectors[0].auth_mechanism=…: servers[0].connectors[0].auth_mechanism[1]: 'Foo' is not "
            "one of None, Tls, Integrated, BasicAuth, BasicAuthRequireTLS, ExchangeServer, ExternalAuthoritative"
        ),
    ),
    ("servers[2].name=x", "--set servers[2].name=…: there is no [2]; the list ends before [1]"),
    ("servers.name=x", "--set servers.name=…: 'name' is not a position in a list"),
    ("servers[0].name.x=1", "--set servers[0].name.x=…: there is nothing below which 'x' could stand"),
    ("tls.ciphers=[", "--set tls.ciphers=…: a value is missing, or an indicator stands in its place"),
    ("tls", "--set tls: write KEY=VALUE, for example servers[0].fqdn=mx.test"),
    ("=1", "--set =1: write KEY=VALUE, for example servers[0].fqdn=mx.test"),
    (".tls=1", "--set .tls=1: write KEY=VALUE, for example servers[0].fqdn=mx.test"),
    ("tls..x=1", "--set tls..x=1: write KEY=VALUE, for example servers[0].fqdn=mx.test"),
    ("servers[x]=1", "--set servers[x]=1: write KEY=VALUE, for example servers[0].fqdn=mx.test"),
]


@pytest.mark.parametrize(("override", "line"), MISTAKES)
def test_a_mistake_names_its_override(config: Path, override: str, line: str) -> None:
    """A line about a value of the command line says so, and does not repeat the value."""
    assert lines(config, override) == (line,)


def test_a_mistake_names_its_variable(config: Path) -> None:
    """A line about a value of the environment names the variable."""
    environ = {"SMTPD_ANONTLS__TLS__MINIMUM": "SSLv3", "SMTPD_ANONTLS__SERVERS__7__NAME": "X"}

    assert lines(config, environ=environ) == (
        "SMTPD_ANONTLS__SERVERS__7__NAME: there is no [7]; the list ends before [1]",
        "SMTPD_ANONTLS__TLS__MINIMUM: tls.minimum: 'SSLv3' is not one of TLSv1, TLSv1.1, TLSv1.2, TLSv1.3",
    )


def test_mistakes_of_file_and_overrides_come_together(config: Path) -> None:
    """One run names what is wrong in the file, in the overrides, and between the two."""
    config.write_text(FILE + "colour: red\n")

    assert lines(
        config,
        "servers[0].connectors[0].auth_mechanism=ExchangeServer",
        "servers[0].connectors[0].fqdn=other.test",
        "tls",
    ) == (
        "--set tls: write KEY=VALUE, for example servers[0].fqdn=mx.test",
        (
            f"{config}: colour: unknown key; there are servers, directory, event_log, protocol_log, capture, tls, "
            "authentication, web, faults"
        ),
        (
            "--set servers[0].connectors[0].fqdn=…: servers[0].connectors[0].fqdn: with ExchangeServer in "
            "auth_mechanism 'other.test' must be the server's FQDN 'file.test', its NetBIOS name 'MBX1', or null"
        ),
    )


def test_warnings_name_the_override(config: Path) -> None:
    """A warning about a value of the command line says where it comes from."""
    written = "servers[0].connectors[0].domain_secure_enabled"

    assert load(config, f"{written}=true").warnings == (
        f"--set {written}=…: {written}: accepted, but not yet honoured",
    )


def test_variables_of_other_meanings_are_left_alone(config: Path) -> None:
    """Only names with two underscores behind the prefix are overrides."""
    environ = {"SMTPD_ANONTLS_URL": "http://x", "SMTPD_ANONTLS_CONFIG": "y", "smtpd_anontls__x": "z"}

    assert load(config, environ=environ).warnings == ()


def test_an_empty_file_can_be_filled_from_the_environment(config: Path) -> None:
    """A container needs no file content: the environment can say everything."""
    config.write_text("")
    environ = {
        "SMTPD_ANONTLS__SERVERS__0__NAME": "MBX9",
        "SMTPD_ANONTLS__SERVERS__0__CONNECTORS__0__NAME": "Default",
        "SMTPD_ANONTLS__SERVERS__0__CONNECTORS__0__BINDINGS": "0.0.0.0:25, [::]:25",
    }

    (server,) = load(config, environ=environ).settings.servers

    assert server.server.name == "MBX9"
    assert [str(binding) for binding in server.server.connectors[0].bindings] == ["0.0.0.0:25", "[::]:25"]
