"""``certificate import``, ``renew`` and ``remove``."""

from __future__ import annotations

import asyncio
import re
import ssl
import stat
from functools import partial
from typing import TYPE_CHECKING

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from smtpd_anontls.certificates.store import LocalComputerStore
from smtpd_anontls.domain.certificate import Certificate, KeyState, StoreCertificate
from smtpd_anontls.domain.instants import rfc3339_seconds
from tests.command import call, on_terminal
from tests.components.handshake import NOW, exchange_ec, exchange_rsa, fresh
from tests.components.watched import der_key, pem_key, pfx
from tests.lab import FQDN, SERVER

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tests.command import Answer
    from tests.lab import Lab

A = exchange_ec()
B = fresh("MBX2")
THUMBPRINT = A.certificate.thumbprint
RIGHT = "Pa$$wörd-of-mbx1"


def held(lab: Lab) -> dict[str, StoreCertificate]:
    """Return the store's certificates by thumbprint; it must have nothing to warn of."""
    warnings: list[str] = []
    store = LocalComputerStore(lab.store, on_warning=warnings.append)
    found = {one.certificate.thumbprint: one for one in asyncio.run(store.all())}
    assert warnings == []
    return found


def services(lab: Lab) -> dict[str, list[str]]:
    """Return what services.yaml holds."""
    listed: dict[str, list[str]] = yaml.safe_load((lab.store / "services.yaml").read_text())
    return listed


