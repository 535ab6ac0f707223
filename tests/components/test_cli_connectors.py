"""``connector``: Receive connectors listed, shown and edited in the YAML."""

from __future__ import annotations

import re
import shutil
from dataclasses import fields
from typing import TYPE_CHECKING

import pytest

from smtpd_anontls.domain.connectors import ReceiveConnector
from tests.command import ROOT, call, on_terminal, run
from tests.lab import CONNECTOR, SERVER

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab import Lab

PROPERTIES = [each.name for each in fields(ReceiveConnector)]
EVERY_ADDRESS = "0.0.0.0-255.255.255.255, ::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
EVERY_MECHANISM = "Tls, Integrated, BasicAuth, BasicAuthRequireTLS, ExchangeServer"


@pytest.fixture
def shipped(tmp_path: Path) -> Path:
    """Return a copy of the shipped configuration, comments and all."""
    path = tmp_path / "receive.yaml"
    shutil.copy(ROOT / "config" / "receive.yaml", path)
    return path


# -- list and show


def test_list(lab: Lab) -> None:
    """A table for people, one object a line for programs."""
    config = lab.write(connector={"enabled": False})
    answer = call("connector", "list", "--config", config)
    (document,) = call("connector", "list", "--server", "mx1", "--config", config, "--json").objects
    head, row = (re.split("  +", line) for line in answer.stdout.splitlines())

    assert (answer.code, answer.stderr) == (0, "")
    assert dict(zip(head, row, strict=True)) == {
        "Server": SERVER,
        "Name": CONNECTOR,
        "Bindings": "127.0.0.1:0",
        "RemoteIPRanges": EVERY_ADDRESS,
        "AuthMechanism": EVERY_MECHANISM,
        "TransportRole": "FrontendTransport",
        "Enabled": "no",
    }
    assert set(document) == {"server", *PROPERTIES}


def test_show(lab: Lab) -> None:
    """Every property with its value; a name in any case."""
    config = lab.write(connector={"max_inbound_connection": "unlimited"})
    answer = call("connector", "show", CONNECTOR.upper(), "--config", config)
    (document,) = call("connector", "show", CONNECTOR, "--config", config, "--json").objects
    title, *rows = answer.stdout.splitlines()
    shown = dict(re.split("  +", row.strip(), maxsplit=1) for row in rows)

    assert (answer.code, answer.stderr, title) == (0, "", f"{SERVER}: {CONNECTOR}")
    assert list(shown) == ["server", *PROPERTIES]
    assert (shown["auth_mechanism"], shown["fqdn"], shown["require_tls"]) == (
        EVERY_MECHANISM,
        "null",
        "false",
    )
    assert document["auth_mechanism"] == EVERY_MECHANISM.split(", ")
    assert (document["bindings"], document["max_inbound_connection"]) == (["127.0.0.1:0"], None)
    assert (document["transport_role"], document["tarpit_interval"]) == ("FrontendTransport", 0)


@pytest.mark.parametrize("command", ["show", "set"])
def test_a_connector_that_is_not_there(lab: Lab, command: str) -> None:
    """Exit code 2, and which there are."""
    words = ["--enabled", "false"] if command == "set" else []
    answer = call("connector", command, "Nobody", *words, "--config", lab.write())

    assert (answer.code, answer.stdout, len(answer.mistakes)) == (2, "", 1)
    assert CONNECTOR in answer.stderr


# -- set


def test_set_tells_before_and_after(shipped: Path) -> None:
    """Each property as the file had it and has it; one that was not there is said to be so."""
    words = ("connector", "set", "Default Frontend MBX1", "--auth-mechanism", "tls,exchangeserver")
    answer = call(*words, "--banner", "mail.test ESMTP", "--config", shipped)
    document = call(*words, "--config", shipped, "--json")

    assert (answer.code, answer.stderr) == (0, "")
    assert answer.stdout.splitlines() == [
        (
            "MBX1: Default Frontend MBX1: auth_mechanism: [Tls, Integrated, BasicAuth, BasicAuthRequireTLS, "
            "ExchangeServer] -> [Tls, ExchangeServer]"
        ),
        "MBX1: Default Frontend MBX1: banner: not in the file -> mail.test ESMTP",
    ]
    assert document.document == {
        "server": "MBX1",
        "connector": "Default Frontend MBX1",
        "changes": [
            {
                "property": "auth_mechanism",
                "before": "[Tls, ExchangeServer]",
                "after": "[Tls, ExchangeServer]",
            }
        ],
    }
    before = (ROOT / "config" / "receive.yaml").read_text().splitlines()
    after = shipped.read_text().splitlines()
    assert [line for line in before if line not in after] == [
        "        auth_mechanism: [Tls, Integrated, BasicAuth, BasicAuthRequireTLS, ExchangeServer]"
    ]


def test_set_takes_the_numbers_of_exchange(shipped: Path) -> None:
    """AuthMechanism 31 is what a dump of Get-ReceiveConnector says; the file gets the words."""
    words = (
        "connector",
        "set",
        "Default Frontend MBX1",
        "--auth-mechanism",
        "17",
        "--permission-groups",
        "5",
    )
    answer = call(*words, "--config", shipped, "--json")

    assert [each["after"] for each in answer.document["changes"]] == [
        "[Tls, ExchangeServer]",
        "[AnonymousUsers, ExchangeServers]",
    ]


