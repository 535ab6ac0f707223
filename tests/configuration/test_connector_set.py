"""``connector set``: the file differs in the edited value, or does not differ at all."""

from __future__ import annotations

import difflib
import shutil
from pathlib import Path

import pytest

from smtpd_anontls.domain.flags import AuthMechanism
from smtpd_anontls.settings.edit import PropertyChange, set_connector_properties
from smtpd_anontls.settings.load import ConfigError

SHIPPED = Path(__file__).parents[2] / "config"

TEXT = """\
# The laboratory.
servers:
- name: MBX1
  fqdn: mbx1.test
  connectors:
  - bindings:
    - 127.0.0.1:25   # loopback
    name: Default   # the first
    auth_mechanism: Tls
    fqdn: null  # the server's own
    # The end of the entry.
- name: MBX2
  fqdn: mbx2.test
  connectors:
    - {name: Default, bindings: ["127.0.0.1:26"], permission_groups: [AnonymousUsers], auth_mechanism: None}
    - {name: Other, bindings: ["127.0.0.1:27"]}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Return a file with connectors in several styles."""
    path = tmp_path / "lab.yaml"
    path.write_text(TEXT)
    path.chmod(0o640)
    return path


def diff(before: str, after: str) -> list[str]:
    """Return the lines that left and came."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")
    return [line for line in lines if line[0] in "+-" and line[:3] not in ("---", "+++")]


def test_the_remedy_of_the_gallery_changes_one_line(tmp_path: Path) -> None:
    """The shipped gallery differs in the value of auth_mechanism alone, whose list stays in brackets."""
    path = tmp_path / "gallery.yaml"
    shutil.copy(SHIPPED / "gallery.yaml", path)

    edit = set_connector_properties(
        path, None, "default frontend auth-mechanism", {"auth_mechanism": "tls,Integrated,ExchangeServer"}
    )

    assert diff((SHIPPED / "gallery.yaml").read_text(), path.read_text()) == [
        "-        auth_mechanism: [Tls, Integrated]",
        "+        auth_mechanism: [Tls, Integrated, ExchangeServer]",
    ]
    assert (edit.server, edit.connector) == ("auth-mechanism", "Default Frontend auth-mechanism")
    assert edit.changes == (
        PropertyChange("auth_mechanism", "[Tls, Integrated]", "[Tls, Integrated, ExchangeServer]"),
    )
    assert AuthMechanism.ExchangeServer in edit.loaded.settings.servers[1].server.connectors[0].auth_mechanism


def test_several_properties_at_once(config: Path) -> None:
    """Changed and new properties, with comments kept, null written as null, and the mode as before."""
    edit = set_connector_properties(
        config,
        "mbx1",
        "DEFAULT",
        {
            "fqdn": "mbx1.test",
            "auth_mechanism": "Tls,ExchangeServer",
            "bindings": "127.0.0.1:25,[::1]:25",
            "banner": "null",
            "max_message_size": "10MB",
            "require_tls": "true",
        },
    )

    assert diff(TEXT, config.read_text()) == [
        "-    - 127.0.0.1:25   # loopback",
        "+    - 127.0.0.1:25",
        "+    - '[::1]:25'   # loopback",
        "-    auth_mechanism: Tls",
        "-    fqdn: null  # the server's own",
        "+    auth_mechanism: [Tls, ExchangeServer]",
        "+    fqdn: mbx1.test  # the server's own",
        "+    banner: null",
        "+    max_message_size: 10MB",
        "+    require_tls: true",
    ]
    assert config.stat().st_mode & 0o7777 == 0o640
    assert [(each.name, each.before, each.after) for each in edit.changes] == [
        ("fqdn", "null", "mbx1.test"),
        ("auth_mechanism", "Tls", "[Tls, ExchangeServer]"),
        ("bindings", "- 127.0.0.1:25", "- 127.0.0.1:25\n    - '[::1]:25'"),
        ("banner", None, "null"),
        ("max_message_size", None, "10MB"),
        ("require_tls", None, "true"),
    ]


def test_a_connector_in_brackets(config: Path) -> None:
    """A flow mapping takes changes and new keys where it stands; None is written as Exchange's word."""
    set_connector_properties(
        config,
        "MBX2",
        "Default",
        {"permission_groups": 0, "auth_mechanism": AuthMechanism.Tls, "enabled": False},
    )

    assert diff(TEXT, config.read_text()) == [
        '-    - {name: Default, bindings: ["127.0.0.1:26"], permission_groups: [AnonymousUsers], auth_mechanism: None}',
        '+    - {name: Default, bindings: ["127.0.0.1:26"], permission_groups: None, auth_mechanism: [Tls], enabled: false}',
    ]