def files(folder: Path) -> dict[str, bytes]:
    """Return every file of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# -- import


IMPORTABLE: dict[str, tuple[Mapping[str, bytes], tuple[str, ...]]] = {
    "PEM": ({"a.pem": A.certificate_pem + A.key_pem}, ("a.pem",)),
    "PEM, key in another file": ({"a.crt": A.certificate_pem, "x": A.key_pem}, ("a.crt", "--key", "x")),
    "DER, key in another file": ({"a": A.certificate.der, "a.key": der_key(A)}, ("a", "--key", "a.key")),
    "PEM, encrypted": (
        {"a.pem": A.certificate_pem + pem_key(A, RIGHT), "password": RIGHT.encode()},
        ("a.pem", "--password-file", "password"),
    ),
    "PFX": ({"a.pfx": pfx(A, of=A)}, ("a.pfx",)),
    "PFX of another name": ({"a": pfx(A, of=A)}, ("a",)),
    "PFX, encrypted": ({"a.pfx": pfx(A, RIGHT, of=A)}, ("a.pfx", "--password-env", "MBX1_PASSWORD")),
}


@pytest.mark.parametrize("form", IMPORTABLE)
def test_import_takes_every_form(lab: Lab, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    """The store gets one PEM file, for its owner alone; the file that it came from stays."""
    monkeypatch.setenv("MBX1_PASSWORD", RIGHT)
    monkeypatch.chdir(lab.folder)
    config = lab.write()
    content, words = IMPORTABLE[form]
    for name, octets in content.items():
        (lab.folder / name).write_bytes(octets)
    answer = call("certificate", "import", *words, "--config", config)

    name = f"{SERVER}-{THUMBPRINT[:8]}.pem"
    assert (answer.code, answer.stderr) == (0, "")
    assert answer.stdout.splitlines() == [
        f"Imported {THUMBPRINT} into {name}: CN=MBX1, issued by CN=MBX1",
        "Its private key stands there without a password; only the owner of the file can read it.",
        "Enabled for no service. The directory does not name it yet. To make it the internal transport certificate:",
        f"  smtpd-anontls certificate enable {THUMBPRINT} --services SMTP --config {config}",
    ]
    assert stat.S_IMODE((lab.store / name).stat().st_mode) == 0o600
    one = held(lab)[THUMBPRINT]
    assert (one.key, one.services, one.file) == (KeyState.USABLE, frozenset(), name)
    assert {name: (lab.folder / name).read_bytes() for name in content} == content


def test_import_takes_the_chain_and_services(lab: Lab) -> None:
    """Issuers in the file come along; services are listed as asked; the JSON object is that of `certificate list`."""
    config = lab.write(directory=None)
    leaf = lab.pki.authority.create_child_ca().issue_cert("mbx9.lab.test")
    chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
    (lab.folder / "a.pem").write_bytes(chain + leaf.private_key_pem.bytes())
    words = ("--services", "smtp,IIS", "--config", config, "--json")
    answer = call("certificate", "import", lab.folder / "a.pem", *words)

    document = answer.document
    (listed,) = (
        each
        for each in call("certificate", "list", "--config", config, "--json").objects
        if each["thumbprint"] == document["thumbprint"]
    )
    assert (answer.code, document) == (0, listed)
    assert (document["services"], document["private_key"]) == (["IIS", "SMTP"], "usable")
    assert (lab.store / document["file"]).read_bytes().count(b"BEGIN CERTIFICATE") == len(
        leaf.cert_chain_pems
    )


def test_import_restores_what_the_directory_names(lab: Lab) -> None:
    """The remedy of event 12013: restored from a backup, the next session presents it."""
    config = lab.write(store={"internal": None}, directory={"msExchServerInternalTLSCert": THUMBPRINT})
    (lab.folder / "a.pfx").write_bytes(pfx(A, of=A))
    before = call("check", "--config", config)
    answer = call("certificate", "import", lab.folder / "a.pfx", "--config", config)

    assert (before.code, answer.code, call("check", "--config", config).code) == (1, 0, 0)
    assert answer.stdout.splitlines()[-1] == (
        "Enabled for no service. The directory names it; the next session presents it."
    )


def test_import_adds_the_key_of_a_certificate_that_lacked_it(lab: Lab) -> None:
    """A certificate that the store holds without its key may be imported with it."""
    config = lab.write()
    (lab.store / "mbx1.cer").write_bytes(A.certificate.der)
    (lab.folder / "a.pem").write_bytes(A.certificate_pem + A.key_pem)
    answer = call("certificate", "import", lab.folder / "a.pem", "--config", config)

    assert answer.code == 0
    assert held(lab)[THUMBPRINT].key is KeyState.USABLE


def test_import_refuses_what_is_there(lab: Lab) -> None:
    """A certificate that the store holds with its key is there already; nothing is written."""
    config = lab.write()
    (lab.store / "mbx1.pem").write_bytes(A.certificate_pem + A.key_pem)
    (lab.folder / "a.pfx").write_bytes(pfx(A, of=A))
    before = files(lab.store)
    answer = call("certificate", "import", lab.folder / "a.pfx", "--services", "IIS", "--config", config)

    assert (answer.code, answer.stdout) == (1, "")
    assert answer.mistakes == [f"MX1: the local computer store holds {THUMBPRINT} already, in mbx1.pem"]
    assert files(lab.store) == before


@pytest.mark.parametrize(
    ("content", "words", "mistake"),
    [
        pytest.param(None, (), "does not exist", id="no file"),
        pytest.param(b"hello", (), "holds no certificate and no private key in PEM form", id="text"),
        pytest.param(A.key_pem, (), "holds no certificate", id="a key alone"),
        pytest.param(
            A.certificate_pem,
            (),
            "there is no private key with the certificate; name its file with --key, or import a PFX file",
            id="no key",
        ),
        pytest.param(
            A.certificate_pem + B.key_pem,
            (),
            "the private key does not belong to the certificate",
            id="another key",
        ),
        pytest.param(
            A.certificate_pem + A.key_pem + B.certificate_pem + B.key_pem,
            (),
            "holds 2 certificates with private keys; import them from files of their own",
            id="two",
        ),
        pytest.param(
            A.certificate_pem + A.key_pem[:-30], (), "line 11: BEGIN PRIVATE KEY has no END", id="cut off"
        ),
        pytest.param(
            pfx(A, RIGHT, of=A),
            (),
            "the PFX file needs a password, and none was given; say --password-env NAME or --password-file PATH",
            id="no password",
        ),
        pytest.param(
            pfx(A, RIGHT, of=A),
            ("--password-env", "MBX1_WRONG"),
            "the password in the environment variable MBX1_WRONG does not open the PFX file; correct it",
            id="wrong password",
        ),
        pytest.param(
            pfx(A, RIGHT, of=A),
            ("--password-env", "MBX1_NONE"),
            "the PFX file needs a password, and the environment variable MBX1_NONE is not set",
            id="no such variable",
        ),
        pytest.param(
            A.certificate_pem + pem_key(A, RIGHT),
            (),
            "line 11: the private key is encrypted, and none was given; say --password-env",
            id="encrypted key",
        ),
    ],
)
def test_import_names_the_mistake(
    lab: Lab,
    monkeypatch: pytest.MonkeyPatch,
    content: bytes | None,
    words: tuple[str, ...],
    mistake: str,
) -> None:
    """One line says what is wrong with the file and what would do; exit code 2, nothing is written."""
    monkeypatch.setenv("MBX1_WRONG", "not-the-password")
    config, path = lab.write(), lab.folder / "a.bin"
    if content is not None:
        path.write_bytes(content)
    before = files(lab.store)
    answer = call("certificate", "import", path, *words, "--config", config)

    assert (answer.code, answer.stdout) == (2, "")
    (line,) = answer.mistakes
    assert line.startswith(f"{path}: {mistake}")
    assert "not-the-password" not in line
    assert files(lab.store) == before


@pytest.mark.parametrize(
    ("words", "mistake"),
    [
        (
            ("--services", "SMPT"),
            "'SMPT' is no service; take IMAP, POP, IIS, SMTP, UM, Federation, UMCallRouter, None",
        ),
        (
            ("--password-env", "A", "--password-file", "b"),
            "--password-env and --password-file exclude each other; say one of them",
        ),
        (("--key", "nowhere.key"), "nowhere.key: does not exist"),
    ],
)
def test_import_names_a_wrong_option(lab: Lab, words: tuple[str, ...], mistake: str) -> None:
    """One line, exit code 2."""
    (lab.folder / "a.pem").write_bytes(A.certificate_pem)
    answer = call("certificate", "import", lab.folder / "a.pem", *words, "--config", lab.write())

    assert (answer.code, answer.mistakes) == (2, [mistake])


# -- renew


def own_certificate(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey,
    *,
    with_names: bool = True,
) -> tuple[bytes, Certificate]:
    """Return a self-signed certificate with an unusual subject, as PEM with its key, and as a value."""
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Contoso, Ltd."),
            x509.NameAttribute(NameOID.COMMON_NAME, "mail"),
        ]
    )
    builder = x509.CertificateBuilder(
        subject, subject, key.public_key(), 7, NOW, NOW.replace(year=NOW.year + 1)
    )
    if with_names:
        names = [x509.DNSName("mail.contoso.test"), x509.RFC822Name("postmaster@contoso.test")]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    signed = builder.sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())
    pem = signed.public_bytes(Encoding.PEM) + key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    return pem, Certificate.from_der(signed.public_bytes(Encoding.DER))


def described(key: object) -> str:
    """Return type and size of a public key."""
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA {key.key_size}"
    return key.curve.name if isinstance(key, ec.EllipticCurvePublicKey) else repr(key)


@pytest.mark.parametrize(
    ("new_key", "with_names", "listed"),
    [
        pytest.param(
            partial(rsa.generate_private_key, 65537, 3072),
            True,
            "[IIS, SMTP]",
            id="RSA 3072",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            partial(ec.generate_private_key, ec.SECP384R1()), False, None, id="P-384, no names, not listed"
        ),
        pytest.param(
            partial(ec.generate_private_key, ec.SECP256R1()), True, "[None]", id="P-256, no service"
        ),
    ],
)
def test_renew_makes_the_successor(
    lab: Lab,
    new_key: Callable[[], rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey],
    listed: str | None,
    *,
    with_names: bool,
) -> None:
    """Same subject, names, key type and size, services; a key of its own; five years; the old one stays."""
    config = lab.write()
    pem, old = own_certificate(new_key(), with_names=with_names)
    (lab.store / "mail.pem").write_bytes(pem)
    if listed is not None:
        with (lab.store / "services.yaml").open("a") as file:
            file.write(f"{old.thumbprint}: {listed}\n")
    answer = call("certificate", "renew", old.thumbprint.lower(), "--config", config)
    store = held(lab)
    (new,) = (one for one in store.values() if one.file.startswith(SERVER))
    before, after = (x509.load_der_x509_certificate(each.der) for each in (old, new.certificate))

    assert (answer.code, answer.stderr) == (0, "")
    shown = {None: "not listed: SMTP", "[None]": "no service", "[IIS, SMTP]": "IIS, SMTP"}[listed]
    assert answer.stdout.splitlines() == [
        (
            f'Made {new.certificate.thumbprint} in {new.file}: CN=mail, O="Contoso, Ltd.", valid until '
            f"{rfc3339_seconds(new.certificate.not_after)}"
        ),
        f"It succeeds {old.thumbprint} in mail.pem, which stays.",
        f"Enabled for {shown}. The directory does not name it yet. To make it the internal transport certificate:",
        f"  smtpd-anontls certificate enable {new.certificate.thumbprint} --services SMTP --config {config}",
        "When it is no longer needed, remove the old one:",
        f"  smtpd-anontls certificate remove {old.thumbprint} --config {config}",
    ]
    assert after.subject == after.issuer == before.subject
    assert [e.value for e in after.extensions if isinstance(e.value, x509.SubjectAlternativeName)] == [
        e.value for e in before.extensions
    ]
    assert described(after.public_key()) == described(before.public_key())
    assert after.public_key() != before.public_key()
    assert (after.not_valid_after_utc.year - after.not_valid_before_utc.year) == 5
    assert new.services == store[old.thumbprint].services
    assert store[old.thumbprint].key is new.key is KeyState.USABLE


def test_renewal_to_its_end(lab: Lab) -> None:
    """Renew the internal transport certificate, enable the successor, remove the old one: each as the last said."""
    config = lab.write(store={"internal": "soon"})
    old = lab.certificate("internal").thumbprint
    refused = call("certificate", "remove", old, "--force", "--config", config)
    renewed = call("certificate", "renew", old, "--config", config, "--json").document
    enabled = call(
        "certificate", "enable", renewed["thumbprint"], "--services", "SMTP", "--force", "--config", config
    )
    removed = call("certificate", "remove", old, "--force", "--config", config)
    checked = call("check", "--config", config, "--json").document

    assert (refused.code, enabled.code, removed.code) == (1, 0, 0)
    assert (renewed["renews"], renewed["internal_transport"], renewed["services"]) == (old, False, ["SMTP"])
    assert removed.stdout == f"{old} is removed: internal.pem is deleted.\n"
    assert checked["ok"]
    assert checked["selections"][0]["certificate"]["thumbprint"] == renewed["thumbprint"]
    assert old not in services(lab)


def test_renew_refuses_a_certificate_of_an_authority(lab: Lab) -> None:
    """A self-signed successor would not be one; the way to the authority is named."""
    config = lab.write()
    certificate = lab.certificate(FQDN)
    before = files(lab.store)
    answer = call("certificate", "renew", certificate.thumbprint, "--config", config)

    assert (answer.code, answer.stdout) == (1, "")
    assert answer.mistakes == [
        (
            f"{certificate.thumbprint} was issued by {certificate.issuer}: a successor made here would be self-signed. "
            "Ask that authority for a new one, as New-ExchangeCertificate -GenerateRequest does, and take it in with "
            f"`smtpd-anontls certificate import FILE --config {config}`"
        )
    ]
    assert files(lab.store) == before


def test_renew_refuses_a_key_that_exchange_does_not_know(lab: Lab) -> None:
    """Neither RSA nor an elliptic curve: said so, exit code 1."""
    config = lab.write()
    pem, old = own_certificate(ed25519.Ed25519PrivateKey.generate())
    (lab.store / "mail.pem").write_bytes(pem)
    answer = call("certificate", "renew", old.thumbprint, "--config", config)

    assert answer.code == 1
    assert answer.mistakes == [
        f"{old.thumbprint}: its key is neither RSA nor of a known curve; make a new certificate instead"
    ]


@pytest.mark.parametrize("command", ["renew", "remove"])
@pytest.mark.parametrize(
    ("thumbprint", "code", "mistake"),
    [
        ("AB", 2, r"'AB' is not a thumbprint; it has 40 hexadecimal digits"),
        (
            "ab" * 20,
            1,
            (
                "MX1: the local computer store holds no certificate with thumbprint (AB){20}; "
                "`smtpd-anontls certificate list --config .*` shows those it has"
            ),
        ),
    ],
)
def test_thumbprint_that_names_nothing(
    lab: Lab, command: str, thumbprint: str, code: int, mistake: str
) -> None:
    """What is no thumbprint is bad usage; one that the store does not hold is not as it should be."""
    answer = call("certificate", command, thumbprint, "--config", lab.write())

    assert answer.code == code
    (line,) = answer.mistakes
    assert re.fullmatch(mistake, line)


# -- remove


def removing(lab: Lab, thumbprint: str, *words: str) -> Answer:
    """Run ``certificate remove``."""
    return call("certificate", "remove", thumbprint, *words, "--config", lab.config)


def test_remove_refuses_the_internal_transport_certificate(lab: Lab) -> None:
    """Exchange's own reasoning, then what would do here; --force changes nothing."""
    lab.write()
    thumbprint = lab.certificate("internal").thumbprint
    before = files(lab.store)
    answer = removing(lab, thumbprint, "--force")

    assert (answer.code, answer.stdout) == (1, "")
    assert answer.mistakes == [
        (
            "MX1: The internal transport certificate cannot be removed because that would cause the Microsoft Exchange "
            "Transport service to stop. To replace the internal transport certificate, create a new certificate. The new "
            "certificate will automatically become the internal transport certificate. You can then remove the existing "
            "certificate."
        ),
        (
            f"Here: `smtpd-anontls certificate renew {thumbprint} --config {lab.config}` makes its successor and says "
            "how that becomes the internal transport certificate."
        ),
    ]
    assert files(lab.store) == before


