"""The page on the current loop, beside a receiver: uvicorn, without its hold on signals and without patience.

uvicorn waits for ever for a head that does not come and for a reader that does not read; a
connection here has a time for both.  With ``web.tls`` each connection shakes hands first.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
from typing import TYPE_CHECKING, Any, Self

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from smtpd_anontls.domain.endpoints import Binding, parse_address
from smtpd_anontls.web.access import Access
from smtpd_anontls.web.app import make_app
from smtpd_anontls.web.certificate import PageCertificateError, choose
from smtpd_anontls.web.feed import Feed
from smtpd_anontls.web.patience import Patience
from smtpd_anontls.web.securing import Handshakes, Securing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from ssl import SSLContext
    from types import TracebackType

    from smtpd_anontls.domain.certificate import Certificate
    from smtpd_anontls.receiver import Receiver
    from smtpd_anontls.settings.values import WebTlsSettings

log = logging.getLogger("smtpd_anontls")

LARGEST_HEAD = 32 * 1024
_CONNECTIONS = 256
_BACKLOG = 128
_TICK = 1.0  # Seconds for which the header Date may stay as it is.
_IPV6 = 6


class PageError(Exception):
    """The page cannot be opened; one sentence says why."""


class Page:
    """The page of *receiver* while the block runs: ``async with Page(receiver) as page``.

    Nothing is opened where ``web.bind`` is null.
    """

    def __init__(self, receiver: Receiver, *, patience: Patience = Patience()) -> None:  # noqa: B008 - frozen
        self._receiver = receiver
        self._patience = patience
        self._settings = receiver.settings.web
        self.feed = Feed(patience.heartbeat)
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None
        self._presents: _Presents | None = None
        self._handshakes: Handshakes | None = None
        self.binding: Binding | None = None  # Where it really listens.

    @property
    def url(self) -> str | None:
        """Where the page is, for a person; None: there is none."""
        scheme = "http" if self._presents is None else "https"
        return None if self.binding is None else f"{scheme}://{self.binding}/"

    @property
    def certificate(self) -> Certificate | None:
        """What it presented last; None: it speaks HTTP."""
        return None if self._presents is None else self._presents.certificate

    async def __aenter__(self) -> Self:
        """Listen; PageError, PageCertificateError, AccessError say in one sentence why that cannot be."""
        bind, auth = self._settings.bind, self._settings.auth
        if bind is None:
            return self
        access = None if auth is None else Access.read(auth, os.environ)
        app = make_app(
            self._receiver, self._settings, access=access, feed=self.feed, body_timeout=self._patience.body
        )
        if self._settings.tls is not None:
            self._presents = _Presents(self._receiver, self._settings.tls)
            await self._presents.choose()
            self._handshakes = Handshakes(self._presents.context, self._patience.head)
        listening = _socket(bind)
        address, port = listening.getsockname()[:2]
        self._server = _Server(_configuration(app, self._patience, self._handshakes))
        self._serving = asyncio.create_task(self._server.serve([listening]))
        began = asyncio.create_task(self._server.listens.wait())
        await asyncio.wait([began, self._serving], return_when=asyncio.FIRST_COMPLETED)
        began.cancel()
        self.binding = Binding(parse_address(address), port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        await self.close()

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return 0 if self._server is None else len(self._server.server_state.connections)

    @property
    def handshakes(self) -> int:
        """How many are on their way."""
        return 0 if self._handshakes is None else self._handshakes.under_way

    async def close(self) -> None:
        """End the streams, let answers finish, and close."""
        if self._server is None or self._serving is None:
            return
        self.feed.close()
        if self._handshakes is not None:
            await self._handshakes.close()
        self._server.stop()
        await self._serving


class _Presents:
    """What the page presents: chosen anew for each connection, and the last one while there is none."""

    def __init__(self, receiver: Receiver, wanted: WebTlsSettings) -> None:
        self._receiver = receiver
        self._wanted = wanted
        self._said: str | None = None
        self._last: tuple[Certificate, SSLContext] | None = None

    @property
    def certificate(self) -> Certificate | None:
        """The certificate that was chosen last."""
        return None if self._last is None else self._last[0]

    async def choose(self) -> SSLContext:
        """Choose; PageCertificateError says why there is none."""
        await self._receiver.refresh()
        house = self._receiver
        self._last = await choose(self._wanted, house.settings, house.surroundings, house.now())
        return self._last[1]

    async def context(self) -> SSLContext:
        """Choose; where there is none, say so once and go on with the last one."""
        try:
            context = await self.choose()
        except PageCertificateError as error:
            if str(error) != self._said:
                log.warning("%s; the page goes on with the certificate that it has", error)
            self._said = str(error)
            assert self._last is not None
            return self._last[1]
        self._said = None
        return context


class _Server(uvicorn.Server):
    """A server that leaves the signals to whoever runs it."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listens = asyncio.Event()
        self._stops = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so."""
        await super().startup(sockets)
        self.listens.set()

    async def main_loop(self) -> None:
        """Serve until it is told to stop; uvicorn itself would look ten times a second."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stops.wait(), _TICK)

    def stop(self) -> None:
        """Let it end."""
        self.should_exit = True
        self._stops.set()