def test_what_is_so_already_is_not_written(config: Path) -> None:
    """An edit that changes nothing leaves the very file."""
    inode = config.stat().st_ino

    edit = set_connector_properties(config, "MBX1", "Default", {"fqdn": "null"})

    assert config.stat().st_ino == inode
    assert edit.changes == (PropertyChange("fqdn", "null", "null"),)


def test_a_file_that_cannot_be_written_is_one_line(config: Path) -> None:
    """Where the new file has no room beside the old one, the old one stays and a line says so."""
    long = config.with_name("l" * 250)
    config.rename(long)

    with pytest.raises(ConfigError) as refused:
        set_connector_properties(long, "MBX1", "Default", {"fqdn": "mbx1.test"})

    assert refused.value.lines == (f"{long}: cannot be written (file name too long)",)
    assert long.read_text() == TEXT


REFUSED: list[tuple[str | None, str, dict[str, object], str]] = [
    (
        None,
        "Default",
        {"enabled": "false"},
        "several servers have a connector 'Default': MBX1, MBX2; choose one with --server",
    ),
    (None, "Nobody", {"enabled": "false"}, "there is no connector 'Nobody'; there are: Default, Other"),
    ("MBX3", "Default", {"enabled": "false"}, "no server 'MBX3' has a connector; there are MBX1, MBX2"),
    (
        None,
        "Other",
        {"auth_mechanism": "Tls,ExchangeSever"},
        (
            "servers[1].connectors[1].auth_mechanism: 'ExchangeSever' is not one of None, Tls, Integrated, BasicAuth, "
            "BasicAuthRequireTLS, ExchangeServer, ExternalAuthoritative"
        ),
    ),
    (
        None,
        "Other",
        {"auth_mechanism": "Tls, None"},
        "servers[1].connectors[1].auth_mechanism: None goes only alone; remove it, or the others",
    ),
    (
        None,
        "Other",
        {"tarpit": "0"},
        "servers[1].connectors[1].tarpit: unknown key; did you mean tarpit_interval?",
    ),
    (
        None,
        "Other",
        {"max_message_size": "many"},
        "servers[1].connectors[1].max_message_size: 'many' is not a size; write bytes, or a number with KB, MB, GB or TB",
    ),
    (
        None,
        "Other",
        {"comment": "a\nb\x07"},
        "servers[1].connectors[1].comment: a control character or a line break cannot stand here; remove it",
    ),
    (
        None,
        "Other",
        {"bindings": "127.0.0.1:25"},
        "servers[1].connectors[1].bindings[0]: 127.0.0.1:25 is also a binding of the server 'MBX1'; choose another",
    ),
    (
        None,
        "Other",
        {"max_hop_count": "["},
        "servers[1].connectors[1].max_hop_count: '[' is not a whole number; write a whole number of at least 0",
    ),
    (
        None,
        "Other",
        {"auth_mechanism": "None", "require_tls": "true"},
        "servers[1].connectors[1].auth_mechanism: require_tls needs Tls; add it",
    ),
]


@pytest.mark.parametrize(("server", "connector", "changes", "line"), REFUSED)
def test_a_wrong_change_is_refused_and_nothing_written(
    config: Path, server: str | None, connector: str, changes: dict[str, object], line: str
) -> None:
    """Mistakes and broken rules of the new file are told, and the old one stays."""
    inode = config.stat().st_ino

    with pytest.raises(ConfigError) as refused:
        set_connector_properties(config, server, connector, changes)

    assert refused.value.lines == (f"{config}: {line}",)
    assert config.read_text() == TEXT
    assert config.stat().st_ino == inode


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("servers: [", "line 1: a value is missing, or an indicator stands in its place"),
        ("", "there is no connector 'Default'; there are: none"),
        (
            "servers: [{name: A, connectors: [{name: default}, {name: DEFAULT}]}]",
            "A has several connectors 'Default'; rename all but one",
        ),
        (
            "servers: [{name: A, connectors: &c [{name: Default}]}, {name: B, connectors: *c}]",
            "servers[1].connectors[0].enabled is written as an alias; change the value at its anchor, by hand",
        ),
    ],
)
def test_a_file_that_cannot_be_edited_is_one_line(tmp_path: Path, text: str, says: str) -> None:
    """A broken or ambiguous file, or one written with aliases, is told of in one line."""
    path = tmp_path / "lab.yaml"
    path.write_text(text)

    with pytest.raises(ConfigError) as refused:
        set_connector_properties(path, "B" if "*c" in text else None, "Default", {"enabled": False})

    assert refused.value.lines == (f"{path}: {says}",)
    assert path.read_text() == text