def test_remove_refuses_that_of_a_neighbour_with_the_same_store(lab: Lab) -> None:
    """Where two servers share a store, neither's internal transport certificate is removed."""
    lab.write(directory=FQDN)
    content = yaml.safe_load(lab.config.read_text())
    (server,) = content["servers"]
    content["servers"].append({"name": "MX2", "certificate_store": server["certificate_store"]})
    lab.config.write_text(yaml.safe_dump(content))
    thumbprint = lab.certificate("internal").thumbprint
    with (lab.config.parent / "directory.yaml").open("a") as file:
        file.write(f"MX2: {{msExchServerInternalTLSCert: {thumbprint}}}\n")
    answer = removing(lab, thumbprint, "--server", "MX1", "--force")

    assert answer.code == 1
    assert answer.mistakes[0].startswith("MX2: The internal transport certificate cannot be removed")
    assert answer.mistakes[1].startswith(f"Here: `smtpd-anontls certificate renew {thumbprint} --server MX1")


def test_remove_with_a_directory_that_cannot_be_read(lab: Lab) -> None:
    """It may be the internal transport certificate: exit code 3, unless --force says to go on."""
    lab.write(directory="unreadable")
    thumbprint = lab.certificate("internal").thumbprint
    refused, removed = removing(lab, thumbprint), removing(lab, thumbprint, "--force")

    assert (refused.code, removed.code) == (3, 0)
    (line,) = refused.mistakes
    assert line.startswith("MX1: the directory could not be read (")
    assert line.endswith("say --force to remove it all the same")
    assert thumbprint not in held(lab)


