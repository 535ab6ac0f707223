"""A service whose connections begin TLS at once, as direct trust does, and what connects to it."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    load_pem_private_key,
)

from smtpd_anontls.certificates.contexts import direct_trust_context
from smtpd_anontls.domain.records import TlsFacts, TlsVerb
from smtpd_anontls.domain.tls_policy import TlsPolicy, TlsVersion
from smtpd_anontls.smtp.direct_trust import DirectTrustUpgrade
from smtpd_anontls.smtp.upgrade import HandshakeError, Upgrade
from tests.components.handshake import client_context, exchange_ec
from tests.lab import Belongings, eventually
from tests.peer import Peer, believing_context

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from OpenSSL import SSL

    from smtpd_anontls.certificates.issue import Issued

THUMBPRINT = exchange_ec().certificate.thumbprint
READY = b"220 ready\r\n"
V10, V12, V13 = TlsVersion.TLSv1, TlsVersion.TLSv1_2, TlsVersion.TLSv1_3
UP_TO_13 = TlsPolicy(V12, V13)


@dataclass
class Session(asyncio.Protocol):
    """A connection that begins TLS at once, says READY, and keeps what it hears."""

    service: Service
    facts: TlsFacts | None = None
    client_certificate: bytes | None = None
    heard: bytearray = field(default_factory=bytearray)
    saw_eof: bool = False
    is_over: bool = False
    pauses: list[str] = field(default_factory=list)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.raw = cast("asyncio.Transport", transport)
        kind = Upgrade if isinstance(self.service.context, ssl.SSLContext) else DirectTrustUpgrade
        loop = asyncio.get_running_loop()
        self.upgrade = kind(self, self.raw, self.service.context, loop=loop, policy=self.service.policy)  # type: ignore[arg-type]
        self.transport = self.upgrade.transport
        self.service.sessions.append(self)
        self.task = loop.create_task(self.run())

    @property
    def has_begun(self) -> bool:
        """Whether what comes is given to TLS."""
        return self.raw.get_protocol() is not self

    async def run(self) -> None:
        """Run the handshake."""
        try:
            self.facts = await self.upgrade.handshake(TlsVerb.X_ANONYMOUSTLS, THUMBPRINT)
        except HandshakeError as error:
            self.facts = error.facts
            self.raw.close()
            return
        self.client_certificate = self.upgrade.client_certificate
        self.transport.write(READY)

    def data_received(self, data: bytes) -> None:
        """Keep what is heard."""
        self.heard += data

    def eof_received(self) -> None:
        """Note the end of what is heard."""
        self.saw_eof = True

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Note the end."""
        self.is_over = True

    def pause_writing(self) -> None:
        """Note that the peer does not take what is written."""
        self.pauses.append("pause")

    def resume_writing(self) -> None:
        """Note that it does again."""
        self.pauses.append("resume")


@dataclass
class Service:
    """Where the peers connect to."""

    context: SSL.Context | ssl.SSLContext
    policy: TlsPolicy
    sessions: list[Session] = field(default_factory=list)
    address: tuple[str, int] = ("", 0)

    @property
    def session(self) -> Session:
        """The newest."""
        return self.sessions[-1]

    async def peer(self) -> Peer:
        """Return a peer that has connected, and may speak TLS, as one that has read 220 in a real session."""
        begun = len(self.sessions)
        peer = await Peer.connect(self.address)
        # uvloop reads at once, and would give the ClientHello to the protocol in clear.
        await eventually(lambda: len(self.sessions) > begun and self.session.has_begun)
        return peer

    async def ended(self) -> TlsFacts:
        """Return the facts of the newest session's handshake, when that has ended."""
        await eventually(lambda: bool(self.sessions) and self.session.task.done())
        assert self.session.facts is not None
        return self.session.facts


@asynccontextmanager
async def serving(
    policy: TlsPolicy = UP_TO_13, *, issued: Issued | None = None, fast: ssl.SSLContext | None = None
) -> AsyncIterator[Service]:
    """Run a service, whose sessions leave nothing behind."""
    service = Service(fast or context_of(issued or exchange_ec(), policy), policy)
    server = await asyncio.get_running_loop().create_server(lambda: Session(service), "127.0.0.1", 0)
    service.address = server.sockets[0].getsockname()
    before = Belongings.now()
    try:
        yield service
        await eventually(lambda: Belongings.now() == before)
    finally:
        server.close()
        for session in service.sessions:
            session.raw.abort()
        await server.wait_closed()


def context_of(issued: Issued, policy: TlsPolicy = UP_TO_13) -> SSL.Context:
    """Return the context that presents a certificate."""
    chain = x509.load_pem_x509_certificates(issued.certificate_pem)
    return direct_trust_context(chain, load_pem_private_key(issued.key_pem, None), policy)


def client(
    folder: Path, shown: Issued | None, minimum: TlsVersion = V12, maximum: TlsVersion = V12
) -> ssl.SSLContext:
    """Return a client that believes every certificate and shows this one."""
    context = client_context(minimum, maximum)
    if shown is not None:
        file = folder / "client.pem"
        file.write_bytes(shown.certificate_pem + shown.key_pem)
        context.load_cert_chain(file)
    return context


def hello() -> bytes:
    """Return a ClientHello."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    making = believing_context().wrap_bio(incoming, outgoing, server_hostname="mx1.lab.test")
    with contextlib.suppress(ssl.SSLWantReadError):
        making.do_handshake()
    return outgoing.read()


async def ready(service: Service, context: ssl.SSLContext) -> Peer:
    """Return a peer that has been told that TLS has begun."""
    peer = await service.peer()
    await peer.upgrade(context)
    assert await peer.line() == READY.decode().strip()
    return peer
