r"""The users of NTLM and LOGIN: a file with one line for each, which holds an NT hash and no password.

::

    # Comments and empty lines stay.
    CONTOSO\alice:nt:8846F7EAEE8FB117AD06BDD830B7586C
    bob@contoso.test:nt:…
    carol:nt:…

An entry with a domain is for clients that name that domain, or none; one without is for clients of any
domain.  Where several are for a client, the one with its very domain counts, then one without a domain,
then the first.  Case does not matter.  An NT hash is as good as the password in NTLM, so the file is its
owner's alone.

Every question first looks at the file's stamp, so an answer is what the file says now.
"""

from __future__ import annotations

import asyncio
import hmac
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from smtpd_anontls.authentication.ntlm_messages import md4
from smtpd_anontls.domain.account_names import AccountName
from smtpd_anontls.domain.printable import printable
from smtpd_anontls.notation.edit import write_atomically
from smtpd_anontls.notation.snapshot import UnreadableFileError, reason_of, stamp_of, take
from smtpd_anontls.notation.yaml12 import YamlError, decode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from smtpd_anontls.notation.snapshot import Snapshot

MAX_FILE_BYTES = 1024 * 1024
OWNER_ONLY = 0o600

_HASH_SIZE = 16
_SECRET = re.compile(r"nt:([0-9A-Fa-f]{32})")
_FORM = "write USER:nt: and the 32 hexadecimal digits of the NT hash, as `credential add` does"
_HEADER = """\
# The users of NTLM and LOGIN, each with the NT hash of its password: keep it from others.
# `smtpd-anontls credential add` and `credential remove` change it; comments stay.
"""
_LONGEST_SHOWN = 5  # Names that a sentence lists.


