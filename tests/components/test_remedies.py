"""The documents' own remedies, given to a running receiver by the real command: the next session advertises."""

from __future__ import annotations

import difflib
import json
from typing import TYPE_CHECKING

import pytest

from tests.command import Serving, on_free_ports, on_terminal, run, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow  # Thirteen RSA keys, and programs that start.


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the shipped gallery."""
    return on_free_ports(tmp_path_factory.mktemp("remedies"), "gallery.yaml")


@pytest.fixture(scope="module")
def gallery(config: Path) -> Iterator[Serving]:
    """Run the gallery."""
    with serving(config) as receiver:
        yield receiver


def probe(gallery: Serving, server: str) -> tuple[int, dict[str, object]]:
    """Meet a server of the gallery with X-ANONYMOUSTLS; return the exit code and what was seen."""
    answer = run("probe", gallery.target(server), "--json")
    return answer.code, json.loads(answer.stdout)


def changes(before: str, after: str) -> list[str]:
    """Return the lines that left and came."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")
    return [line for line in lines if line[0] in "+-" and line[:3] not in {"---", "+++"}]


def test_connector_set_makes_the_next_session_advertise(gallery: Serving, config: Path) -> None:
    """ExchangeServer is enabled by the command that the gallery names; the file differs in that value alone."""
    before = config.read_text()
    code, met = probe(gallery, "auth-mechanism")

    done = run(
        "connector",
        "set",
        "Default Frontend auth-mechanism",
        "--auth-mechanism",
        "Tls,Integrated,ExchangeServer",
        "--config",
        config,
    )
    code_then, met_then = probe(gallery, "auth-mechanism")

    assert (code, met["advertised"]) == (1, False)
    assert (done.code, done.stderr) == (0, "")
    assert "auth_mechanism: [Tls, Integrated] -> [Tls, Integrated, ExchangeServer]" in done.stdout
    assert (code_then, met_then["advertised"]) == (0, True)
    assert changes(before, config.read_text()) == [
        "-        auth_mechanism: [Tls, Integrated]",
        "+        auth_mechanism: [Tls, Integrated, ExchangeServer]",
    ]


def test_certificate_enable_makes_the_next_session_advertise(gallery: Serving, config: Path) -> None:
    """The certificate is published to the directory by Enable-ExchangeCertificate; one entry differs, comments stay."""
    directory = config.parent / "gallery-directory.yaml"
    directory.write_text("# The directory of the gallery.\n" + directory.read_text())
    before = directory.read_text()
    held = run("certificate", "list", "--server", "not-set", "--json", "--config", config).document
    code, met = probe(gallery, "not-set")

    done = run(
        "certificate",
        "enable",
        held["thumbprint"],
        "--services",
        "SMTP",
        "--server",
        "not-set",
        "--config",
        config,
    )
    code_then, met_then = probe(gallery, "not-set")

    assert (code, met["advertised"]) == (1, False)
    assert (done.code, done.stderr) == (0, "")
    assert (code_then, met_then["advertised"]) == (0, True)
    assert met_then["certificate"]["thumbprint"] == held["thumbprint"]  # type: ignore[index]
    # A thumbprint that could be read as a number stands in quotes.
    assert [line.replace("'", "") for line in changes(before, directory.read_text())] == [
        "-not-set: {msExchServerInternalTLSCert: null}",
        f"+not-set: {{msExchServerInternalTLSCert: {held['thumbprint']}}}",
    ]


def test_the_shipped_remedies_stand_in_the_gallery_itself(config: Path) -> None:
    """The comments of the gallery name these very commands."""
    text = config.read_text()

    assert (
        'connector set "Default Frontend auth-mechanism" --auth-mechanism Tls,Integrated,ExchangeServer'
        in text
    )
    assert "certificate enable THUMBPRINT --server not-set --services SMTP" in text


def test_a_broken_change_leaves_the_connector_as_it_was(gallery: Serving, config: Path) -> None:
    """A file with a mistake changes nothing, event 1003 says so, and mending it takes effect at once."""
    good = config.read_text()
    config.write_text(
        good.replace("[Tls, Integrated, ExchangeServer]", "[Tls, Integrated, ExchangeSever]", 1)
    )
    code, _ = probe(gallery, "healthy")
    events = run("event", "list", "--event-id", "1003", "--json", "--config", config)
    config.write_text(good)
    code_then, _ = probe(gallery, "healthy")

    assert (code, code_then) == (0, 0)
    assert events.code == 2  # The command reads the same broken file.
    told = run("event", "list", "--event-id", "1003", "--json", "--config", config).objects
    assert [each["level"] for each in told] == ["Error"]
    assert "'ExchangeSever' is not one of" in told[0]["message"]


def test_the_remedies_work_from_a_terminal(gallery: Serving, config: Path) -> None:
    """A person who answers Yes replaces the certificate that the directory names; the next session presents it."""
    made = run(
        "certificate", "new", "--server", "healthy", "--key-type", "ec", "--json", "--config", config
    ).document
    words = ("certificate", "enable", made["thumbprint"], "--services", "SMTP", "--server", "healthy")

    code, shown = on_terminal(*words, "--config", config, question="Replace it?", answer="\n")
    _, met = probe(gallery, "healthy")

    assert code == 0, shown
    assert "Overwrite the existing default SMTP certificate?" in shown
    assert met["certificate"]["thumbprint"] == made["thumbprint"]  # type: ignore[index]
