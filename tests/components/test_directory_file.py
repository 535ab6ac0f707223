"""The embedded directory, in files that change while it is asked."""

from __future__ import annotations

import asyncio
import re
import struct
from typing import TYPE_CHECKING

import pytest

from smtpd_anontls.directory.file import ATTRIBUTE, MAX_FILE_BYTES, DirectoryError, FileDirectory
from smtpd_anontls.domain.directory_value import Answer, Named, Unreadable, Unset, ValueForm
from tests.components.handshake import exchange_ec, fresh

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

A = exchange_ec()
B = fresh("MBX2")
A_THUMB, B_THUMB = A.certificate.thumbprint, B.certificate.thumbprint
PEM, DER, SERIALIZED, THUMBPRINT = ValueForm.PEM, ValueForm.DER, ValueForm.SERIALIZED, ValueForm.THUMBPRINT


def serialized(der: bytes, friendly_name: str) -> bytes:
    """Return a certificate as Windows serializes it: property records, the certificate last."""
    name = f"{friendly_name}\0".encode("utf-16-le")
    records = ((0x03, bytes(20)), (0x0B, name), (0x20, der))
    return b"".join(struct.pack("<III", kind, 1, len(value)) + value for kind, value in records)


class Asked:
    """A directory file in a folder, and the warnings that its directory gave."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "directory.yaml"
        self.warnings: list[str] = []
        self.directory = FileDirectory(self.path, on_warning=self.warnings.append)

    def write(self, text: str) -> None:
        """Write the directory file."""
        self.path.write_text(text)

    def put(self, name: str, content: bytes) -> None:
        """Write a file beside it."""
        (self.path.parent / name).write_bytes(content)

    async def answer(self, server: str = "MBX1") -> Answer:
        """Ask for the attribute of a server."""
        return await self.directory.internal_tls_certificate(server)

    async def reason(self, server: str = "MBX1") -> str:
        """Ask, and return why the answer could not be read."""
        answer = await self.answer(server)
        assert isinstance(answer, Unreadable), answer
        return answer.reason


@pytest.fixture
def asked(tmp_path: Path) -> Asked:
    """Return a directory whose file is not there yet."""
    return Asked(tmp_path)


@pytest.mark.parametrize(
    ("entry", "answer"),
    [
        pytest.param(f"{{ {ATTRIBUTE}: {A_THUMB} }}", Named(A_THUMB, THUMBPRINT), id="thumbprint"),
        pytest.param(f"{{ {ATTRIBUTE}: {A_THUMB.lower()} }}", Named(A_THUMB, THUMBPRINT), id="lower case"),
        pytest.param(
            f"{{ {ATTRIBUTE}: '{' '.join(re.findall('..', A_THUMB))}' }}",
            Named(A_THUMB, THUMBPRINT),
            id="as Windows shows it",
        ),
        pytest.param(f"{{ {ATTRIBUTE}: {'1' * 40} }}", Named("1" * 40, THUMBPRINT), id="digits alone"),
        pytest.param(f"{{ {ATTRIBUTE}: {{ file: a.cer }} }}", Named(A_THUMB, DER), id="DER"),
        pytest.param(f"{{ {ATTRIBUTE}: {{ file: a.pem }} }}", Named(A_THUMB, PEM), id="PEM"),
        pytest.param(
            f"{{ {ATTRIBUTE}: {{ file: a.sst }} }}",
            Named(A_THUMB, SERIALIZED, "Microsoft Exchange"),
            id="Windows serialized",
        ),
        pytest.param(
            f"{{ {ATTRIBUTE}: {{ file: a.txt }} }}", Named(A_THUMB, THUMBPRINT), id="thumbprint in a file"
        ),
        pytest.param(f"{{ {ATTRIBUTE}: {{ file: sub/../a.cer }} }}", Named(A_THUMB, DER), id="path"),
        pytest.param(f"{{ {ATTRIBUTE}: null }}", Unset(), id="null"),
        pytest.param("{}", Unset(), id="an object without the attribute"),
        pytest.param(
            f"{{ readable: true, {ATTRIBUTE}: {A_THUMB} }}", Named(A_THUMB, THUMBPRINT), id="readable"
        ),
    ],
)
async def test_reads_every_form(asked: Asked, entry: str, answer: Answer) -> None:
    """An entry is a thumbprint, a certificate in a file, or null."""
    (asked.path.parent / "sub").mkdir()
    asked.put("a.cer", A.certificate.der)
    asked.put("a.pem", A.certificate_pem)
    asked.put("a.sst", serialized(A.certificate.der, "Microsoft Exchange"))
    asked.put("a.txt", f"{A_THUMB}\n".encode())
    asked.write(f"MBX1: {entry}\n")

    assert await asked.answer() == answer
    assert asked.warnings == []


NOT_UNDERSTOOD = "its value was not understood: "


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param(
            "MBX1: { readable: false }",
            "access to the attribute is denied, or what it holds is not known; directory.yaml says readable: false",
            id="denied",
        ),
        pytest.param(
            f"MBX1: {{ readable: false, {ATTRIBUTE}: {A_THUMB} }}",
            "access to the attribute is denied, or what it holds is not known",
            id="denied, though set",
        ),
        pytest.param("MBX2: {}", "no such object: directory.yaml has no entry for MBX1", id="no entry"),
        pytest.param("", "no such object: ", id="empty file"),
        pytest.param(
            "MBX1:", f"{NOT_UNDERSTOOD}None is no entry; write {{{ATTRIBUTE}: THUMBPRINT}}", id="entry null"
        ),
        pytest.param(f"MBX1: {A_THUMB}", f"{NOT_UNDERSTOOD}'", id="entry without attribute"),
        pytest.param(
            "MBX1: { readable: nope }",
            f"{NOT_UNDERSTOOD}readable is 'nope'; write true or false",
            id="readable",
        ),
        pytest.param(
            f"MBX1: {{ msExchTypo: {A_THUMB} }}", f"{NOT_UNDERSTOOD}'msExchTypo' is no key", id="unknown key"
        ),
        pytest.param(
            f"MBX1: {{ {ATTRIBUTE}: 12AB }}", f"{NOT_UNDERSTOOD}'12AB' is not a thumbprint", id="short"
        ),
        pytest.param(
            f"MBX1: {{ {ATTRIBUTE}: 7 }}", f"{NOT_UNDERSTOOD}7 is neither a thumbprint", id="number"
        ),
        pytest.param(f"MBX1: {{ {ATTRIBUTE}: [a] }}", f"{NOT_UNDERSTOOD}['a'] is neither", id="list"),
        pytest.param(
            f"MBX1: {{ {ATTRIBUTE}: {{ path: a }} }}",
            f"{NOT_UNDERSTOOD}{{'path': 'a'}} is neither",
            id="mapping",
        ),
        pytest.param(f"MBX1: {{ {ATTRIBUTE}: {{ file: }} }}", NOT_UNDERSTOOD, id="file without a name"),
        pytest.param(f'MBX1: {{ {ATTRIBUTE}: {{ file: "a\\0b" }} }}', NOT_UNDERSTOOD, id="NUL in a name"),
        pytest.param(
            f"MBX1: {{ {ATTRIBUTE}: {{ file: gone.cer }} }}",
            "gone.cer, which directory.yaml names for it, does not exist",
            id="file missing",
        ),
        pytest.param(
            f"MBX1: {{ {ATTRIBUTE}: {{ file: /nowhere/at/all/gone.cer }} }}",
            "gone.cer, which directory.yaml names for it, does not exist",
            id="absolute path",
        ),
        pytest.param(
            f"MBX1: {{ {ATTRIBUTE}: {{ file: sub }} }}",
            "sub, which directory.yaml names for it, ",
            id="file is a folder",
        ),
        pytest.param(
            f"MBX1: {{ {ATTRIBUTE}: {{ file: large.cer }} }}",
            "large.cer, which directory.yaml names for it, is larger than 256 KiB",
            id="file too large",
        ),
        pytest.param(
            f"MBX1: {{ {ATTRIBUTE}: {{ file: broken.cer }} }}",
            "its value was not understood (5 octets, ",
            id="file broken",
        ),
        pytest.param("MBX1: {", "directory.yaml: line ", id="broken YAML"),
        pytest.param(
            "- MBX1",
            "directory.yaml: it is not a mapping; write one entry for each server",
            id="list of servers",
        ),
        pytest.param(
            "true: {}", "directory.yaml: True is no server name; write it in quotes", id="boolean for a name"
        ),
        pytest.param(
            "#" * (MAX_FILE_BYTES + 1), "directory.yaml: is larger than 1024 KiB", id="directory too large"
        ),
    ],
)
async def test_says_why_it_could_not_be_read(asked: Asked, text: str, reason: str) -> None:
    """Whatever is wrong is a reason on one line, and names files without their folder."""
    (asked.path.parent / "sub").mkdir()
    asked.put("large.cer", bytes(256 * 1024 + 1))
    asked.put("broken.cer", b"hello")
    asked.write(text)

    said = await asked.reason()

    assert said.startswith(reason)
    assert "\n" not in said
    assert str(asked.path.parent) not in said
    assert "/nowhere" not in said


async def test_file_that_is_not_understood_is_named(asked: Asked) -> None:
    """The reason names the file whose octets are no certificate."""
    asked.put("broken.cer", b"hello")
    asked.write(f"MBX1: {{ {ATTRIBUTE}: {{ file: broken.cer }} }}")

    assert (await asked.reason()).endswith(", in broken.cer")


async def test_missing_file_says_what_writes_it(asked: Asked) -> None:
    """Without a directory file every object is unreadable, and one warning says what would do."""
    said = "directory.yaml: does not exist; `smtpd-anontls certificate enable` writes it"

    assert [await asked.reason(), await asked.reason("MBX2")] == [said, said]
    assert asked.warnings == [said]


async def test_names_match_in_any_case(asked: Asked) -> None:
    """A server is found as a CN is, and may be called a number."""
    asked.write(f"mbx1: {{ {ATTRIBUTE}: {A_THUMB} }}\n2019: {{ {ATTRIBUTE}: {B_THUMB} }}\n")

    assert await asked.answer("MBX1") == Named(A_THUMB, THUMBPRINT)
    assert await asked.answer("2019") == Named(B_THUMB, THUMBPRINT)
    assert asked.directory.has_entry("Mbx1")
    assert not asked.directory.has_entry("MBX2")


async def test_second_entry_of_a_server_is_one_warning(asked: Asked) -> None:
    """Of two spellings the first counts, and one warning names both until the file changes."""
    asked.write(f"MBX1: {{ {ATTRIBUTE}: {A_THUMB} }}\nmbx1: {{}}\n")
    answers = [await asked.answer(), await asked.answer("mbx1")]
    asked.path.touch()
    answers.append(await asked.answer())

    assert answers == [Named(A_THUMB, THUMBPRINT)] * 3
    assert asked.warnings == [
        "directory.yaml: mbx1 is a second entry for MBX1, which alone counts; remove one"
    ]


async def test_one_broken_entry_harms_no_other(asked: Asked) -> None:
    """A mistake in one entry leaves the others readable."""
    asked.write(f"MBX1: 7\nMBX2: {{ {ATTRIBUTE}: {B_THUMB} }}\n")

    assert (await asked.reason()).startswith(NOT_UNDERSTOOD)
    assert await asked.answer("MBX2") == Named(B_THUMB, THUMBPRINT)


async def test_swapped_values_are_seen_at_once(asked: Asked) -> None:
    """Writes within one tick of the file system's clock, of one length, are all seen."""
    answers = []
    for turn in range(40):
        asked.write(f"MBX1: {{ {ATTRIBUTE}: {(A_THUMB, B_THUMB)[turn % 2]} }}\n")
        answers.append(await asked.answer())

    assert answers == [Named(A_THUMB, THUMBPRINT), Named(B_THUMB, THUMBPRINT)] * 20


