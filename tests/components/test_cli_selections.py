"""``check`` and ``explain``: what a configuration would do, without opening a port or writing an event."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.command import call, on_terminal, run
from tests.lab import ABSENT_THUMBPRINT, CONNECTOR, FQDN, SERVER

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab import Lab

SELECTION_KEYS = {
    "server",
    "connector",
    "verb",
    "advertised",
    "certificate",
    "steps",
    "event_ids",
    "duration_ms",
}
CERTIFICATE_KEYS = {
    "thumbprint",
    "subject",
    "issuer",
    "serial_number",
    "not_before",
    "not_after",
    "subject_alternative_names",
    "self_signed",
}


# -- check


def test_check_of_a_connector_that_can_do_everything(lab: Lab) -> None:
    """Both verbs in the table, no problem, exit code 0."""
    answer = call("check", "--config", lab.write())
    head, anonymous, starttls, empty, verdict = answer.stdout.splitlines()

    assert (answer.code, answer.stderr) == (0, "")
    assert re.split("  +", head) == [
        "Server",
        "Connector",
        "Verb",
        "Advertised",
        "Thumbprint",
        "Expires",
        "Events",
    ]
    for row, verb, name in ((anonymous, "X-ANONYMOUSTLS", "internal"), (starttls, "STARTTLS", FQDN)):
        certificate = lab.certificate(name)
        expires = certificate.not_after.date().isoformat()
        assert re.split("  +", row) == [SERVER, CONNECTOR, verb, "yes", certificate.thumbprint, expires, "-"]
    assert (empty, verdict) == ("", "Every connector can do what its AuthMechanism asks.")


def test_check_for_programs(lab: Lab) -> None:
    """One document: is it well, the selection objects of the trace, the problems."""
    answer = call("check", "--config", lab.write(), "--json")
    document = answer.document

    assert (answer.code, answer.stderr) == (0, "")
    assert set(document) == {"ok", "selections", "problems", "directory"}
    assert (document["ok"], document["problems"]) == (True, [])
    assert [set(each) for each in document["selections"]] == [SELECTION_KEYS] * 2
    assert [set(each["certificate"]) for each in document["selections"]] == [CERTIFICATE_KEYS] * 2
    (shown,) = document["directory"]["servers"]
    assert (document["directory"]["type"], shown["server"], shown["source"]) == ("file", SERVER, None)
    assert shown["thumbprint"] == lab.certificate("internal").thumbprint


NOT_WELL = [
    (
        {"directory": None},
        "would write event 12012 (Error) for MX1",
        "X-ANONYMOUSTLS is not advertised: msExchServerInternalTLSCert of MX1 is not set",
    ),
    (
        {"directory": "missing-thumbprint"},
        "would write event 12013 (Error) for MX1",
        (
            f"X-ANONYMOUSTLS is not advertised: the local computer store holds no certificate with thumbprint "
            f"{ABSENT_THUMBPRINT}"
        ),
    ),
    (
        {"connector": {"fqdn": FQDN}, "store": {"internal": "no-key", FQDN: None}},
        f"would write event 12014 (Error) for MX1: {CONNECTOR}",
        "STARTTLS is not advertised: internal.pem has no private key",
    ),
]


@pytest.mark.parametrize(("overlay", "event", "problem"), NOT_WELL)
def test_check_of_a_connector_that_cannot(
    lab: Lab, overlay: dict[str, Any], event: str, problem: str
) -> None:
    """Exit code 1, the events that a start would write, and what is wrong; nothing is written."""
    config = lab.write(**overlay)
    answer = call("check", "--config", config)
    document = call("check", "--config", config, "--json")

    assert (answer.code, document.code) == (1, 1)
    assert event in answer.stdout.splitlines()
    assert f"problem: MX1: {CONNECTOR}: {problem}" in answer.stdout.splitlines()
    assert (document.document["ok"], f"MX1: {CONNECTOR}: {problem}" in document.document["problems"]) == (
        False,
        True,
    )
    assert not lab.database.exists()
    assert not (lab.folder / "application.jsonl").exists()


def test_check_asks_no_more_than_auth_mechanism_does(lab: Lab) -> None:
    """A verb that AuthMechanism does not ask for, a suppressed one and an expired certificate are no problem."""
    config = lab.write(
        connector={"auth_mechanism": ["ExchangeServer"], "suppress_x_anonymous_tls": True},
        store={"internal": "expired"},
    )

    assert call("check", "--config", config).code == 0


# -- what can be wrong with the files


def test_a_directory_file_that_is_missing_or_broken_is_one_line(lab: Lab) -> None:
    """It could not be reached: exit code 3, and the file is named."""
    config = lab.write()
    directory = config.parent / "directory.yaml"
    directory.write_text("MX1: [")
    broken = {words: call(*words, "--config", config) for words in (("check",), ("explain",))}
    directory.unlink()
    missing = {words: call(*words, "--config", config) for words in (("check",), ("explain",))}

    for answer in (*broken.values(), *missing.values()):
        assert (answer.code, answer.stdout, len(answer.mistakes)) == (3, "", 1)
        assert answer.stderr.startswith(f"{directory}: ")


def test_a_store_that_cannot_be_read_is_one_line(lab: Lab) -> None:
    """A store that is missing, or no folder: exit code 3, and what would do."""
    config = lab.write(server={"certificate_store": str(lab.folder / "nowhere")})
    missing = call("check", "--config", config)
    (lab.folder / "nowhere").write_text("a file")
    no_folder = call("explain", "--config", config)

    for answer in (missing, no_folder):
        assert (answer.code, answer.stdout, len(answer.mistakes)) == (3, "", 1)
        assert answer.stderr.startswith(f"{lab.folder / 'nowhere'}: ")


def test_an_empty_store_is_a_problem_of_the_connectors(lab: Lab) -> None:
    """Nothing to choose from: exit code 1."""
    config = lab.write(store={"internal": None, FQDN: None}, directory="missing-thumbprint")

    assert call("check", "--config", config).code == 1


def test_a_bad_file_in_the_store_harms_nothing_else(lab: Lab) -> None:
    """It is named in one warning on stderr."""
    config = lab.write()
    (lab.store / "broken.pem").write_text(
        "-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n"
    )
    answer = call("check", "--config", config, "--json")

    assert (answer.code, answer.document["ok"]) == (0, True)
    assert [line.partition(":")[0] for line in answer.mistakes] == ["warning"]
    assert "broken.pem" in answer.stderr


@pytest.mark.parametrize(
    "command", ["check", "serve", "session list", "explain", "connector list", "certificate list"]
)
def test_mistakes_in_the_configuration_are_told_once_each(lab: Lab, command: str) -> None:
    """Exit code 2, every mistake on a line of its own, shape and rules together; nothing on stdout."""
    config = lab.write(
        connector={"auth_mechanism": ["Tls", "ExchangeSever"], "fqdn": "mail.example.test", "tarpit": 0},
        server={"role": "Hub"},
    )
    answer = call(*command.split(), "--config", config)

    assert (answer.code, answer.stdout) == (2, "")
    assert len(answer.mistakes) == len(set(answer.mistakes)) == 3
    assert all(line.startswith(f"{config}: servers[0]") for line in answer.mistakes)
    assert sum("'ExchangeSever' is not one of" in line for line in answer.mistakes) == 1


@pytest.mark.parametrize("command", ["check", "serve"])
def test_a_broken_rule_stops_what_would_serve(lab: Lab, command: str) -> None:
    """Exchange's constraints between properties are mistakes to serve and check, findings to others."""
    config = lab.write(connector={"require_tls": True, "auth_mechanism": ["ExchangeServer"]})
    stopped = call(command, "--config", config)
    told = call("explain", "--config", config)

    assert (stopped.code, stopped.stdout, len(stopped.mistakes)) == (2, "", 1)
    assert "require_tls needs Tls" in stopped.stderr
    assert (told.code, told.mistakes) == (0, [f"finding: {stopped.mistakes[0]}"])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--config", "nowhere.yaml"), "nowhere.yaml: there is no such file"),
        (("--config", "."), ".: is a directory; name the file in it"),
        (("--set", "fqdn"), "--set fqdn: write KEY=VALUE, for example servers[0].fqdn=mx.test"),
    ],
)
def test_a_configuration_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], says: str
) -> None:
    """One line, exit code 2."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    answer = call("check", *words)

    assert (answer.code, answer.stdout, answer.mistakes) == (2, "", [says])


def test_set_changes_one_key_for_one_run(lab: Lab) -> None:
    """--set goes before the file, which stays as it is."""
    config = lab.write()
    before = config.read_text()
    answer = call(
        "check", "--config", config, "--set", "servers[0].connectors[0].auth_mechanism=[Tls]", "--json"
    )

    assert [each["advertised"] for each in answer.document["selections"]] == [False, True]
    assert config.read_text() == before


# -- explain


def test_explain_shows_every_step(lab: Lab) -> None:
    """Each step with its answer and sentence, then the result, for both verbs."""
    answer = call("explain", "--config", lab.write(connector={"auth_mechanism": ["ExchangeServer"]}))
    thumbprint = lab.certificate("internal").thumbprint

    assert (answer.code, answer.stderr) == (0, "")
    assert answer.stdout.splitlines() == [
        f"MX1: {CONNECTOR}: X-ANONYMOUSTLS",
        "  yes  auth_mechanism     ExchangeServer is enabled: AuthMechanism is ExchangeServer",
        "  yes  suppression        SuppressXAnonymousTls is false",
        f"  yes  directory          msExchServerInternalTLSCert of MX1 names {thumbprint} as a thumbprint",
        "  yes  certificate_store  internal.pem holds it: CN=MX1, issued by CN=MX1",
        f"  yes  validity           valid until {lab.certificate('internal').not_after:%Y-%m-%dT%H:%M:%SZ}",
        f"  => X-ANONYMOUSTLS is advertised with {thumbprint}",
        "",
        f"MX1: {CONNECTOR}: STARTTLS",
        "  no   auth_mechanism     Tls is not enabled: AuthMechanism is ExchangeServer",
        "  => STARTTLS is not advertised, no certificate is loaded",
        "",
    ]


def test_explain_for_programs(lab: Lab) -> None:
    """A list of the selection objects of the trace, one for each connector and verb asked for."""
    config = lab.write()
    both = call("explain", "--config", config, "--json").document
    one = call("explain", "--config", config, "--json", "--verb", "starttls").document

    assert [set(each) for each in both] == [SELECTION_KEYS] * 2
    assert [each["verb"] for each in both] == ["X-ANONYMOUSTLS", "STARTTLS"]
    assert [each["verb"] for each in one] == ["STARTTLS"]
    assert not lab.database.exists()


def test_explain_at_another_time(lab: Lab) -> None:
    """--at lets the certificate have expired: advertised all the same, with the event."""
    later = call("explain", "--config", lab.write(), "--at", "2199-01-01", "--json").document

    assert [(each["advertised"], each["event_ids"]) for each in later] == [(True, [12015]), (True, [12016])]
    assert [each["steps"][-1]["passed"] for each in later] == [False, False]


def test_explain_as_at_service_start(lab: Lab) -> None:
    """12012 belongs to the start, not to a session."""
    config = lab.write(directory=None)
    words = ("explain", "--config", config, "--verb", "X-ANONYMOUSTLS")

    assert call(*words, "--json").document[0]["event_ids"] == []
    assert call(*words, "--json", "--startup").document[0]["event_ids"] == [12012]
    assert "  => event 12012 (Error): The internal transport certificate" in call(*words, "--startup").stdout


SECOND_CONNECTOR = {
    "name": "Relay",
    "bindings": ["127.0.0.1:2600", "[::1]:2600"],
    "remote_ip_ranges": ["10.0.0.0/8", "fd00::/8"],
}
FIRST_CONNECTOR = {"name": CONNECTOR, "bindings": ["127.0.0.1:2600", "127.0.0.1:2601"]}


def two_connectors(lab: Lab) -> Path:
    """Write a configuration whose connectors share a binding."""
    return lab.write(server={"connectors": [FIRST_CONNECTOR, SECOND_CONNECTOR]})


TAKEN = [
    (("--remote-ip", "10.1.2.3"), ["Relay", CONNECTOR]),
    (("--remote-ip", "10.1.2.3", "--local", "127.0.0.1:2600"), ["Relay"]),
    (("--remote-ip", "10.1.2.3", "--local", "127.0.0.1:2601"), [CONNECTOR]),
    (("--remote-ip", "192.0.2.1"), [CONNECTOR]),
    (("--remote-ip", "fd00::1"), ["Relay"]),
    (("--server", "mx1", "--connector", "relay"), ["Relay"]),
    (("--server", "MX1"), [CONNECTOR, "Relay"]),
]


@pytest.mark.parametrize(("words", "connectors"), TAKEN)
def test_explain_of_the_connector_that_takes_a_peer(
    lab: Lab, words: tuple[str, ...], connectors: list[str]
) -> None:
    """Binding first, then the most specific range; a name in any case."""
    config = two_connectors(lab)
    document = call("explain", *words, "--verb", "STARTTLS", "--json", "--config", config).document

    assert [each["connector"] for each in document] == connectors


def test_explain_says_why_a_connector_takes_the_peer(lab: Lab) -> None:
    """The matching is told before the steps, for people only."""
    words = ("explain", "--remote-ip", "10.1.2.3", "--local", "127.0.0.1:2600", "--verb", "STARTTLS")
    answer = call(*words, "--config", two_connectors(lab))

    assert answer.stdout.startswith("127.0.0.1:2600: Relay takes 10.1.2.3: ")
    assert "10.0.0.0/8" in answer.stdout.splitlines()[0]


MISTAKES = [
    (("--remote-ip", "ten"), 2, "--remote-ip: 'ten' is not an IP address"),
    (("--local", "127.0.0.1:2600"), 2, "--local goes with --remote-ip: say which peer connects there"),
    (("--remote-ip", "10.1.2.3", "--local", "2600"), 2, "--local: '2600' is not a binding; write"),
    (("--server", "MX2"), 2, "--server: 'MX2' is not one of MX1"),
    (("--connector", "Nobody"), 2, f"no connector is called 'Nobody'; there are '{CONNECTOR}', 'Relay'"),
    (("--at", "soon"), 2, "'soon' is not a time; write 2027-06-01 or 2027-06-01T12:00:00Z"),
    (("--verb", "TLS"), 2, "'TLS' is not one of X-ANONYMOUSTLS, STARTTLS"),
    (("--remote-ip", "10.1.2.3", "--local", "127.0.0.1:2699"), 1, "no connector takes 10.1.2.3"),
    (("--remote-ip", "2001:db8::1"), 1, "no connector takes 2001:db8::1"),
]


@pytest.mark.parametrize(("words", "code", "says"), MISTAKES)
def test_explain_of_what_cannot_be(lab: Lab, words: tuple[str, ...], code: int, says: str) -> None:
    """A mistake is told on stderr, and stdout stays empty."""
    answer = call("explain", *words, "--config", two_connectors(lab))

    assert (answer.code, answer.stdout) == (code, "")
    assert says in answer.stderr


def test_explain_says_what_a_peer_without_connector_is_told(lab: Lab) -> None:
    """The reply that the session would get stands with the reason."""
    answer = call("explain", "--remote-ip", "2001:db8::1", "--config", two_connectors(lab))

    assert "[::1]:2600: " in answer.mistakes[0]
    assert answer.mistakes[0].endswith("the peer would be told 421 4.3.2 Service not available")


# -- as programs of their own


@pytest.mark.slow
@pytest.mark.parametrize("words", [("check",), ("explain",), ("check", "--json"), ("explain", "--json")])
def test_as_a_program_it_says_the_same(lab: Lab, words: tuple[str, ...]) -> None:
    """What the process prints is what the call prints, but for the time that it took."""
    config = lab.write(directory=None)
    program, called = run(*words, "--config", config), call(*words, "--config", config)

    assert (program.code, program.stderr) == (called.code, called.stderr)
    assert timeless(program.stdout) == timeless(called.stdout)


def timeless(text: str) -> str:
    """Return *text* without measured times."""
    return re.sub(r'"duration_ms": [0-9.]+', "", text)


@pytest.mark.slow
@pytest.mark.parametrize("columns", [80, 100, 120])
@pytest.mark.parametrize("command", ["check", "explain"])
def test_on_a_terminal_everything_fits(lab: Lab, command: str, columns: int) -> None:
    """No line is longer than the terminal, none ends in blanks, and no thumbprint is broken."""
    code, shown = on_terminal(command, "--config", lab.write(store={"internal": "expired"}), columns=columns)

    assert code == 0
    assert [line for line in shown if len(line) > columns or line != line.rstrip()] == []
    for name in ("internal", FQDN):
        assert any(lab.certificate(name).thumbprint in line for line in shown)


@pytest.mark.slow
def test_json_is_json_whatever_is_told_beside_it(lab: Lab) -> None:
    """Warnings go to stderr, so that stdout can be read by a program."""
    (lab.store).mkdir()
    (lab.store / "note.pem").write_text("nothing\n")
    answer = run("check", "--json", "--config", lab.write(connector={"domain_secure_enabled": True}))

    assert json.loads(answer.stdout)["ok"]
    assert [line.partition(":")[0] for line in answer.mistakes] == ["warning", "warning"]


@pytest.mark.parametrize("command", ["check", "explain", "serve"])
def test_ciphers_that_openssl_does_not_know(command: str, lab: Lab) -> None:
    """What no handshake could come of is a mistake of the configuration, told before anything starts."""
    config = lab.write(settings={"tls": {"ciphers": "FOO"}})

    answer = call(command, "--config", config)

    assert (answer.code, answer.stdout) == (2, "")
    assert answer.stderr.startswith(f"{config}: tls.ciphers: 'FOO' ")
    assert len(answer.stderr.splitlines()) == 1
