"""Listening sockets: one for each address and port, however many connectors share it."""

from __future__ import annotations

import asyncio
import errno
import socket
from functools import partial
from typing import TYPE_CHECKING

from smtpd_anontls.domain.endpoints import Binding, parse_address
from smtpd_anontls.smtp.verbs import ReceiveSession

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from smtpd_anontls.smtp.ports import House
    from smtpd_anontls.smtp.session import WireSession

BACKLOG = 1024
_IPV6 = 6


class ListenError(Exception):
    """A binding cannot be listened on; the text says which, why, and what would do."""


class Listener:
    """Accepts connections and keeps track of their sessions."""

    def __init__(
        self,
        house: House,
        *,
        on_warning: Callable[[str], None],
        make: Callable[[Binding], socket.socket | None] | None = None,
    ) -> None:
        """*on_warning* is told of bindings that this machine cannot have; *make* gives sockets that are there already."""
        self._house = house
        self._make = partial(bound_socket, on_warning=on_warning) if make is None else make
        self._servers: dict[Binding, asyncio.Server] = {}
        self._sessions: set[WireSession] = set()
        self._ending = False
        self._emptied: asyncio.Event | None = (
            None  # Set when the last session ends, where that is waited for.
        )

    @property
    def sessions(self) -> frozenset[WireSession]:
        """The sessions that are running."""
        return frozenset(self._sessions)

    async def listen(
        self,
        bindings: Iterable[Binding],
        *,
        on_failure: Callable[[ListenError], None] | None = None,
    ) -> set[Binding]:
        """Listen on exactly *bindings*: close what is no longer wanted, open what is new; return what is open.

        A binding under a wildcard of the same port shares the wildcard's socket.  Where one cannot
        be opened, *on_failure* is told and the others follow; without it ListenError is raised.
        """
        every = set(bindings)
        wanted = sockets_for(every)
        for binding in self._servers.keys() - wanted:
            self._servers.pop(binding).close()
        for binding in sorted(wanted - self._servers.keys()):
            try:
                await self.open(binding)
            except ListenError as error:
                if on_failure is None:
                    raise
                on_failure(error)
        return {b for b in every if any(socket.covers(b.address, b.port) for socket in self._servers)}

    async def open(self, binding: Binding) -> Binding | None:
        """Listen on one binding and return it with its real port; None without IPv6 on this machine."""
        listening = self._make(binding)
        if listening is None:
            return None
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: self._session(loop), sock=listening, backlog=BACKLOG)
        address, port = listening.getsockname()[:2]
        opened = Binding(parse_address(address), port)
        self._servers[opened] = server
        return opened

    def _session(self, loop: asyncio.AbstractEventLoop) -> ReceiveSession:
        session = ReceiveSession(self._house, loop, self._forget)
        self._sessions.add(session)
        if self._ending:
            session.drain()
        return session

    def _forget(self, session: WireSession) -> None:
        self._sessions.discard(session)
        if self._emptied is not None and not self._sessions:
            self._emptied.set()

    async def close(self, drain_timeout: float, *, patience: float = 0) -> None:
        """Take no more connections; let transactions finish, for *drain_timeout* seconds at most.

        Before that sessions get *patience* seconds to end by themselves.
        """
        for server in self._servers.values():
            server.close()
        self._servers.clear()
        # A connection that was accepted a moment ago becomes a session in the loop's next round.
        await asyncio.sleep(0)
        if patience and await self._is_empty_within(patience):
            return
        self._ending = True
        for session in self.sessions:
            session.drain()
        if not await self._is_empty_within(drain_timeout):
            for session in self.sessions:
                session.abandon()
            await self._is_empty_within(None)

    async def _is_empty_within(self, seconds: float | None) -> bool:
        """Wait until no session runs; whether that came true in time."""
        if not self._sessions:
            return True
        self._emptied = asyncio.Event()
        try:
            await asyncio.wait_for(self._emptied.wait(), seconds)
        except TimeoutError:
            return False
        return True


def bound_socket(
    binding: Binding, *, on_warning: Callable[[str], None], shared: bool = False
) -> socket.socket | None:
    """Return a socket that is bound; None without IPv6 on this machine, which *on_warning* is told.

    *shared*: others that say so, too, may listen on the same port.  ListenError says why it cannot be.
    """
    try:
        return _socket(binding, shared=shared)
    except OSError as error:
        if binding.address.version == _IPV6 and error.errno in {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}:
            on_warning(f"{binding}: this machine has no such IPv6 address; the binding is left out")
            return None
        raise ListenError(f"{binding}: {_explain(error, binding)}") from error


def sockets_for(bindings: Iterable[Binding]) -> set[Binding]:
    """Return the bindings that need a socket of their own: all but those under a wildcard."""
    every = set(bindings)
    wildcards = {(binding.address.version, binding.port) for binding in every if binding.is_wildcard}
    return {b for b in every if b.is_wildcard or (b.address.version, b.port) not in wildcards}


def _socket(binding: Binding, *, shared: bool) -> socket.socket:
    family = socket.AF_INET6 if binding.address.version == _IPV6 else socket.AF_INET
    # TCP by name: asyncio sets TCP_NODELAY only then, and a reply would wait for a delayed ACK.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            # [::] is IPv6 only, so that it can stand beside 0.0.0.0.
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind((str(binding.address), binding.port))
        listening.setblocking(False)  # noqa: FBT003 - the standard library's signature
    except BaseException:
        listening.close()
        raise
    return listening


def _explain(error: OSError, binding: Binding) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return "the port is in use; stop the program that has it, or choose another port in bindings"
        case errno.EACCES | errno.EPERM:
            return f"no right to listen on port {binding.port}; choose a port above 1023, or grant CAP_NET_BIND_SERVICE"
        case errno.EADDRNOTAVAIL:
            return "this machine has no such address; choose one of its own in bindings"
        case _:
            return f"cannot listen ({error.strerror})"
