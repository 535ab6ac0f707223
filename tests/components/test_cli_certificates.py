"""``certificate list``, ``new``, ``enable`` and ``transport-service show``: the store and the directory."""

from __future__ import annotations

import re
import ssl
import stat
from typing import TYPE_CHECKING

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.command import call, on_terminal, run
from tests.lab import ABSENT_THUMBPRINT, FQDN, SERVER

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab import Lab

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


def named(lab: Lab) -> object:
    """Return the thumbprint that the directory file names."""
    return yaml.safe_load((lab.config.parent / "directory.yaml").read_text())[SERVER][
        "msExchServerInternalTLSCert"
    ]


def services(lab: Lab) -> dict[str, list[str]]:
    """Return what services.yaml says."""
    listed: dict[str, list[str]] = yaml.safe_load((lab.store / "services.yaml").read_text())
    return listed


def files(lab: Lab) -> dict[str, bytes]:
    """Return every file of the store and the directory, to see that nothing changed."""
    every = [*lab.store.iterdir(), lab.config.parent / "directory.yaml", lab.config]
    return {str(path): path.read_bytes() for path in every}


# -- list


def test_list_for_people(lab: Lab) -> None:
    """A table of the store: validity, services, key, and what stands in the way."""
    store = {"internal": "expired", FQDN: "no-key", "other.lab.test": "not-for-smtp"}
    answer = call("certificate", "list", "--config", lab.write(store=store))
    head, *rows = (re.split("  +", line) for line in answer.stdout.splitlines())

    assert (answer.code, answer.stderr) == (0, "")
    assert head == [
        "Server",
        "Thumbprint",
        "Subject",
        "Valid from",
        "Valid to",
        "Services",
        "Private key",
        "Status",
        "File",
    ]
    assert {row[-1]: (row[1], *row[5:8]) for row in rows} == {
        "internal.pem": (
            lab.certificate("internal").thumbprint,
            "SMTP",
            "yes",
            "expired, internal transport",
        ),
        f"{FQDN}.pem": (lab.certificate(FQDN).thumbprint, "SMTP", "missing", "has no private key"),
        "other.lab.test.pem": (lab.certificate("other.lab.test").thumbprint, "none", "yes", "valid"),
    }


def test_list_for_programs(lab: Lab) -> None:
    """One object a line: the certificate object of the trace, and what the store knows beside it."""
    answer = call("certificate", "list", "--config", lab.write(), "--json")

    assert (answer.code, answer.stderr) == (0, "")
    for each in answer.objects:
        assert set(each) >= CERTIFICATE_KEYS | {
            "server",
            "file",
            "services",
            "private_key",
            "internal_transport",
        }
    assert {each["file"]: each["internal_transport"] for each in answer.objects} == {
        "internal.pem": True,
        f"{FQDN}.pem": False,
    }


def test_list_of_an_empty_store(lab: Lab) -> None:
    """It says what makes a certificate."""
    answer = call(
        "certificate", "list", "--config", lab.write(store={"internal": None, FQDN: None}, directory=None)
    )

    assert (answer.code, answer.stdout) == (
        0,
        "The store is empty. To make a certificate: smtpd-anontls certificate new\n",
    )


# -- new


def test_new_makes_what_exchange_makes(lab: Lab) -> None:
    """RSA 2048, five years, CN and names of the server, key and file for the owner alone; and how to go on."""
    config = lab.write()
    before = named(lab)
    answer = call("certificate", "new", "--config", config)
    thumbprint = answer.stdout.split()[1]
    (path,) = lab.store.glob(f"{SERVER}-{thumbprint[:8]}.pem")
    made = x509.load_pem_x509_certificate(path.read_bytes())

    assert (answer.code, answer.stderr) == (0, "")
    assert answer.stdout.splitlines() == [
        f"Made {thumbprint} in {path.name}: CN={SERVER}, {SERVER}, {FQDN}",
        "The directory does not name it yet. To make it the internal transport certificate:",
        f"  smtpd-anontls certificate enable {thumbprint} --services SMTP --config {config}",
    ]
    key = made.public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    assert key.key_size == 2048
    assert (made.not_valid_after_utc - made.not_valid_before_utc).days in {1825, 1826}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert set(services(lab)[thumbprint]) == {"IMAP", "POP", "SMTP"}
    assert named(lab) == before


