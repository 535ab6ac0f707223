"""Taking one certificate out of a local computer store, and nothing else.

The certificate, its key and its chain leave every file; what else a file holds stays.  A PFX file
is moved aside, since it may be all that is left of its key, and is never rewritten.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from smtpd_anontls.certificates.entries import index, keys_of
from smtpd_anontls.certificates.folder import MAX_FILE_BYTES, FolderRead, read
from smtpd_anontls.certificates.pem import without_lines
from smtpd_anontls.certificates.services import SERVICES_FILE, without_services
from smtpd_anontls.certificates.store import StoreError
from smtpd_anontls.certificates.writing import free_path, saying_why_not, services_text, sync_folder
from smtpd_anontls.domain.printable import printable
from smtpd_anontls.notation.edit import write_atomically
from smtpd_anontls.notation.snapshot import UnreadableFileError, take

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from smtpd_anontls.certificates.contents import FileContents, HeldCertificate, HeldKey
    from smtpd_anontls.certificates.passwords import PasswordSource

_ASIDE = ".removed"  # Behind the name of a PFX file; the store passes it over.


@dataclass(frozen=True, slots=True)
class Removal:
    """What taking a certificate out does to the files of its store; nothing is done yet."""

    folder: Path
    deleted: tuple[str, ...]
    moved: Mapping[str, str]  # PFX files, and what they will be called.
    rewritten: Mapping[str, bytes] = field(repr=False)  # By file name.
    services: str  # What services.yaml is to hold.

    def describe(self) -> list[str]:
        """Say what becomes of each file."""
        return [
            *(f"{name} is deleted" for name in self.deleted),
            *(f"{name} becomes {aside}" for name, aside in self.moved.items()),
            *(f"{name} keeps what else it holds" for name in self.rewritten),
        ]

    def carry_out(self) -> None:
        """Change the files; StoreError where that fails."""
        for name, content in self.rewritten.items():
            with saying_why_not(self.folder / name):
                write_atomically(self.folder / name, content)
        for name in self.deleted:
            with saying_why_not(self.folder / name):
                (self.folder / name).unlink(missing_ok=True)
        for name, aside in self.moved.items():
            with saying_why_not(self.folder / name):
                (self.folder / name).rename(self.folder / aside)
        with saying_why_not(self.folder):
            sync_folder(self.folder)
        # Last, since a certificate that services.yaml does not list counts as enabled for SMTP.
        path = self.folder / SERVICES_FILE
        if self.services != services_text(path):
            with saying_why_not(path):
                write_atomically(path, self.services)


def removal_of(folder: Path, thumbprint: str, passwords: Mapping[str, PasswordSource]) -> Removal:
    """Return what it takes to remove a certificate that the store holds; StoreError where it cannot be."""
    files = {name: file.contents for name, file in read(folder, FolderRead(), passwords).files.items()}
    entries = index(files)
    if thumbprint not in entries:
        raise StoreError(f"{folder}: holds no certificate with thumbprint {thumbprint}")
    public_key = entries[thumbprint].held.public_key
    shares_its_key = any(
        entry.held.public_key == public_key for other, entry in entries.items() if other != thumbprint
    )
    all_keys = keys_of(files)
    deleted: list[str] = []
    moved: dict[str, str] = {}
    rewritten: dict[str, bytes] = {}
    for name, contents in files.items():
        mine = [held for held in contents.leaves(all_keys) if held.certificate.thumbprint == thumbprint]
        keys = [] if shares_its_key else [key for key in contents.keys if key.public_key == public_key]
        kept = _kept(contents, mine, all_keys)
        leaving = [held for one in mine for held in contents.chain_of(one) if held not in kept]
        if not (leaving or keys):
            continue
        # A key that cannot be read belongs to the certificate that it stands with.
        rest = kept or len(keys) < len(contents.keys) or (contents.has_unreadable_key and not mine)
        if rest and contents.is_pfx:
            raise StoreError(
                f"{name} holds more than this certificate, and PFX files are not rewritten; move it away"
            )
        if rest:
            rewritten[name] = _text_without(folder / name, leaving, keys)
        elif contents.is_pfx:
            moved[name] = free_path(folder / (name + _ASIDE)).name
        else:
            deleted.append(name)
    try:
        services = without_services(services_text(folder / SERVICES_FILE), thumbprint)
    except ValueError as error:
        raise StoreError(printable(f"{folder / SERVICES_FILE}: {error}")) from error
    return Removal(folder, tuple(deleted), moved, rewritten, services)


def _kept(
    contents: FileContents, mine: list[HeldCertificate], keys: Mapping[bytes, HeldKey]
) -> list[HeldCertificate]:
    """Return the certificates of a file that stay: those that stand for themselves, and their chains."""
    others = [held for held in contents.leaves(keys) if held not in mine]
    return [held for other in others for held in contents.chain_of(other)]


def _text_without(path: Path, certificates: list[HeldCertificate], keys: list[HeldKey]) -> bytes:
    try:
        octets = take(path, MAX_FILE_BYTES).content
    except (FileNotFoundError, UnreadableFileError) as error:
        raise StoreError(printable(f"{path}: changed meanwhile; try again")) from error
    places = [held.lines for held in certificates] + [key.lines for key in keys]
    return without_lines(octets, [place for place in places if place is not None])
