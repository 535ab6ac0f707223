"""The embedded directory: a YAML file with one entry for each server object.

::

    MBX1: { msExchServerInternalTLSCert: 5C7A… }            # a thumbprint,
    MBX2: { msExchServerInternalTLSCert: { file: x.cer } }  # the certificate itself,
    MBX3: { msExchServerInternalTLSCert: null }             # not set,
    MBX4: { readable: false }                               # or not to be read

Every question first looks at the stamps of this file and of the one that an entry names, so an
answer is what they say now.  Sentences name files relative to the folder of this one.
"""

from __future__ import annotations

import asyncio
import reprlib
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

from smtpd_anontls.directory.naming import Register
from smtpd_anontls.directory.server_object import ServerObject
from smtpd_anontls.directory.watched import WatchedFile
from smtpd_anontls.domain.certificate import normalized_thumbprint
from smtpd_anontls.domain.directory_value import (
    MAX_VALUE_BYTES,
    Answer,
    Named,
    Unreadable,
    Unset,
    ValueForm,
    decode,
)
from smtpd_anontls.domain.printable import printable
from smtpd_anontls.notation.edit import with_value, write_atomically
from smtpd_anontls.notation.snapshot import UnreadableFileError, reason_of, take
from smtpd_anontls.notation.yaml12 import decode as decode_text
from smtpd_anontls.notation.yaml12 import load

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from smtpd_anontls.domain.direct_trust import Naming

T = TypeVar("T")

ATTRIBUTE = "msExchServerInternalTLSCert"
MAX_FILE_BYTES = 1024 * 1024

_READABLE = "readable"
_CHOICE = f"write {{{ATTRIBUTE}: THUMBPRINT}}, {{{ATTRIBUTE}: null}} or {{readable: false}}"
_HEADER = f"""\
# The embedded directory: what {ATTRIBUTE} of each server object holds.
# A thumbprint, {{ file: mbx1.cer }} for a certificate (DER, PEM or Windows serialized), or null where
# it is not set; {{ readable: false }} in place of it where it cannot be read.
"""


class DirectoryError(Exception):
    """The directory cannot be read or written; one line says what and what would do."""


