"""Every form that a certificate and its key may have in the store, whole and broken, with and without a password."""

from __future__ import annotations

import ssl
import subprocess
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest
import trustme
from cryptography import x509

from smtpd_anontls.certificates.issue import Issued
from smtpd_anontls.certificates.passwords import PasswordInEnvironment, PasswordInFile
from smtpd_anontls.certificates.store import StoreError
from smtpd_anontls.domain.certificate import Certificate, KeyState
from smtpd_anontls.domain.tls_policy import TlsPolicy
from tests.components.handshake import client_context, exchange_ec, fresh, presented, shake
from tests.components.watched import Watched, der_key, pem_key, pfx
from tests.making import element

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

A = exchange_ec()
B = fresh("MBX2")
THUMBPRINT = A.certificate.thumbprint
RIGHT = "Pa$$wörd-of-mbx1"
WRONG = "not-the-password"

USABLE, MISSING, UNREADABLE, MISMATCH = (
    KeyState.USABLE,
    KeyState.MISSING,
    KeyState.UNREADABLE,
    KeyState.MISMATCH,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return an empty folder called certs."""
    (tmp_path / "certs").mkdir()
    return tmp_path / "certs"


@dataclass(frozen=True)
class Form:
    """The file with the key, whose content depends on key and password, and what stands beside it."""

    name: str
    content: Callable[[Issued, str | None], bytes]
    beside: Mapping[str, bytes] = field(default_factory=dict)
    is_pfx: bool = False
    line: int | None = None  # Where the key begins, in PEM.

    def warning(self, condition: Condition) -> str | None:
        """Return what is said of the file in this condition."""
        said = condition.of_pfx if self.is_pfx else condition.of_key
        if condition.is_cut_off:
            label = "PRIVATE KEY" if condition.encrypted_with is None else "ENCRYPTED PRIVATE KEY"
            said = f"BEGIN {label} has no END; the file seems cut off"
            if self.line is None:
                said = f"the {'PFX ' if self.is_pfx else ''}file is cut off; copy it again"
        if said is None:
            return None
        return said if self.line is None else f"line {self.line}: {said}"


def pfx_of_a(key: Issued, password: str | None) -> bytes:
    """Return a PFX file with the certificate A and this key."""
    return pfx(key, password, of=A)


FORMS = {
    "PEM, one file": Form(
        "mbx1.pem",
        lambda key, password: A.certificate_pem + pem_key(key, password),
        line=A.certificate_pem.count(b"\n") + 1,
    ),
    "PEM, key beside": Form("mbx1.key", pem_key, {"mbx1.crt": A.certificate_pem}, line=1),
    "DER, PEM key beside": Form("mbx1-key.pem", pem_key, {"mbx1.cer": A.certificate.der}, line=1),
    "DER, key beside": Form("mbx1.key", der_key, {"mbx1.der": A.certificate.der}),
    "PFX": Form("mbx1.pfx", pfx_of_a, is_pfx=True),
    "P12": Form("MBX1.P12", pfx_of_a, is_pfx=True),
    "PFX beside its certificate": Form("mbx1.pfx", pfx_of_a, {"mbx1.cer": A.certificate.der}, is_pfx=True),
}


@dataclass(frozen=True)
class Condition:
    """Whose key it is, how it is encrypted, and which password is given; then what must become of it."""

    key: Issued = A
    encrypted_with: str | None = None
    given: str | None = None
    is_cut_off: bool = False

    state: KeyState = USABLE
    of_key: str | None = None  # What is said of a key by itself,
    of_pfx: str | None = None  # and of a PFX file.


_WRONG = Condition(
    encrypted_with=RIGHT,
    given=WRONG,
    state=UNREADABLE,
    of_key="the password in the environment variable MBX1_PASSWORD does not decrypt the private key; correct it",
    of_pfx="the password in the environment variable MBX1_PASSWORD does not open the PFX file; correct it",
)
_NEEDED = "certificate_passwords has none for this file; add it there as {env: NAME} or {file: PATH}"
CONDITIONS = {
    "good": Condition(),
    "good, with a password that it does not need": Condition(given=RIGHT),
    "encrypted, good password": Condition(encrypted_with=RIGHT, given=RIGHT),
    "encrypted, wrong password": _WRONG,
    "encrypted, empty password": replace(_WRONG, given=""),
    "encrypted, no password": Condition(
        encrypted_with=RIGHT,
        state=UNREADABLE,
        of_key=f"the private key is encrypted, and {_NEEDED}",
        of_pfx=f"the PFX file needs a password, and {_NEEDED}",
    ),
    "truncated": Condition(is_cut_off=True, state=UNREADABLE),
    "truncated and encrypted": Condition(
        encrypted_with=RIGHT, given=RIGHT, is_cut_off=True, state=UNREADABLE
    ),
    "a key that does not match": Condition(key=B, state=MISMATCH),
    "a key that does not match, encrypted": Condition(
        key=B, encrypted_with=RIGHT, given=RIGHT, state=MISMATCH
    ),
}


@pytest.mark.parametrize("condition", CONDITIONS.values(), ids=CONDITIONS.keys())
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
async def test_every_form_in_every_condition(
    folder: Path, monkeypatch: pytest.MonkeyPatch, form: Form, condition: Condition
) -> None:
    """What is usable is presented; what is not is named in one warning, or by the state of the key."""
    if condition.given is not None:
        monkeypatch.setenv("MBX1_PASSWORD", condition.given)
    given = {} if condition.given is None else {form.name: PasswordInEnvironment("MBX1_PASSWORD")}
    watched = Watched(folder, given)
    content = form.content(condition.key, condition.encrypted_with)
    watched.put({**form.beside, form.name: content[:-30] if condition.is_cut_off else content})

    found = await watched.store.find(THUMBPRINT)

    if form.is_pfx and not form.beside and condition.state is UNREADABLE:
        # The certificate is as unreadable as its key.
        assert found is None
    else:
        assert found is not None
        assert found.key is condition.state
    said = form.warning(condition)
    assert watched.warnings == ([] if said is None else [f"certs: {form.name}: {said}"])
    if condition.state is USABLE:
        context = await watched.store.context(THUMBPRINT, TlsPolicy())
        assert presented(shake(context, client_context())) == THUMBPRINT
    else:
        with pytest.raises(StoreError, match=THUMBPRINT):
            await watched.store.context(THUMBPRINT, TlsPolicy())


async def test_pfx_file_of_another_name(folder: Path) -> None:
    """A PFX file is known by its content, too."""
    watched = Watched(folder)
    watched.put({"mbx1.cer": pfx(A, of=A)})

    assert await watched.held() == {THUMBPRINT: ("mbx1.cer", USABLE)}


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\x30", id="one octet"),
        pytest.param(b"hello", id="text"),
        pytest.param(A.certificate_pem, id="PEM"),
        pytest.param(A.certificate.der, id="a certificate"),
        pytest.param(b"\x30\x03\x02\x01\x03", id="a version alone"),
    ],
)
async def test_what_is_no_pfx_file_is_one_warning(folder: Path, content: bytes) -> None:
    """A file that only has the name is named, and harms no other."""
    watched = Watched(folder)
    watched.put({"x.pfx": content, "a.pem": A.certificate_pem + A.key_pem})

    assert await watched.held() == {THUMBPRINT: ("a.pem", USABLE)}
    assert watched.warnings == ["certs: x.pfx: not a PFX file that can be understood"]


async def test_pfx_file_that_holds_nothing_is_one_warning(folder: Path) -> None:
    """A PFX file without certificate and key is named."""
    watched = Watched(folder)
    data = bytes.fromhex("06092a864886f70d010701")  # 1.2.840.113549.1.7.1
    nothing = element(0x30, data, element(0xA0, element(0x04, element(0x30))))
    watched.put({"x.pfx": element(0x30, b"\x02\x01\x03", nothing)})

    assert await watched.held() == {}
    assert watched.warnings == ["certs: x.pfx: a PFX file that holds no certificate and no private key"]


async def test_pfx_file_without_key_or_without_certificate(folder: Path) -> None:
    """A PFX file may hold certificates alone, or the key of a certificate that stands elsewhere."""
    watched = Watched(folder)
    watched.put({"b.pfx": pfx(None, of=B), "a.pfx": pfx(A, of=None), "a.cer": A.certificate.der})

    assert await watched.held() == {
        THUMBPRINT: ("a.cer", USABLE),
        B.certificate.thumbprint: ("b.pfx", MISSING),
    }
    assert watched.warnings == []


async def test_chain_in_a_pfx_file_is_presented(folder: Path) -> None:
    """Of the certificates in a PFX file the leaf is in the store, and it is presented with the others."""
    root = trustme.CA()
    leaf = root.create_child_ca().issue_cert("mbx1.contoso.test")
    _, *others = (x509.load_pem_x509_certificate(blob.bytes()) for blob in leaf.cert_chain_pems)
    pem = leaf.cert_chain_pems[0].bytes()
    issued = Issued(
        Certificate.from_der(ssl.PEM_cert_to_DER_cert(pem.decode())), pem, leaf.private_key_pem.bytes()
    )
    others.append(x509.load_pem_x509_certificate(root.cert_pem.bytes()))
    watched = Watched(folder)
    watched.put({"mbx1.pfx": pfx(issued, of=issued, others=others[::-1])})

    (one,) = await watched.store.all()
    context = await watched.store.context(one.certificate.thumbprint, TlsPolicy())

    client = ssl.create_default_context(cadata=root.cert_pem.bytes().decode())
    assert presented(shake(context, client, name="mbx1.contoso.test")) == issued.certificate.thumbprint


async def test_several_certificates_of_one_name(folder: Path) -> None:
    """Certificates of one name are told apart by thumbprint, whatever form each has."""
    one, two, three = (fresh("MBX1") for _ in range(3))
    watched = Watched(folder)
    watched.put(
        {
            "1.pfx": pfx(one, of=one),
            "2.pem": two.certificate_pem + two.key_pem,
            "3.cer": three.certificate.der,
            "3.key": der_key(three),
        }
    )

    for issued in (one, two, three):
        context = await watched.store.context(issued.certificate.thumbprint, TlsPolicy())
        assert presented(shake(context, client_context())) == issued.certificate.thumbprint


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        pytest.param((), id="AES, as new systems write it"),
        pytest.param(("-legacy",), id="RC2 and triple DES, as old systems write it"),
        pytest.param(("-nomac",), id="without a MAC"),
        pytest.param(("-certpbe", "NONE"), id="the certificate in the clear"),
    ],
)
def test_pfx_files_of_openssl(folder: Path, options: Sequence[str]) -> None:
    """What openssl exports is read, in whichever encryption."""
    (folder / "mbx1.crt").write_bytes(A.certificate_pem)
    (folder / "mbx1.key").write_bytes(A.key_pem)
    password = folder.with_name("password")
    password.write_text("ascii-of-mbx1")
    command = ["openssl", "pkcs12", "-export", "-in", "mbx1.crt", "-inkey", "mbx1.key", *options]
    output = ["-passout", "pass:ascii-of-mbx1", "-out", "mbx1.pfx"]
    subprocess.run([*command, *output], cwd=folder, check=True, capture_output=True)
    (folder / "mbx1.crt").unlink()
    (folder / "mbx1.key").unlink()
    watched = Watched(folder, {"mbx1.pfx": PasswordInFile(password)})
    watched.store.load()

    assert watched.warnings == []
    assert [entry.shown.key for entry in watched.store._state.entries.values()] == [USABLE]
