"""Whom a client of a receiver's page believes, and what it says where it does not."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from smtpd_anontls.domain.printable import printable

if TYPE_CHECKING:
    from pathlib import Path

# Of X509_verify_cert(3); the ssl module has no names for them.
_OTHER_NAME = frozenset({62, 64})  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH


def context_that_trusts(ca_file: Path | None) -> ssl.SSLContext:
    """Return a context that believes the certificates of *ca_file*, or the system's; ValueError says what would do.

    The system's are those of OpenSSL, which $SSL_CERT_FILE names.  A file may also hold the page's own certificate,
    as one that signs itself has no authority above it.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if ca_file is None:
        context.load_default_certs()
        return context
    shown = printable(str(ca_file))
    try:
        context.load_verify_locations(ca_file)
    except ssl.SSLError:
        raise ValueError(f"{shown} has no certificate in PEM form; write one into it") from None
    except OSError as error:
        raise ValueError(f"{shown} cannot be read: {error.strerror}") from None
    return context


def tls_problem(error: object) -> str | None:
    """Return why TLS with the page failed, and what would do; None: TLS was not the reason."""
    match error:
        case ssl.SSLCertVerificationError(verify_code=code) if code in _OTHER_NAME:
            # "IP address mismatch, certificate is not valid for '127.0.0.1'."
            return f"{error.verify_message.rstrip('.')}; write a name of the certificate into the URL"
        case ssl.SSLCertVerificationError():
            return (
                f"its certificate is not trusted ({error.verify_message}); if it is the right one, name a file "
                "with it, or with its authority, by --ca-file or SSL_CERT_FILE"
            )
        case ssl.SSLError(reason="WRONG_VERSION_NUMBER" | "RECORD_LAYER_FAILURE" | "HTTP_REQUEST"):
            return "it does not speak TLS; write http://"
        case ssl.SSLError():
            reason = getattr(error, "reason", None) or "unknown reason"
            return f"TLS failed: {reason.replace('_', ' ').lower()}"
    return None
