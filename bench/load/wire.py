"""A connection of a sender, without blocking: each method is a generator that yields what it waits for."""

from __future__ import annotations

import errno
import os
import select
import socket
import ssl
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Generator

    from bench.load.work import Address

# What a step yields is the event of epoll without which it cannot go on.
READABLE: Final = select.EPOLLIN
WRITABLE: Final = select.EPOLLOUT

_READ = 1 << 16
_WRITTEN_AT_ONCE = 1 << 18
_FIRST_REFUSAL = 400


class ServerError(Exception):
    """The server refused a command, or closed the connection."""


class Wire:
    """One connection, in clear and after an upgrade."""

    def __init__(self, address: Address) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.socket.settimeout(0)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._address = address
        self._buffer = b""

    def connect(self) -> Generator[int]:
        """Connect; OSError says why not."""
        if self.socket.connect_ex(self._address) not in {0, errno.EINPROGRESS}:
            raise ServerError("no connection")
        yield WRITABLE
        if code := self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(code, os.strerror(code))

    def reply(self, count: int = 1) -> Generator[int]:
        """Read *count* replies; ServerError holds the first line that refuses."""
        # Over TLS what epoll no longer sees may already be decrypted: there reading comes before waiting.
        waits = not isinstance(self.socket, ssl.SSLSocket)
        while True:
            while (end := self._buffer.find(b"\n")) >= 0:
                line, self._buffer = self._buffer[:end], self._buffer[end + 1 :]
                if line[3:4] == b"-":
                    continue
                if int(line[:3]) >= _FIRST_REFUSAL:
                    raise ServerError(line.decode(errors="backslashreplace").strip())
                count -= 1
                if not count:
                    return
            if waits:
                yield READABLE
            try:
                octets = self.socket.recv(_READ)
            except (BlockingIOError, ssl.SSLWantReadError):
                yield READABLE
                continue
            if not octets:
                raise ServerError("the server closed the connection")
            self._buffer += octets

    def send(self, octets: bytes) -> Generator[int]:
        """Send *octets*."""
        left = memoryview(octets)
        while left:
            try:
                left = left[self.socket.send(left[:_WRITTEN_AT_ONCE]) :]
            except (BlockingIOError, ssl.SSLWantWriteError):
                yield WRITABLE
            except ssl.SSLWantReadError:
                yield READABLE

    def start_tls(
        self, context: ssl.SSLContext, resumed: ssl.SSLSession | None
    ) -> Generator[int, None, ssl.SSLSocket]:
        """Shake hands, offering the session *resumed*, and return the socket that tells the facts."""
        # The descriptor stays, and with it what epoll watches.
        secure = context.wrap_socket(self.socket, do_handshake_on_connect=False, session=resumed)
        self.socket = secure
        while True:
            try:
                secure.do_handshake()
            except ssl.SSLWantReadError:
                yield READABLE
            except ssl.SSLWantWriteError:
                yield WRITABLE
            else:
                return secure

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()
