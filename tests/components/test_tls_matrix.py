"""Every TLS version with every kind of certificate, met by openssl's own client."""

from __future__ import annotations

import asyncio
import re
import ssl
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from cryptography import x509

from smtpd_anontls.domain.certificate import Certificate, thumbprint_of
from smtpd_anontls.domain.tls_policy import TlsVersion
from tests.lab import CONNECTOR
from tests.peer import PATIENCE

if TYPE_CHECKING:
    from tests.lab import Lab

pytestmark = pytest.mark.slow

# What openssl makes each kind with.
KINDS = {
    "RSA-2048": ("-newkey", "rsa:2048"),
    "RSA-4096": ("-newkey", "rsa:4096"),
    "P-256": ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
    "RSA-2048, signed with SHA-1": ("-newkey", "rsa:2048", "-sha1"),
}
OPTIONS = {
    TlsVersion.TLSv1: "-tls1",
    TlsVersion.TLSv1_1: "-tls1_1",
    TlsVersion.TLSv1_2: "-tls1_2",
    TlsVersion.TLSv1_3: "-tls1_3",
}
RANGES = [
    *((version, version) for version in TlsVersion),
    (TlsVersion.TLSv1, TlsVersion.TLSv1_3),
    (TlsVersion.TLSv1_1, TlsVersion.TLSv1_2),
]


@dataclass(frozen=True)
class Made:
    """A certificate with its key."""

    pem: bytes
    certificate: Certificate


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Made]:
    """Return a certificate of each kind, self-signed."""
    folder = tmp_path_factory.mktemp("kinds")
    found = {}
    for kind, options in KINDS.items():
        command = ("openssl", "req", "-x509", "-nodes", "-days", "9", "-subj", "/CN=MX1", *options)
        files = ("-keyout", "key.pem", "-out", "cert.pem")
        subprocess.run([*command, *files], cwd=folder, check=True, capture_output=True)
        pem = (folder / "cert.pem").read_bytes()
        certificate = Certificate.from_der(ssl.PEM_cert_to_DER_cert(pem.decode()))
        found[kind] = Made(pem + (folder / "key.pem").read_bytes(), certificate)
    return found


def test_kinds_are_what_they_say(made: dict[str, Made]) -> None:
    """The SHA-1 signature, above all, is one."""
    parsed = {kind: x509.load_der_x509_certificate(each.certificate.der) for kind, each in made.items()}
    hashes = {kind: getattr(each.signature_hash_algorithm, "name", None) for kind, each in parsed.items()}
    sizes = {kind: getattr(each.public_key(), "key_size", None) for kind, each in parsed.items()}

    assert hashes == {kind: "sha1" if "SHA-1" in kind else "sha256" for kind in KINDS}
    assert list(sizes.values()) == [2048, 4096, 256, 2048]


async def meet(address: tuple[str, int], version: TlsVersion) -> tuple[int, str, str]:
    """Let openssl upgrade a session in this version alone; return its exit code and what it said."""
    command = ("openssl", "s_client", "-connect", f"{address[0]}:{address[1]}", "-starttls", "smtp")
    client = await asyncio.create_subprocess_exec(
        *(*command, "-name", "client.test", OPTIONS[version], "-cipher", "ALL:@SECLEVEL=0", "-ign_eof"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    async with asyncio.timeout(PATIENCE):
        stdout, stderr = await client.communicate(b"QUIT\r\n")
    assert client.returncode is not None
    return client.returncode, stdout.decode(), stderr.decode()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("least", "most"), RANGES, ids=str)
async def test_every_version_with_every_kind(
    lab: Lab, made: dict[str, Made], kind: str, least: TlsVersion, most: TlsVersion
) -> None:
    """Within the range a client connects; outside it gets an alert, and the session's record says why."""
    lab.write()
    (lab.store / "kind.pem").write_bytes(made[kind].pem)
    thumbprint = made[kind].certificate.thumbprint
    async with lab.receiver(
        connector={"starttls_certificate": "internal_transport"},
        directory={"msExchServerInternalTLSCert": thumbprint},
        settings={"tls": {"minimum": str(least), "maximum": str(most)}},
    ) as receiver:
        address = receiver.address(CONNECTOR)
        answers = {version: await meet(address, version) for version in TlsVersion}
    records = dict(zip(reversed(TlsVersion), lab.sessions, strict=True))

    for version, (code, stdout, stderr) in answers.items():
        record = records[version]
        offered = record["tls"]["offered"]
        if least.rank <= version.rank <= most.rank:
            found = re.search(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n", stdout, re.DOTALL)
            assert found is not None, (version, stderr)
            assert thumbprint_of(ssl.PEM_cert_to_DER_cert(found[0])) == thumbprint
            assert (code, record["outcome"], record["tls"]["version"]) == (
                0,
                "quit_without_mail",
                str(version),
            )
        else:
            assert code != 0
            # A server answers a client of a later version with the latest of its own (RFC 5246 appendix E.1),
            # and it is the client that refuses; with TLS 1.3 the server sees that none is left to offer.
            refused_by_client = most.rank < version.rank < TlsVersion.TLSv1_3.rank
            said = "unsupported protocol" if refused_by_client else "alert protocol version"
            assert said in stderr, (version, stderr)
            assert (record["outcome"], record["tls"]["version"]) == ("handshake_failed", None)
            assert record["tls"]["failure"].startswith("no common TLS version: the peer ")
            assert str(version) in record["tls"]["failure"]
        assert offered is not None
    assert lab.warnings == []