class UserFileError(Exception):
    """The file cannot be read or written; one line says what and what would do."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class NtHash:
    """The MD4 of a password in UTF-16: all that NTLM asks for, so it is shown nowhere."""

    octets: bytes

    @classmethod
    def of(cls, password: str) -> NtHash:
        """Return the hash of *password* (NTOWFv1 of MS-NLMP section 3.3.1)."""
        return cls(md4(password.encode("utf-16-le", "surrogatepass")))

    def __repr__(self) -> str:
        return "***"

    def matches(self, other: NtHash) -> bool:
        """Whether both are of the same password, told in the same time whatever the answer."""
        return hmac.compare_digest(self.octets, other.octets)


# What a password is held against where there is no user, so that the answer takes as long.
NOBODYS_HASH = NtHash(bytes(_HASH_SIZE))


@dataclass(frozen=True, slots=True)
class User:
    """An entry of the file."""

    name: AccountName
    written: str  # The name as the file has it.
    line: int
    nt_hash: NtHash = field(repr=False)


@dataclass(frozen=True, slots=True)
class UnknownUser:
    """No entry is for the client; *detail* is a clause."""

    detail: str


@dataclass(frozen=True, slots=True)
class UsersUnavailable:
    """There is no file that could be asked; *detail* is a clause."""

    detail: str


Found = User | UnknownUser | UsersUnavailable


class Users(Protocol):
    """Whom NTLM and LOGIN know."""

    async def find(self, asked: AccountName) -> Found:
        """Return the entry that is for a client of this name; never raise."""
        ...


class NoUsers:
    """Stands for the file where ``authentication.credentials`` is null."""

    async def find(self, asked: AccountName) -> Found:  # noqa: ARG002 - the port's signature
        """Say that there is no file."""
        return UsersUnavailable("authentication.credentials is null, so there are no users of NTLM and LOGIN")


@dataclass(frozen=True, slots=True)
class UserList:
    """A file as it was understood: its entries, and a line for each mistake."""

    users: tuple[User, ...] = ()
    warnings: tuple[str, ...] = ()  # "FILE:LINE: what is wrong, and what would do"

    def find(self, asked: AccountName) -> User | None:
        """Return the entry that is for a client of this name."""
        serving = [user for user in self.users if user.name.serves(asked)]
        own = [user for user in serving if user.name.domain == asked.domain]
        for_all = [user for user in serving if user.name.domain is None]
        return next(iter((*own, *for_all, *serving)), None)

    def named(self, name: AccountName) -> User | None:
        """Return the entry with exactly this name."""
        return next((user for user in self.users if user.name.is_same(name)), None)

    def of_other_domains(self, name: AccountName) -> list[str]:
        """Return the entries with the same user name, as they are written."""
        return [user.written for user in self.users if user.name.has_user_of(name)]


def understand(octets: bytes, file: str) -> UserList:
    """Return what a file of users says; a mistake spoils only its own line."""
    try:
        text = decode(octets).removeprefix("\ufeff")
    except YamlError as error:
        return UserList(warnings=(printable(f"{file}:{error.line}: {error.problem}"),))
    users: dict[str, User] = {}
    warnings = []
    # Not splitlines(): an editor counts no form feed as a line.
    for number, line in enumerate(text.split("\n"), start=1):
        if not (content := line.strip()) or content.startswith("#"):
            continue
        try:
            user = _user(content, number)
        except ValueError as error:
            warnings.append(printable(f"{file}:{number}: {error}"))
            continue
        first = users.setdefault(str(user.name).casefold(), user)
        if first is not user:
            warning = f"{file}:{number}: a second entry for {user.name}; line {first.line} counts, remove one"
            warnings.append(printable(warning))
    return UserList(tuple(users.values()), tuple(warnings))


def _user(content: str, line: int) -> User:
    name, colon, secret = content.partition(":")
    found = _SECRET.fullmatch(secret.strip())
    if not colon or found is None:
        # What stands there is not repeated: it may be a password.
        raise ValueError(f"this is no entry; {_FORM}")
    return User(account_name(name.strip()), name.strip(), line, NtHash(bytes.fromhex(found[1])))


def account_name(text: str) -> AccountName:
    r"""Read the name of an entry, as a person writes it; ValueError says what would do."""
    name = AccountName.parse(text)
    is_whole = bool(name.user) and not any(mark in name.user for mark in "\\@")
    has_its_domain = name.domain is not None or text == name.user
    # A Windows account has no colon in its name, nor anything that cannot be seen.
    fits_a_line = ":" not in text and text == text.strip() == printable(text) and not text.startswith("#")
    if not (is_whole and has_its_domain and fits_a_line):
        raise ValueError(f"{text!r} is not a user name; write alice, CONTOSO\\alice or alice@contoso.test")
    return name


def with_user(text: str, written: str, nt_hash: NtHash) -> str:
    """Return the text of a file with this entry, in the place of the one of the same name; ValueError as above."""
    name = account_name(written)
    entry = f"{written}:nt:{nt_hash.octets.hex().upper()}"
    present = understand(text.encode(), "").named(name)
    lines = text.split("\n")
    if present is not None:
        end = "\r" if lines[present.line - 1].endswith("\r") else ""
        lines[present.line - 1] = f"{entry}{end}"
        return "\n".join(lines)
    text = text or _HEADER
    return f"{text}{'' if text.endswith(chr(10)) else chr(10)}{entry}\n"


def without_user(text: str, name: AccountName) -> str | None:
    """Return the text of a file without any entry of this name; None where there is none."""
    rest = None
    # Else a second entry, which did not count until now, would take the place of the first.
    while (present := understand(text.encode(), "").named(name)) is not None:
        lines = text.split("\n")
        del lines[present.line - 1]
        text = rest = "\n".join(lines)
    return rest


class UserFile:
    """The users as the file says now."""

    def __init__(self, path: Path, *, on_warning: Callable[[str], None] | None = None) -> None:
        self._path = path
        self._on_warning = on_warning
        self._kept: tuple[Snapshot, UserList] | None = None
        self._said: tuple[str, ...] = ()
        self._reading = asyncio.Lock()

    @property
    def path(self) -> Path:
        """The file that is read."""
        return self._path

    def load(self) -> UserList:
        """Read the file and warn of its mistakes; UserFileError says why it cannot be read."""
        if (current := self._current()) is not None:
            return current
        try:
            snapshot = take(self._path, MAX_FILE_BYTES)
        except FileNotFoundError:
            raise UserFileError(
                printable(f"{self._path.name} does not exist; `credential add` makes it")
            ) from None
        except UnreadableFileError as error:
            raise UserFileError(printable(f"{self._path.name} {error}")) from None
        if self._kept is not None and self._kept[0].content == snapshot.content:
            users = self._kept[1]
        else:
            users = understand(snapshot.content, self._path.name)
        self._kept = snapshot, users
        self._warn(users.warnings)
        return users

    async def find(self, asked: AccountName) -> Found:
        """Return the entry that is for a client of this name; never raise."""
        users = self._current()
        if users is None:
            try:
                async with self._reading:
                    users = await asyncio.to_thread(self.load)
            except UserFileError as error:
                return UsersUnavailable(f"the user file cannot be asked: {error}")
        if (user := users.find(asked)) is not None:
            return user
        if not asked.user:
            return UnknownUser("the client named no user")
        detail = f"{self._path.name} has no entry for {asked.shown}"
        others = users.of_other_domains(asked)
        return UnknownUser(f"{detail}; it has {_listed(others)}" if others else detail)

    def _current(self) -> UserList | None:
        """Return what the file says where that needs no reading, else None; costs one stat."""
        if self._kept is None or not self._kept[0].settled or self._kept[0].stamp != stamp_of(self._path):
            return None
        return self._kept[1]

    def _warn(self, warnings: tuple[str, ...]) -> None:
        """Tell each mistake once, until it has been mended."""
        if self._on_warning is not None:
            for warning in warnings:
                if warning not in self._said:
                    self._on_warning(warning)
        self._said = warnings


def _listed(names: Iterable[str]) -> str:
    names = [printable(name) for name in names]
    more = ["…"] if len(names) > _LONGEST_SHOWN else []
    return ", ".join(names[:_LONGEST_SHOWN] + more)


def read_text(path: Path) -> str:
    """Return the text of a user file, empty where there is none; UserFileError says why it cannot be read."""
    try:
        return decode(take(path, MAX_FILE_BYTES).content)
    except FileNotFoundError:
        return ""
    except (UnreadableFileError, YamlError) as error:
        raise UserFileError(printable(f"{path}: {error}")) from None


def write_text(path: Path, text: str) -> None:
    """Write a user file, whole; a new one its owner alone can read.  UserFileError says why it cannot be."""
    try:
        # write_atomically keeps the mode of what is there: so it is there, empty, with the right one.
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, OWNER_ONLY))
        write_atomically(path, text)
    except OSError as error:
        reason = f"cannot be written ({reason_of(error)}); give this user write permission"
        raise UserFileError(printable(f"{path}: {reason}")) from error
