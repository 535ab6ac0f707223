"""Reading a certificate from a file anywhere, to take it into the store (Import-ExchangeCertificate)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from smtpd_anontls.certificates.contents import parse
from smtpd_anontls.certificates.entries import index
from smtpd_anontls.certificates.folder import MAX_FILE_BYTES
from smtpd_anontls.certificates.issue import Issued
from smtpd_anontls.certificates.passwords import no_password
from smtpd_anontls.domain.printable import printable
from smtpd_anontls.notation.snapshot import UnreadableFileError, take

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from smtpd_anontls.certificates.contents import FileContents
    from smtpd_anontls.certificates.entries import Entry
    from smtpd_anontls.certificates.passwords import PasswordSource

_NOT_GIVEN = no_password("none was given; say --password-env NAME or --password-file PATH")


class NotImportableError(Exception):
    """A file does not hold what could be imported; one line says why and what would do."""


def read_certificate(path: Path, *, key: Path | None, password: PasswordSource | None) -> Issued:
    """Return the certificate of a PEM, DER or PFX file with its chain and its key, as PEM.

    The key is in the same file or in *key*; *password* opens whichever is encrypted.
    """
    files = {str(each): _contents(each, password) for each in (path, key) if each is not None}
    entries = index(files).values()
    whole = [entry for entry in entries if entry.key is not None]
    if len(whole) > 1:
        raise NotImportableError(
            f"{path}: holds {len(whole)} certificates with private keys; import them from files of their own"
        )
    if not whole:
        raise NotImportableError(printable(f"{path}: {_what_is_missing(files, entries)}"))
    return _issued(whole[0])


def _contents(path: Path, password: PasswordSource | None) -> FileContents:
    found = _NOT_GIVEN if password is None else password.read()
    try:
        contents = parse(path.name, take(path, MAX_FILE_BYTES).content, found.password)
    except FileNotFoundError:
        raise NotImportableError(printable(f"{path}: does not exist")) from None
    except UnreadableFileError as error:
        raise NotImportableError(printable(f"{path}: {error}")) from error
    if contents.problems:
        raise NotImportableError(printable(f"{path}: {'; '.join(contents.problems)}"))
    return contents


def _what_is_missing(files: dict[str, FileContents], entries: Collection[Entry]) -> str:
    if not entries:
        return "holds no certificate"
    if any(contents.keys for contents in files.values()):
        return "the private key does not belong to the certificate"
    return "there is no private key with the certificate; name its file with --key, or import a PFX file"


def _issued(entry: Entry) -> Issued:
    assert entry.key is not None
    chain = [held.parsed for held in entry.source.chain_of(entry.held)]
    return Issued(
        entry.held.certificate,
        b"".join(each.public_bytes(Encoding.PEM) for each in chain),
        entry.key.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )
