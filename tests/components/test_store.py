"""The local computer store, on real folders that change while it is asked."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import ssl
import stat
import threading
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from smtpd_anontls.certificates.folder import MAX_FILE_BYTES, MAX_FILES
from smtpd_anontls.certificates.store import LocalComputerStore, StoreError
from smtpd_anontls.certificates.writing import enable, write_certificate, write_public_certificate
from smtpd_anontls.domain.certificate import KeyState, thumbprint_of
from smtpd_anontls.domain.tls_policy import TlsPolicy, TlsVersion
from tests.components.handshake import (
    NOW,
    client_context,
    exchange_ec,
    exchange_rsa,
    fresh,
    presented,
    shake,
    weak_rsa,
)
from tests.components.watched import Watched, der_key, pem_key

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from smtpd_anontls.certificates.issue import Issued

A = exchange_ec()
B = fresh("MBX2")
A_WHOLE = A.certificate_pem + A.key_pem
B_WHOLE = B.certificate_pem + B.key_pem


def der_of(issued: Issued) -> bytes:
    """Return the certificate as DER."""
    return issued.certificate.der


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    """Return a store on an empty folder called certs."""
    (tmp_path / "certs").mkdir()
    return Watched(tmp_path / "certs")


USABLE, MISSING, UNREADABLE, MISMATCH = (
    KeyState.USABLE,
    KeyState.MISSING,
    KeyState.UNREADABLE,
    KeyState.MISMATCH,
)


@pytest.mark.parametrize(
    ("files", "held"),
    [
        pytest.param({"a.pem": A_WHOLE}, ("a.pem", USABLE), id="key in the same file"),
        pytest.param({"a.pem": A.key_pem + A.certificate_pem}, ("a.pem", USABLE), id="key first"),
        pytest.param(
            {"a.crt": A.certificate_pem, "a.key": A.key_pem}, ("a.crt", USABLE), id="x.crt and x.key"
        ),
        pytest.param({"a.pem": A.certificate_pem, "a-key.pem": A.key_pem}, ("a.pem", USABLE), id="x-key.pem"),
        pytest.param(
            {"a.CER": der_of(A), "other.key": A.key_pem}, ("a.CER", USABLE), id="DER, key elsewhere"
        ),
        pytest.param({"a.cer": A.certificate_pem, "a.key": der_key(A)}, ("a.cer", USABLE), id="DER key"),
        pytest.param(
            {"a.pem": b"subject=MBX1\r\n" + A_WHOLE.replace(b"\n", b"\r\n")}, ("a.pem", USABLE), id="CRLF"
        ),
        pytest.param({"a.cer": A.certificate_pem}, ("a.cer", MISSING), id="no key"),
        pytest.param(
            {"a.pem": A.certificate_pem + B.key_pem}, ("a.pem", MISMATCH), id="another key in the file"
        ),
        pytest.param(
            {"a.crt": A.certificate_pem, "a.key": B.key_pem}, ("a.crt", MISMATCH), id="another key beside"
        ),
        pytest.param({"a.crt": A.certificate_pem, "b.key": B.key_pem}, ("a.crt", MISSING), id="a stray key"),
        pytest.param(
            {"a.pem": A.certificate_pem + pem_key(A, "secret")},
            ("a.pem", UNREADABLE),
            id="encrypted",
        ),
        pytest.param(
            {"a.crt": A.certificate_pem, "a.key": der_key(A, "secret")},
            ("a.crt", UNREADABLE),
            id="encrypted DER beside",
        ),
        pytest.param(
            {"a.crt": A.certificate_pem, "a.key": b"garbage"}, ("a.crt", UNREADABLE), id="broken key beside"
        ),
        pytest.param(
            {"a.crt": A.certificate_pem, "a.key": b""}, ("a.crt", UNREADABLE), id="empty key beside"
        ),
        pytest.param({"a.pem": A_WHOLE[:-30]}, ("a.pem", UNREADABLE), id="key cut off"),
        pytest.param(
            {"a.cer": der_of(A), "z.pem": A_WHOLE}, ("z.pem", USABLE), id="the copy with the key wins"
        ),
        pytest.param(
            {"a.pem": A_WHOLE, "b.pem": A_WHOLE}, ("a.pem", USABLE), id="of two alike the first by name"
        ),
    ],
)
async def test_finds_the_key_of_a_certificate(
    watched: Watched, files: dict[str, bytes], held: tuple[str, KeyState]
) -> None:
    """A key belongs to the certificate with its public key; else the trace can say what is the matter."""
    watched.put(files)

    assert (await watched.held())[A.certificate.thumbprint] == held


@pytest.mark.parametrize(
    ("name", "content", "warning"),
    [
        pytest.param("x.pem", b"hello", "holds no certificate and no private key in PEM form", id="text"),
        pytest.param("x.pem", b"", "holds no certificate and no private key in PEM form", id="empty"),
        pytest.param("x.pem", os.urandom(999), "holds no certificate and no private", id="octets"),
        pytest.param("x.pem", A.certificate_pem[:200], "line 1: BEGIN CERTIFICATE has no END", id="cut off"),
        pytest.param(
            "x.pem",
            b"#\n-----BEGIN CERTIFICATE-----\n***\n-----END CERTIFICATE-----",
            "line 2: not base64 between BEGIN and END CERTIFICATE",
            id="not base64",
        ),
        pytest.param(
            "x.pem",
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
            "line 1: not an X.509 certificate",
            id="not a certificate",
        ),
        pytest.param("x.cer", der_of(A)[:-9], "the file is cut off; copy it again", id="DER cut off"),
        pytest.param("x.cer", b"\x30", "not an X.509 certificate", id="one octet of DER"),
        pytest.param("x.key", b"\x30\x00", "not a private key that can be understood", id="DER key"),
        pytest.param(
            "x.key",
            b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
            "line 1: not a private key that can be understood",
            id="PEM key",
        ),
        pytest.param(
            "x.key",
            pem_key(B, "x"),
            "line 1: the private key is encrypted, and certificate_passwords has none for this file; add it",
            id="encrypted",
        ),
        pytest.param("x\x1b[2J.pem", b"", "holds no certificate", id="a name that would act on a terminal"),
    ],
)
async def test_bad_file_is_one_warning(watched: Watched, name: str, content: bytes, warning: str) -> None:
    """A bad file is named in one warning until it changes, and harms no other."""
    watched.put({"a.pem": A_WHOLE, name: content})

    assert await watched.held() == {A.certificate.thumbprint: ("a.pem", USABLE)}
    assert len(watched.warnings) == 1
    shown = name.replace("\x1b", r"\x1b")
    assert watched.warnings[0].startswith(f"certs: {shown}: {warning}")

    (watched.folder / name).touch()
    watched.put({"b.pem": B_WHOLE})

    assert len(await watched.held()) == 2
    assert len(watched.new_warnings()) == 1

    watched.put({name: content + b"\n"})
    await watched.held()

    assert len(watched.new_warnings()) == 1


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        pytest.param(os.mkfifo, "is not a regular file", id="FIFO"),
        pytest.param(lambda path: path.symlink_to(path), r"cannot be read \(.*\)", id="link in circles"),
        pytest.param(
            lambda path: path.write_bytes(bytes(MAX_FILE_BYTES + 1)),
            "is larger than 1024 KiB",
            id="too large",
        ),
    ],
)
async def test_file_that_cannot_be_read_is_one_warning(
    watched: Watched, make: Callable[[Path], object], reason: str
) -> None:
    """A file that cannot be read is named once and never waited for; by its name it was meant as a key."""
    make(watched.folder / "a.key")
    watched.put({"a.crt": A.certificate_pem})

    assert await watched.held() == {A.certificate.thumbprint: ("a.crt", UNREADABLE)}

    os.utime(watched.folder / "a.key", follow_symlinks=False)
    await watched.held()

    assert len(watched.warnings) == 1
    assert re.fullmatch(rf"certs: a\.key: {reason}", watched.warnings[0])


async def test_block_that_is_cut_off_harms_no_other(watched: Watched) -> None:
    """What follows a block without its END is read."""
    watched.put({"x.pem": A.certificate_pem[:200] + b"\n" + B_WHOLE})

    assert await watched.held() == {B.certificate.thumbprint: ("x.pem", USABLE)}
    assert watched.warnings == ["certs: x.pem: line 1: BEGIN CERTIFICATE has no END; the file seems cut off"]


async def test_certificate_with_a_public_key_of_no_known_kind(watched: Watched) -> None:
    """A certificate on a curve that nobody here knows is held, and no key is taken for its own."""
    p256, unknown = bytes.fromhex("2a8648ce3d030107"), bytes.fromhex("2a8648ce3d030109")
    watched.put({"a.cer": der_of(A).replace(p256, unknown), "b.pem": B_WHOLE})

    assert dict((await watched.held()).values()) == {"a.cer": MISSING, "b.pem": USABLE}


async def test_passes_over_what_is_not_its_own(watched: Watched) -> None:
    """Hidden files, README, folders, dangling links and other names are passed over in silence."""
    watched.put({"a.pem": A_WHOLE, ".b.pem": b"x", "README.pem": b"x", "readme.md": b"x", "notes.txt": b"x"})
    (watched.folder / "old.pem").mkdir()
    (watched.folder / "gone.pem").symlink_to("nowhere")

    assert list(await watched.held()) == [A.certificate.thumbprint]
    assert watched.warnings == []


async def test_reads_a_thousand_files_and_services_yaml(watched: Watched) -> None:
    """Files beyond a thousand are left out with one warning; services.yaml never is."""
    watched.put({f"{number:04}.key": A.key_pem for number in range(MAX_FILES)})
    watched.put(
        {
            "0000.pem": A_WHOLE,
            "zzzz.pem": B_WHOLE,
            "services.yaml": f"{A.certificate.thumbprint}: IIS".encode(),
        }
    )

    found = await watched.store.find(A.certificate.thumbprint)

    assert found is not None
    assert found.services == frozenset({"IIS"})
    assert await watched.store.find(B.certificate.thumbprint) is None
    assert watched.warnings == ["certs: holds more than 1000 files; only the first by name are read"]


async def test_a_file_may_hold_several_certificates(watched: Watched) -> None:
    """Each certificate that stands for itself counts, with its own key."""
    watched.put({"both.pem": A.certificate_pem + B.certificate_pem + B.key_pem})

    assert await watched.held() == {
        A.certificate.thumbprint: ("both.pem", MISSING),
        B.certificate.thumbprint: ("both.pem", USABLE),
    }


async def test_issuers_in_the_file_are_only_its_chain(watched: Watched) -> None:
    """Of a chain only the leaf is in the store, and the leaf is presented with it."""
    root = trustme.CA()
    leaf = root.create_child_ca().issue_cert("mbx1.contoso.test")
    chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems[::-1])
    watched.put({"mbx1.pem": root.cert_pem.bytes() + chain, "mbx1.key": leaf.private_key_pem.bytes()})

    (one,) = await watched.store.all()
    context = await watched.store.context(one.certificate.thumbprint, TlsPolicy())

    assert one.certificate.has_name("mbx1.contoso.test")
    client = client_context()
    client.verify_mode = ssl.CERT_REQUIRED
    client.load_verify_locations(cadata=root.cert_pem.bytes().decode())
    assert presented(shake(context, client)) == one.certificate.thumbprint


async def test_certificate_that_only_bears_the_name_of_the_issuer_counts(watched: Watched) -> None:
    """Whoever did not sign the other certificate is no part of its chain."""
    name = "Contoso Issuing CA"
    one, other = (trustme.CA(organization_name=name, organization_unit_name=name) for _ in range(2))
    leaf = one.issue_cert("mbx1.contoso.test")
    pem = b"".join(blob.bytes() for blob in (*leaf.cert_chain_pems, one.cert_pem, other.cert_pem))
    watched.put({"mbx1.pem": pem})

    held = await watched.store.all()

    assert {each.certificate.self_signed for each in held} == {False, True}
    assert len(held) == 2


async def test_old_and_renewed_certificate_of_one_key_both_count(watched: Watched) -> None:
    """Two self-signed certificates of one name and key are no chain."""
    key = load_pem_private_key(A.key_pem, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "MBX1")])
    renewed = [
        x509.CertificateBuilder(name, name, key.public_key(), serial, NOW, NOW + timedelta(days=serial))
        .sign(key, hashes.SHA256())
        .public_bytes(Encoding.PEM)
        for serial in (1, 2)
    ]
    watched.put({"both.pem": b"".join(renewed)})

    assert [one.certificate.serial_number for one in await watched.store.all()] == ["01", "02"]


@pytest.mark.parametrize(
    ("text", "services", "warnings"),
    [
        pytest.param("", None, [], id="empty"),
        pytest.param("{thumbprint}: [SMTP, IIS]", {"SMTP", "IIS"}, [], id="listed"),
        pytest.param("{thumbprint}: [smtp, Imap]", {"SMTP", "IMAP"}, [], id="any case"),
        pytest.param("{thumbprint}: IMAP, POP", {"IMAP", "POP"}, [], id="as Exchange shows it"),
        pytest.param("{thumbprint}: [None]", set(), [], id="None"),
        pytest.param("{lower}: [UM]", {"UM"}, [], id="lower case thumbprint"),
        pytest.param("'{spaced}': [UM]", {"UM"}, [], id="as Windows shows it"),
        pytest.param("{other}: [SMTP]", None, [], id="another certificate"),
        pytest.param(
            "{thumbprint}: [SMTP, SMPT]",
            {"SMTP"},
            [
                "{thumbprint}: 'SMPT' is no service; take IMAP, POP, IIS, SMTP, UM, Federation, UMCallRouter, None"
            ],
            id="misspelled service",
        ),
        pytest.param(
            "{thumbprint}: 7",
            None,
            ["{thumbprint}: 7 is not a list of services; write [SMTP] or [None]"],
            id="number",
        ),
        pytest.param(
            "12: [IIS]\n{thumbprint}: [IIS]",
            {"IIS"},
            ["12 is not a thumbprint; it has 40 hexadecimal digits"],
            id="not a thumbprint",
        ),
        pytest.param(
            "mbx1: [IIS]",
            None,
            ["mbx1: 'mbx1' is not a thumbprint; it has 40 hexadecimal digits"],
            id="a name",
        ),
        pytest.param("- SMTP", None, ["not a mapping; write THUMBPRINT: [SMTP]"], id="list"),
    ],
)
async def test_services_file(
    watched: Watched, text: str, services: set[str] | None, warnings: list[str]
) -> None:
    """services.yaml says what a certificate is enabled for; a mistake spoils its own entry alone."""
    thumbprint = A.certificate.thumbprint
    names = {
        "thumbprint": thumbprint,
        "lower": thumbprint.lower(),
        "spaced": " ".join(re.findall("..", thumbprint)),
        "other": B.certificate.thumbprint,
    }
    watched.put({"a.pem": A_WHOLE, "services.yaml": text.format(**names).encode()})

    (one,) = await watched.store.all()

    assert one.services == (None if services is None else frozenset(services))
    assert watched.warnings == [f"certs: services.yaml: {warning.format(**names)}" for warning in warnings]


async def test_broken_services_file_is_one_warning(watched: Watched) -> None:
    """Broken YAML is named with its line, and every certificate counts as not listed."""
    watched.put({"a.pem": A_WHOLE, "services.yaml": b"a: [\n"})

    (one,) = await watched.store.all()

    assert one.enabled_for_smtp
    assert len(watched.warnings) == 1
    assert re.match(r"certs: services\.yaml: line \d+: ", watched.warnings[0])


def _replace(folder: Path) -> None:
    (folder / ".new").write_bytes(B_WHOLE)
    (folder / ".new").rename(folder / "a.pem")


def _rewrite_with_the_old_time(folder: Path) -> None:
    path = folder / "a.pem"
    before = path.stat()
    # The same length, in place, with the old modification time: only the change time tells.
    path.write_bytes(path.read_bytes().replace(b"CERTIFICATE", b"CERTIFICATF"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize(
    ("change", "names"),
    [
        pytest.param(lambda folder: (folder / "b.pem").write_bytes(B_WHOLE), {"MBX1", "MBX2"}, id="added"),
        pytest.param(lambda folder: (folder / "a.pem").unlink(), set(), id="removed"),
        pytest.param(lambda folder: (folder / "a.pem").write_bytes(B_WHOLE), {"MBX2"}, id="rewritten"),
        pytest.param(_replace, {"MBX2"}, id="replaced by renaming"),
        pytest.param(_rewrite_with_the_old_time, set(), id="rewritten with its old time and size"),
        pytest.param(lambda folder: (folder / "a.pem").write_bytes(A_WHOLE[:40]), set(), id="half-written"),
        pytest.param(lambda folder: (folder / "a.pem").touch(), {"MBX1"}, id="touched"),
        pytest.param(lambda folder: (folder / "a.pem").rename(folder / "z.pem"), {"MBX1"}, id="renamed"),
        pytest.param(lambda folder: (folder / "a.pem").rename(folder / "a.txt"), set(), id="renamed away"),
        pytest.param(shutil.rmtree, set(), id="the folder removed"),
    ],
)
async def test_next_question_sees_a_change(
    watched: Watched, change: Callable[[Path], object], names: set[str]
) -> None:
    """Whatever happens to the folder, the very next answer is what it holds then."""
    watched.put({"a.pem": A_WHOLE})
    await watched.held()

    change(watched.folder)

    assert {one.certificate.common_names[0] for one in await watched.store.all()} == names


async def test_half_written_file_is_read_again(watched: Watched) -> None:
    """A file that was read while it was written is whole at the next question."""
    path = watched.folder / "a.pem"
    for end in (100, 300, 700, len(A_WHOLE)):
        path.write_bytes(A_WHOLE[:end])
        await watched.held()

    assert await watched.held() == {A.certificate.thumbprint: ("a.pem", USABLE)}


async def test_writes_within_a_tick_of_the_clock_are_seen(watched: Watched) -> None:
    """Two files of one length may bear the same stamp; what was last written is found all the same."""
    padding = b"#" * 2000
    texts = [(text + padding)[:2000] for text in (A_WHOLE, B_WHOLE)]
    names: list[str] = []
    for turn in range(50):
        (watched.folder / "a.pem").write_bytes(texts[turn % 2])
        names.extend(one.certificate.common_names[0] for one in await watched.store.all())

    assert names == ["MBX1", "MBX2"] * 25


async def test_settled_folder_is_not_read_until_it_changes(watched: Watched) -> None:
    """Once the file system's clock has moved on, a question costs stamps alone, and still sees a change."""
    watched.put({"a.pem": A_WHOLE})
    await watched.until_settled()
    state = watched.store._state

    assert list(await watched.held()) == [A.certificate.thumbprint]
    assert watched.store._state is state

    watched.put({"a.pem": B_WHOLE})

    assert list(await watched.held()) == [B.certificate.thumbprint]