@pytest.mark.slow
def test_remove_asks(lab: Lab) -> None:
    """Nobody to ask: exit code 2; no: nothing happens; yes: it is gone."""
    lab.write()
    thumbprint = lab.certificate(FQDN).thumbprint
    before = files(lab.store)
    unasked = removing(lab, thumbprint)
    words = ("certificate", "remove", thumbprint, "--config", lab.config)
    refused = on_terminal(*words, question="[y/N]", answer="n\n", columns=200)
    untouched = files(lab.store) == before
    agreed = on_terminal(*words, question="[y/N]", answer="y\n", columns=200)

    assert (unasked.code, unasked.mistakes) == (
        2,
        [f"{thumbprint}: say --force to remove it where nobody can be asked"],
    )
    assert (refused[0], agreed[0]) == (0, 0)
    assert f"  {FQDN}.pem is deleted" in refused[1]
    assert refused[1][-1] == "Nothing was removed."
    assert untouched
    assert agreed[1][-1] == f"{thumbprint} is removed: {FQDN}.pem is deleted."
    assert thumbprint not in held(lab)


COMMENT = b"# Kept since 2019.\n"


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        pytest.param({"a.pem": A.certificate_pem + A.key_pem}, {}, ["a.pem is deleted"], id="its own file"),
        pytest.param(
            {"a.crt": A.certificate_pem, "a.key": A.key_pem},
            {},
            ["a.crt is deleted", "a.key is deleted"],
            id="its key beside it",
        ),
        pytest.param(
            {"a.cer": A.certificate.der, "z.pem": A.certificate_pem + A.key_pem},
            {},
            ["a.cer is deleted", "z.pem is deleted"],
            id="each copy",
        ),
        pytest.param(
            {"both.pem": COMMENT + A.certificate_pem + B.certificate_pem + A.key_pem + B.key_pem},
            {"both.pem": COMMENT + B.certificate_pem + B.key_pem},
            ["both.pem keeps what else it holds"],
            id="beside another",
        ),
        pytest.param(
            {"a.crt": A.certificate_pem, "keys.key": A.key_pem + B.key_pem, "b.cer": B.certificate.der},
            {"keys.key": B.key_pem, "b.cer": B.certificate.der},
            ["a.crt is deleted", "keys.key keeps what else it holds"],
            id="its key beside another",
        ),
        pytest.param(
            {"a.pfx": pfx(A, of=A)},
            {"a.pfx.removed": None},
            ["a.pfx becomes a.pfx.removed"],
            id="a PFX file",
        ),
        pytest.param(
            {"a.pfx": pfx(A, of=A), "a.pfx.removed": b"of old"},
            {"a.pfx.removed": b"of old", "a.pfx-2.removed": None},
            ["a.pfx becomes a.pfx-2.removed"],
            id="a PFX file, as once before",
        ),
        pytest.param({"a.cer": A.certificate.der}, {}, ["a.cer is deleted"], id="without a key"),
    ],
)
def test_remove_takes_nothing_else(
    lab: Lab, before: dict[str, bytes], after: dict[str, bytes | None], said: list[str]
) -> None:
    """The certificate, its key and its line in services.yaml go; everything else is as it was."""
    lab.write()
    listed = (lab.store / "services.yaml").read_text()
    (lab.store / "services.yaml").write_text(f"# Ours.\n{THUMBPRINT.lower()}: [SMTP]  # A\n{listed}")
    theirs = files(lab.store)
    for name, content in before.items():
        (lab.store / name).write_bytes(content)
    answer = removing(lab, THUMBPRINT, "--force")

    assert (answer.code, answer.stderr) == (0, "")
    assert answer.stdout == f"{THUMBPRINT} is removed: {'; '.join(said)}.\n"
    unchanged = {
        name: before[name.removesuffix(".removed").removesuffix("-2")] if c is None else c
        for name, c in after.items()
    }
    assert files(lab.store) == {**theirs, **unchanged, "services.yaml": f"# Ours.\n{listed}".encode()}
    assert THUMBPRINT not in held(lab)


