"""Passwords of PFX files and encrypted keys: where they stand, that a change is seen, and that nothing leaks."""

from __future__ import annotations

import ssl
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from smtpd_anontls.certificates.passwords import PasswordInEnvironment, PasswordInFile
from smtpd_anontls.domain.certificate import KeyState
from smtpd_anontls.domain.tls_policy import TlsPolicy
from tests.components.handshake import exchange_ec, fresh
from tests.components.watched import Watched, der_key, files_with, key_octets, pem_key, pfx
from tests.lab import CONNECTOR
from tests.peer import Peer

if TYPE_CHECKING:
    from smtpd_anontls.certificates.passwords import PasswordSource
    from tests.lab import Lab

A = exchange_ec()
B = fresh("MBX2")
THUMBPRINT = A.certificate.thumbprint
RIGHT = "Pa$$wörd-of-mbx1"
WRONG = "not-the-password"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return an empty folder called certs."""
    (tmp_path / "certs").mkdir()
    return tmp_path / "certs"


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        pytest.param(RIGHT.encode(), None, id="as it is"),
        pytest.param(RIGHT.encode() + b"\n", None, id="with the end of its line"),
        pytest.param(RIGHT.encode() + b"\r\n", None, id="with that of Windows"),
        pytest.param(b"\xef\xbb\xbf" + RIGHT.encode() + b"\r\n", None, id="with a byte order mark"),
        pytest.param(
            RIGHT.encode() + b" \n",
            "{} does not decrypt the private key; correct it",
            id="a blank belongs to it",
        ),
        pytest.param(
            RIGHT.encode("utf-16"), "{} does not hold UTF-8 text; write the password as UTF-8", id="UTF-16"
        ),
        pytest.param(
            RIGHT.encode("latin-1"), "{} does not hold UTF-8 text; write the password as UTF-8", id="Latin-1"
        ),
        pytest.param(b"a\0b", "{} does not hold UTF-8 text; write the password as UTF-8", id="NUL"),
        pytest.param(None, "{} does not exist", id="missing"),
        pytest.param(bytes(5000), "{} is larger than 4 KiB", id="too large"),
    ],
)
async def test_password_in_a_file(folder: Path, written: bytes | None, problem: str | None) -> None:
    """The file holds the password on one line; what is wrong with it is said once, where it is needed."""
    path = folder.with_name("mbx1.password")
    if written is not None:
        path.write_bytes(written)
    watched = Watched(folder, {"mbx1.key": PasswordInFile(path), "mbx2.pem": PasswordInFile(path)})
    watched.put({"mbx1.crt": A.certificate_pem, "mbx1.key": pem_key(A, RIGHT)})
    watched.put({"mbx2.pem": B.certificate_pem + B.key_pem})

    held = await watched.held()

    assert held[B.certificate.thumbprint] == ("mbx2.pem", KeyState.USABLE)
    assert held[THUMBPRINT] == ("mbx1.crt", KeyState.USABLE if problem is None else KeyState.UNREADABLE)
    assert len(watched.warnings) == (problem is not None)
    if problem is not None:
        (warning,) = watched.warnings
        assert warning.startswith("certs: mbx1.key: line 1: ")
        assert warning.endswith(problem.format(f"the password file {path}"))


async def test_password_file_that_cannot_be_read_is_named(folder: Path) -> None:
    """A folder in the place of the password file is said so."""
    path = folder.with_name("password")
    path.mkdir()
    watched = Watched(folder, {"mbx1.pfx": PasswordInFile(path)})
    watched.put({"mbx1.pfx": pfx(A, RIGHT, of=A)})

    assert await watched.held() == {}
    assert await watched.held() == {}
    assert watched.warnings == [
        f"certs: mbx1.pfx: the PFX file needs a password, and the password file {path} cannot be read (is a directory)"
    ]


async def test_variable_that_is_not_set_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One warning names the variable; once it is set the next question finds the key."""
    monkeypatch.delenv("MBX1_PASSWORD", raising=False)
    watched = Watched(folder, {"mbx1.pfx": PasswordInEnvironment("MBX1_PASSWORD")})
    watched.put({"mbx1.pfx": pfx(A, RIGHT, of=A)})

    assert await watched.held() == {}
    assert await watched.held() == {}
    assert watched.warnings == [
        "certs: mbx1.pfx: the PFX file needs a password, and the environment variable MBX1_PASSWORD is not set"
    ]

    monkeypatch.setenv("MBX1_PASSWORD", RIGHT)

    assert await watched.held() == {THUMBPRINT: ("mbx1.pfx", KeyState.USABLE)}
    assert len(watched.warnings) == 1


async def test_next_question_sees_a_changed_password_file(folder: Path) -> None:
    """Whatever happens to the password file, the next answer is what it opens then."""
    path = folder.with_name("password")
    watched = Watched(folder, {"mbx1.pfx": PasswordInFile(path)})
    watched.put({"mbx1.pfx": pfx(A, RIGHT, of=A)})
    found = [bool(await watched.held())]
    for content in (WRONG, RIGHT, WRONG, RIGHT):
        path.write_text(content)
        found.append(bool(await watched.held()))
    await watched.until_settled()
    path.with_suffix(".new").write_text(WRONG)
    path.with_suffix(".new").rename(path)
    found.append(bool(await watched.held()))
    await watched.until_settled()
    path.unlink()
    found.append(bool(await watched.held()))

    assert found == [False, False, True, False, True, False, False]
    assert len(watched.warnings) == found.count(False)