async def test_vanished_folder_is_an_empty_store_until_it_is_back(watched: Watched) -> None:
    """A store folder that goes away is one warning; nothing stale is kept, and it recovers."""
    watched.put({"a.pem": A_WHOLE})
    await watched.held()
    watched.folder.rename(watched.folder.with_name("away"))

    assert await watched.held() == {}
    assert await watched.held() == {}
    assert watched.new_warnings() == [
        "certs: does not exist; make the folder, or correct certificate_store; until then no certificate can be loaded",
    ]

    watched.folder.with_name("away").rename(watched.folder)

    assert list(await watched.held()) == [A.certificate.thumbprint]
    assert watched.new_warnings() == []


@pytest.mark.parametrize("how", ["rename over", "move between two names", "other files come and go"])
async def test_certificate_that_is_always_there_is_never_missed(watched: Watched, how: str) -> None:
    """While files are swapped two hundred times, no question misses a certificate that stays."""
    watched.put({"a.pem": A_WHOLE, "stays.pem": B_WHOLE})
    await watched.held()
    done = threading.Event()

    def swap() -> None:
        names = ["a.pem", "b.pem"]
        try:
            for turn in range(200):
                here, there = (watched.folder / names[(turn + n) % 2] for n in (0, 1))
                if how == "rename over":
                    (watched.folder / ".new").write_bytes(A_WHOLE + b"\n" * (turn % 7))
                    (watched.folder / ".new").rename(watched.folder / "a.pem")
                elif how == "move between two names":
                    here.rename(there)
                else:
                    (watched.folder / ".new").write_bytes(der_of(A))
                    (watched.folder / ".new").rename(watched.folder / f"{turn}.cer")
                    (watched.folder / f"{turn - 3}.cer").unlink(missing_ok=True)
        finally:
            done.set()

    async def ask() -> int:
        asked = 0
        while not done.is_set() or asked < 20:
            for thumbprint in (A.certificate.thumbprint, B.certificate.thumbprint):
                found = await watched.store.find(thumbprint)
                assert found is not None, f"missed at question {asked}"
                assert found.key is USABLE
            asked += 1
            await asyncio.sleep(0)
        return asked

    swapping = asyncio.create_task(asyncio.to_thread(swap))
    asked = await asyncio.gather(*(ask() for _ in range(4)))
    await swapping

    assert sum(asked) >= 80
    assert watched.warnings == []


