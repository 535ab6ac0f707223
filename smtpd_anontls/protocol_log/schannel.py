"""The facts of a TLS handshake in the words of Windows, which the protocol log uses.

Names of protocols and algorithms: SecPkgContext_ConnectionInfo and ALG_ID, which have them.  What stands
beside what: public logs, which have AES-GCM suites with a hash of "strength 0 bits", and a suite of TLS 1.0
with "CALG_SHA1 with strength 160 bits".
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from smtpd_anontls.domain.protocol_log import Layout

if TYPE_CHECKING:
    from collections.abc import Mapping

    from smtpd_anontls.domain.records import TlsFacts

_PROTOCOLS: Mapping[str, str] = MappingProxyType(
    {
        "SSLv3": "SP_PROT_SSL3_SERVER",
        "TLSv1": "SP_PROT_TLS1_0_SERVER",
        "TLSv1.1": "SP_PROT_TLS1_1_SERVER",
        "TLSv1.2": "SP_PROT_TLS1_2_SERVER",
        "TLSv1.3": "SP_PROT_TLS1_3_SERVER",
    }
)

# By a part of OpenSSL's name of a suite: the algorithm, and its strength in bits.
_BULK: Mapping[str, tuple[str, int]] = MappingProxyType(
    {
        "AES256": ("CALG_AES_256", 256),
        "AES_256": ("CALG_AES_256", 256),
        "AES128": ("CALG_AES_128", 128),
        "AES_128": ("CALG_AES_128", 128),
        "DES-CBC3": ("CALG_3DES", 168),
        "RC4": ("CALG_RC4", 128),
    }
)
# By its end.
_HASHES: Mapping[str, tuple[str, int]] = MappingProxyType(
    {
        "SHA384": ("CALG_SHA_384", 384),
        "SHA256": ("CALG_SHA_256", 256),
        "SHA": ("CALG_SHA1", 160),
        "MD5": ("CALG_MD5", 128),
    }
)
# RFC 5288, RFC 6655 and RFC 7905: such a suite has no MAC of its own; the hash is that of the key derivation.
_AUTHENTICATED = ("GCM", "CCM", "CHACHA20")
_HASH_WITHOUT_NAME = ("CALG_SHA_256", 256)

# By the beginning of its name; a suite without one of these exchanges keys by RSA.
_ECDHE_WORDS: Mapping[Layout, str] = MappingProxyType(
    {Layout.CURRENT: "CALG_ECDH_EPHEM", Layout.EXCHANGE_2013: "CALG_ECDHE"}
)
_ECDHE = ("ECDHE-", "AECDH-", "TLS_")
_DHE = ("DHE-", "ADH-")
# Not in the name of a suite.  Public logs have 384 bits beside SHA-384 and 256 beside the others; keys of
# RSA and groups of DH have 2048 bits on Windows where nobody chose otherwise.
_ECDHE_BITS: Mapping[str, int] = MappingProxyType({"CALG_SHA_384": 384})
_ECDHE_BITS_ELSE = 256
_OTHER_BITS = 2048

# SEC_E_INVALID_TOKEN, and what the log has where the connection ended.
_INVALID_TOKEN = "InvalidToken"  # noqa: S105 - an error's name
_SOCKET_ERROR = "SocketError"
_CLOSED = "the peer closed the connection"
_SILENT = (" came within ", " finished within ")


def outcome(facts: TlsFacts, layout: Layout) -> str:
    """Return the sentence of the log: what was negotiated, or that nothing was."""
    if facts.failure is not None:
        return f"TLS negotiation failed with error {_error(facts.failure)}"
    suite = facts.cipher or ""
    protocol = _PROTOCOLS.get(facts.version or "", facts.version or "")
    bulk, bulk_bits = _bulk(suite, facts.bits)
    digest, digest_bits = _hash(suite)
    exchange, exchange_bits = _exchange(suite, digest, layout)
    return (
        f"TLS protocol {protocol} negotiation succeeded using bulk encryption algorithm {bulk} with strength "
        f"{bulk_bits} bits, MAC hash algorithm {digest} with strength {digest_bits} bits and key exchange "
        f"algorithm {exchange} with strength {exchange_bits} bits"
    )


def _error(failure: str) -> str:
    if failure.startswith(_CLOSED) or any(words in failure for words in _SILENT):
        return _SOCKET_ERROR
    return _INVALID_TOKEN


def _bulk(suite: str, bits: int | None) -> tuple[str, int]:
    for part, found in _BULK.items():
        if part in suite:
            return found
    # Windows has no such suite on this version; OpenSSL's name says which it is.
    return suite, bits or 0


def _hash(suite: str) -> tuple[str, int]:
    word, bits = next(
        (found for end, found in _HASHES.items() if suite.endswith(end)),
        _HASH_WITHOUT_NAME,
    )
    return word, 0 if any(part in suite for part in _AUTHENTICATED) else bits


def _exchange(suite: str, digest: str, layout: Layout) -> tuple[str, int]:
    if suite.startswith(_ECDHE):
        return _ECDHE_WORDS[layout], _ECDHE_BITS.get(digest, _ECDHE_BITS_ELSE)
    if suite.startswith(_DHE):
        return "CALG_DH_EPHEM", _OTHER_BITS
    return "CALG_RSA_KEYX", _OTHER_BITS
