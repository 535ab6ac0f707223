"""``compare``: a receiver that runs against configurations, and configurations against each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.command import call, serving
from tests.lab import CONNECTOR, SERVER, Lab, Pki

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.command import Serving


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Write the files of a receiver."""
    lab = Lab(tmp_path_factory.mktemp("compare"), Pki())
    lab.write()
    return lab


@pytest.fixture(scope="module")
def receiver(running: Lab) -> Iterator[Serving]:
    """Run it."""
    with serving(running.config) as receiver:
        yield receiver


def changed(lab: Lab, file: str, **connector: Any) -> Path:
    """Write the configuration again with other properties of its connector, and return its path."""
    content = yaml.safe_load(lab.config.read_text())
    content["servers"][0]["connectors"][0].update(connector)
    path = lab.config.with_name(file)
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def differences(*words: str | Path) -> dict[str, tuple[str | None, str | None]]:
    """Return what differs; the exit code says whether anything does."""
    answer = call("compare", "--json", *words)
    document = answer.document
    found = {row["what"]: (row["a"], row["b"]) for row in document["rows"] if not row["same"]}
    assert document["same"] is not bool(found)
    assert answer.code == (1 if found else 0), answer.stderr
    return found


@pytest.mark.slow
def test_a_receiver_and_its_own_configuration_are_the_same(running: Lab, receiver: Serving) -> None:
    """Verbs, certificates, TLS versions and every line of EHLO, either way round."""
    target = receiver.target(SERVER)

    assert differences(target, running.config, "--connector", CONNECTOR) == {}
    assert differences(running.config, target) == {}
    answer = call("compare", target, running.config)
    assert (answer.code, answer.stdout) == (0, "Both are the same.\n")


@pytest.mark.slow
def test_a_receiver_that_is_not_as_configured(running: Lab, receiver: Serving) -> None:
    """What differs stands in the table, measured beside expected."""
    other = changed(running, "other.yaml", suppress_x_anonymous_tls=True, max_message_size="1MB")
    internal = running.certificate("internal")

    found = differences(receiver.target(SERVER), other)

    assert found["X-ANONYMOUSTLS"] == ("advertised", "not advertised")
    assert found["X-ANONYMOUSTLS certificate"] == (internal.thumbprint, "none")
    assert found["EHLO SIZE"] == ("37748736", "1048576")
    assert found["EHLO X-ANONYMOUSTLS"] == ("offered", None)
    assert "STARTTLS certificate" not in found
    answer = call("compare", receiver.target(SERVER), other)
    assert answer.code == 1
    assert "EHLO SIZE" in answer.stdout
    assert "PIPELINING" not in answer.stdout
    everything = call("compare", receiver.target(SERVER), other, "--all")
    assert "EHLO PIPELINING" in everything.stdout


@pytest.mark.slow
def test_two_live_servers(receiver: Serving) -> None:
    """A server is the same as itself."""
    target = receiver.target(SERVER)

    assert differences(target, target) == {}


@pytest.mark.slow
def test_the_connector_is_the_one_that_would_take_us(running: Lab, receiver: Serving) -> None:
    """Of several connectors the one at that binding and range; none there is a mistake that names them."""
    _, port = receiver.address(SERVER)
    content = yaml.safe_load(running.config.read_text())
    [first] = content["servers"][0]["connectors"]
    first["bindings"] = [f"127.0.0.1:{port}"]
    relay = {**first, "name": "Relay", "remote_ip_ranges": ["192.0.2.1"], "auth_mechanism": ["Tls"]}
    content["servers"][0]["connectors"].append(relay)
    several = running.config.with_name("several.yaml")
    several.write_text(yaml.safe_dump(content))
    target = receiver.target(SERVER)

    assert differences(target, several) == {}
    assert "X-ANONYMOUSTLS" in differences(target, several, "--remote-ip", "192.0.2.1")
    first["bindings"] = ["127.0.0.1:1"]
    relay["bindings"] = ["127.0.0.1:1"]
    several.write_text(yaml.safe_dump(content))
    answer = call("compare", target, several)
    assert answer.code == 2
    assert f"say --connector with one of '{CONNECTOR}', 'Relay'" in answer.stderr


def test_two_configurations(lab: Lab) -> None:
    """Properties that cannot be seen from outside are compared as well."""
    config = lab.write()
    other = changed(lab, "other.yaml", remote_ip_ranges=["10.0.0.0/8"], auth_mechanism=["Tls"])

    found = differences(config, other)

    assert found["remote_ip_ranges"][1] == "10.0.0.0/8"
    assert found["auth_mechanism"][1] == "Tls"
    assert found["X-ANONYMOUSTLS"] == ("advertised", "not advertised")
    assert differences(config, config) == {}


def test_connectors_of_servers_with_other_names(lab: Lab) -> None:
    """A connector whose name has its server's name is met by that of the other server."""
    config = lab.write()
    content = yaml.safe_load(config.read_text())
    content["servers"][0]["name"] = "MX2"
    content["servers"][0]["connectors"][0]["name"] = "Default Frontend MX2"
    other = config.with_name("other.yaml")
    other.write_text(yaml.safe_dump(content))

    found = differences(config, other)

    # The directory has no entry of MX2.
    assert found["X-ANONYMOUSTLS"] == ("advertised", "not advertised")
    assert "STARTTLS" not in found


def test_a_connector_that_only_one_has(lab: Lab) -> None:
    """Each of its facts stands on one side alone."""
    config = lab.write()
    other = changed(lab, "other.yaml", name="Relay")

    found = differences(config, other)

    assert found["STARTTLS"] in {("advertised", None), (None, "advertised")}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["nowhere.yaml", "127.0.0.1"], 2, "nowhere.yaml"),
        (["no host", "127.0.0.1"], 2, "is neither a configuration file nor a server"),
        (["127.0.0.1:1", "127.0.0.1:1"], 3, "127.0.0.1:1"),
        (
            ["127.0.0.1:1", "127.0.0.1:1", "--remote-ip", "10.1"],
            2,
            "--remote-ip: '10.1' is not an IP address",
        ),
        (["127.0.0.1:1", "127.0.0.1:1", "--timeout", "0"], 2, "--timeout: 0 is not a time-out"),
    ],
)
def test_wrong_words(words: list[str], code: int, said: str) -> None:
    """One line says what is wrong, and the exit code what kind of thing that is."""
    answer = call("compare", *words)

    assert answer.code == code
    assert said in answer.stderr
    assert len(answer.mistakes) == 1


def test_kerberos_as_exchange_has_it(lab: Lab) -> None:
    """Without a keytab the receiver offers no GSSAPI, which every Exchange server does."""
    config = lab.write()

    def line(*words: str) -> str:
        rows = call("compare", "--json", config, config, *words).document["rows"]
        [found] = [row["a"] for row in rows if row["what"] == "EHLO X-EXPS"]
        assert isinstance(found, str)
        return found

    assert line() == "NTLM"
    assert line("--kerberos") == "GSSAPI NTLM"
