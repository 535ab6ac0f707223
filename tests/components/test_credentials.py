"""The user file and the command ``credential``."""

from __future__ import annotations

import asyncio
import os
import re
import stat
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpd_anontls.authentication.credentials import (
    NtHash,
    UnknownUser,
    User,
    UserFile,
    UserFileError,
    UsersUnavailable,
    account_name,
    understand,
    with_user,
    without_user,
    write_text,
)
from smtpd_anontls.domain.account_names import AccountName

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HASH = "8846F7EAEE8FB117AD06BDD830B7586C"  # The widely known one of "password".
OTHER_HASH = "A4F49C406510BDCAB6824EE7C30FD852"


def entry(found: object) -> str:
    """Return the entry that was found, as it is written."""
    assert isinstance(found, User), found
    return found.written


def found_by(users: UserFile, name: str) -> object:
    """Ask the file."""
    return asyncio.run(users.find(AccountName.parse(name)))


# -- what a file says

MANY = f"""\
# comment

CONTOSO\\alice:nt:{HASH}
alice:nt:{HASH}
FABRIKAM\\alice:nt:{HASH}
  bob@contoso.test : nt:{HASH.lower()}
FABRIKAM\\carol:nt:{HASH}
CONTOSO\\carol:nt:{HASH}
"""


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        pytest.param("CONTOSO\\alice", "CONTOSO\\alice", id="its very domain"),
        pytest.param(
            "fabrikam.test\\ALICE", "FABRIKAM\\alice", id="its domain by another name, in another case"
        ),
        pytest.param("alice", "alice", id="without a domain: the entry without one"),
        pytest.param("NORTHWIND\\alice", "alice", id="a domain of no entry: the entry for all"),
        pytest.param("CONTOSO\\bob", "bob@contoso.test", id="a UPN serves the domain"),
        pytest.param("bob", "bob@contoso.test", id="no domain: the one entry with one"),
        pytest.param("carol", "FABRIKAM\\carol", id="no domain, several: the first"),
        pytest.param("CONTOSO\\carol", "CONTOSO\\carol", id="the domain decides"),
        pytest.param("NORTHWIND\\carol", None, id="another domain"),
        pytest.param("dave", None, id="nobody"),
    ],
)
def test_which_entry_counts(asked: str, expected: str | None) -> None:
    """The very domain first, then an entry without one, then for a client without one the first."""
    listed = understand(MANY.encode(), "users.txt")
    user = listed.find(AccountName.parse(asked))

    assert listed.warnings == ()
    assert (None if user is None else user.written) == expected


@pytest.mark.parametrize(
    ("line", "warning"),
    [
        ("alice", "this is no entry; write USER:nt:"),
        ("alice:Secret1", "this is no entry; write USER:nt:"),
        (f"alice:{HASH}", "this is no entry; write USER:nt:"),
        (f"alice:nt:{HASH}0", "this is no entry; write USER:nt:"),
        (f":nt:{HASH}", "'' is not a user name; write alice, CONTOSO\\alice or alice@contoso.test"),
        (f"A\\B\\c:nt:{HASH}", "'A\\\\B\\\\c' is not a user name;"),
        (f"\u202ealice:nt:{HASH}", "'\\u202ealice' is not a user name;"),
        (f"Bob@contoso.test:nt:{HASH}", "a second entry for CONTOSO\\Bob; line 1 counts, remove one"),
    ],
)
def test_a_broken_line_is_one_warning(line: str, warning: str) -> None:
    """It says where and what would do, repeats no secret, and spoils no other line."""
    text = f"CONTOSO\\bob:nt:{HASH}\n# comment\n{line}\nlast:nt:{HASH}\n"
    listed = understand(text.encode(), "users.txt")

    assert [user.written for user in listed.users] == ["CONTOSO\\bob", "last"]
    assert len(listed.warnings) == 1
    assert listed.warnings[0].startswith(f"users.txt:3: {warning}")
    assert "Secret1" not in listed.warnings[0]
    assert HASH not in listed.warnings[0]


def test_a_file_that_is_no_text_is_one_warning() -> None:
    """What PowerShell's > writes is said to be that."""
    listed = understand("alice".encode("utf-16"), "users.txt")

    assert listed.users == ()
    assert listed.warnings == ("users.txt:1: this is UTF-16; save the file as UTF-8",)


def test_a_byte_order_mark_and_carriage_returns_are_no_mistake() -> None:
    """As Notepad saves it."""
    listed = understand(f"\ufeff# users\r\nalice:nt:{HASH}\r\n".encode(), "users.txt")

    assert [(user.written, user.line) for user in listed.users] == [("alice", 2)]
    assert listed.warnings == ()


@given(st.binary(max_size=200))
def test_any_octets_can_be_understood(octets: bytes) -> None:
    """There is never an exception, and a warning names its line."""
    assert all(warning.startswith("users.txt:") for warning in understand(octets, "users.txt").warnings)


# -- editing it


def test_a_change_keeps_every_other_line() -> None:
    """Comments, order and mistakes stay as they are."""
    text = f"# mine\nalice:nt:{HASH}\nbroken\n\nbob:nt:{HASH}\r\n"

    assert (
        with_user(text, "ALICE", NtHash(bytes(16)))
        == f"# mine\nALICE:nt:{'00' * 16}\nbroken\n\nbob:nt:{HASH}\r\n"
    )
    assert (
        with_user(text, "bob", NtHash(bytes(16)))
        == f"# mine\nalice:nt:{HASH}\nbroken\n\nbob:nt:{'00' * 16}\r\n"
    )
    assert with_user(text, "carol", NtHash(bytes(16))) == f"{text}carol:nt:{'00' * 16}\n"
    assert with_user("# no end", "carol", NtHash(bytes(16))) == f"# no end\ncarol:nt:{'00' * 16}\n"
    assert without_user(text, AccountName.parse("alice")) == f"# mine\nbroken\n\nbob:nt:{HASH}\r\n"


