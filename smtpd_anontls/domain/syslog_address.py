"""Where a syslog server listens, as the configuration writes it: ``udp://127.0.0.1:514``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

_WANTED = "write udp://127.0.0.1:514, tcp://[::1]:514 or unix:///dev/log"
_NETWORK = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<host>[^:/?#@\[\]\s]+)):(?P<port>[0-9]{1,5})/?")
_HIGHEST_PORT = 65535
# sun_path of Linux, without its final NUL.
_LONGEST_PATH = 107


class SyslogTransport(Enum):
    """How messages reach a syslog server."""

    UDP = "udp"  # RFC 5426
    TCP = "tcp"  # RFC 6587
    UNIX = "unix"  # A datagram socket of this machine.


@dataclass(frozen=True, slots=True)
class SyslogAddress:
    """A syslog server: ``host`` and ``port`` on the network, or the ``path`` of a socket."""

    transport: SyslogTransport
    host: str = ""
    port: int = 0
    path: str = ""

    @classmethod
    def parse(cls, text: str) -> SyslogAddress:
        """Read an address; ValueError says what would do."""
        scheme, separator, rest = text.strip().partition("://")
        known = {transport.value: transport for transport in SyslogTransport}
        transport = known.get(scheme.lower())
        if not separator or transport is None:
            raise ValueError(f"{text!r} is not the address of a syslog server; {_WANTED}")
        if transport is SyslogTransport.UNIX:
            return cls(transport, path=_socket_path(text, rest))
        found = _NETWORK.fullmatch(rest)
        if found is None:
            raise ValueError(f"{text!r} does not name a host and a port; {_WANTED}")
        port = int(found["port"])
        if not 0 < port <= _HIGHEST_PORT:
            raise ValueError(f"{text!r}: its port is out of range; write one from 1 to {_HIGHEST_PORT}")
        return cls(transport, found["six"] or found["host"], port)

    def __str__(self) -> str:
        """Return the address as the configuration writes it."""
        if self.transport is SyslogTransport.UNIX:
            return f"unix://{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.transport.value}://{host}:{self.port}"


def _socket_path(text: str, path: str) -> str:
    if not path.startswith("/") or path.endswith("/"):
        raise ValueError(f"{text!r} does not name a socket by its absolute path; write unix:///dev/log")
    if len(path.encode()) > _LONGEST_PATH:
        raise ValueError(
            f"{text!r}: the path is longer than the {_LONGEST_PATH} bytes that a socket's may have"
        )
    return path