def test_new_with_a_key_on_p_256(lab: Lab) -> None:
    """--key-type ec in any case; --json prints the certificate object."""
    answer = call("certificate", "new", "--key-type", "EC", "--config", lab.write(), "--json")
    document = answer.document
    (path,) = lab.store.glob(f"{SERVER}-{document['thumbprint'][:8]}.pem")
    key = x509.load_pem_x509_certificate(path.read_bytes()).public_key()

    assert (answer.code, answer.stderr, set(document)) == (0, "", CERTIFICATE_KEYS)
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert (document["subject"], document["self_signed"]) == (f"CN={SERVER}", True)
    assert document["subject_alternative_names"] == [SERVER, FQDN]
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(path)


def test_new_in_a_folder_that_is_a_file(lab: Lab) -> None:
    """One line, exit code 3."""
    config = lab.write(server={"certificate_store": str(lab.folder / "nowhere")})
    (lab.folder / "nowhere").write_text("a file")
    answer = call("certificate", "new", "--key-type", "ec", "--config", config)

    assert (answer.code, answer.stdout, len(answer.mistakes)) == (3, "", 1)
    assert str(lab.folder / "nowhere") in answer.stderr


# -- enable


def test_enable_publishes_where_nothing_was_published(lab: Lab) -> None:
    """With SMTP the directory is written without a question; a thumbprint may have blanks and small letters."""
    config = lab.write(directory=None, store={FQDN: "not-for-smtp"})
    thumbprint = lab.certificate(FQDN).thumbprint
    written = " ".join(re.findall("..", thumbprint.lower()))
    answer = call("certificate", "enable", written, "--services", "smtp", "--config", config)

    assert (answer.code, answer.stderr) == (0, "")
    assert answer.stdout.splitlines() == [
        f"{thumbprint} is enabled for SMTP.",
        f"msExchServerInternalTLSCert of {SERVER} names it now; the next session presents it.",
    ]
    assert (named(lab), services(lab)[thumbprint]) == (thumbprint, ["SMTP"])


def test_enable_for_another_service_leaves_the_directory_alone(lab: Lab) -> None:
    """Services are added, none is taken away."""
    config = lab.write()
    thumbprint = lab.certificate(FQDN).thumbprint
    answer = call("certificate", "enable", thumbprint, "--services", "IIS,POP", "--config", config, "--json")

    assert (answer.code, answer.document) == (
        0,
        {"thumbprint": thumbprint, "services": ["IIS", "POP", "SMTP"], "directory_written": False},
    )
    assert named(lab) == lab.certificate("internal").thumbprint


def test_enable_with_force_replaces_the_default(lab: Lab) -> None:
    """Nobody is asked."""
    config = lab.write()
    thumbprint = lab.certificate(FQDN).thumbprint
    answer = call(
        "certificate", "enable", thumbprint, "--services", "SMTP", "--force", "--config", config, "--json"
    )

    assert (answer.code, answer.document["directory_written"]) == (0, True)
    assert named(lab) == thumbprint


def test_enable_without_a_terminal_and_without_force_changes_nothing(lab: Lab) -> None:
    """Exit code 2: the question cannot be put; neither the services nor the directory change."""
    config = lab.write(store={FQDN: "not-for-smtp"})
    before = files(lab)
    answer = call(
        "certificate", "enable", lab.certificate(FQDN).thumbprint, "--services", "SMTP", "--config", config
    )

    assert (answer.code, answer.stdout) == (2, "")
    assert answer.mistakes == [
        (
            f"{lab.certificate('internal').thumbprint} is the current default SMTP certificate; "
            "say --force to replace it where nobody can be asked"
        )
    ]
    assert files(lab) == before