def test_remove_for_programs(lab: Lab) -> None:
    """One document: what was deleted, moved aside and rewritten."""
    lab.write()
    (lab.store / "a.crt").write_bytes(A.certificate_pem)
    (lab.store / "a.pfx").write_bytes(pfx(A, of=A))
    (lab.store / "b.pem").write_bytes(B.certificate_pem + A.certificate_pem)
    answer = removing(lab, THUMBPRINT, "--force", "--json")

    assert answer.document == {
        "thumbprint": THUMBPRINT,
        "server": "MX1",
        "deleted": ["a.crt"],
        "moved": {"a.pfx": "a.pfx.removed"},
        "rewritten": ["b.pem"],
    }


def test_remove_takes_the_chain_along(lab: Lab) -> None:
    """Issuers that only this certificate needs go with it; one that another chains to stays with that."""
    lab.write()
    shared = lab.pki.authority.create_child_ca()
    leaf, other = shared.issue_cert("mbx8.lab.test"), shared.issue_cert("mbx9.lab.test")
    pems = [blob.bytes() for blob in leaf.cert_chain_pems]
    others = [other.cert_chain_pems[0].bytes(), other.private_key_pem.bytes()]
    (lab.store / "alone.pem").write_bytes(b"".join([*pems, leaf.private_key_pem.bytes()]))
    (lab.store / "shared.pem").write_bytes(b"".join([*pems, *others]))
    thumbprint = Certificate.from_der(ssl.PEM_cert_to_DER_cert(pems[0].decode())).thumbprint
    answer = removing(lab, thumbprint, "--force")

    assert answer.stdout == (
        f"{thumbprint} is removed: alone.pem is deleted; shared.pem keeps what else it holds.\n"
    )
    assert (lab.store / "shared.pem").read_bytes() == b"".join([*pems[1:], *others])