async def test_change_of_a_named_file_is_seen_at_once(asked: Asked) -> None:
    """The certificate that an entry names is looked at with every question."""
    asked.write(f"MBX1: {{ {ATTRIBUTE}: {{ file: a.cer }} }}\n")
    asked.put("a.cer", A.certificate.der)
    answers = [await asked.answer()]
    asked.put("a.cer", B.certificate.der)
    answers.append(await asked.answer())
    (asked.path.parent / "a.cer").unlink()
    gone = await asked.reason()
    asked.put("a.cer", A.certificate_pem)
    answers.append(await asked.answer())

    assert answers == [Named(A_THUMB, DER), Named(B_THUMB, DER), Named(A_THUMB, PEM)]
    assert gone == "a.cer, which directory.yaml names for it, does not exist"


async def test_settled_files_are_not_read_until_they_change(asked: Asked) -> None:
    """Once the file system's clock has moved on, a question costs stamps alone, and still sees a change."""
    asked.put("a.cer", A.certificate.der)
    asked.write(f"MBX1: {{ {ATTRIBUTE}: {{ file: a.cer }} }}\n")
    async with asyncio.timeout(10):
        while (entries := asked.directory._file.current()) is None or not entries.is_current("MBX1"):
            await asked.answer()
            await asyncio.sleep(0.01)

    assert await asked.answer() == Named(A_THUMB, DER)
    assert asked.directory._file.current() is entries

    asked.put("a.cer", B.certificate.der)

    assert await asked.answer() == Named(B_THUMB, DER)


