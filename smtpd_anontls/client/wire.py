"""The connection under a conversation: one socket, one deadline, in the clear and then inside TLS."""

from __future__ import annotations

import math
import queue
import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from smtpd_anontls.client.errors import ConnectError, HandshakeError
from smtpd_anontls.client.tls import SILENT_CLOSE, TlsOffer, TlsSession

if TYPE_CHECKING:
    from smtpd_anontls.client.target import Target
    from smtpd_anontls.client.tls import Secured

_READ_SIZE = 65536
_LONGEST_TIMEOUT = 3600


class Deadline:
    """The moment by which everything must be done, names resolved included."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._started = time.monotonic()

    def __str__(self) -> str:
        return f"{self.seconds:g} s"

    def left(self) -> float:
        """Return the seconds that are left, always more than none; TimeoutError when there are none."""
        left = self.seconds - self.elapsed()
        if left <= 0:
            raise TimeoutError
        return left

    def elapsed(self) -> float:
        """Return the seconds since it was set."""
        return time.monotonic() - self._started

    def at_most(self, seconds: float) -> Deadline:
        """Return the deadline that is *seconds* away, or this one where that comes first."""
        return Deadline(min(seconds, max(0.0, self.seconds - self.elapsed())))


class Wire:
    """Octets to and from a peer; every call ends by the deadline with TimeoutError."""

    def __init__(self, connection: socket.socket, deadline: Deadline) -> None:
        self.deadline = deadline
        self._socket = connection
        self._tls: TlsSession | None = None

    def send(self, octets: bytes) -> None:
        """Send all *octets*."""
        if self._tls is None:
            self._send_raw(octets)
            return
        while octets:
            taken = self._tls.write(octets)
            octets = octets[taken:]
            self._send_raw(self._tls.outgoing())
            if not taken:
                self._tls.feed(self._receive_raw())

    def receive(self) -> bytes:
        """Return some octets as soon as there are any; none when the peer has ended."""
        if self._tls is None:
            return self._receive_raw()
        while (octets := self._tls.read()) is None:
            self._send_raw(self._tls.outgoing())
            self._tls.feed(self._receive_raw())
        return octets

    def start_tls(self, offer: TlsOffer) -> Secured:
        """Run the handshake; HandshakeError says why there is no TLS session."""
        session = TlsSession(offer)
        try:
            while not self._handshake(session):
                session.feed(self._receive_raw())
        except TimeoutError as error:
            raise HandshakeError(f"the TLS handshake was not finished within {self.deadline}") from error
        except OSError as error:
            raise HandshakeError(
                f"the TLS handshake failed: the server broke the connection ({why(error)}); {SILENT_CLOSE}"
            ) from error
        self._tls = session
        return session.secured()

    def _handshake(self, session: TlsSession) -> bool:
        try:
            finished = session.handshake()
        except HandshakeError:
            # It leaves an alert for the peer's log, where the peer still listens.
            with suppress(OSError):
                self._send_raw(session.outgoing())
            raise
        self._send_raw(session.outgoing())
        return finished

    def hand_over(self) -> tuple[socket.socket, TlsSession]:
        """Give the socket and its TLS session away; the wire is of no more use."""
        if self._tls is None:
            raise ValueError("there is no TLS session to hand over")
        return self._socket, self._tls

    def close(self) -> None:
        """End TLS, if there is any, and close the socket, without waiting."""
        if self._tls is not None:
            self._tls.close_notify()
            with suppress(OSError):
                self._socket.settimeout(0)
                self._socket.send(self._tls.outgoing())
        self._socket.close()

    def _send_raw(self, octets: bytes) -> None:
        if octets:
            self._socket.settimeout(self.deadline.left())
            self._socket.sendall(octets)

    def _receive_raw(self) -> bytes:
        self._socket.settimeout(self.deadline.left())
        return self._socket.recv(_READ_SIZE)


def checked_timeout(seconds: float) -> float:
    """Return *seconds* if a time-out can be that long; ValueError says what would do."""
    if not (math.isfinite(seconds) and 0 < seconds <= _LONGEST_TIMEOUT):
        raise ValueError(
            f"{seconds:g} is not a time-out; write seconds, more than 0 and at most {_LONGEST_TIMEOUT}"
        )
    return seconds


def connect(target: Target, deadline: Deadline) -> Wire:
    """Connect to the first address of *target* that answers; ConnectError says why none does."""
    addresses = _resolve(target, deadline)
    failures: list[str] = []
    for position, (family, _, _, _, address) in enumerate(addresses):
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            # A dead address may not use up the time of those behind it.
            connection.settimeout(deadline.left() / (len(addresses) - position))
            connection.connect(address)
        except TimeoutError:
            failures.append(f"{address[0]} did not answer in time")
            connection.close()
        except OSError as error:
            failures.append(f"{address[0]}: {why(error)}")
            connection.close()
        else:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return Wire(connection, deadline)
    raise ConnectError(f"no connection to {target}: {'; '.join(failures)}")


def _resolve(target: Target, deadline: Deadline) -> list[tuple[Any, ...]]:
    """Return the addresses of *target*; the resolver knows no time-out, so it runs in a thread of its own."""
    answers: queue.SimpleQueue[list[tuple[Any, ...]] | OSError | UnicodeError] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(list(socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)))
        except (OSError, UnicodeError) as error:
            answers.put(error)

    threading.Thread(target=ask, name="resolver", daemon=True).start()
    try:
        answer = answers.get(timeout=deadline.left())
    except (queue.Empty, TimeoutError):
        raise ConnectError(f"the name {target.host} could not be resolved within {deadline}") from None
    if isinstance(answer, UnicodeError):
        raise ConnectError(f"{target.host!r} is not a host name that DNS can hold") from answer
    if isinstance(answer, OSError):
        raise ConnectError(f"the name {target.host} could not be resolved: {why(answer)}") from answer
    return answer


def why(error: OSError) -> str:
    """Return the system's reason, without its number."""
    return error.strerror or str(error) or type(error).__name__