MISTAKES = [
    (
        ("--auth-mechanism", "ExchangeSever"),
        "auth_mechanism: 'ExchangeSever' is not one of None, Tls, Integrated",
    ),
    (("--auth-mechanism", "Tls,None"), "auth_mechanism: None goes only alone"),
    (("--auth-mechanism", "4711"), "auth_mechanism: 4711 is not a sum of Tls 1, Integrated 2"),
    (
        ("--require-tls", "true", "--auth-mechanism", "ExchangeServer"),
        "auth_mechanism: require_tls needs Tls; add it",
    ),
    (("--max-message-size", "many"), "max_message_size: 'many' is not a size"),
    (("--bindings", "127.0.0.1"), "bindings[0]: '127.0.0.1' is not a binding; write 127.0.0.1:2525"),
    (("--enabled", "yes"), "enabled: 'yes' is not"),
    (("--fqdn", "mail.example.test"), "fqdn: "),
]


@pytest.mark.parametrize(("words", "says"), MISTAKES)
def test_a_mistake_is_one_line_and_the_file_stays(shipped: Path, words: tuple[str, ...], says: str) -> None:
    """Exit code 2; what is wrong and what would do."""
    before, inode = shipped.read_text(), shipped.stat().st_ino
    answer = call("connector", "set", "Default Frontend MBX1", *words, "--config", shipped)

    assert (answer.code, answer.stdout, len(answer.mistakes)) == (2, "", 1)
    assert answer.stderr.startswith(f"{shipped}: servers[0].connectors[0].{says}")
    assert (shipped.read_text(), shipped.stat().st_ino) == (before, inode)


def test_nothing_to_set_is_bad_usage(shipped: Path) -> None:
    """It says what could be named."""
    answer = call("connector", "set", "Default Frontend MBX1", "--config", shipped)

    assert (answer.code, answer.mistakes) == (
        2,
        ["nothing to set: name a property, such as --auth-mechanism"],
    )


def test_a_misspelt_property_is_told_the_nearest(shipped: Path) -> None:
    """One mistake, with what is near."""
    answer = call("connector", "set", "X", "--auth-mechansim", "Tls", "--config", shipped)

    assert answer.code == 2
    assert "No such option '--auth-mechansim'" in answer.stderr
    assert "--auth-mechanism" in answer.stderr


def test_the_built_in_default_is_copied_before_it_is_edited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a file, the first edit makes one under the state folder, and every command finds it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    done = call("connector", "set", "Default Frontend MBX1", "--auth-mechanism", "Tls")
    (document,) = call("connector", "list", "--json").objects

    assert done.code == 0
    assert (tmp_path / "state" / "smtpd-anontls" / "config" / "receive.yaml").exists()
    assert document["auth_mechanism"] == ["Tls"]


def test_every_property_has_an_option_under_a_heading() -> None:
    """The help of `connector set` has each property once, what concerns certificates first."""
    text = call("connector", "set", "--help").stdout
    options = re.findall(r"^  (?:-\w, )?--([a-z0-9-]+)", text, re.MULTILINE)
    headings = re.findall(r"^(\S.*):$", text, re.MULTILINE)
    own = [name.replace("_", "-") for name in PROPERTIES if name != "name"]

    assert sorted(options) == sorted([*own, "server", "config", "set", "json", "help"])
    assert headings == [
        "Options",
        "TLS and authentication",
        "Which sessions it takes",
        "What it says",
        "Messages",
        "Limits of sessions",
        "Options of every command",
    ]
    assert options[:2] == ["server", "auth-mechanism"]


# -- as programs of their own


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [("list",), ("show", CONNECTOR), ("list", "--json"), ("show", CONNECTOR, "--json")]
)
def test_as_a_program_it_says_the_same(lab: Lab, words: tuple[str, ...]) -> None:
    """What the process prints is what the call prints."""
    every = ["connector", *words, "--config", str(lab.write())]

    assert run(*every) == call(*every)


@pytest.mark.slow
def test_set_as_a_program(shipped: Path) -> None:
    """It edits the file; a mistake leaves it."""
    words = ("connector", "set", "Default Frontend MBX1", "--config", shipped, "--auth-mechanism")
    wrong = run(*words, "ExchangeSever")
    done = run(*words, "Tls", "--json")

    assert (wrong.code, wrong.stdout, len(wrong.mistakes)) == (2, "", 1)
    assert (done.code, done.document["changes"][0]["after"]) == (0, "[Tls]")
    assert "auth_mechanism: [Tls]\n" in shipped.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("columns", [80, 100, 120])
@pytest.mark.parametrize("words", [("list",), ("show", CONNECTOR)])
def test_on_a_terminal_everything_fits(lab: Lab, words: tuple[str, ...], columns: int) -> None:
    """No line is longer than the terminal, none ends in blanks."""
    code, shown = on_terminal("connector", *words, "--config", lab.write(), columns=columns)

    assert code == 0
    assert [line for line in shown if len(line) > columns or line != line.rstrip()] == []
    assert any(CONNECTOR in line for line in shown)