@pytest.mark.slow
def test_answering_no_marks_it_for_smtp_and_leaves_the_directory(lab: Lab) -> None:
    """As Enable-ExchangeCertificate: No keeps the default certificate, and SMTP is enabled all the same."""
    config = lab.write(store={FQDN: "not-for-smtp"})
    thumbprint, current = (lab.certificate(name).thumbprint for name in (FQDN, "internal"))
    words = ("certificate", "enable", thumbprint, "--services", "SMTP", "--config", config)
    code, shown = on_terminal(*words, question="Replace it?", answer="n\n")

    assert code == 0
    assert shown[0] == "Overwrite the existing default SMTP certificate?"
    assert shown[1].startswith(f"  Current certificate: {current} (expires ")
    assert shown[2].startswith(f"  Replace it with certificate: {thumbprint} (expires ")
    assert shown[3] == "Replace it? [Y/n]: n"
    assert shown[4:] == [
        f"{thumbprint} is enabled for SMTP.",
        f"msExchServerInternalTLSCert of {SERVER} names",
        f"{current}, as before.",
    ]
    assert (named(lab), services(lab)[thumbprint]) == (current, ["SMTP"])


def test_enabling_the_default_again_asks_nothing(lab: Lab) -> None:
    """It names it already."""
    config = lab.write()
    current = lab.certificate("internal").thumbprint
    answer = call("certificate", "enable", current, "--services", "SMTP", "--config", config)

    assert (answer.code, named(lab)) == (0, current)


CANNOT_BE_ENABLED = [
    (
        (ABSENT_THUMBPRINT, "--services", "SMTP"),
        1,
        f"holds no certificate with thumbprint {ABSENT_THUMBPRINT}",
    ),
    (("5C7A", "--services", "SMTP"), 2, "'5C7A' is not a thumbprint"),
    ((ABSENT_THUMBPRINT, "--services", "SNTP"), 2, "'SNTP' is no service; take"),
    ((ABSENT_THUMBPRINT,), 2, "Missing option '--services'"),
    ((ABSENT_THUMBPRINT, "--services", "SMTP", "--server", "MX2"), 2, "--server: 'MX2' is not one of MX1"),
]


@pytest.mark.parametrize(("words", "code", "says"), CANNOT_BE_ENABLED)
def test_what_cannot_be_enabled(lab: Lab, words: tuple[str, ...], code: int, says: str) -> None:
    """It is told on stderr, and nothing changes."""
    config = lab.write()
    before = files(lab)
    answer = call("certificate", "enable", *words, "--config", config)

    assert (answer.code, answer.stdout) == (code, "")
    assert says in answer.stderr
    assert files(lab) == before


def test_a_directory_that_cannot_be_written_is_one_line(lab: Lab) -> None:
    """Exit code 3."""
    config = lab.write(directory=None)
    (config.parent / "directory.yaml").write_text("MX1: [")
    answer = call(
        "certificate", "enable", lab.certificate(FQDN).thumbprint, "--services", "SMTP", "--config", config
    )

    assert (answer.code, answer.stdout) == (3, "")
    assert answer.mistakes[-1].startswith(f"{config.parent / 'directory.yaml'}: ")


def test_where_there_are_several_servers_one_must_be_named(lab: Lab) -> None:
    """Exit code 2, and which there are."""
    twins = [
        {"name": name, "fqdn": f"{name}.test", "certificate_store": str(lab.store)} for name in ("A", "B")
    ]
    config = lab.write(settings={"servers": twins})

    for words in (("new",), ("enable", ABSENT_THUMBPRINT, "--services", "SMTP")):
        answer = call("certificate", *words, "--config", config)
        assert (answer.code, answer.mistakes) == (2, ["which server? Say --server with one of A, B"])
    made = call("certificate", "new", "--server", "b", "--key-type", "ec", "--config", config)
    assert made.stdout.splitlines()[-1].endswith(f"--services SMTP --server B --config {config}")


