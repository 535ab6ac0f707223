"""The certificates that all servers show alike: one with an RSA key of 2048 bits, one on P-256."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from bench.servers.server import Key
from smtpd_anontls.certificates.issue import KeyType, issue

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_TYPES = {Key.RSA: KeyType.RSA, Key.EC: KeyType.EC}


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its private key, each as a PEM file, and both in one."""

    fqdn: str  # Its name.
    thumbprint: str
    certificate: Path
    key: Path


def fqdn_of(key: Key) -> str:
    """Return the name of the server that shows the certificate with *key*."""
    return f"{key}.contoso.test"


def make_keys(folder: Path) -> Mapping[Key, KeyPair]:
    """Make the certificates, valid from now, in *folder*."""
    folder.mkdir(parents=True)
    made = {}
    for key in Key:
        issued = issue([fqdn_of(key)], now=datetime.now(UTC), key_type=_TYPES[key])
        pair = KeyPair(
            fqdn_of(key), issued.certificate.thumbprint, folder / f"{key}.crt", folder / f"{key}.key"
        )
        pair.certificate.write_bytes(issued.certificate_pem)
        pair.key.touch(0o600)
        pair.key.write_bytes(issued.key_pem)
        made[key] = pair
    return made
