"""Which TLS versions and cipher suites the receiver speaks.

Exchange speaks no TLS 1.3 on SMTP, and prefers ECDHE with AES-GCM, then AES-CBC with SHA-2
("Exchange Server TLS configuration best practices").
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

_TLS12 = (
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-SHA384",
    "ECDHE-ECDSA-AES128-SHA256",
    "ECDHE-RSA-AES256-SHA384",
    "ECDHE-RSA-AES128-SHA256",
)
# What a peer with TLS 1.0 or 1.1 can speak at all; offered only where the range reaches that low.
_LEGACY = (
    "ECDHE-ECDSA-AES256-SHA",
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-RSA-AES256-SHA",
    "ECDHE-RSA-AES128-SHA",
    "AES256-SHA",
    "AES128-SHA",
)


class TlsVersion(Enum):
    """A protocol version, by the name that OpenSSL and the configuration give it; ordered."""

    TLSv1 = "TLSv1"
    TLSv1_1 = "TLSv1.1"
    TLSv1_2 = "TLSv1.2"
    TLSv1_3 = "TLSv1.3"

    @property
    def rank(self) -> int:
        """Position among the versions, the oldest first."""
        return list(TlsVersion).index(self)

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class TlsPolicy:
    """The range of versions, the cipher suites, and how long a handshake may take."""

    minimum: TlsVersion = TlsVersion.TLSv1_2
    maximum: TlsVersion = TlsVersion.TLSv1_2
    ciphers: str | None = None  # An OpenSSL cipher string; None: Exchange's list.
    handshake_timeout: float = 30.0  # Seconds.

    @property
    def cipher_string(self) -> str:
        """The OpenSSL cipher string for TLS 1.2 and below.

        Security level 0: Exchange's own certificates may be signed with SHA-1 or have 1024-bit
        keys, and TLS 1.0 needs it too.  The version range and the list itself set the bar.
        """
        if self.ciphers is not None:
            return self.ciphers
        legacy = _LEGACY if self.minimum.rank < TlsVersion.TLSv1_2.rank else ()
        return ":".join((*_TLS12, *legacy)) + ":@SECLEVEL=0"
