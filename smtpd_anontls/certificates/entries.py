"""The certificates of a store, by thumbprint: each with its key, and why it has none."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from smtpd_anontls.certificates.contents import PFX_SUFFIXES
from smtpd_anontls.certificates.exported import EXPORTED_FILE
from smtpd_anontls.certificates.services import SERVICES_FILE
from smtpd_anontls.domain.certificate import KeyState, PrivateKey, StoreCertificate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from smtpd_anontls.certificates.contents import FileContents, HeldCertificate, HeldKey

_BESIDE = (".key", "-key.pem", *PFX_SUFFIXES)  # Where the key of x.crt is looked for, behind x.


@dataclass(frozen=True, slots=True)
class Entry:
    """A certificate of the store, and what its contexts are made from."""

    shown: StoreCertificate
    held: HeldCertificate
    source: FileContents
    key: HeldKey | None  # Only one that belongs to the certificate.


def index(files: Mapping[str, FileContents]) -> Mapping[str, Entry]:
    """Return the certificates by thumbprint; of two copies the one beside its key, else the first by name."""
    keys = keys_of(files)
    services = files[SERVICES_FILE].services if SERVICES_FILE in files else {}
    exported = files[EXPORTED_FILE].exported if EXPORTED_FILE in files else {}

    entries: dict[str, Entry] = {}
    for name, contents in files.items():
        for held in contents.leaves(keys):
            thumbprint = held.certificate.thumbprint
            key = keys.get(held.public_key or b"")
            copy = entries.get(thumbprint)
            if copy is not None and (key not in contents.keys or copy.key in copy.source.keys):
                continue
            told = exported.get(thumbprint)
            state = KeyState.USABLE if key is not None else _why_no_key(name, contents, files)
            if state is KeyState.MISSING and told is not None and told.private_key is not PrivateKey.NONE:
                state = KeyState.ELSEWHERE
            shown = StoreCertificate(held.certificate, state, services.get(thumbprint), name, told)
            entries[thumbprint] = Entry(shown, held, contents, key)
    return MappingProxyType(entries)


def keys_of(files: Mapping[str, FileContents]) -> dict[bytes, HeldKey]:
    """Return the private keys of all files by public key; of two copies the first by file name."""
    keys: dict[bytes, HeldKey] = {}
    for contents in files.values():
        for held_key in contents.keys:
            keys.setdefault(held_key.public_key, held_key)
    return keys


def _why_no_key(name: str, contents: FileContents, files: Mapping[str, FileContents]) -> KeyState:
    """Say why a certificate of this file has no key, from the keys that seem meant for it."""
    stem = name.rpartition(".")[0]
    beside = [files[other] for ending in _BESIDE if (other := stem + ending) in files and other != name]
    meant = (contents, *beside)
    if any(each.has_unreadable_key for each in meant):
        return KeyState.UNREADABLE
    # A key of another certificate in the same file is in its place.
    claimed = {held.public_key for each in meant for held in each.certificates}
    strays = [key for each in meant for key in each.keys if key.public_key not in claimed]
    return KeyState.MISMATCH if strays else KeyState.MISSING
