"""The certificate that a client presents: where a server asks for it, where none does, and files that hold none."""

from __future__ import annotations

import os
import ssl
import subprocess
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from smtpd_anontls.client.client_certificate import ClientCertificate
from smtpd_anontls.client.probe import ProbeOptions, ProbeResult, probe
from smtpd_anontls.client.tls import TlsOffer
from smtpd_anontls.client.tunnel import tunnel
from smtpd_anontls.domain.certificate import thumbprint_of
from tests.command import call
from tests.components.reply_server import (
    NOW,
    Hear,
    Identity,
    ReplyServer,
    Say,
    Step,
    Upgrade,
    make_identity,
)

if TYPE_CHECKING:
    from pathlib import Path

QUIT = (Hear("QUIT"), Say(b"221 2.0.0 Service closing transmission channel\r\n"))
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    """Return what the server presents."""
    return make_identity(tmp_path_factory.mktemp("server"))


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    """Return what the client presents, which servers look at with their own clock."""
    return make_identity(
        tmp_path_factory.mktemp("edge"),
        "edge1.contoso.test",
        not_before=datetime(2020, 1, 1, tzinfo=UTC),
        not_after=datetime(2099, 1, 1, tzinfo=UTC),
    )


def asking(
    identity: Identity, trusted: Identity, version: ssl.TLSVersion, mode: ssl.VerifyMode
) -> ssl.SSLContext:
    """Return the context of a server that asks for a client certificate."""
    context = identity.context(version, version)
    context.load_verify_locations(trusted.pem)
    context.verify_mode = mode
    return context


def session(context: ssl.SSLContext) -> tuple[Step, ...]:
    """Return a session that is upgraded by *context*."""
    return (
        *(Say(b"220 edge2 ready\r\n"), Hear("EHLO"), Say(b"250-edge2\r\n250 X-ANONYMOUSTLS\r\n")),
        *(Hear("X-ANONYMOUSTLS"), Say(b"220 Go\r\n"), Upgrade(context)),
        *(Hear("EHLO"), Say(b"250 edge2\r\n"), *QUIT),
    )


def ask(context: ssl.SSLContext, own: Identity | None) -> tuple[ProbeResult, ReplyServer]:
    """Probe such a server with the certificate *own*."""
    certificate = None if own is None else ClientCertificate.load(own.pem)
    options = ProbeOptions(ehlo="edge1.contoso.test", timeout=20, client_certificate=certificate)
    with ReplyServer(session(context)) as server:
        result = probe(server.target, options, NOW)
    return result, server


@pytest.mark.parametrize("version", VERSIONS)
def test_it_is_presented_to_a_server_that_asks(
    identity: Identity, edge: Identity, version: ssl.TLSVersion
) -> None:
    """The server has it, and verdict, rows and JSON say so with its thumbprint."""
    result, server = ask(asking(identity, edge, version, ssl.CERT_REQUIRED), edge)

    assert result.exit_code == 0, result.verdict
    assert thumbprint_of(server.client_certificate or b"") == edge.thumbprint
    assert f"the client certificate {edge.thumbprint} was presented" in result.verdict
    assert ("Client certificate", f"{edge.thumbprint}, presented") in result.rows()
    assert result.as_json()["client_certificate"] == {
        "asked_for": True,
        "presented": True,
        "thumbprint": edge.thumbprint,
    }


@pytest.mark.parametrize("version", VERSIONS)
def test_a_server_that_asks_nobody_is_told_apart(
    identity: Identity, edge: Identity, version: ssl.TLSVersion
) -> None:
    """Where no server asks, nothing was presented, and the verdict says who would ask."""
    result, server = ask(identity.context(version, version), edge)

    assert result.exit_code == 0
    assert server.client_certificate is None
    assert f"asked for no client certificate, so {edge.thumbprint} was not presented" in result.verdict
    assert ("Client certificate", "not asked for") in result.rows()
    assert result.as_json()["client_certificate"]["presented"] is False


@pytest.mark.parametrize("version", VERSIONS)
def test_that_a_server_asks_is_seen_without_one(
    identity: Identity, edge: Identity, version: ssl.TLSVersion
) -> None:
    """A server may ask and go on without."""
    result, _ = ask(asking(identity, edge, version, ssl.CERT_OPTIONAL), None)

    assert result.exit_code == 0
    assert ("Client certificate", "asked for, none presented") in result.rows()
    assert result.as_json()["client_certificate"] == {
        "asked_for": True,
        "presented": False,
        "thumbprint": None,
    }