async def test_callers_share_one_reading(watched: Watched) -> None:
    """A hundred sessions that find the folder changed see the change, and do not read it one by one."""
    watched.put({"a.pem": A_WHOLE})

    found = await asyncio.gather(*(watched.store.find(A.certificate.thumbprint.lower()) for _ in range(100)))

    assert [one.file for one in found if one is not None] == ["a.pem"] * 100
    # The first question begins a reading before the others are asked; they share the second.
    assert watched.store._begun == 2


async def test_session_that_ends_while_it_reads_harms_no_other(watched: Watched) -> None:
    """A reading that is given up is not taken for an answer."""
    watched.put({"a.pem": A_WHOLE})
    first, second = (asyncio.create_task(watched.store.find(A.certificate.thumbprint)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()

    found = await second

    assert found is not None
    with pytest.raises(asyncio.CancelledError):
        await first


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(lambda _path: None, "does not exist; make the folder", id="missing"),
        pytest.param(lambda path: path.write_text(""), "is not a folder", id="a file"),
        pytest.param(lambda path: path.symlink_to(path), "cannot be listed (", id="cannot be listed"),
    ],
)
def test_start_without_a_store_is_refused(
    tmp_path: Path, make: Callable[[Path], object], message: str
) -> None:
    """A store that cannot be read stops the start with one line that says what would do."""
    folder = tmp_path / "certs"
    make(folder)

    with pytest.raises(StoreError) as caught:
        LocalComputerStore(folder).load()

    assert str(caught.value).startswith(f"{folder}: {message}")
    assert "\n" not in str(caught.value)