async def test_directory_that_breaks_and_recovers(asked: Asked) -> None:
    """A broken file is one warning for each state of it; nothing stale is answered."""
    asked.write(f"MBX1: {{ {ATTRIBUTE}: {A_THUMB} }}\n")
    answers = [await asked.answer()]
    asked.write("MBX1: {\n")
    broken = {await asked.reason(), await asked.reason()}
    asked.path.unlink()
    gone = {await asked.reason(), await asked.reason()}
    asked.write(f"MBX1: {{ {ATTRIBUTE}: null }}\n")
    answers.append(await asked.answer())

    assert answers == [Named(A_THUMB, THUMBPRINT), Unset()]
    assert asked.warnings == [*broken, *gone]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(lambda _path: None, "does not exist; `smtpd-anontls", id="missing"),
        pytest.param(lambda path: path.mkdir(), "", id="a folder"),
        pytest.param(lambda path: path.write_text("a: ["), "line ", id="broken"),
        pytest.param(lambda path: path.write_bytes(b"\xff\xfea\0"), "line 1: this is UTF-16", id="UTF-16"),
    ],
)
def test_start_without_a_directory_is_refused(
    asked: Asked, make: Callable[[Path], object], message: str
) -> None:
    """A directory file that cannot be read stops the start with one line."""
    make(asked.path)

    with pytest.raises(DirectoryError) as caught:
        asked.directory.load()

    assert str(caught.value).startswith(f"{asked.path}: {message}")
    assert "\n" not in str(caught.value)


