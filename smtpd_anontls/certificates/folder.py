"""The files of a store folder, read so that a change is seen at the very next look.

``scan`` is cheap: names and stamps.  ``read`` reads only what changed since the snapshot it is
given, and so rarely parses anything.  Files that move while it looks are looked for again, so
that a certificate which is always there, under one name or another, is never missed.
"""

from __future__ import annotations

import os
import stat
import time
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import lru_cache
from hashlib import sha256
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from smtpd_anontls.certificates.contents import PFX_SUFFIXES, FileContents, parse, unreadable
from smtpd_anontls.certificates.exported import EXPORTED_FILE
from smtpd_anontls.certificates.passwords import no_password
from smtpd_anontls.certificates.services import SERVICES_FILE
from smtpd_anontls.notation.snapshot import Stamp, UnreadableFileError, reason_of, take

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from smtpd_anontls.certificates.passwords import FoundPassword, PasswordSource

MAX_FILES = 1000
MAX_FILE_BYTES = 1024 * 1024  # A chain of RSA certificates and a key have some 10 KiB.

_SUFFIXES = {".pem", ".crt", ".cer", ".der", ".key", *PFX_SUFFIXES}
_ABOUT_CERTIFICATES = {SERVICES_FILE, EXPORTED_FILE}
_ATTEMPTS = 100  # In a folder that never rests, the last one has to do.
_CONFIRMATIONS = 3
_NO_FILES: Mapping[str, FileRead] = MappingProxyType({})
_NOT_CONFIGURED = no_password(
    "certificate_passwords has none for this file; add it there as {env: NAME} or {file: PATH}"
)


@dataclass(frozen=True, slots=True)
class FileRead:
    """A file as it was read; the same octets keep the same *contents* object."""

    stamp: Stamp
    settled: bool
    contents: FileContents
    digest: bytes = b""  # Of the octets; empty where they could not be read.
    password: FoundPassword = _NOT_CONFIGURED  # Which it was read with.