def test_start_with_an_empty_store_is_a_warning(watched: Watched) -> None:
    """An empty store serves, and says what makes a certificate."""
    watched.store.load()

    assert watched.warnings == ["certs: holds no certificate; `smtpd-anontls certificate new` makes one"]


async def test_context_presents_the_certificate_that_was_asked_for(watched: Watched) -> None:
    """Of several certificates in one file each is presented with its own key."""
    issued = [A, B, exchange_rsa(), weak_rsa()]
    watched.put({"all.pem": b"".join(i.certificate_pem + i.key_pem for i in issued)})

    for one in issued:
        context = await watched.store.context(one.certificate.thumbprint, TlsPolicy())
        assert presented(shake(context, client_context())) == one.certificate.thumbprint


async def test_context_is_kept_until_its_files_change(watched: Watched) -> None:
    """Sessions share a context, so that they can resume; a new certificate or key file makes a new one."""
    watched.put({"a.crt": A.certificate_pem, "a.key": A.key_pem})
    thumbprint, policy = A.certificate.thumbprint, TlsPolicy()
    first, *others = await asyncio.gather(*(watched.store.context(thumbprint, policy) for _ in range(20)))

    assert all(other is first for other in others)
    assert await watched.store.context(thumbprint, TlsPolicy(maximum=TlsVersion.TLSv1_3)) is not first

    watched.put({"b.pem": B_WHOLE})
    (watched.folder / "a.key").touch()

    assert await watched.store.context(thumbprint, policy) is first

    watched.put({"a.key": pem_key(A) + b"\n"})
    second = await watched.store.context(thumbprint, policy)

    assert second is not first

    watched.put({"a.crt": A.certificate_pem + b"\n"})

    assert await watched.store.context(thumbprint, policy) not in (first, second)