def test_start_with_a_directory_says_its_warnings(asked: Asked) -> None:
    """A file that can be read is taken, with its warnings."""
    asked.write("MBX1: {}\nmbx1: {}\n")

    asked.directory.load()

    assert len(asked.warnings) == 1


COMMENTED = f"""\
# Written by hand.
mbx1: {{ {ATTRIBUTE}: {A_THUMB} }}   # the default

MBX2:
  # Not ours to read.
  readable: false
MBX3: {{ {ATTRIBUTE}: null }}
"""


@pytest.mark.parametrize(
    ("server", "after"),
    [
        pytest.param("MBX1", COMMENTED.replace(A_THUMB, B_THUMB), id="replaced, its name as it was spelled"),
        pytest.param("MBX3", COMMENTED.replace("null", B_THUMB), id="was not set"),
        pytest.param(
            "MBX2",
            COMMENTED.replace("readable: false\n", f"readable: false\n  {ATTRIBUTE}: {B_THUMB}\n"),
            id="may be written though not read",
        ),
        pytest.param("MBX4", f"{COMMENTED}MBX4: {{{ATTRIBUTE}: {B_THUMB}}}\n", id="a new object"),
    ],
)
async def test_writing_changes_the_value_alone(asked: Asked, server: str, after: str) -> None:
    """Naming a certificate leaves every comment and every other entry as it was."""
    asked.write(COMMENTED)
    asked.path.chmod(0o640)

    asked.directory.set_internal_tls_certificate(server, B_THUMB)

    assert asked.path.read_text() == after
    assert asked.path.stat().st_mode & 0o777 == 0o640
    if server != "MBX2":
        assert await asked.answer(server) == Named(B_THUMB, THUMBPRINT)


