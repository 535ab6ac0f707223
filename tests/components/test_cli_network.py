"""``probe`` and ``tunnel`` as commands, at a receiver that runs; swaks and openssl as independent clients."""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.command import PROGRAM, call, environment, on_terminal, run, serving
from tests.lab import ABSENT_THUMBPRINT, CONNECTOR, FQDN, SERVER, Lab, Pki

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.command import Answer, Serving

pytestmark = pytest.mark.slow  # Programs that start, and swaks and openssl from Debian.

PROBE_KEYS = {
    "host",
    "port",
    "banner",
    "ehlo",
    "verb",
    "advertised",
    "tls",
    "certificate",
    "ehlo_after_tls",
    "verdict",
    "exit_code",
}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Write the files of a receiver."""
    lab = Lab(tmp_path_factory.mktemp("network"), Pki())
    lab.write()
    return lab


@pytest.fixture(scope="module")
def receiver(running: Lab) -> Iterator[Serving]:
    """Run it."""
    with serving(running.config) as receiver:
        yield receiver


def probed(receiver: Serving, *words: str) -> Answer:
    """Probe it."""
    return call("probe", receiver.target(SERVER), *words)


@pytest.mark.parametrize(("verb", "name"), [("X-ANONYMOUSTLS", "internal"), ("starttls", FQDN)])
def test_probe_where_all_is_well(receiver: Serving, running: Lab, verb: str, name: str) -> None:
    """Exit code 0: banner, EHLO, TLS facts, certificate, second EHLO and the verdict."""
    thumbprint = running.certificate(name).thumbprint
    answer = probed(receiver, "--verb", verb, "--expect-thumbprint", thumbprint.lower())
    document = probed(receiver, "--verb", verb, "--json").document

    assert (answer.code, answer.stderr) == (0, "")
    rows = [re.split("  +", line, maxsplit=1) for line in answer.stdout.splitlines()]
    facts = dict(rows)
    assert (facts[verb.upper()], facts["Thumbprint"]) == ("advertised", thumbprint)
    assert facts["Verdict"].endswith("the TLS verbs are gone after it, as they must be")
    assert set(document) >= PROBE_KEYS
    assert (document["exit_code"], document["advertised"], document["verb"]) == (0, True, verb.upper())
    assert document["certificate"]["thumbprint"] == thumbprint
    assert document["tls"]["version"] == "TLSv1.2"
    assert any("STARTTLS" in line for line in document["ehlo"])
    assert not any("TLS" in line for line in document["ehlo_after_tls"])


def test_probe_without_upgrade(receiver: Serving) -> None:
    """--verb none: banner and EHLO only."""
    document = probed(receiver, "--verb", "NONE", "--json", "--ehlo", "client.test").document

    assert (document["exit_code"], document["verb"], document["tls"]) == (0, None, None)
    assert document["verdict"].endswith("speaks SMTP and advertises X-ANONYMOUSTLS and STARTTLS")


NOT_AS_EXPECTED = [
    (("--expect-thumbprint", ABSENT_THUMBPRINT), 1, f"not {ABSENT_THUMBPRINT} as expected"),
    (("--tls-min", "TLSv1.3"), 3, ""),
    (("--expect-thumbprint", "5C7A"), 2, "'5C7A' is not a thumbprint"),
    (
        ("--verb", "none", "--expect-thumbprint", ABSENT_THUMBPRINT),
        2,
        "without a TLS verb there is no certificate",
    ),
    (("--tls-min", "TLSv1.2", "--tls-max", "TLSv1"), 2, ""),
    (("--timeout", "0"), 2, ""),
    (("--ehlo", "two words"), 2, ""),
    (("--verb", "TLS"), 2, "'TLS' is not one of X-ANONYMOUSTLS, STARTTLS, none"),
]


@pytest.mark.parametrize(("words", "code", "says"), NOT_AS_EXPECTED)
def test_probe_where_something_is_not_as_expected(
    receiver: Serving, words: tuple[str, ...], code: int, says: str
) -> None:
    """Exit code 1 for another certificate, 3 for a handshake that failed, 2 for bad usage."""
    answer = probed(receiver, *words)

    assert answer.code == code
    assert says in (answer.stderr if code == 2 else answer.stdout)


@pytest.mark.parametrize("host", ["host:0", "[127.0.0.1]:25", "host:smtp", ""])
def test_a_target_that_is_none_is_bad_usage(host: str) -> None:
    """Exit code 2 with click's words and what would do."""
    for command in ("probe", "tunnel"):
        answer = call(command, host)
        assert (answer.code, answer.stdout) == (2, "")
        assert "Invalid value for 'HOST[:PORT]'" in answer.stderr