class ChangedInBetweenError(DirectoryError):
    """The value is another one than was expected, so nothing was written."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """A server object: its key in the file, the name that it spells, and its attribute."""

    key: str | int
    name: str
    value: Answer | WatchedFile[Answer]

    def answer(self) -> Answer:
        return self.value.now() if isinstance(self.value, WatchedFile) else self.value

    def is_current(self) -> bool:
        return not isinstance(self.value, WatchedFile) or self.value.current() is not None


@dataclass(frozen=True, slots=True)
class _Entries:
    """The file as it was understood: entries by casefolded name, or the clause that says why there are none."""

    by_name: Mapping[str, _Entry]
    problem: str | None = None
    warnings: tuple[str, ...] = ()

    def is_current(self, server: str) -> bool:
        """Whether the answer for *server* needs no reading of the file that its entry names."""
        entry = self.by_name.get(server.casefold())
        return entry is None or entry.is_current()

    def are_current(self) -> bool:
        """Whether no answer needs a reading."""
        return all(entry.is_current() for entry in self.by_name.values())


def _say_nothing(_warning: str) -> None:
    """Take a warning that nobody asked for."""


class FileDirectory:
    """msExchServerInternalTLSCert of each server, as the directory file says now.

    Server names match in any case, as a CN does.
    """

    def __init__(self, path: Path, *, on_warning: Callable[[str], None] = _say_nothing) -> None:
        self._path = path
        self._on_warning = on_warning
        self._file = WatchedFile(
            path, MAX_FILE_BYTES, understand=self._understand, unavailable=self._unavailable
        )
        self._said: _Entries | None = None  # Whose warnings have been given.
        self._reading = asyncio.Lock()

    @property
    def path(self) -> Path:
        """The file that it shows."""
        return self._path

    def load(self) -> None:
        """Read the file before the first session; DirectoryError where it is missing or broken."""
        entries = self._file.now()
        if entries.problem is not None:
            self._said = entries
            raise DirectoryError(printable(f"{self._path}: {entries.problem}"))
        self._warn_of(entries)

    def known(self, server: str) -> object | None:
        """Return what stands for all that is said of *server*: the same object until that may be something else.

        None where a file has to be read for it.
        """
        entries = self._file.current()
        return entries if entries is not None and entries.is_current(server) else None

    async def internal_tls_certificate(self, server: str) -> Answer:
        """Return what the object of *server* names; never raise."""
        return await self._ask(
            lambda entries: entries.is_current(server), lambda entries: self._answer(entries, server)
        )

    async def servers_naming(self, thumbprint: str) -> Naming:
        """Return the servers whose entries name this certificate; never raise."""
        return await self._ask(_Entries.are_current, lambda entries: self._naming(entries, thumbprint))

    async def show(self, server: str) -> ServerObject:
        """Return the server object as it is found, for people to read."""
        answer = await self.internal_tls_certificate(server)
        return ServerObject.of(server, f"CN={self._spelling(server)}", answer)

    def has_entry(self, server: str) -> bool:
        """Whether the directory holds an object for *server*, readable or not."""
        return server.casefold() in self._file.now().by_name

    def set_internal_tls_certificate(self, server: str, thumbprint: str) -> None:
        """Let the object of *server* name this certificate, made anew where there is none.

        Comments stay, and so does ``readable: false``: whoever may write need not be able to read.
        DirectoryError says why not.
        """
        self._edit(server, {ATTRIBUTE: thumbprint}, keep_others=True)

    def write_entry(self, server: str, entry: Mapping[str, object]) -> None:
        """Replace the object of *server* by *entry*, or add it; comments of the others stay."""
        self._edit(server, entry, keep_others=False)

    async def _ask(self, is_current: Callable[[_Entries], bool], answer: Callable[[_Entries], T]) -> T:
        """Return what *answer* makes of the entries as they are now; a thread reads where something changed."""
        known = self._file.current()
        if known is not None and is_current(known):
            entries, found = known, answer(known)
        else:
            async with self._reading:
                entries, found = await asyncio.to_thread(self._read, answer)
        self._warn_of(entries)
        return found

    def _read(self, answer: Callable[[_Entries], T]) -> tuple[_Entries, T]:
        entries = self._file.now()
        return entries, answer(entries)

    def _naming(self, entries: _Entries, thumbprint: str) -> Naming:
        if entries.problem is not None:
            return self._unreadable(entries.problem)
        return Register.of((entry.name, entry.answer()) for entry in entries.by_name.values()).naming(
            thumbprint
        )

    def _answer(self, entries: _Entries, server: str) -> Answer:
        if entries.problem is not None:
            return self._unreadable(entries.problem)
        entry = entries.by_name.get(server.casefold())
        if entry is None:
            return Unreadable(f"no such object: {self._path.name} has no entry for {server}")
        return entry.answer()

    def _unreadable(self, problem: str) -> Unreadable:
        return Unreadable(printable(f"{self._path.name}: {problem}"))

    def _spelling(self, server: str) -> str:
        entry = self._file.now().by_name.get(server.casefold())
        return server if entry is None else entry.name

    def _warn_of(self, entries: _Entries) -> None:
        """Say what is newly wrong, once for each state of the file."""
        if entries is self._said:
            return
        self._said = entries
        for warning in entries.warnings if entries.problem is None else (entries.problem,):
            self._on_warning(printable(f"{self._path.name}: {warning}"))

    def _unavailable(self, reason: str) -> _Entries:
        advice = "; `smtpd-anontls certificate enable` writes it" if reason == "does not exist" else ""
        return _Entries(MappingProxyType({}), reason + advice)

    def _understand(self, octets: bytes) -> _Entries:
        try:
            objects = _objects(decode_text(octets))
        except ValueError as error:
            return _Entries(MappingProxyType({}), str(error))
        entries: dict[str, _Entry] = {}
        warnings = []
        for key, value in objects.items():
            name = str(key)
            first = entries.setdefault(name.casefold(), _Entry(key, name, self._value_of(value)))
            if first.key is not key:
                warnings.append(f"{name} is a second entry for {first.name}, which alone counts; remove one")
        return _Entries(MappingProxyType(entries), warnings=tuple(warnings))

    def _value_of(self, entry: object) -> Answer | WatchedFile[Answer]:
        """Return what an entry says of the attribute, or the file that says it."""
        if not isinstance(entry, dict):
            return _not_understood(f"{_short(entry)} is no entry; {_CHOICE}")
        if unknown := [key for key in entry if key not in (ATTRIBUTE, _READABLE)]:
            return _not_understood(f"{_short(unknown[0])} is no key of an entry; {_CHOICE}")
        readable, value = entry.get(_READABLE, True), entry.get(ATTRIBUTE)
        if not isinstance(readable, bool):
            return _not_understood(f"{_READABLE} is {_short(readable)}; write true or false")
        if not readable:
            return Unreadable(
                "access to the attribute is denied, or what it holds is not known; "
                f"{self._path.name} says {_READABLE}: false"
            )
        if value is None:
            return Unset()
        if isinstance(value, str):
            try:
                return Named(normalized_thumbprint(value), ValueForm.THUMBPRINT)
            except ValueError as error:
                return _not_understood(f"{error}; a file is written {{file: NAME}}")
        if isinstance(value, dict) and list(value) == ["file"] and _is_path(value["file"]):
            return self._named_file(value["file"])
        return _not_understood(f"{_short(value)} is neither a thumbprint, {{file: NAME}} nor null")

    def _named_file(self, written: str) -> WatchedFile[Answer]:
        # An absolute path is no peer's business, nor is it for a record that people pass on.
        shown = Path(written).name if Path(written).is_absolute() else written

        def understand(octets: bytes) -> Answer:
            answer = decode(octets)
            return Unreadable(f"{answer.reason}, in {shown}") if isinstance(answer, Unreadable) else answer

        def unavailable(reason: str) -> Answer:
            return Unreadable(printable(f"{shown}, which {self._path.name} names for it, {reason}"))

        return WatchedFile(
            self._path.parent / written, MAX_VALUE_BYTES, understand=understand, unavailable=unavailable
        )

    def _edit(self, server: str, entry: Mapping[str, object], *, keep_others: bool) -> None:
        """Write *entry* for *server*; with *keep_others* its other keys stay."""
        try:
            text = decode_text(take(self._path, MAX_FILE_BYTES).content)
        except FileNotFoundError:
            text = _HEADER
        except (UnreadableFileError, ValueError) as error:
            raise DirectoryError(printable(f"{self._path}: {error}")) from error
        try:
            objects = _objects(text)
            key = next((key for key in objects if str(key).casefold() == server.casefold()), server)
            if keep_others and isinstance(objects.get(key), dict):
                for name, value in entry.items():
                    text = with_value(text, [key, name], value)
            else:
                text = with_value(text, [key], dict(entry))
        except ValueError as error:
            raise DirectoryError(printable(f"{self._path}: {error}")) from error
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._path, text)
        except OSError as error:
            raise DirectoryError(
                printable(
                    f"{self._path}: cannot be written ({reason_of(error)}); give this user write permission"
                )
            ) from error


def _objects(text: str) -> Mapping[str | int, object]:
    """Return the entries by server; ValueError says what is wrong with the file."""
    loaded = load(text)
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise ValueError("it is not a mapping; write one entry for each server")  # noqa: TRY004 - content
    for key in loaded:
        # A server may be called 2019, which YAML takes for a number.
        if not isinstance(key, str | int) or isinstance(key, bool):
            raise ValueError(f"{key!r} is no server name; write it in quotes")  # noqa: TRY004 - content
    return loaded


def _not_understood(why: str) -> Unreadable:
    return Unreadable(printable(f"its value was not understood: {why}"))


def _is_path(value: object) -> bool:
    return isinstance(value, str) and value != "" and "\0" not in value


def _short(value: object) -> str:
    return reprlib.repr(value)
