"""Writing to a local computer store: a certificate with its key, and the services it is enabled for.

A certificate appears in the folder whole or not at all, with its key readable by its owner alone.
"""

from __future__ import annotations

import os
import re
import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING

from smtpd_anontls.certificates.folder import MAX_FILE_BYTES
from smtpd_anontls.certificates.services import SERVICES_FILE, UNLISTED, with_services
from smtpd_anontls.certificates.store import StoreError
from smtpd_anontls.domain.certificate import normalized_thumbprint
from smtpd_anontls.domain.printable import printable
from smtpd_anontls.notation.edit import write_atomically
from smtpd_anontls.notation.snapshot import UnreadableFileError, reason_of, take
from smtpd_anontls.notation.yaml12 import YamlError, decode

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from smtpd_anontls.certificates.issue import Issued

_OWNER_ONLY = 0o600
_FOLDER_OWNER_ONLY = 0o700
_OUTSIDE_FILE_NAMES = re.compile(r"[^A-Za-z0-9_-]+")


def write_certificate(
    folder: Path, server: str, issued: Issued, *, services: Collection[str] | None = None
) -> Path:
    """Write certificate and key as one file into the store and return its path; StoreError says why not.

    *services* are listed before the file appears, so that it never counts for others; None lists nothing.
    """
    if services is not None:
        _list(folder, issued.certificate.thumbprint, services, unlisted=frozenset())
    return _write_new(folder, _file_name(server, issued, "pem"), issued.certificate_pem + issued.key_pem)


def write_public_certificate(folder: Path, server: str, issued: Issued) -> Path:
    """Write the certificate alone, so that the store holds it without a private key."""
    return _write_new(folder, _file_name(server, issued, "cer"), issued.certificate_pem)


def enable(folder: Path, thumbprint: str, services: Collection[str]) -> frozenset[str]:
    """Add *services* to those that the certificate is enabled for, and return them all.

    As Enable-ExchangeCertificate: none is taken away, not even the SMTP of a certificate that was
    not listed.  Comments in services.yaml stay.  StoreError says what is wrong.
    """
    try:
        plain = normalized_thumbprint(thumbprint)
    except ValueError as error:
        raise StoreError(str(error)) from error
    return _list(folder, plain, services, unlisted=UNLISTED)


def services_text(path: Path) -> str:
    """Return the text of services.yaml, empty where there is none; StoreError where it cannot be read."""
    try:
        return decode(take(path, MAX_FILE_BYTES).content)
    except FileNotFoundError:
        return ""
    except (UnreadableFileError, YamlError) as error:
        raise StoreError(printable(f"{path}: {error}")) from error


def _list(
    folder: Path, thumbprint: str, services: Collection[str], *, unlisted: frozenset[str]
) -> frozenset[str]:
    path = folder / SERVICES_FILE
    _make_folder(folder)
    try:
        text, result = with_services(services_text(path), thumbprint, services, unlisted=unlisted)
    except ValueError as error:
        raise StoreError(printable(f"{path}: {error}")) from error
    with saying_why_not(path):
        write_atomically(path, text)
    return result


def _file_name(server: str, issued: Issued, suffix: str) -> str:
    # What a server's name could hold beside a host label's characters has no place in a file name.
    safe = _OUTSIDE_FILE_NAMES.sub("-", server).strip("-") or "certificate"
    return f"{safe}-{issued.certificate.thumbprint[:8]}.{suffix}"


def _make_folder(folder: Path) -> None:
    with saying_why_not(folder):
        folder.mkdir(mode=_FOLDER_OWNER_ONLY, parents=True, exist_ok=True)


def _write_new(folder: Path, name: str, content: bytes) -> Path:
    """Write a file that is not there yet, so that it appears whole and lasts."""
    _make_folder(folder)
    path = free_path(folder / name)
    # Hidden, so that the store passes it over until it is complete.
    temporary = folder / f".{name}.{secrets.token_hex(4)}"
    with saying_why_not(path):
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _OWNER_ONLY)
        try:
            with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor, not a path
                file.write(content)
                file.flush()
                os.fsync(descriptor)
            temporary.rename(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(folder)
    return path


def free_path(path: Path) -> Path:
    """Return *path*, or where something has that name already, the first of ``x-2.pem``, ``x-3.pem`` … that is free."""
    free, number = path, 1
    while os.path.lexists(free):
        number += 1
        free = path.with_stem(f"{path.stem}-{number}")
    return free


def sync_folder(folder: Path) -> None:
    """Make the names in *folder* last, those that came and those that went."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def saying_why_not(path: Path) -> Iterator[None]:
    """Turn what the operating system says of *path* into a StoreError."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            printable(f"{path}: cannot be written ({reason_of(error)}); give this user write permission")
        ) from error
