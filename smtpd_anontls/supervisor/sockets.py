"""The listening sockets of several processes.

Each binding has a socket for each worker, all of them on one port by SO_REUSEPORT, so that the kernel
spreads connections over the workers.  The supervisor makes them, keeps them, and hands them over: what has
been connected and is not yet accepted outlives a worker, and the next one in its place takes it.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from smtpd_anontls.domain.endpoints import Binding, parse_address
from smtpd_anontls.smtp.listener import BACKLOG, ListenError, bound_socket, sockets_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_LONGEST_NAME = 256


def shares_ports() -> bool:
    """Whether this kernel lets several sockets listen on one port."""
    if not hasattr(socket, "SO_REUSEPORT"):
        return False
    try:
        with socket.socket() as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    except OSError:
        return False
    return True


class SharedSockets:
    """The sockets of so many workers (see binding.Opens); closed places take no connections."""

    def __init__(self, workers: int, *, on_warning: Callable[[str], None]) -> None:
        """*on_warning* is told of bindings that this machine cannot have."""
        self._on_warning = on_warning
        # Bound and not listening: the port stays ours while no worker has a place.
        self._reserved: dict[Binding, socket.socket] = {}
        self._places: list[dict[Binding, socket.socket] | None] = [{} for _ in range(workers)]

    async def listen(
        self,
        bindings: Iterable[Binding],
        *,
        on_failure: Callable[[ListenError], None] | None = None,
    ) -> set[Binding]:
        """Listen on exactly *bindings*; as Listener.listen."""
        every = set(bindings)
        wanted = sockets_for(every)
        for binding in self._reserved.keys() - wanted:
            self._reserved.pop(binding).close()
            for place in self._places:
                if place is not None:
                    place.pop(binding).close()
        for binding in sorted(wanted - self._reserved.keys()):
            try:
                await self.open(binding)
            except ListenError as error:
                if on_failure is None:
                    raise
                on_failure(error)
        return {b for b in every if any(held.covers(b.address, b.port) for held in self._reserved)}

    async def open(self, binding: Binding) -> Binding | None:
        """Listen on one binding and return it with its real port; None without IPv6 on this machine."""
        tried = bound_socket(binding, on_warning=self._on_warning)
        if tried is None:
            return None
        # Sockets that share say nothing of another program that would share as well.
        tried.close()
        reserved = bound_socket(binding, on_warning=self._on_warning, shared=True)
        assert reserved is not None
        address, port = reserved.getsockname()[:2]
        opened = Binding(parse_address(address), port)
        self._reserved[opened] = reserved
        for place in self._places:
            if place is not None:
                place[opened] = self._listening(opened)
        return opened

    def of(self, number: int) -> Mapping[Binding, socket.socket]:
        """Return the sockets of a place."""
        return self._places[number] or {}

    def close_place(self, number: int) -> None:
        """Let a place take no more connections: they go to the others; those that wait in it are reset."""
        for held in (self._places[number] or {}).values():
            held.close()
        self._places[number] = None

    def open_place(self, number: int) -> None:
        """Let a place take connections again."""
        if self._places[number] is None:
            self._places[number] = {binding: self._listening(binding) for binding in self._reserved}

    def close(self) -> None:
        """Close them all."""
        for number in range(len(self._places)):
            self.close_place(number)
        for held in self._reserved.values():
            held.close()
        self._reserved.clear()

    def _listening(self, binding: Binding) -> socket.socket:
        made = bound_socket(binding, on_warning=self._on_warning, shared=True)
        assert made is not None
        made.listen(BACKLOG)
        return made


def hand_over(hand: socket.socket, name: str, descriptor: int) -> None:
    """Send a descriptor and what it is to the other end of *hand*; OSError where that is gone."""
    socket.send_fds(hand, [name.encode()], [descriptor])


def take_over(hand: socket.socket) -> tuple[str, int] | None:
    """Return the next descriptor that was handed over and what it is; None where there is none: *hand* never waits."""
    try:
        name, descriptors, _, _ = socket.recv_fds(hand, _LONGEST_NAME, 1)
    except BlockingIOError:
        return None
    return (name.decode(), descriptors[0]) if descriptors else None


class HandedSockets:
    """What a worker has been handed and not listened on yet."""

    def __init__(self) -> None:
        self._held: dict[Binding, socket.socket] = {}

    def put(self, name: str, descriptor: int) -> bool:
        """Take the socket of the binding *name*; False where it is the name of something else."""
        try:
            binding = Binding.parse(name)
        except ValueError:
            return False
        self._held[binding] = socket.socket(fileno=descriptor)
        return True

    def make(self, binding: Binding) -> socket.socket:
        """Return the socket of *binding*, which is the caller's from now on."""
        return self._held.pop(binding)