@pytest.mark.parametrize(
    ("files", "policy", "message"),
    [
        pytest.param(
            {}, TlsPolicy(), "the local computer store holds no certificate with thumbprint", id="gone"
        ),
        pytest.param(
            {"a.cer": A.certificate_pem},
            TlsPolicy(),
            "a.cer holds .*, but it has no private key",
            id="no key",
        ),
        pytest.param(
            {"a.pem": A_WHOLE},
            TlsPolicy(ciphers="FOO"),
            "a.pem: 'FOO' is no OpenSSL cipher string",
            id="ciphers",
        ),
    ],
)
async def test_context_that_cannot_be_made_says_why(
    watched: Watched, files: dict[str, bytes], policy: TlsPolicy, message: str
) -> None:
    """A certificate that went away or cannot be loaded is refused in one sentence."""
    watched.put({"other.pem": B_WHOLE, **files})

    with pytest.raises(StoreError, match=message):
        await watched.store.context(A.certificate.thumbprint, policy)


async def test_removed_certificate_is_no_longer_presented(watched: Watched) -> None:
    """A context does not outlive its certificate."""
    watched.put({"a.pem": A_WHOLE})
    await watched.store.context(A.certificate.thumbprint, TlsPolicy())
    (watched.folder / "a.pem").unlink()

    with pytest.raises(StoreError):
        await watched.store.context(A.certificate.thumbprint, TlsPolicy())