async def test_settled_store_with_passwords_costs_stamps_alone(folder: Path) -> None:
    """Neither file is read again until one changes; a context outlives a password file that was only touched."""
    path = folder.with_name("password")
    path.write_text(RIGHT)
    watched = Watched(folder, {"mbx1.pfx": PasswordInFile(path)})
    watched.put({"mbx1.pfx": pfx(A, RIGHT, of=A)})
    first = await watched.store.context(THUMBPRINT, TlsPolicy())
    await watched.until_settled()
    state = watched.store._state
    await watched.held()

    assert watched.store._state is state

    path.touch()

    assert await watched.store.context(THUMBPRINT, TlsPolicy()) is first


async def test_secrets_are_not_printed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the store nor what it keeps, nor a password that was read, shows a password or a key."""
    monkeypatch.setenv("MBX1_PASSWORD", RIGHT)
    path = folder.with_name("password")
    path.write_text(RIGHT)
    sources: dict[str, PasswordSource] = {
        "a.pfx": PasswordInEnvironment("MBX1_PASSWORD"),
        "b.key": PasswordInFile(path),
    }
    watched = Watched(folder, sources)
    watched.put({"a.pfx": pfx(A, RIGHT, of=A), "b.crt": B.certificate_pem, "b.key": der_key(B, RIGHT)})
    await watched.store.context(THUMBPRINT, TlsPolicy())

    shown = repr(vars(watched.store)) + repr([source.read() for source in sources.values()])
    assert "MBX1_PASSWORD" in shown
    assert RIGHT not in shown
    assert "PrivateKey" not in shown


def _memory_files() -> list[str]:
    """Return the descriptors of this process that lead to files in memory."""
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            target = str(descriptor.readlink())
        except FileNotFoundError:
            continue  # The one that the folder itself was read with.
        if target.startswith("/memfd:"):
            found.append(target)
    return found


async def test_openssl_reads_the_key_from_memory(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """While OpenSSL loads a key no file holds it in the clear: what it reads has no name and is encrypted itself."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    (tmp_path / "password").write_text(RIGHT)
    watched = Watched(folder, {"mbx1.pfx": PasswordInFile(tmp_path / "password")})
    watched.put({"mbx1.pfx": pfx(A, RIGHT, of=A)})
    load = ssl.SSLContext.load_cert_chain
    read: list[bytes] = []

    def look(context: ssl.SSLContext, path: str, *, password: bytes) -> None:
        assert files_with(key_octets(A), tmp_path) == []
        assert _memory_files() == ["/memfd:certificate (deleted)"]
        read.append(Path(path).read_bytes())
        load(context, path, password=password)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", look)
    await watched.store.context(THUMBPRINT, TlsPolicy())

    (content,) = read
    assert b"BEGIN ENCRYPTED PRIVATE KEY" in content
    assert b"BEGIN PRIVATE KEY" not in content
    assert _memory_files() == []


async def test_receiver_leaves_no_key_on_disk(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """It presents a certificate from an encrypted PFX file, and the user's own files alone hold keys."""
    monkeypatch.setenv("TMPDIR", str(lab.folder))
    (lab.folder / "mbx1.password").write_text(RIGHT)
    lab.write()
    (lab.store / "mbx1.pfx").write_bytes(pfx(A, RIGHT, of=A))
    (lab.store / "mbx2.pem").write_bytes(B.certificate_pem + B.key_pem)
    server = {"certificate_passwords": {"mbx1.pfx": {"file": "../mbx1.password"}}}
    directory = {"msExchServerInternalTLSCert": THUMBPRINT}
    async with AsyncExitStack() as stack:
        receiver = await stack.enter_async_context(lab.receiver(server=server, directory=directory))
        peer = await stack.enter_async_context(await Peer.connect(receiver.address(CONNECTOR)))
        await peer.reply()
        await peer.ask("EHLO client.test")
        await peer.ask("X-ANONYMOUSTLS")
        await peer.upgrade()
        presented = peer.presented()
        meanwhile = files_with(key_octets(A), lab.folder), files_with(key_octets(B), lab.folder)

    assert presented == A.certificate.der
    assert meanwhile == ([], ["mbx2.pem"])
    assert (files_with(key_octets(A), lab.folder), lab.warnings) == ([], [])
    assert files_with(RIGHT.encode(), lab.folder) == ["mbx1.password"]


async def test_changed_configuration_takes_its_passwords_along(lab: Lab) -> None:
    """A receiver whose configuration names another password opens the store's file with it."""
    (lab.folder / "right").write_text(RIGHT)
    (lab.folder / "wrong").write_text(WRONG)
    lab.write()
    (lab.store / "mbx1.pfx").write_bytes(pfx(A, RIGHT, of=A))
    overlay = {
        "server": {"certificate_passwords": {"mbx1.pfx": {"file": "../wrong"}}},
        "directory": {"msExchServerInternalTLSCert": THUMBPRINT},
    }
    async with lab.receiver(**overlay) as receiver:
        lab.config.write_text(lab.config.read_text().replace("../wrong", "../right"))
        async with await Peer.connect(receiver.address(CONNECTOR)) as peer:
            await peer.reply()
            offered = await peer.ask("EHLO client.test")

    assert "250-X-ANONYMOUSTLS" in offered
    assert [warning for warning in lab.warnings if "does not open the PFX file" in warning] == lab.warnings