@dataclass(frozen=True, slots=True)
class FolderRead:
    """A folder as it was read; *problem* is a clause that says why it could not be."""

    files: Mapping[str, FileRead] = field(default_factory=lambda: _NO_FILES)
    left_out: Mapping[str, Stamp] = field(default_factory=dict)  # Files beyond MAX_FILES.
    problem: str | None = None
    stamps: Mapping[str, Stamp] = field(init=False, repr=False)
    settled: bool = field(init=False)
    _under_password: tuple[FileRead, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        under_password = [file for file in self.files.values() if file.password.source is not None]
        object.__setattr__(self, "_under_password", tuple(under_password))
        read_under = {name: file.stamp for name, file in self.files.items()}
        object.__setattr__(self, "stamps", {**read_under, **self.left_out})
        object.__setattr__(self, "settled", all(file.settled for file in self.files.values()))

    def has_current_passwords(self) -> bool:
        """Whether the files would be read with the same passwords again."""
        # All others were read without one, and would be again.
        return all(file.password.is_current() for file in self._under_password)


class FolderProblemError(Exception):
    """The folder cannot be listed; a clause says why and what would do."""


class Listing(NamedTuple):
    """The files of a folder with their stamps; not *whole* where a file went away while they were taken."""

    stamps: dict[str, Stamp]
    whole: bool


def scan(folder: Path) -> Listing:
    """Return name and stamp of every file that the store looks at; FolderProblemError says why it cannot."""
    try:
        with os.scandir(folder) as entries:
            found = {entry.name: _stamp_of(entry) for entry in entries if _is_looked_at(entry.name)}
    except FileNotFoundError:
        raise FolderProblemError("does not exist; make the folder, or correct certificate_store") from None
    except NotADirectoryError:
        raise FolderProblemError("is not a folder; certificate_store names a folder of PEM files") from None
    except OSError as error:
        raise FolderProblemError(
            f"cannot be listed ({reason_of(error)}); this user needs read and search permission"
        ) from error
    stamps = {name: stamp for name, stamp in found.items() if isinstance(stamp, Stamp)}
    return Listing(stamps, len(stamps) == len(found) or _Nothing.VANISHED not in found.values())


def is_current(folder: Path, known: FolderRead) -> bool:
    """Whether *known* is still what a read would find; costs a stat for each file."""
    try:
        listing = scan(folder)
    except FolderProblemError as error:
        return known.problem == str(error)
    if known.problem is not None or not known.settled or not listing.whole:
        return False
    return known.stamps == listing.stamps and known.has_current_passwords()


def read(folder: Path, known: FolderRead, passwords: Mapping[str, PasswordSource]) -> FolderRead:
    """Return the folder as it is now, reading only files that are not as *known* has them.

    *passwords* are those of PFX files and encrypted keys, by file name.
    """
    latest = dict(known.files)
    before = now = known
    confirmed = 0
    for _ in range(_ATTEMPTS):
        try:
            now, whole = _read_once(folder, latest, passwords)
        except FolderProblemError as error:
            return FolderRead(problem=str(error))
        # A file on its way to another name can escape a listing (readdir leaves open what it shows
        # of that), so one that is nowhere counts as gone only when further listings say the same.
        confirmed = confirmed + 1 if whole and now.stamps.keys() == before.stamps.keys() else 0
        if whole and (confirmed == _CONFIRMATIONS or _all_somewhere(known, now)):
            break
        latest |= now.files
        before = now
    return now


def _read_once(
    folder: Path, latest: Mapping[str, FileRead], passwords: Mapping[str, PasswordSource]
) -> tuple[FolderRead, bool]:
    """Return the folder, and whether no file got away between listing and reading."""
    stamps, whole = scan(folder)
    for name in latest.keys() - stamps.keys():
        # So can one that is being replaced by renaming; asked for by its name it is there.
        if (stamp := _stamp_at(folder / name)) is not None:
            stamps[name] = stamp
    names = sorted(stamps, key=_reading_order)
    files = {
        name: file
        for name in names[:MAX_FILES]
        if (file := _read_file(folder / name, stamps[name], latest.get(name), passwords.get(name)))
        is not None
    }
    left_out = {name: stamps[name] for name in names[MAX_FILES:]}
    return FolderRead(MappingProxyType(files), left_out), whole and len(files) + len(left_out) == len(names)


def _all_somewhere(known: FolderRead, now: FolderRead) -> bool:
    """Whether every file that was there is there still, under its name or another."""
    present = {stamp.inode for stamp in now.stamps.values()}
    return all(name in now.stamps or stamp.inode in present for name, stamp in known.stamps.items())


def _reading_order(name: str) -> tuple[bool, str]:
    """Order files by name; what speaks of the certificates is never among those left out."""
    return name not in _ABOUT_CERTIFICATES, name


def _suffix(name: str) -> str:
    return name[name.rfind(".") :].lower()


# Each connection looks at the same few names.
@lru_cache(maxsize=MAX_FILES)
def _is_looked_at(name: str) -> bool:
    if _suffix(name) not in _SUFFIXES and name not in _ABOUT_CERTIFICATES:
        return False
    return not name.startswith(".") and not name.upper().startswith("README")


class _Nothing(Enum):
    """Why a name in the folder has no stamp."""

    VANISHED = "it went away after it was listed"
    NO_FILE = "it is a folder, or a link that leads nowhere"


def _stamp_of(entry: os.DirEntry[str]) -> Stamp | _Nothing:
    """Return the stamp of an entry that is a file.

    Links are followed: a mounted secret is one, and its stamp is that of what it leads to.
    """
    try:
        return _Nothing.NO_FILE if entry.is_dir() else Stamp.of(entry.stat())
    except FileNotFoundError:
        return _Nothing.NO_FILE if entry.is_symlink() else _Nothing.VANISHED
    except OSError:
        # A link that leads in circles: reading it says so.
        return Stamp.of(entry.stat(follow_symlinks=False))


def _stamp_at(path: Path) -> Stamp | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return None if stat.S_ISDIR(status.st_mode) else Stamp.of(status)


def _read_file(
    path: Path, stamp: Stamp, before: FileRead | None, source: PasswordSource | None
) -> FileRead | None:
    """Return one file, read and parsed where *before* is not how it is; None where it has just gone."""
    if before is not None and before.settled and before.stamp == stamp and before.password.is_current():
        return before
    found = _NOT_CONFIGURED if source is None else source.read()
    try:
        snapshot = take(path, MAX_FILE_BYTES)
    except FileNotFoundError:
        return None
    except UnreadableFileError as error:
        return _unreadable(path.name, stamp, str(error), before)
    digest = sha256(snapshot.content).digest()
    if before is not None and before.digest == digest and before.password.password == found.password:
        return replace(before, stamp=snapshot.stamp, settled=snapshot.settled, password=found)
    contents = parse(path.name, snapshot.content, found.password)
    return FileRead(snapshot.stamp, snapshot.settled, contents, digest, found)


def _unreadable(name: str, stamp: Stamp, reason: str, before: FileRead | None) -> FileRead:
    """Return what stands for an unreadable file; the same one as long as the reason is the same."""
    settled = stamp.is_settled(time.time_ns())
    if before is not None and before.contents.problems == (reason,):
        return replace(before, stamp=stamp, settled=settled, digest=b"")
    return FileRead(stamp, settled, unreadable(name, reason))
