"""Server-side TLS contexts: a certificate, its chain and key, and what the policy allows.

A context keeps the keys of its session tickets, so one that is kept lets a peer resume its last
session.

There are two kinds.  The standard ssl module's is the fast one, and asks for no client certificate.
pyOpenSSL's asks for one and accepts whatever comes, as direct trust needs it: the ssl module has no
such mode, since under CERT_OPTIONAL a certificate that no authority issued, or that is for servers
alone, ends the handshake.
"""

from __future__ import annotations

import os
import secrets
import ssl
import threading
import warnings
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from OpenSSL import SSL

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
_PYOPENSSL_VERSIONS = {
    TlsVersion.TLSv1: SSL.TLS1_VERSION,
    TlsVersion.TLSv1_1: SSL.TLS1_1_VERSION,
    TlsVersion.TLSv1_2: SSL.TLS1_2_VERSION,
    TlsVersion.TLSv1_3: SSL.TLS1_3_VERSION,
}
_SIGNING_KEYS = (RSAPrivateKey, EllipticCurvePrivateKey, Ed25519PrivateKey, Ed448PrivateKey)
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
        raise ContextError(_explain(error.reason)) from error
    except OSError as error:
        raise ContextError(
            f"OpenSSL reads it from memory through /proc, which failed: {error.strerror}"
        ) from error
    return context


def direct_trust_context(
    chain: Sequence[x509.Certificate], key: PrivateKeyTypes, policy: TlsPolicy
) -> SSL.Context:
    """Return a context that presents *chain*, asks for a client certificate and accepts any, or none.

    Whose certificate it is and what it is worth is for the directory to say, not for the handshake.  It names no
    authority that the client should have one from, and resumes no session: each connection shows
    its certificate and proves that it has the key.
    """
    if not isinstance(key, _SIGNING_KEYS):
        raise ContextError("its key is of a kind that signs no handshake")
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_options(
        SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION | SSL.OP_CIPHER_SERVER_PREFERENCE | SSL.OP_NO_TICKET
    )
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_min_proto_version(_PYOPENSSL_VERSIONS[policy.minimum])
    context.set_max_proto_version(_PYOPENSSL_VERSIONS[policy.maximum])
    context.set_verify(SSL.VERIFY_PEER, _accept)
    # Of a chain that the client sends nothing above the certificate itself is looked at.
    context.set_verify_depth(0)
    try:
        context.set_cipher_list(policy.cipher_string.encode())
    except SSL.Error as error:
        raise ContextError(_of_ciphers(policy)) from error
    try:
        context.use_certificate(chain[0])
        for issuer in chain[1:]:
            context.add_extra_chain_cert(issuer)
        context.use_privatekey(key)
        context.check_privatekey()
    except SSL.Error as error:
        raise ContextError(_explain(_reason(error))) from error
    return context


def _reason(error: SSL.Error) -> str | None:
    """Return the reason as the ssl module spells it, which too takes the last of several."""
    queue = error.args[0] if error.args else ()
    return str(queue[-1][-1]).upper().replace(" ", "_") if queue else None


def _accept(*_of_the_verification: object) -> bool:
    return True


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
        raise ContextError(_of_ciphers(policy)) from error
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


def _of_ciphers(policy: TlsPolicy) -> str:
    return (
        f"{policy.cipher_string!r} is no OpenSSL cipher string with a suite for TLS 1.2 or below; "
        "`openssl ciphers -v STRING` shows what one stands for"
    )


def _explain(reason: str | None) -> str:
    shown = (reason or "unknown reason").replace("_", " ").lower()
    advice = "; ':@SECLEVEL=0' at the end of tls.ciphers would take it" if reason in _TOO_WEAK else ""
    return f"OpenSSL does not take it ({shown}){advice}"


_TOO_WEAK = frozenset({"EE_KEY_TOO_SMALL", "CA_KEY_TOO_SMALL", "CA_MD_TOO_WEAK", "EE_MD_TOO_WEAK"})
