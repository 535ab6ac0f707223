"""Events to a syslog server: over UDP, TCP or a datagram socket of this machine.

A server that cannot be reached costs nobody but the thread of this sink: the event is offered again,
after a time that grows from failure to failure, and those behind it wait.
"""

from __future__ import annotations

import os
import select
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from smtpd_anontls.domain.syslog_address import SyslogAddress, SyslogTransport
from smtpd_anontls.eventlog.log import NotNowError
from smtpd_anontls.eventlog.rfc5424 import syslog_message

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpd_anontls.domain.records import EventRecord

# Seconds.
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 60.0
_CONNECT_TIMEOUT = 3.0
_SEND_TIMEOUT = 10.0
# After a refusal: how long the refusal of a datagram may take to come back.
_REFUSAL_TIMEOUT = 0.5

# Octets.  RFC 5424 s6.1: every server should take 2048, and a datagram is lost as a whole; 8096 is
# what rsyslog takes where nobody changed it.
_MOST = {SyslogTransport.UDP: 2048, SyslogTransport.TCP: 8096, SyslogTransport.UNIX: 8096}


class Syslog:
    """The syslog server at *address*; *computer_of* gives the FQDN of a server by its name."""

    def __init__(self, address: SyslogAddress, computer_of: Callable[[str | None], str]) -> None:
        self._address = address
        self._computer_of = computer_of
        self._most = _MOST[address.transport]
        self._socket: socket.socket | None = None
        self._wait = 0.0  # Seconds from the last failure to the next attempt; 0: there was none.
        self._next_attempt = 0.0

    @property
    def name(self) -> str:
        """The address."""
        return str(self._address)

    def open(self) -> None:
        """Do nothing: a server that does not run yet must not keep the receiver from starting."""

    def write(self, record: EventRecord) -> None:
        """Send one event; NotNowError where the server cannot be reached."""
        message = syslog_message(
            record,
            computer=self._computer_of(record.server),
            process_id=os.getpid(),
            most=self._most,
        )
        missing = self._next_attempt - time.monotonic()
        if missing > 0:
            raise NotNowError(missing, "not reached yet")
        try:
            self._send(message)
        except OSError as error:
            self.close()
            self._wait = min(2 * self._wait, _LONGEST_WAIT) or _FIRST_WAIT
            self._next_attempt = time.monotonic() + self._wait
            raise NotNowError(self._wait, error.strerror or str(error)) from error
        self._wait = 0.0

    def close(self) -> None:
        """Close the connection."""
        connected, self._socket = self._socket, None
        if connected is not None:
            with suppress(OSError):
                connected.close()

    def _send(self, message: bytes) -> None:
        connected = self._connected()
        if self._address.transport is SyslogTransport.TCP:
            # RFC 6587 s3.4.1: octet counting.
            connected.sendall(b"%d %b" % (len(message), message))
            return
        connected.send(message)
        if self._address.transport is SyslogTransport.UDP:
            _raise_refusal(connected, _REFUSAL_TIMEOUT if self._wait else 0.0)

    def _connected(self) -> socket.socket:
        if (
            self._socket is not None
            and self._address.transport is SyslogTransport.TCP
            and _ended(self._socket)
        ):
            self.close()
        if self._socket is None:
            self._socket = _connect(self._address)
            self._socket.settimeout(_SEND_TIMEOUT)
        return self._socket


def _connect(address: SyslogAddress) -> socket.socket:
    if address.transport is SyslogTransport.TCP:
        return socket.create_connection((address.host, address.port), _CONNECT_TIMEOUT)
    family: int = socket.AF_UNIX
    where: str | tuple[str | int | bytes, ...] = address.path
    if address.transport is SyslogTransport.UDP:
        family, _, _, _, where = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_DGRAM)[0]
    connected = socket.socket(family, socket.SOCK_DGRAM)
    try:
        connected.connect(where)
    except OSError:
        connected.close()
        raise
    return connected


def _ended(connected: socket.socket) -> bool:
    """Whether the server has closed: it never says a word, so anything to read is the end.

    Without this look the first event after the end would go into a connection that nobody reads.
    """
    answers = select.poll()
    answers.register(connected, select.POLLIN)
    return bool(answers.poll(0))


def _raise_refusal(connected: socket.socket, patience: float) -> None:
    """Raise what became of the datagram where its host says so; this machine's own says it at once."""
    answers = select.poll()
    answers.register(connected, 0)
    if answers.poll(patience * 1000) and (code := connected.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)):
        raise OSError(code, os.strerror(code))