async def test_writing_replaces_a_whole_entry(asked: Asked) -> None:
    """An entry can be made anything that an entry may be."""
    asked.write(COMMENTED)

    asked.directory.write_entry("MBX1", {"readable": False})
    asked.directory.write_entry("MBX2", {ATTRIBUTE: {"file": "b.cer"}})
    asked.directory.write_entry("MBX3", {ATTRIBUTE: None})
    asked.put("b.cer", B.certificate.der)

    assert (await asked.reason()).startswith("access to the attribute is denied")
    assert await asked.answer("MBX2") == Named(B_THUMB, DER)
    assert await asked.answer("MBX3") == Unset()
    assert asked.path.read_text().startswith("# Written by hand.\nmbx1: ")


@pytest.mark.parametrize("entry", ["7", "[]", "text", ""])
async def test_writing_mends_an_entry_of_another_shape(asked: Asked, entry: str) -> None:
    """An entry that was not understood is replaced by one that is."""
    asked.write(f"MBX1: {entry}\n")

    asked.directory.set_internal_tls_certificate("mbx1", A_THUMB)

    assert await asked.answer() == Named(A_THUMB, THUMBPRINT)


async def test_writing_makes_the_file(tmp_path: Path) -> None:
    """A first entry makes the file, with a comment that says what it is."""
    asked = Asked(tmp_path / "state")

    asked.directory.set_internal_tls_certificate("MBX1", A_THUMB)
    asked.directory.write_entry("MBX2", {ATTRIBUTE: None})

    lines = asked.path.read_text().splitlines()
    assert lines[0].startswith("# The embedded directory")
    assert lines[-2:] == [f"MBX1: {{{ATTRIBUTE}: {A_THUMB}}}", f"MBX2: {{{ATTRIBUTE}: null}}"]
    assert await asked.answer() == Named(A_THUMB, THUMBPRINT)


@pytest.mark.parametrize(
    ("text", "message"),
    [("MBX1: {", "line "), ("[]", "it is not a mapping"), ("&a MBX1: {}\nMBX1: {}\n", "line 2: ")],
)
def test_writing_never_buries_a_mistake(asked: Asked, text: str, message: str) -> None:
    """A file with a mistake is left as it is, and the mistake is named."""
    asked.write(text)

    with pytest.raises(DirectoryError) as caught:
        asked.directory.set_internal_tls_certificate("MBX1", A_THUMB)

    assert str(caught.value).startswith(f"{asked.path}: {message}")
    assert asked.path.read_text() == text


def test_writing_never_replaces_what_cannot_be_read(asked: Asked) -> None:
    """A file that is too large to be a directory is left as it is."""
    asked.write("#" * (MAX_FILE_BYTES + 1))

    with pytest.raises(DirectoryError, match="is larger than 1024 KiB"):
        asked.directory.set_internal_tls_certificate("MBX1", A_THUMB)

    assert asked.path.stat().st_size == MAX_FILE_BYTES + 1


def test_writing_where_it_cannot_be_says_so(tmp_path: Path) -> None:
    """A folder that cannot be made is one line."""
    (tmp_path / "state").write_text("")
    asked = Asked(tmp_path / "state")

    with pytest.raises(DirectoryError, match=r"directory\.yaml: cannot be "):
        asked.directory.write_entry("MBX1", {})


async def test_shows_the_server_object(asked: Asked) -> None:
    """What people see has the name, whether it is readable and why not, and the certificate."""
    asked.put("a.sst", serialized(A.certificate.der, "Microsoft Exchange"))
    asked.write(f"mbx1: {{ {ATTRIBUTE}: {{ file: a.sst }} }}\nMBX2: {{ {ATTRIBUTE}: null }}\n")

    shown = [(await asked.directory.show(server)).as_json() for server in ("MBX1", "MBX2", "MBX3")]

    nothing = {"value_form": None, "thumbprint": None, "friendly_name": None}
    assert shown == [
        {
            "server": "MBX1",
            "dn": "CN=mbx1",
            "readable": True,
            "reason": None,
            "value_form": "serialized",
            "thumbprint": A_THUMB,
            "friendly_name": "Microsoft Exchange",
        },
        {"server": "MBX2", "dn": "CN=MBX2", "readable": True, "reason": None, **nothing},
        {
            "server": "MBX3",
            "dn": "CN=MBX3",
            "readable": False,
            "reason": "no such object: directory.yaml has no entry for MBX3",
            **nothing,
        },
    ]
