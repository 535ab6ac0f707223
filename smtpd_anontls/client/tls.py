"""TLS as a client that verifies nothing, without sockets: octets in, octets out.

X-ANONYMOUSTLS encrypts and does not say who the peer is, so nothing is verified and old versions,
short keys and SHA-1 signatures are met on purpose: a probe reports what it finds.  The session
works on memory buffers, so that the blocking conversation and the polling relay share it, and no
octet can be lost between a TLS layer and a ``poll`` that does not know of it.
"""

from __future__ import annotations

import re
import ssl
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from smtpd_anontls.client.errors import ConversationError, HandshakeError
from smtpd_anontls.domain.certificate import Certificate, CertificateError, thumbprint_of
from smtpd_anontls.domain.printable import printable
from smtpd_anontls.domain.tls_policy import TlsVersion

if TYPE_CHECKING:
    from collections.abc import Mapping

    from smtpd_anontls.client.client_certificate import ClientCertificate

_VERSIONS: Mapping[TlsVersion, ssl.TLSVersion] = {
    TlsVersion.TLSv1: ssl.TLSVersion.TLSv1,
    TlsVersion.TLSv1_1: ssl.TLSVersion.TLSv1_1,
    TlsVersion.TLSv1_2: ssl.TLSVersion.TLSv1_2,
    TlsVersion.TLSv1_3: ssl.TLSVersion.TLSv1_3,
}
# DEFAULT has no suite without a certificate; level 0 admits TLS 1.0, SHA-1 signatures and short keys.
_CIPHERS = "DEFAULT:@SECLEVEL=0"
# ssl.OP_LEGACY_SERVER_CONNECT, named since Python 3.12: servers from before RFC 5746 are met too.
_LEGACY_SERVER_CONNECT = 0x4
# RFC 8446 section 5.1: the first octet of a record is its content type.
_CONTENT_TYPES = range(20, 24)
_ALERT = re.compile(r"(?:SSLV3|TLSV1|TLSV13)_(?:ALERT_)?(?P<name>[A-Z0-9_]+)")
# What an alert means to somebody who runs Exchange (RFC 8446 section 6.2 has the names).
_ALERT_MEANINGS: Mapping[str, str] = {
    "access_denied": "it wants a client certificate that it trusts",
    "bad_certificate": "it wants a client certificate that it trusts",
    "certificate_required": "it wants a client certificate, as an Edge server does",
    "handshake_failure": "no cipher suite, key type or signature algorithm is shared",
    "insufficient_security": "it wants stronger cipher suites than those offered",
    "internal_error": "it could not go on itself, for instance because its private key cannot be used",
    "unrecognized_name": "it has no certificate for the name in SNI",
}
# RFC 8446 section 4: the handshake messages that tell of a client certificate.
_CERTIFICATE = 11
_CERTIFICATE_REQUEST = 13
_EMPTY_CERTIFICATE = 8  # Octets of a Certificate message without a certificate, at most.
_SHOWN_OCTETS = 200
# RFC 6066 section 3: SNI has a DNS name, ASCII, without a final dot.
_SERVER_NAME = re.compile(r"[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*")


