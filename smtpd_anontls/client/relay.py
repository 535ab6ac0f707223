"""Join two local file descriptors to a TLS session, until either side ends.

Theory of operation.  One loop around ``poll``; TLS runs on memory buffers, so readiness of the
socket is all there is to wait for.  Each direction has one bounded buffer, and a source is asked
for more only while its buffer has room: a slow reader slows its writer down, on either side, and
neither direction waits for the other.

The local descriptors stay blocking, because O_NONBLOCK belongs to the open file, which may be the
terminal of the shell too.  After POLLIN a read does not block; after POLLOUT a pipe takes PIPE_BUF
octets without blocking (pipe(7)), so that much is written at a time.

The end.  When the local side ends, what it said is sent, and the server is heard until it closes
or has been quiet for a while; only then does close_notify go out.  RFC 5246 section 7.2.1 is the
reason for that order: on close_notify a TLS 1.2 server must drop what it has still to say.
"""

from __future__ import annotations

import os
import select
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from smtpd_anontls.client.errors import ConversationError
from smtpd_anontls.client.wire import why

if TYPE_CHECKING:
    import socket

    from smtpd_anontls.client.tls import TlsSession

_ROOM = 256 * 1024  # Octets held in each direction before the source has to wait.
_CHUNK = 64 * 1024
_GONE = select.POLLERR | select.POLLHUP | select.POLLNVAL