class _Config(uvicorn.Config):
    """A configuration with our patience, which uvicorn hands to each connection."""

    patience = Patience()
    handshakes: Handshakes | None = None


class _Connection(H11Protocol):
    """A connection that is closed where its peer neither speaks nor reads."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # uvicorn's own
        super().connection_made(transport)
        assert isinstance(self.config, _Config)
        patience = self.config.patience
        # Not close(), which would wait for the reader.
        self._head = _Timer(self.loop, patience.head, transport.abort)
        self._stall = _Timer(self.loop, patience.stall, transport.abort)
        self._head.start()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # There is no cycle before the first request.
        if not getattr(self.cycle, "response_complete", True):
            self._head.stop()
        else:
            self._head.start()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stall.start()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stall.stop()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._head.stop()
        self._stall.stop()


class _Timer:
    """Calls *late* so many seconds after a start that no stop follows."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float, late: Callable[[], None]) -> None:
        self._loop = loop
        self._seconds = seconds
        self._late = late
        self._handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin, unless it has begun."""
        if self._handle is None:
            self._handle = self._loop.call_later(self._seconds, self._late)

    def stop(self) -> None:
        """End it."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None


def _begin(config: _Config, **more: Any) -> asyncio.Protocol:
    """Return what takes a connection that has come in."""
    speaking = _Connection(config=config, **more)
    return speaking if config.handshakes is None else Securing(config.handshakes, speaking)


def _configuration(app: Any, patience: Patience, handshakes: Handshakes | None) -> _Config:
    configuration = _Config(
        app,
        # uvicorn calls it with keywords, as it would call the class.
        http=_begin,  # type: ignore[arg-type]
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        # Nobody in front of us is trusted to say who asks.
        proxy_headers=False,
        backlog=_BACKLOG,
        limit_concurrency=_CONNECTIONS,
        timeout_keep_alive=patience.keep_alive,
        timeout_graceful_shutdown=patience.stop,
        h11_max_incomplete_event_size=LARGEST_HEAD,
    )
    configuration.patience = patience
    configuration.handshakes = handshakes
    return configuration


def _socket(bind: Binding) -> socket.socket:
    family = socket.AF_INET6 if bind.address.version == _IPV6 else socket.AF_INET
    # TCP by name: asyncio sets TCP_NODELAY only then, and a body would wait for a delayed ACK.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind((str(bind.address), bind.port))
        # Here already, since two sockets that only bind can share a port.
        listening.listen(_BACKLOG)
        listening.setblocking(False)  # noqa: FBT003 - the standard library's signature
    except OSError as error:
        listening.close()
        raise PageError(f"web.bind: {bind}: {_explain(error)}") from error
    return listening


def _explain(error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return "the port is in use; stop the program that has it, choose another port, or write null"
        case errno.EACCES | errno.EPERM:
            return "no right to listen on this port; choose one above 1023"
        case errno.EADDRNOTAVAIL | errno.EAFNOSUPPORT:
            return "this machine has no such address; choose one of its own, or write null"
        case _:
            return f"cannot listen ({error.strerror})"