@contextmanager
def nobody() -> Iterator[str]:
    """Give a target on which nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{bound.getsockname()[1]}"


def test_where_nobody_listens_it_is_exit_code_3() -> None:
    """One sentence; for the tunnel on stderr, since stdout is the session."""
    with nobody() as target:
        probe, tunnel, document = (
            call("probe", target),
            run("tunnel", target),
            call("probe", target, "--json"),
        )

    assert (probe.code, tunnel.code, document.code) == (3, 3, 3)
    assert "refused" in probe.stdout
    assert (tunnel.stdout, len(tunnel.mistakes)) == ("", 1)
    assert (document.document["exit_code"], document.document["banner"]) == (3, None)


def test_where_the_verb_is_not_offered_it_is_exit_code_1(tmp_path: Path, pki: Pki) -> None:
    """Not advertised: probe and tunnel say so, and what it may mean."""
    lab = Lab(tmp_path, pki)
    with serving(lab.write(directory=None)) as without:
        probe = call("probe", without.target(SERVER), "--json")
        tunnel = run("tunnel", without.target(SERVER))

    assert (probe.code, probe.document["advertised"]) == (1, False)
    assert "X-ANONYMOUSTLS is not advertised" in probe.document["verdict"]
    assert (tunnel.code, tunnel.stdout) == (1, "")
    assert "X-ANONYMOUSTLS is not advertised" in tunnel.stderr


def test_an_expired_certificate_is_exit_code_1(tmp_path: Path, pki: Pki) -> None:
    """It worked, and is not as it should be; the event is named."""
    lab = Lab(tmp_path, pki)
    with serving(lab.write(store={"internal": "expired"})) as expired:
        answer = call("probe", expired.target(SERVER))

    assert answer.code == 1
    assert "12015" in answer.stdout


@pytest.mark.parametrize("columns", [80, 120])
def test_on_a_terminal_everything_fits(receiver: Serving, running: Lab, columns: int) -> None:
    """No line is longer than the terminal, none ends in blanks, and the thumbprint is whole."""
    code, shown = on_terminal("probe", receiver.target(SERVER), columns=columns)

    assert code == 0
    assert [line for line in shown if len(line) > columns or line != line.rstrip()] == []
    assert any(running.certificate("internal").thumbprint in line for line in shown)


@pytest.mark.parametrize("way", ["tunnel", "tls"])
def test_swaks_delivers(receiver: Serving, running: Lab, way: str) -> None:
    """A message by STARTTLS, and inside X-ANONYMOUSTLS through the tunnel."""
    assert shutil.which("swaks"), "install the Debian package swaks"
    host, port = receiver.address(SERVER)
    recipient = f"{way}@contoso.test"
    tunnel = " ".join([*PROGRAM, "tunnel", f"{host}:{port}"])
    how = ["--pipe", tunnel] if way == "tunnel" else ["--server", host, "--port", str(port), "--tls"]
    done = subprocess.run(
        ["swaks", *how, "--from", "a@example.test", "--to", recipient, "--header", f"Subject: by {way}"],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    (message,) = run(
        "message", "list", "--recipient", recipient, "--json", "--config", running.config
    ).objects
    session = run("session", "show", message["session_id"], "--json", "--config", running.config).document

    assert (done.returncode, "Queued mail for delivery" in done.stdout) == (0, True), (
        done.stdout + done.stderr
    )
    assert (message["subject"], message["sender"], message["connector"]) == (
        f"by {way}",
        "a@example.test",
        CONNECTOR,
    )
    assert message["verb"] == session["verb"] == {"tunnel": "X-ANONYMOUSTLS", "tls": "STARTTLS"}[way]
    name = {"tunnel": "internal", "tls": FQDN}[way]
    assert session["tls"]["thumbprint"] == running.certificate(name).thumbprint


def test_openssl_shows_the_starttls_certificate(receiver: Serving, running: Lab) -> None:
    """`openssl s_client -starttls smtp` sees the certificate that was selected."""
    assert shutil.which("openssl"), "install the Debian package openssl"
    done = subprocess.run(
        [
            "openssl",
            "s_client",
            "-connect",
            receiver.target(SERVER),
            "-starttls",
            "smtp",
            "-name",
            "client.test",
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    shown = subprocess.run(
        ["openssl", "x509", "-noout", "-fingerprint", "-sha1"],
        input=done.stdout,
        capture_output=True,
        text=True,
        check=True,
    )

    assert shown.stdout.strip().partition("=")[2].replace(":", "") == running.certificate(FQDN).thumbprint


def test_a_tunnel_carries_a_session(receiver: Serving) -> None:
    """What goes into stdin is said inside TLS, what comes back stands on stdout, and nothing else."""
    done = subprocess.run(
        [*PROGRAM, "tunnel", receiver.target(SERVER)],
        input=b"EHLO client.test\r\nQUIT\r\n",
        env=environment(),
        capture_output=True,
        timeout=60,
        check=False,
    )
    lines = done.stdout.decode().split("\r\n")

    assert (done.returncode, done.stderr) == (0, b"")
    assert lines[0].startswith(f"220 {FQDN} Microsoft ESMTP MAIL Service ready at ")
    assert not any("TLS" in line for line in lines)
    assert lines[-2:] == ["221 2.0.0 Service closing transmission channel", ""]


def test_text_of_a_server_is_escaped() -> None:
    """What a server says is shown with its control characters escaped, and in JSON as ASCII."""
    shown, document = asyncio.run(probes_of(b"220 \x1b[31mred\xe2\x80\xae ESMTP\r\n"))

    assert "\x1b" not in shown
    assert r"\x1b[31mred" in shown
    assert document.isascii()
    assert "\x1b" not in document


async def probes_of(banner: bytes) -> tuple[str, str]:
    """Probe a server that says *banner* and nothing more, for people and for programs."""

    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(banner)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()[:2]
        shown = await asyncio.to_thread(run, "probe", f"{host}:{port}")
        document = await asyncio.to_thread(run, "probe", f"{host}:{port}", "--json")
    return shown.stdout, document.stdout