def test_keys_are_not_printed(watched: Watched) -> None:
    """Neither the store nor what it keeps shows a key."""
    watched.put({"a.pem": A_WHOLE})
    watched.store.load()

    shown = repr(vars(watched.store))
    assert "PRIVATE" not in shown
    assert "PrivateKey" not in shown


def mode(path: Path) -> int:
    """Return the permission bits of a file."""
    return stat.S_IMODE(path.stat().st_mode)


async def test_writes_a_new_certificate(tmp_path: Path) -> None:
    """Certificate and key are one file for the owner alone, in a folder for the owner alone."""
    folder = tmp_path / "state" / "certs"

    path = write_certificate(folder, "MBX1", A, services=["smtp", "IIS"])

    assert path == folder / f"MBX1-{A.certificate.thumbprint[:8]}.pem"
    assert (mode(folder), mode(path)) == (0o700, 0o600)
    assert sorted(each.name for each in folder.iterdir()) == [path.name, "services.yaml"]
    (one,) = await LocalComputerStore(folder).all()
    assert (one.key, one.services, one.certificate) == (USABLE, frozenset({"SMTP", "IIS"}), A.certificate)


async def test_writes_a_certificate_without_its_key(tmp_path: Path) -> None:
    """A scenario without private key has the certificate alone."""
    path = write_public_certificate(tmp_path, "MBX1", A)

    assert path.name == f"MBX1-{A.certificate.thumbprint[:8]}.cer"
    (one,) = await LocalComputerStore(tmp_path).all()
    assert (one.key, one.services) == (MISSING, None)


