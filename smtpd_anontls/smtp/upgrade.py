"""The upgrade of a session to TLS, on asyncio's own SSL protocol with four repairs.

asyncio.sslproto is the machinery that ``loop.start_tls`` uses; it is driven by hand here since
its public door offers neither small buffers nor a look at the ClientHello, and since it closes
the socket of a failed handshake before the alert has left.  Every private name of it that is
touched is touched in this file.  Guarded by tests/components/test_upgrade.py.
"""

from __future__ import annotations

import ssl
import threading
from asyncio import sslproto
from typing import TYPE_CHECKING, Any, Protocol

from smtpd_anontls.domain.records import TlsFacts, TlsVerb
from smtpd_anontls.protocol.client_hello import MAX_CLIENT_HELLO, parse_client_hello
from smtpd_anontls.protocol.handshake import describe_failure, describe_loss, describe_silence

if TYPE_CHECKING:
    import asyncio

    from smtpd_anontls.domain.records import ClientHello
    from smtpd_anontls.domain.tls_policy import TlsPolicy

# Seconds that a peer has to answer close_notify before its socket is closed anyway.
_SHUTDOWN_TIMEOUT = 3.0


class HandshakeError(Exception):
    """The handshake failed; *facts* say what was offered and why."""

    def __init__(self, facts: TlsFacts) -> None:
        super().__init__(facts.failure)
        self.facts = facts


class _Silence(Exception):  # noqa: N818 - a reason, not an error of ours
    """The handshake took too long."""


class Wrapping(Protocol):
    """What is asked of an SSLContext: where it comes from another library, something like it will do."""

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = ...,  # noqa: FBT001 - the standard library's signature
        server_hostname: str | None = ...,
    ) -> Any:
        """Return something like an SSLObject."""
        ...


# The published type stubs describe an older sslproto.
_Stock: Any = sslproto.SSLProtocol
_State: Any = sslproto.SSLProtocolState


class _Reading(threading.local):
    """The buffer that a loop reads from sockets into: filled and emptied within one of its callbacks.

    Of 32 KiB 5 MB of mail cost 18 % less CPU than of 16; 64 and 128 gained nothing more.
    """

    def __init__(self) -> None:
        self.buffer = memoryview(bytearray(32 * 1024))


class _ServerSide(_Stock):  # type: ignore[misc]
    """asyncio's SSL protocol with a shared buffer, an alert on failure, and the ClientHello kept."""

    # What is read from OpenSSL at a time, and what a stock buffer has.  Stock: 256 KiB.  16 KiB is one TLS
    # record, and cost nothing that could be measured on small mail.
    max_size = 16 * 1024

    established = False
    _handshake_timeout_handle: asyncio.TimerHandle | None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        # Stock: one for each session, for its whole life.
        self._ssl_buffer = self._ssl_buffer_view = _reading.buffer
        self.first_octets = b""

    def get_buffer(self, n: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        """Return where the loop puts what it reads."""
        return self._ssl_buffer_view

    def buffer_updated(self, nbytes: int) -> None:
        """Keep the first octets for the record while the handshake runs."""
        if not self.established and len(self.first_octets) < MAX_CLIENT_HELLO:
            self.first_octets += bytes(self._ssl_buffer_view[:nbytes])
        super().buffer_updated(nbytes)

    def _on_handshake_complete(self, handshake_exc: BaseException | type[BaseException] | None) -> None:
        if handshake_exc is None:
            self.established = True
            super()._on_handshake_complete(None)
            return
        # Stock aborts the transport here, and the alert with it.  Ours sends it and leaves the
        # closing to the session.
        if self._handshake_timeout_handle is not None:
            self._handshake_timeout_handle.cancel()
            self._handshake_timeout_handle = None
        self._set_state(_State.UNWRAPPED)
        if self._transport is not None:
            self._process_outgoing()
        self._wakeup_waiter(handshake_exc)

    def _check_handshake_timeout(self) -> None:
        # Stock reports ConnectionAbortedError, which a reset by the peer looks like too.
        if self._state is _State.DO_HANDSHAKE:
            self._on_handshake_complete(_Silence())

    def _abort(self, exc: BaseException | None = None) -> None:  # noqa: ARG002 - asyncio's signature
        # Stock calls a private method that only asyncio's own transports have.
        self._set_state(_State.UNWRAPPED)
        if self._transport is not None:
            self._transport.abort()

    def _check_shutdown_timeout(self) -> None:
        if self._state in (_State.FLUSHING, _State.SHUTDOWN):
            self._abort()


_reading = _Reading()


class Upgrade:
    """One handshake on a connection that speaks in clear so far."""

    def __init__(
        self,
        protocol: asyncio.Protocol,
        transport: asyncio.Transport,
        context: Wrapping,
        *,
        loop: asyncio.AbstractEventLoop,
        policy: TlsPolicy,
    ) -> None:
        """Put TLS between *transport* and *protocol*; nothing is read or sent yet."""
        self._policy = policy
        self._raw = transport
        self._waiter: asyncio.Future[None] = loop.create_future()
        self._tls = _ServerSide(
            loop,
            protocol,
            context,
            self._waiter,
            server_side=True,
            call_connection_made=False,
            ssl_handshake_timeout=policy.handshake_timeout,
            ssl_shutdown_timeout=_SHUTDOWN_TIMEOUT,
        )
        # As DER; None where none was asked for, or none came.
        self.client_certificate: bytes | None = None
        # From here on the session reads and writes through this one.
        self.transport: asyncio.Transport = self._tls._app_transport  # noqa: SLF001 - see the module

    async def handshake(self, verb: TlsVerb, thumbprint: str) -> TlsFacts:
        """Run the handshake and return its facts; HandshakeError carries those of a failure."""
        self._raw.set_protocol(self._tls)
        self._tls.connection_made(self._raw)
        failure: str | None = None
        try:
            await self._waiter
        except ssl.SSLZeroReturnError:
            failure = describe_loss(self._offered())
        except ssl.SSLError as error:
            failure = describe_failure(error.reason or "an unknown error", self._offered(), self._policy)
        except _Silence:
            failure = describe_silence(self._offered(), self._policy.handshake_timeout)
        except OSError:
            failure = describe_loss(self._offered())
        if failure is None and not self._tls.established:
            # A connection that simply ended wakes the waiter without an error.
            failure = describe_loss(self._offered())
        facts = self._facts(verb, thumbprint, failure)
        self._tls.first_octets = b""
        if failure is not None:
            raise HandshakeError(facts)
        self.client_certificate = self._established().getpeercert(binary_form=True)
        return facts

    def _established(self) -> ssl.SSLObject:
        connection: ssl.SSLObject = self.transport.get_extra_info("ssl_object")
        return connection

    def _offered(self) -> ClientHello | None:
        return parse_client_hello(self._tls.first_octets)

    def _facts(self, verb: TlsVerb, thumbprint: str, failure: str | None) -> TlsFacts:
        established = self._established() if failure is None else None
        cipher = established.cipher() if established is not None else None
        return TlsFacts(
            verb=verb,
            thumbprint=thumbprint,
            version=established.version() if established is not None else None,
            cipher=cipher[0] if cipher else None,
            bits=cipher[2] if cipher else None,
            resumed=bool(established is not None and established.session_reused),
            offered=self._offered(),
            failure=failure,
        )