def test_the_tunnel_presents_it_too(identity: Identity, edge: Identity) -> None:
    """What goes through the tunnel goes with the certificate."""
    context = asking(identity, edge, ssl.TLSVersion.TLSv1_2, ssl.CERT_REQUIRED)
    offer = TlsOffer(client_certificate=ClientCertificate.load(edge.pem))
    ours, theirs = os.pipe(), os.pipe()
    script = (*session(context)[:-4], Hear("QUIT"), Say(b"221 Bye\r\n"))
    with ReplyServer(script) as server, ThreadPoolExecutor(1) as threads:
        ended = threads.submit(
            tunnel, server.target, ehlo="edge1.contoso.test", stdin=ours[0], stdout=theirs[1], offer=offer
        )
        os.write(ours[1], b"QUIT\r\n")
        code = ended.result()
    heard = os.read(theirs[0], 1000)
    for descriptor in (*ours, *theirs):
        os.close(descriptor)

    assert (code, heard) == (0, b"220 edge2 ready\r\n221 Bye\r\n")
    assert thumbprint_of(server.client_certificate or b"") == edge.thumbprint


def test_the_command_takes_a_key_of_its_own(identity: Identity, edge: Identity, tmp_path: Path) -> None:
    """Certificate and key may stand in two files."""
    certificate, key = apart(edge, tmp_path)
    context = asking(identity, edge, ssl.TLSVersion.TLSv1_2, ssl.CERT_REQUIRED)
    with ReplyServer(session(context)) as server:
        answer = call(
            "probe", str(server.target), "--client-certificate", certificate, "--client-key", key, "--json"
        )

    assert answer.document["client_certificate"]["presented"] is True
    assert thumbprint_of(server.client_certificate or b"") == edge.thumbprint


# -- files


def apart(identity: Identity, folder: Path) -> tuple[Path, Path]:
    """Write certificate and key of *identity* into files of their own."""
    pem = identity.pem.read_text()
    start = pem.index("-----BEGIN CERTIFICATE")
    (folder / "edge.cer").write_text(pem[start:])
    (folder / "edge.key").write_text(pem[:start])
    return folder / "edge.cer", folder / "edge.key"


@pytest.fixture(scope="module")
def files(edge: Identity, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a certificate and its key, and with files that are not what they should be."""
    folder = tmp_path_factory.mktemp("files")
    apart(make_identity(folder), folder)[1].rename(folder / "other.key")
    _, key = apart(edge, folder)
    for name, content in (("broken", "AAAA"), ("odd", "\u00fc")):
        (folder / f"{name}.cer").write_text(
            f"-----BEGIN CERTIFICATE-----\n{content}\n-----END CERTIFICATE-----\n"
        )
    subprocess.run(
        ["openssl", "pkcs8", "-topk8", "-in", key, "-out", folder / "secret.key", "-passout", "pass:x"],
        check=True,
        timeout=60,
    )
    return folder


@pytest.mark.parametrize("command", ["probe", "tunnel"])
@pytest.mark.parametrize(
    ("certificate", "key", "said"),
    [
        ("edge.key", None, "edge.key holds no certificate in PEM"),
        ("edge.cer", None, "edge.cer has no private key that can be used"),
        ("edge.cer", "edge.cer", "name the file that holds it, in PEM, with --client-key"),
        (
            "edge.cer",
            "other.key",
            "other.key does not belong to the certificate; name its own with --client-key",
        ),
        ("edge.cer", "secret.key", "secret.key is encrypted; write it decrypted"),
        ("edge.cer", "none", "none does not exist"),
        ("none", None, "none does not exist"),
        (".", None, "cannot be read (is a directory)"),
        ("broken.cer", None, "broken.cer holds a certificate that cannot be read"),
        ("odd.cer", None, "odd.cer holds a certificate that cannot be read"),
    ],
)
def test_files_that_cannot_be_are_bad_usage(
    files: Path, command: str, certificate: str, key: str | None, said: str
) -> None:
    """Exit code 2 with what would do, before any connection."""
    words = () if key is None else ("--client-key", files / key)
    answer = call(command, "127.0.0.1:9", "--client-certificate", files / certificate, *words)

    assert (answer.code, answer.stdout) == (2, "")
    assert said in " ".join(answer.stderr.split())


@pytest.mark.parametrize("command", ["probe", "tunnel"])
def test_a_key_without_its_certificate_is_bad_usage(edge: Identity, command: str) -> None:
    """Exit code 2."""
    answer = call(command, "127.0.0.1:9", "--client-key", edge.pem)

    assert answer.code == 2
    assert "--client-key belongs to --client-certificate; say both" in " ".join(answer.stderr.split())


def test_without_tls_there_is_nobody_to_present_it_to(edge: Identity) -> None:
    """Exit code 2."""
    answer = call("probe", "127.0.0.1:9", "--client-certificate", edge.pem, "--verb", "none")

    assert answer.code == 2
    assert "without a TLS verb no client certificate can be presented" in " ".join(answer.stderr.split())
