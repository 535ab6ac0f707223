"""The server that a command is pointed at, as people write it: ``host``, ``host:port``, ``[::1]:25``."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

SMTP_PORT = 25
_HIGHEST_PORT = 65535
_BRACKETED = re.compile(r"\[(?P<host>[^\[\]]+)\](?::(?P<port>.*))?")
_PLAIN = re.compile(r"(?P<host>[^:\[\]/@\s\x00-\x1f\x7f]+)(?::(?P<port>.*))?")
_WHAT_WOULD_DO = "write mx1.contoso.test, mx1.contoso.test:25, 192.0.2.1:25 or [2001:db8::1]:25"


@dataclass(frozen=True, slots=True)
class Target:
    """A host, by name or address, and a TCP port."""

    host: str
    port: int = SMTP_PORT

    @classmethod
    def parse(cls, text: str) -> Target:
        """Read ``host[:port]``; an IPv6 address may stand bare where no port follows; ValueError says what would do."""
        written = text.strip()
        if _is_ipv6(written):
            return cls(written)
        bracketed = _BRACKETED.fullmatch(written)
        if bracketed and not _is_ipv6(bracketed["host"]):
            raise ValueError(
                f"{text!r} is not a server: only an IPv6 address stands in brackets; {_WHAT_WOULD_DO}"
            )
        found = bracketed or _PLAIN.fullmatch(written)
        if not found:
            raise ValueError(f"{text!r} is not a server; {_WHAT_WOULD_DO}")
        return cls(found["host"], SMTP_PORT if found["port"] is None else _port(text, found["port"]))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _port(text: str, port: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 1 <= int(port) <= _HIGHEST_PORT:
        raise ValueError(f"{text!r} is not a server: the port is a number from 1 to {_HIGHEST_PORT}")
    return int(port)
