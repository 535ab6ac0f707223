"""The upgrade that asks for a client certificate and takes any: the ``Upgrade``, over pyOpenSSL.

The standard ssl module has no such mode.  So a pyOpenSSL connection stands in for the
``ssl.SSLObject`` that asyncio's SSL protocol drives: it takes and gives octets through the same two
``ssl.MemoryBIO``, and fails with the same exceptions.  Everything around it, from the first octets
that are kept to the alert and the limits of the buffers, is that of ``upgrade``.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, TypeVar

from OpenSSL import SSL, crypto

from smtpd_anontls.smtp.upgrade import Upgrade

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from smtpd_anontls.domain.tls_policy import TlsPolicy

T = TypeVar("T")

# Octets that are handed to OpenSSL, or taken from it, at a time: a TLS record.
_PIECE = 16 * 1024


class DirectTrustUpgrade(Upgrade):
    """One handshake that asks for a client certificate; whose it is, is not its question.

    *context* has to accept every certificate, as the store's ``direct_trust_context`` does.
    """

    def __init__(
        self,
        protocol: asyncio.Protocol,
        transport: asyncio.Transport,
        context: SSL.Context,
        *,
        loop: asyncio.AbstractEventLoop,
        policy: TlsPolicy,
    ) -> None:
        """Put TLS between *transport* and *protocol*; nothing is read or sent yet."""
        super().__init__(protocol, transport, _Context(context), loop=loop, policy=policy)


class _Context:
    """What asyncio asks of an ``ssl.SSLContext``."""

    def __init__(self, context: SSL.Context) -> None:
        self._context = context

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = True,  # noqa: ARG002, FBT001, FBT002 - the signature of SSLContext; it is always one
        server_hostname: str | None = None,  # noqa: ARG002 - a client's
    ) -> _Connection:
        return _Connection(self._context, incoming, outgoing)


class _Connection:
    """What asyncio and ``Upgrade`` ask of an ``ssl.SSLObject``, of a pyOpenSSL connection without a socket."""

    # The context keeps no session and gives no ticket.
    session_reused = False

    def __init__(self, context: SSL.Context, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> None:
        self._connection = SSL.Connection(context)
        self._connection.set_accept_state()
        self._incoming = incoming
        self._outgoing = outgoing

    def do_handshake(self) -> None:
        self._run(self._connection.do_handshake)

    def read(self, length: int) -> bytes:
        """Return what came, at most *length* octets; nothing where the peer has said close_notify."""
        try:
            return self._run(lambda: self._connection.recv(length))
        except ssl.SSLZeroReturnError:
            return b""

    def write(self, data: bytes | bytearray | memoryview) -> int:
        return self._run(lambda: self._connection.send(data))

    def unwrap(self) -> None:
        """Say close_notify and wait for the peer's."""
        # OpenSSL returns once when ours is said, and looks for the peer's at the next call.
        while not self._run(self._connection.shutdown):
            pass

    def getpeercert(self, binary_form: bool = False) -> bytes | dict[str, object] | None:  # noqa: FBT001, FBT002
        """Return the client's certificate as DER; without *binary_form* nothing, as for one that was not verified."""
        if not binary_form:
            return {}
        shown = self._connection.get_peer_certificate()
        # Octets alone: what a peer shows need not be a certificate that everybody can read.
        return None if shown is None else crypto.dump_certificate(crypto.FILETYPE_ASN1, shown)

    def version(self) -> str:
        return self._connection.get_protocol_version_name()

    def cipher(self) -> tuple[str, str, int] | None:
        name, bits = self._connection.get_cipher_name(), self._connection.get_cipher_bits()
        return None if name is None or bits is None else (name, self.version(), bits)

    def compression(self) -> None:
        """Return that there is none."""

    def _run(self, step: Callable[[], T]) -> T:
        """Run *step* with the octets that came, as far as it wants them, and hand on what it wrote."""
        try:
            while True:
                try:
                    return step()
                except SSL.WantReadError:
                    # Piece by piece: what OpenSSL holds is counted by nobody.
                    if not (piece := self._incoming.read(_PIECE)):
                        raise ssl.SSLWantReadError from None
                    self._connection.bio_write(piece)
                except SSL.ZeroReturnError as error:
                    raise ssl.SSLZeroReturnError(ssl.SSL_ERROR_ZERO_RETURN, "close_notify") from error
                except SSL.Error as error:
                    raise _as_ssl_error(error) from error
        finally:
            self._hand_on()

    def _hand_on(self) -> None:
        try:
            while True:
                self._outgoing.write(self._connection.bio_read(_PIECE))
        except SSL.WantReadError:
            return


def _as_ssl_error(error: SSL.Error) -> ssl.SSLError:
    """Return the error of the ssl module: "no shared cipher" is the reason ``NO_SHARED_CIPHER`` there."""
    queue = error.args[0] if error.args else None
    # Of several the ssl module too takes the last, which is that of TLS itself.
    text = str(queue[-1][-1]) if isinstance(queue, list) and queue else "unknown error"
    made = ssl.SSLError(ssl.SSL_ERROR_SSL, text)
    made.reason = text.upper().replace(" ", "_")
    return made