@pytest.mark.parametrize(
    ("server", "stem"),
    [("../evil", "evil"), (".hidden", "hidden"), ("a/b c", "a-b-c"), ("..", "certificate")],
)
def test_file_name_stays_in_the_folder(tmp_path: Path, server: str, stem: str) -> None:
    """A server's name never leads out of the store, nor to a file that the store passes over."""
    path = write_certificate(tmp_path, server, A)

    assert path.parent == tmp_path
    assert path.name == f"{stem}-{A.certificate.thumbprint[:8]}.pem"


def test_writing_where_it_cannot_be_says_so(tmp_path: Path) -> None:
    """A store that cannot be written is one line, and nothing is left behind."""
    (tmp_path / "certs").write_text("")

    for write in (
        lambda: write_certificate(tmp_path / "certs", "MBX1", A),
        lambda: enable(tmp_path / "certs", A.certificate.thumbprint, ["SMTP"]),
    ):
        with pytest.raises(StoreError, match=r"certs: cannot be written \(file exists\)"):
            write()

    assert [path.name for path in tmp_path.iterdir()] == ["certs"]


def test_writing_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    """Where the file system does not take the name, no half of it stays."""
    with pytest.raises(StoreError, match="cannot be written"):
        write_certificate(tmp_path, "x" * 250, A)

    assert list(tmp_path.iterdir()) == []


def test_writing_replaces_nothing(tmp_path: Path) -> None:
    """Where a file has the name already, the new one gets another."""
    first, second, third = (write_certificate(tmp_path, "MBX1", A) for _ in range(3))

    stem = f"MBX1-{A.certificate.thumbprint[:8]}"
    assert [path.name for path in (first, second, third)] == [f"{stem}.pem", f"{stem}-2.pem", f"{stem}-3.pem"]
    assert len(list(tmp_path.iterdir())) == 3


def test_services_file_that_cannot_be_read_is_not_replaced(tmp_path: Path) -> None:
    """What stands in the way of reading services.yaml is named, not written over."""
    (tmp_path / "services.yaml").mkdir()

    with pytest.raises(StoreError, match=r"services\.yaml: cannot be read"):
        enable(tmp_path, A.certificate.thumbprint, ["SMTP"])


LISTED = """\
# Ours.
{thumbprint}: [SMTP]   # the default

# Not ours.
{other}: [IIS]
"""