def test_remove_leaves_a_key_that_another_certificate_needs(lab: Lab) -> None:
    """Where a renewed certificate has the same key, the key stays."""
    lab.write()
    key = ec.generate_private_key(ec.SECP256R1())
    (old_pem, old), (new_pem, new) = own_certificate(key), own_certificate(key, with_names=False)
    (lab.store / "old.pem").write_bytes(old_pem)
    (lab.store / "new.cer").write_bytes(new.der)
    answer = removing(lab, old.thumbprint, "--force")

    assert answer.stdout == f"{old.thumbprint} is removed: old.pem keeps what else it holds.\n"
    assert (lab.store / "old.pem").read_bytes() == new_pem[new_pem.index(b"-----BEGIN PRIVATE") :]
    assert held(lab)[new.thumbprint].key is KeyState.USABLE


def test_remove_takes_an_unreadable_key_along(lab: Lab) -> None:
    """A key that nobody can decrypt belongs to the certificate that it stands with."""
    lab.write()
    (lab.store / "a.pem").write_bytes(A.certificate_pem + pem_key(A, RIGHT))
    answer = removing(lab, THUMBPRINT, "--force")

    assert answer.stdout == f"{THUMBPRINT} is removed: a.pem is deleted.\n"
    assert THUMBPRINT not in held(lab)