@dataclass(frozen=True, slots=True)
class TlsOffer:
    """The versions that the ClientHello offers, the name in SNI, and what is presented to a server that asks."""

    minimum: TlsVersion = TlsVersion.TLSv1
    maximum: TlsVersion = TlsVersion.TLSv1_3
    server_name: str | None = None  # None: no SNI; Exchange does not choose by it.
    client_certificate: ClientCertificate | None = None

    def __post_init__(self) -> None:
        if self.minimum.rank > self.maximum.rank:
            raise ValueError(
                f"the lowest TLS version, {self.minimum}, is above the highest, {self.maximum}; exchange the two"
            )
        if self.server_name is not None and not _SERVER_NAME.fullmatch(self.server_name):
            raise ValueError(f"{self.server_name!r} is not a name for SNI; write mx1.contoso.test")

    def __str__(self) -> str:
        return str(self.minimum) if self.minimum is self.maximum else f"{self.minimum} to {self.maximum}"

    def context(self) -> ssl.SSLContext:
        """Return a client context that verifies nothing and offers exactly this."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.options |= _LEGACY_SERVER_CONNECT
        context.set_ciphers(_CIPHERS)
        with warnings.catch_warnings():
            # TLS 1.0 and 1.1 are deprecated, and still what an Exchange 2010 may speak.
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = _VERSIONS[self.minimum]
            context.maximum_version = _VERSIONS[self.maximum]
        if self.client_certificate is not None:
            self.client_certificate.load_into(context)
        return context


@dataclass(frozen=True, slots=True)
class Secured:
    """A TLS session: what was chosen, and the certificate that the server showed."""

    version: str  # As OpenSSL names it: "TLSv1.2".
    cipher: str
    bits: int
    thumbprint: str  # SHA-1 of the certificate's DER.
    certificate: Certificate | None  # None: the server's octets cannot be read as an X.509 certificate.
    asked_for_client_certificate: bool = False
    presented: Certificate | None = None  # Our own, where the server asked for it and it was sent.


class TlsSession:
    """A TLS client between two memory buffers; the caller carries the octets."""

    def __init__(self, offer: TlsOffer) -> None:
        self._offer = offer
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._first = bytearray()
        self._asked, self._presented = False, False
        context = offer.context()
        # Private to the ssl module, and the only place where it tells of a CertificateRequest.
        # Guarded by tests/components/test_probe_client_certificate.py.
        setattr(context, "_msg_callback", self._overheard)  # noqa: B010 - the type stubs do not know it
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=offer.server_name)

    def _overheard(
        self, _connection: object, direction: str, _version: Any, _content: Any, kind: Any, octets: bytes
    ) -> None:
        """Note what the handshake says of a client certificate."""
        if direction == "read" and kind == _CERTIFICATE_REQUEST:
            self._asked = True
        if direction == "write" and kind == _CERTIFICATE:
            self._presented = len(octets) > _EMPTY_CERTIFICATE

    def feed(self, octets: bytes) -> None:
        """Take octets from the socket; no octets say that the peer closed it."""
        if not octets:
            self._incoming.write_eof()
            return
        self._first += octets[: max(0, _SHOWN_OCTETS - len(self._first))]
        self._incoming.write(octets)

    def outgoing(self) -> bytes:
        """Return the octets that must go to the socket now."""
        return self._outgoing.read()

    def handshake(self) -> bool:
        """Go on with the handshake; False: octets from the peer are needed; HandshakeError says why it failed."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError as error:
            raise HandshakeError(_handshake_failure(error, self._offer, bytes(self._first))) from error
        return True

    def secured(self) -> Secured:
        """Return what the finished handshake settled."""
        cipher, der = self._tls.cipher(), self._tls.getpeercert(binary_form=True)
        if cipher is None or der is None:
            raise HandshakeError("the TLS session has no certificate")
        try:
            certificate = Certificate.from_der(der)
        except CertificateError:
            certificate = None
        own = self._offer.client_certificate
        return Secured(
            self._tls.version() or cipher[1],
            cipher[0],
            cipher[2],
            thumbprint_of(der),
            certificate,
            self._asked,
            own.certificate if own is not None and self._presented else None,
        )

    def read(self, limit: int = 65536) -> bytes | None:
        """Return what the peer said; None: more octets are needed; empty: the peer ended the session."""
        try:
            return self._tls.read(limit)
        except ssl.SSLWantReadError:
            return None
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            # Many servers close without close_notify; SMTP marks its own ends (221, the final dot).
            return b""
        except ssl.SSLError as error:
            raise ConversationError(f"the TLS session broke: {_reason(error)}") from error

    def write(self, octets: bytes) -> int:
        """Encrypt *octets* and return how many were taken; 0: the peer must be heard first."""
        try:
            return self._tls.write(octets)
        except ssl.SSLWantReadError:
            return 0
        except ssl.SSLError as error:
            raise ConversationError(f"the TLS session broke: {_reason(error)}") from error

    def close_notify(self) -> None:
        """End our direction; what the peer still says can be read.  Call it when ``read`` has nothing left."""
        try:
            self._tls.unwrap()
        except ssl.SSLError:
            # The alert is in the outgoing buffer; that the peer's own is missing is no concern here.
            return


def _alert(error: ssl.SSLError) -> str | None:
    """Return the name of the alert that the peer sent, as RFC 8446 spells it."""
    found = _ALERT.fullmatch(error.reason or "")
    return found["name"].lower() if found else None


def _reason(error: ssl.SSLError) -> str:
    """Say what ended TLS: the peer's alert, or what OpenSSL found."""
    alert = _alert(error)
    if alert is None:
        return (error.reason or str(error)).lower().replace("_", " ")
    meaning = _ALERT_MEANINGS.get(alert)
    return f"the server sent the TLS alert {alert}" + (f", that is, {meaning}" if meaning else "")


def _handshake_failure(error: ssl.SSLError, offer: TlsOffer, first: bytes) -> str:
    """Say in one sentence why the handshake failed, for somebody who runs the server."""
    if first and first[0] not in _CONTENT_TYPES:
        line = printable(first.splitlines()[0].decode("ascii", "backslashreplace"))
        return f"the TLS handshake failed: the server went on in plain text, with {line!r}"
    if _alert(error) == "protocol_version":
        return (
            f"the TLS handshake failed: the server refused the TLS versions offered ({offer}) with the alert "
            "protocol_version; compare them with those that Schannel enables there"
        )
    if isinstance(error, ssl.SSLEOFError):
        return f"the TLS handshake failed: the server closed the connection without an alert; {SILENT_CLOSE}"
    if error.reason in {"UNSUPPORTED_PROTOCOL", "WRONG_SSL_VERSION"}:
        return f"the TLS handshake failed: the server chose a TLS version that was not offered ({offer})"
    return f"the TLS handshake failed: {_reason(error)}"


SILENT_CLOSE = "Exchange does so when it cannot use the certificate's private key, or when no TLS version or cipher suite is shared"