@pytest.mark.parametrize(
    ("before", "services", "after", "result"),
    [
        pytest.param(LISTED, ["IIS"], LISTED.replace("[SMTP]", "[IIS, SMTP]"), {"SMTP", "IIS"}, id="added"),
        pytest.param(LISTED, ["smtp"], LISTED, {"SMTP"}, id="had it already"),
        pytest.param(LISTED, ["None"], LISTED, {"SMTP"}, id="None takes nothing away"),
        pytest.param("{thumbprint}: [None]\n", ["SMTP"], "{thumbprint}: [SMTP]\n", {"SMTP"}, id="first one"),
        pytest.param(
            "{lower}: IIS\n", ["SMTP"], "{lower}: [IIS, SMTP]\n", {"IIS", "SMTP"}, id="spelling kept"
        ),
        pytest.param(
            "mbx1: [IIS]\n", ["SMTP"], "mbx1: [IIS]\n{thumbprint}: [SMTP]\n", {"SMTP"}, id="beside a name"
        ),
        pytest.param(
            "{other}: [IIS]\n",
            ["IIS"],
            "{other}: [IIS]\n{thumbprint}: [IIS, SMTP]\n",
            {"IIS", "SMTP"},
            id="not listed counted as SMTP",
        ),
    ],
)
def test_enables_for_services(
    tmp_path: Path, before: str, services: list[str], after: str, result: set[str]
) -> None:
    """Services are added and never taken away, and nothing else in the file changes."""
    thumbprint = A.certificate.thumbprint
    names = {"thumbprint": thumbprint, "lower": thumbprint.lower(), "other": B.certificate.thumbprint}
    path = tmp_path / "services.yaml"
    path.write_text(before.format(**names))

    enabled = enable(tmp_path, thumbprint, services)

    assert enabled == result
    assert path.read_text() == after.format(**names)


def test_enable_makes_the_file_where_there_is_none(tmp_path: Path) -> None:
    """A first services.yaml says in a comment what it is."""
    enable(tmp_path, A.certificate.thumbprint.lower(), ["SMTP"])

    comment, _, entry = (tmp_path / "services.yaml").read_text().strip().rpartition("\n")
    assert comment.startswith("# For which services")
    assert entry == f"{A.certificate.thumbprint}: [SMTP]"


@pytest.mark.parametrize(
    ("text", "thumbprint", "services", "message"),
    [
        pytest.param("", "mbx1", ["SMTP"], "'mbx1' is not a thumbprint", id="thumbprint"),
        pytest.param("", A.certificate.thumbprint, ["SMPT"], "'SMPT' is no service", id="service"),
        pytest.param(
            "a: [", A.certificate.thumbprint, ["SMTP"], r"services\.yaml: line \d", id="broken file"
        ),
        pytest.param("[]", A.certificate.thumbprint, ["SMTP"], "not a mapping", id="list"),
        pytest.param(
            f"{A.certificate.thumbprint}: [SMPT]",
            A.certificate.thumbprint,
            ["IIS"],
            "'SMPT' is no",
            id="mistake there",
        ),
    ],
)
def test_enable_refuses_and_leaves_the_file(
    tmp_path: Path, text: str, thumbprint: str, services: list[str], message: str
) -> None:
    """A mistake is named, and the file stays as it was."""
    (tmp_path / "services.yaml").write_text(text)

    with pytest.raises(StoreError, match=message):
        enable(tmp_path, thumbprint, services)

    assert (tmp_path / "services.yaml").read_text() == text


async def test_enabling_is_seen_at_once(watched: Watched) -> None:
    """The next question finds the certificate enabled."""
    watched.put({"a.pem": A_WHOLE, "services.yaml": f"{A.certificate.thumbprint}: [None]\n".encode()})
    before = await watched.store.find(A.certificate.thumbprint)
    enable(watched.folder, A.certificate.thumbprint, ["SMTP"])
    after = await watched.store.find(A.certificate.thumbprint)

    assert before is not None
    assert after is not None
    assert (before.enabled_for_smtp, after.enabled_for_smtp) == (False, True)


async def test_thumbprint_is_that_of_the_octets(watched: Watched) -> None:
    """The index is by the SHA-1 of the DER, whatever the file's form."""
    watched.put({"a.der": der_of(A)})

    assert list(await watched.held()) == [thumbprint_of(der_of(A))]
