"""Server-side TLS contexts: a certificate, its chain and key, and what the policy allows.

A context keeps the keys of its session tickets, so one that is kept lets a peer resume its last
session.
"""

from __future__ import annotations

import os
import secrets
import ssl
import threading
import warnings
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from smtpd_anontls.domain.tls_policy import TlsVersion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

    from smtpd_anontls.domain.tls_policy import TlsPolicy

_VERSIONS = {
    TlsVersion.TLSv1: ssl.TLSVersion.TLSv1,
    TlsVersion.TLSv1_1: ssl.TLSVersion.TLSv1_1,
    TlsVersion.TLSv1_2: ssl.TLSVersion.TLSv1_2,
    TlsVersion.TLSv1_3: ssl.TLSVersion.TLSv1_3,
}
# As SSLContext.get_ciphers names the version that a suite came with; every other is older than TLS 1.2.
_SUITE_SINCE = {"TLSv1.2": TlsVersion.TLSv1_2, "TLSv1.3": TlsVersion.TLSv1_3}
# catch_warnings is the process's, not the thread's, and contexts are made in threads.
_one_at_a_time = threading.Lock()


class ContextError(Exception):
    """OpenSSL does not take the certificate, the key or the cipher string; a clause says why."""


def server_context(
    chain: Sequence[x509.Certificate], key: PrivateKeyTypes, policy: TlsPolicy
) -> ssl.SSLContext:
    """Return a context that presents *chain*, the server's own certificate first.

    It asks for no client certificate; compression and renegotiation are off.  Takes milliseconds.
    """
    context = _bare_context(policy)
    try:
        _load(context, chain, key)
    except ssl.SSLError as error:
        raise ContextError(_explain(error)) from error
    except OSError as error:
        raise ContextError(
            f"OpenSSL reads it from memory through /proc, which failed: {error.strerror}"
        ) from error
    return context


def check_ciphers(policy: TlsPolicy) -> str | None:
    """Return what is wrong with the policy's cipher string, in one sentence; None where it can work."""
    try:
        context = _bare_context(policy)
    except ContextError as error:
        return str(error)
    if policy.maximum.rank < TlsVersion.TLSv1_2.rank and context.security_level > 0:
        return f"{policy.cipher_string!r} leaves OpenSSL no {policy.maximum}; end it with ':@SECLEVEL=0'"
    since = [_SUITE_SINCE.get(suite["protocol"], TlsVersion.TLSv1) for suite in context.get_ciphers()]
    if all(version.rank > policy.maximum.rank for version in since):
        return f"{policy.cipher_string!r} holds no cipher suite that {policy.maximum} can use"
    return None


def _bare_context(policy: TlsPolicy) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    with _one_at_a_time, warnings.catch_warnings():
        # TLS 1.0 and 1.1 are deprecated, and old Exchange senders speak nothing newer.
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = _VERSIONS[policy.minimum]
        context.maximum_version = _VERSIONS[policy.maximum]
    # Before the certificate is loaded: the string carries the security level that judges it.
    try:
        context.set_ciphers(policy.cipher_string)
    except ssl.SSLError as error:
        raise ContextError(
            f"{policy.cipher_string!r} is no OpenSSL cipher string with a suite for TLS 1.2 or below; "
            "`openssl ciphers -v STRING` shows what one stands for"
        ) from error
    return context


def _load(context: ssl.SSLContext, chain: Sequence[x509.Certificate], key: PrivateKeyTypes) -> None:
    """Hand chain and key to OpenSSL, which takes paths only, without a file that anybody could read.

    They may stand in two files, or among other certificates in one.  So they are written to a file
    in memory, the key under a password that lives as long as this call.
    """
    password = secrets.token_bytes(32)
    pem = b"".join(certificate.public_bytes(Encoding.PEM) for certificate in chain) + key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password)
    )
    descriptor = os.memfd_create("certificate", os.MFD_CLOEXEC)
    with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor, not a path
        file.write(pem)
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{descriptor}", password=password)


def _explain(error: ssl.SSLError) -> str:
    reason = (error.reason or "unknown reason").replace("_", " ").lower()
    advice = "; ':@SECLEVEL=0' at the end of tls.ciphers would take it" if _is_too_weak(error) else ""
    return f"OpenSSL does not take it ({reason}){advice}"


def _is_too_weak(error: ssl.SSLError) -> bool:
    return error.reason in {"EE_KEY_TOO_SMALL", "CA_KEY_TOO_SMALL", "CA_MD_TOO_WEAK", "EE_MD_TOO_WEAK"}
