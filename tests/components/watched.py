"""A local computer store for tests, on a folder of its own, and the forms that a private key comes in."""

from __future__ import annotations

import asyncio
import base64
import re
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    pkcs12,
)

from smtpd_anontls.certificates.folder import is_current
from smtpd_anontls.certificates.store import LocalComputerStore

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from smtpd_anontls.certificates.issue import Issued
    from smtpd_anontls.certificates.passwords import PasswordSource
    from smtpd_anontls.domain.certificate import KeyState

_PEM_BODY = re.compile(rb"-----BEGIN [^-]*-----\s(.*?)-----END", re.DOTALL)


class Watched:
    """A store on a folder, with passwords from these sources, and the warnings that it gave."""

    def __init__(self, folder: Path, passwords: Mapping[str, PasswordSource] | None = None) -> None:
        self.folder = folder
        self.warnings: list[str] = []
        self.store = LocalComputerStore(folder, passwords=passwords or {}, on_warning=self.warnings.append)

    def put(self, files: Mapping[str, bytes]) -> None:
        """Write files into the folder."""
        for name, content in files.items():
            (self.folder / name).write_bytes(content)

    async def held(self) -> dict[str, tuple[str, KeyState]]:
        """Return file and key state of each certificate, by thumbprint."""
        return {one.certificate.thumbprint: (one.file, one.key) for one in await self.store.all()}

    def new_warnings(self) -> list[str]:
        """Return the warnings since the last call."""
        warnings = self.warnings[:]
        self.warnings.clear()
        return warnings

    async def until_settled(self) -> None:
        """Ask until a question costs stamps alone."""
        async with asyncio.timeout(10):
            while not is_current(self.folder, self.store._state.folder):
                await self.held()
                await asyncio.sleep(0.01)


def pem_key(of: Issued, password: str | None = None) -> bytes:
    """Return a private key as PEM."""
    return _private_key(of).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, _protection(password))


def der_key(of: Issued, password: str | None = None) -> bytes:
    """Return a private key as DER."""
    return _private_key(of).private_bytes(Encoding.DER, PrivateFormat.PKCS8, _protection(password))


def pfx(
    key: Issued | None,
    password: str | None = None,
    *,
    of: Issued | None,
    others: Iterable[x509.Certificate] = (),
) -> bytes:
    """Return a PFX file: the private key of *key*, the certificate *of*, whether they match or not, and *others*."""
    certificate = None if of is None else x509.load_pem_x509_certificate(of.certificate_pem)
    others = list(others)
    if certificate is not None and key is not of:
        # No tool writes one that does not match as the key's own; it stands among the others.
        others.append(certificate)
        certificate = None
    private_key = None if key is None else _private_key(key)
    return pkcs12.serialize_key_and_certificates(
        b"mbx1", private_key, certificate, others, _protection(password)
    )


def key_octets(of: Issued) -> bytes:
    """Return the octets that every unencrypted form of a private key holds."""
    return _private_key(of).private_numbers().private_value.to_bytes(32, "big")


def files_with(octets: bytes, folder: Path) -> list[str]:
    """Return the files below *folder* that hold *octets* as they are, or in PEM."""
    return sorted(
        path.name for path in folder.rglob("*") if path.is_file() and _holds(path.read_bytes(), octets)
    )


def _holds(content: bytes, octets: bytes) -> bool:
    return any(octets in text for text in (content, *map(base64.b64decode, _PEM_BODY.findall(content))))


def _private_key(of: Issued) -> ec.EllipticCurvePrivateKey:
    key = load_pem_private_key(of.key_pem, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def _protection(password: str | None) -> BestAvailableEncryption | NoEncryption:
    return NoEncryption() if password is None else BestAvailableEncryption(password.encode())