# -- transport-service


ENTRIES = [
    ("internal", True, "thumbprint", "readable"),
    (None, True, None, "not set"),
    (
        "unreadable",
        False,
        None,
        "access to the attribute is denied, or what it holds is not known; directory.yaml says readable: false",
    ),
]


@pytest.mark.parametrize(("directory", "readable", "form", "state"), ENTRIES)
def test_transport_service_show(
    lab: Lab, directory: str | None, form: str | None, state: str, *, readable: bool
) -> None:
    """The attribute as it is found, in a table and as a list with the names of the contract."""
    config = lab.write(directory=directory)
    thumbprint = lab.certificate("internal").thumbprint if form else None
    answer = call("transport-service", "show", "--config", config)
    (document,) = call("transport-service", "show", "--server", "mx1", "--config", config, "--json").document

    assert (answer.code, answer.stderr) == (0, "")
    head, row = (re.split("  +", line) for line in answer.stdout.splitlines())
    assert head == [
        "Server",
        "InternalTransportCertificateThumbprint",
        "State",
        "Form",
        "Friendly name",
        "Object",
    ]
    assert row[:4] == [SERVER, thumbprint or "-", state, form or "-"]
    assert document == {
        "server": SERVER,
        "dn": f"CN={SERVER}",
        "readable": readable,
        "reason": None if readable else state,
        "value_form": form,
        "thumbprint": thumbprint,
        "friendly_name": None,
    }


# -- as programs of their own


@pytest.mark.slow
@pytest.mark.parametrize("words", [("certificate", "list"), ("transport-service", "show")])
@pytest.mark.parametrize("as_json", [False, True])
def test_as_a_program_it_says_the_same(lab: Lab, words: tuple[str, ...], *, as_json: bool) -> None:
    """What the process prints is what the call prints."""
    every = [*words, "--config", str(lab.write()), *["--json"] * as_json]

    assert run(*every) == call(*every)


@pytest.mark.slow
def test_new_and_enable_as_programs(lab: Lab) -> None:
    """The way from a new certificate to the directory, without anybody to ask."""
    config = lab.write()
    made = run("certificate", "new", "--key-type", "ec", "--config", config, "--json").document
    words = ("certificate", "enable", made["thumbprint"], "--services", "SMTP", "--config", config)
    unanswered = run(*words)
    forced = run(*words, "--force", "--json")

    assert (unanswered.code, forced.code) == (2, 0)
    assert forced.document["directory_written"]
    assert named(lab) == made["thumbprint"]


@pytest.mark.slow
@pytest.mark.parametrize("columns", [80, 100, 120])
@pytest.mark.parametrize(
    "command", ["certificate list", "transport-service show", "certificate new --key-type ec"]
)
def test_on_a_terminal_everything_fits(lab: Lab, tmp_path: Path, command: str, columns: int) -> None:
    """No line but a command to copy is longer than the terminal, none ends in blanks, no thumbprint is broken."""
    config = lab.write(store={"internal": "expired", "other.lab.test": "no-key"})
    code, shown = on_terminal(*command.split(), "--config", config, columns=columns)
    expected = {
        "certificate list": [
            lab.certificate(name).thumbprint for name in ("internal", FQDN, "other.lab.test")
        ],
        "transport-service show": [lab.certificate("internal").thumbprint],
    }.get(command, [])

    assert code == 0
    assert [line for line in shown if len(line) > columns and str(tmp_path) not in line] == []
    assert [line for line in shown if line != line.rstrip()] == []
    assert [text for text in expected if not any(text in line for line in shown)] == []