class Relay:
    """One join: *greeting* is said first; *quiet* seconds of silence end it once the local side has ended."""

    def __init__(
        self,
        connection: socket.socket,
        tls: TlsSession,
        *,
        stdin: int,
        stdout: int,
        greeting: bytes,
        quiet: float,
    ) -> None:
        self._socket = connection
        self._tls = tls
        self._stdin, self._stdout = stdin, stdout
        self._quiet = quiet
        self._to_server = bytearray()  # In the clear, before TLS.
        self._sealed = bytearray()  # After TLS, before the socket.
        self._to_reader = bytearray(greeting)
        self._stdin_open = True
        self._reader_there = True
        self._server_hears = True
        self._server_open = True
        self._needs_octets = True  # TLS has nothing more to give until the socket does.
        self._closing_until: float | None = None  # Set once close_notify is on its way.
        self._failure: ConversationError | None = None

    def run(self) -> None:
        """Carry octets until either side has ended; ConversationError says how the connection broke."""
        self._socket.settimeout(0)
        while True:
            self._open_sealed()
            self._seal()
            if not self._server_open and not self._to_reader:
                break
            if self._nothing_to_wait_for():
                self._begin_closing()
            if not self._serve(self._poll()):
                break
        self._part()
        if self._failure is not None:
            raise self._failure

    def _serve(self, ready: dict[int, int]) -> bool:
        """Move octets wherever that is possible now; False: the time to wait for the server is over."""
        if not ready:
            if self._closing_until is not None:
                return False
            self._begin_closing()
            return True
        if ready.get(self._stdin, 0) & (select.POLLIN | _GONE) and self._wants_stdin():
            self._read_stdin()
        if ready.get(self._stdout, 0) & (select.POLLOUT | _GONE):
            self._write_stdout(ready[self._stdout])
        on_socket = ready.get(self._socket.fileno(), 0)
        if on_socket & (select.POLLOUT | _GONE) and self._sealed:
            self._send()
        if on_socket & (select.POLLIN | _GONE) and self._wants_server():
            self._receive()
        return self._closing_until is None or time.monotonic() < self._closing_until

    def _poll(self) -> dict[int, int]:
        wanted: dict[int, int] = {}
        if self._wants_stdin():
            wanted[self._stdin] = select.POLLIN
        if self._reader_there:
            # Without POLLOUT too: poll tells of a reader that went away.
            wanted[self._stdout] = wanted.get(self._stdout, 0) | (select.POLLOUT if self._to_reader else 0)
        on_socket = (select.POLLIN if self._wants_server() else 0) | (select.POLLOUT if self._sealed else 0)
        if on_socket:
            wanted[self._socket.fileno()] = on_socket
        poll = select.poll()
        for descriptor, mask in wanted.items():
            poll.register(descriptor, mask)
        return dict(poll.poll(self._patience()))

    def _nothing_to_wait_for(self) -> bool:
        """Whether nobody listens, and all that was said is sent."""
        return not (self._reader_there or self._to_server or self._sealed) and self._closing_until is None

    def _patience(self) -> float | None:
        """Return how many milliseconds poll may wait; None: for as long as it takes."""
        if self._closing_until is not None:
            return max(0.0, self._closing_until - time.monotonic()) * 1000
        if self._stdin_open or self._to_reader:
            return None
        if self._reader_there and (self._to_server or self._sealed):
            return None
        return self._quiet * 1000

    def _wants_stdin(self) -> bool:
        return self._stdin_open and self._server_open and self._server_hears and len(self._to_server) < _ROOM

    def _wants_server(self) -> bool:
        return self._server_open and self._needs_octets and len(self._to_reader) < _ROOM

    def _read_stdin(self) -> None:
        try:
            octets = os.read(self._stdin, _CHUNK)
        except BlockingIOError:
            return
        except OSError:
            # A terminal that was hung up; there is nothing more to read.
            octets = b""
        if octets:
            self._to_server += octets
        else:
            self._stdin_open = False

    def _write_stdout(self, mask: int) -> None:
        if self._to_reader:
            try:
                written = os.write(self._stdout, self._to_reader[: select.PIPE_BUF])
            except BlockingIOError:
                return
            except OSError:
                self._reader_left()
            else:
                del self._to_reader[:written]
        elif mask & _GONE:
            self._reader_left()

    def _reader_left(self) -> None:
        """Nobody listens any more: send what was said, then end."""
        self._reader_there = self._stdin_open = False
        self._to_reader.clear()

    def _send(self) -> None:
        try:
            sent = self._socket.send(self._sealed)
        except BlockingIOError:
            return
        except OSError as error:
            # What the server said before it broke off can still be read.
            self._server_hears = False
            self._to_server.clear()
            self._sealed.clear()
            if self._closing_until is None:
                self._failure = ConversationError(f"the connection broke while sending: {why(error)}")
            return
        del self._sealed[:sent]

    def _receive(self) -> None:
        try:
            octets = self._socket.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError as error:
            self._server_open = False
            if self._stdin_open or self._to_server or self._sealed:
                self._failure = ConversationError(f"the connection broke: {why(error)}")
            return
        self._tls.feed(octets)
        self._needs_octets = False

    def _open_sealed(self) -> None:
        """Decrypt what came, as far as there is room for it."""
        while self._server_open and len(self._to_reader) < _ROOM:
            try:
                octets = self._tls.read(_CHUNK)
            except ConversationError as error:
                self._server_open, self._failure = False, error
                return
            if octets is None:
                self._needs_octets = True
                return
            if not octets:
                self._server_open = False
            elif self._reader_there:
                self._to_reader += octets

    def _seal(self) -> None:
        """Encrypt what is to be sent, as far as the socket keeps up."""
        try:
            while self._to_server and len(self._sealed) < _ROOM:
                taken = self._tls.write(bytes(self._to_server[:_CHUNK]))
                if not taken:
                    break
                del self._to_server[:taken]
                self._sealed += self._tls.outgoing()
        except ConversationError as error:
            self._server_open, self._failure = False, error
            self._to_server.clear()
        # TLS has words of its own: answers to key updates, tickets and renegotiations.
        self._sealed += self._tls.outgoing()

    def _begin_closing(self) -> None:
        self._to_server.clear()
        self._closing_until = time.monotonic() + self._quiet
        self._tls.close_notify()
        self._sealed += self._tls.outgoing()

    def _part(self) -> None:
        """Answer a server that has closed with close_notify, where it still listens."""
        if self._closing_until is None:
            self._tls.close_notify()
            with suppress(OSError):
                self._socket.send(bytes(self._sealed) + self._tls.outgoing())