def test_a_new_file_says_what_it_is() -> None:
    """Who opens it finds a comment first."""
    text = with_user("", "alice", NtHash(bytes(16)))

    assert text.startswith("# The users of NTLM and LOGIN")
    assert text.endswith(f"\nalice:nt:{'00' * 16}\n")


def test_removing_takes_every_entry_of_the_name() -> None:
    """Else a second one, which did not count until now, would let the user in again."""
    text = f"CONTOSO\\alice:nt:{HASH}\nalice@contoso.test:nt:{HASH}\nalice:nt:{HASH}\n"

    assert without_user(text, AccountName.parse("contoso\\alice")) == f"alice:nt:{HASH}\n"
    assert without_user(text, AccountName.parse("bob")) is None
    assert without_user(f"alice:nt:{HASH}", AccountName.parse("alice")) == ""


@given(
    st.lists(st.sampled_from(["# c", "", "broken", f"bob:nt:{HASH}", f"A\\alice:nt:{HASH}"]), max_size=6),
    st.sampled_from(["alice", "A\\alice", "alice@a.test", "bob"]),
)
def test_what_was_added_is_found_and_what_was_removed_is_not(lines: list[str], name: str) -> None:
    """Whatever stood there before."""
    added = with_user("\n".join(lines), name, NtHash(bytes(16)))
    user = understand(added.encode(), "").named(account_name(name))

    assert user is not None
    assert user.nt_hash.octets == bytes(16)
    removed = without_user(added, account_name(name))
    assert removed is not None
    assert understand(removed.encode(), "").named(account_name(name)) is None


# -- the file as a receiver reads it


def test_a_change_counts_at_the_next_question(tmp_path: Path) -> None:
    """The receiver runs on, however fast one change follows the other."""
    path = tmp_path / "users.txt"
    users = UserFile(path)
    path.write_text(f"alice:nt:{HASH}\n")

    assert entry(found_by(users, "alice")) == "alice"
    path.write_text(f"alicf:nt:{HASH}\n")
    assert isinstance(found_by(users, "alice"), UnknownUser)
    assert entry(found_by(users, "alicf")) == "alicf"
    path.unlink()
    assert isinstance(found_by(users, "alicf"), UsersUnavailable)


def test_a_file_that_is_old_enough_is_read_once(tmp_path: Path) -> None:
    """A question costs no more than a look at its stamp."""
    path = tmp_path / "users.txt"
    path.write_text(f"alice:nt:{HASH}\n")
    users = UserFile(path)
    while users.load() is not users.load() or users._current() is None:
        pass

    assert users._current() is users.load()
    assert found_by(users, "alice") is users.load().users[0]


def test_an_unknown_user_is_told_from_one_of_another_domain(tmp_path: Path) -> None:
    """The record says which entries come near; no more than anybody reads."""
    path = tmp_path / "users.txt"
    path.write_text("".join(f"D{number}\\alice:nt:{HASH}\n" for number in range(7)))
    users = UserFile(path)

    assert found_by(users, "bob") == UnknownUser("users.txt has no entry for bob")
    assert found_by(users, "CONTOSO\\") == UnknownUser("the client named no user")
    assert found_by(users, "CONTOSO\\alice") == UnknownUser(
        "users.txt has no entry for CONTOSO\\alice; "
        "it has D0\\alice, D1\\alice, D2\\alice, D3\\alice, D4\\alice, …"
    )


@pytest.mark.parametrize(
    ("prepare", "detail"),
    [
        (lambda _: None, "users.txt does not exist; `credential add` makes it"),
        (lambda path: path.mkdir(), "users.txt cannot be read (is a directory)"),
        (lambda path: path.write_bytes(b"#" * 1024 * 1025), "users.txt is larger than 1024 KiB"),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, prepare: Callable[[Path], object], detail: str) -> None:
    """It is no exception to the peer, and says what is wrong."""
    path = tmp_path / "users.txt"
    prepare(path)
    users = UserFile(path)

    assert found_by(users, "alice") == UsersUnavailable(f"the user file cannot be asked: {detail}")
    with pytest.raises(UserFileError, match=re.escape(detail)):
        users.load()


def test_each_mistake_is_warned_of_once(tmp_path: Path) -> None:
    """Until it has been mended and made again."""
    path = tmp_path / "users.txt"
    warnings: list[str] = []
    users = UserFile(path, on_warning=warnings.append)
    for text in ("broken\n", "broken\n# more\n", "# mended\n", "broken\n"):
        path.write_text(text)
        found_by(users, "alice")
        found_by(users, "bob")

    assert [warning.partition(";")[0] for warning in warnings] == ["users.txt:1: this is no entry"] * 2
    assert users.path == path


def test_a_new_file_is_its_owners_alone(tmp_path: Path) -> None:
    """Whatever the umask; one that is there keeps its mode."""
    before = os.umask(0)
    try:
        write_text(tmp_path / "new" / "users.txt", "# one\n")
    finally:
        os.umask(before)
    path = tmp_path / "new" / "users.txt"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o640)
    write_text(path, "# two\n")

    assert (stat.S_IMODE(path.stat().st_mode), path.read_text()) == (0o640, "# two\n")
    assert [each.name for each in path.parent.iterdir()] == ["users.txt"]