def test_remove_does_not_rewrite_a_pfx_file(lab: Lab) -> None:
    """A PFX file that holds another certificate, too, is left alone, and with it everything else."""
    lab.write()
    others = [x509.load_pem_x509_certificate(B.certificate_pem)]
    (lab.store / "both.pfx").write_bytes(pfx(A, of=A, others=others))
    (lab.store / "a.cer").write_bytes(A.certificate.der)
    before = files(lab.store)
    answer = removing(lab, THUMBPRINT, "--force")

    assert answer.code == 3
    assert answer.mistakes == [
        "both.pfx holds more than this certificate, and PFX files are not rewritten; move it away"
    ]
    assert files(lab.store) == before


def test_remove_leaves_everything_where_services_cannot_be_mended(lab: Lab) -> None:
    """A services.yaml with a mistake is named before anything is removed."""
    lab.write()
    (lab.store / "a.pem").write_bytes(A.certificate_pem + A.key_pem)
    (lab.store / "services.yaml").write_text("a: [\n")
    before = files(lab.store)
    answer = removing(lab, THUMBPRINT, "--force")

    assert answer.code == 3
    assert answer.mistakes[-1].startswith(f"{lab.store / 'services.yaml'}: line ")
    assert files(lab.store) == before


def test_encrypted_files_of_the_store_are_known_to_every_command(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """List, enable and remove open a PFX file with the password of certificate_passwords."""
    monkeypatch.setenv("MBX1_PASSWORD", RIGHT)
    config = lab.write(server={"certificate_passwords": {"a.pfx": {"env": "MBX1_PASSWORD"}}}, directory=None)
    (lab.store / "a.pfx").write_bytes(pfx(A, RIGHT, of=A))
    listed = call("certificate", "list", "--config", config, "--json").objects
    enabled = call("certificate", "enable", THUMBPRINT, "--services", "SMTP", "--config", config)
    checked = call("check", "--config", config, "--json").document
    refused = removing(lab, THUMBPRINT, "--force")

    assert [each["private_key"] for each in listed if each["file"] == "a.pfx"] == ["usable"]
    assert (enabled.code, refused.code) == (0, 1)
    assert checked["selections"][0]["certificate"]["thumbprint"] == THUMBPRINT


def test_commands_that_cannot_write_say_so(lab: Lab) -> None:
    """A file name that the file system does not take: exit code 3, one line."""
    config = lab.write(server={"name": "x" * 63})
    (lab.folder / "a.pem").write_bytes(exchange_rsa().certificate_pem + exchange_rsa().key_pem)
    (lab.store / "services.yaml").unlink()
    (lab.store / "services.yaml").mkdir()
    answer = call("certificate", "import", lab.folder / "a.pem", "--config", config)

    assert answer.code == 3
    assert answer.mistakes[-1].endswith("services.yaml: cannot be read (is a directory)")
