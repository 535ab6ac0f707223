"""The certificate that a client presents in the handshake: what Edge servers know each other by (direct trust)."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

from smtpd_anontls.domain.certificate import Certificate, CertificateError
from smtpd_anontls.domain.printable import printable
from smtpd_anontls.notation.snapshot import UnreadableFileError, take

if TYPE_CHECKING:
    from pathlib import Path

_MAX_OCTETS = 1024 * 1024
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


class _EncryptedKeyError(ValueError):
    pass


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """A PEM file with a certificate, its chain if any, and its key, unless that stands in a file of its own."""

    file: Path
    key_file: Path | None
    certificate: Certificate

    @classmethod
    def load(cls, file: Path, key_file: Path | None = None) -> ClientCertificate:
        """Read a certificate and try its key; ValueError says why it cannot be presented."""
        certificate = _first_certificate(file)
        if key_file is not None:
            _content(key_file)
        loaded = cls(file, key_file, certificate)
        loaded.load_into(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        return loaded

    def load_into(self, context: ssl.SSLContext) -> None:
        """Let *context* present it; ValueError says why it cannot."""
        key_file = printable(str(self.key_file or self.file))
        try:
            context.load_cert_chain(self.file, self.key_file, password=_no_password)
        except _EncryptedKeyError:
            raise ValueError(
                f"the private key in {key_file} is encrypted; write it decrypted (openssl pkey -in {key_file})"
            ) from None
        except ssl.SSLError as error:
            raise ValueError(f"{_key_problem(error, key_file)}") from error
        except OSError as error:
            raise ValueError(f"{key_file} cannot be read: {error.strerror}") from error


def _key_problem(error: ssl.SSLError, key_file: str) -> str:
    if error.reason == "KEY_VALUES_MISMATCH":
        return f"the private key in {key_file} does not belong to the certificate; name its own with --client-key"
    return (
        f"{key_file} has no private key that can be used ({(error.reason or 'no PEM').lower().replace('_', ' ')}); "
        "name the file that holds it, in PEM, with --client-key"
    )


def _first_certificate(file: Path) -> Certificate:
    found = _CERTIFICATE.search(_content(file))
    if found is None:
        raise ValueError(f"{printable(str(file))} holds no certificate in PEM (-----BEGIN CERTIFICATE-----)")
    try:
        return Certificate.from_der(ssl.PEM_cert_to_DER_cert(found[0].decode("ascii")))
    except (CertificateError, ValueError):
        raise ValueError(f"{printable(str(file))} holds a certificate that cannot be read") from None


def _content(file: Path) -> bytes:
    try:
        return take(file, _MAX_OCTETS).content
    except FileNotFoundError:
        raise ValueError(f"{printable(str(file))} does not exist") from None
    except UnreadableFileError as error:
        raise ValueError(f"{printable(str(file))} {error}") from None


def _no_password() -> str:
    # Without this, OpenSSL asks the terminal.
    raise _EncryptedKeyError
