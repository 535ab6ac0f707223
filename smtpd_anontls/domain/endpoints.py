"""Bindings and remote ranges: where a Receive connector listens, and whom it takes.

Written as Exchange writes them: a binding is ``0.0.0.0:25`` or ``[::]:25``; a remote
range is one address, ``first-last`` or CIDR (``192.168.1.1/24``: host bits are allowed).
Source: Set-ReceiveConnector, parameters Bindings and RemoteIPRanges.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from functools import lru_cache, total_ordering

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_BINDING = re.compile(r"(?:\[(?P<six>[^\]]+)\]|(?P<four>[^:\[\]]+)):(?P<port>[0-9]{1,5})")
HIGHEST_PORT = 65535


@total_ordering
@dataclass(frozen=True, slots=True)
class Binding:
    """A local address and TCP port; port 0 asks the system for a free one.  IPv4 sorts before IPv6."""

    address: IPAddress
    port: int

    @classmethod
    def parse(cls, text: str) -> Binding:
        """Read ``address:port``; ValueError says what would do."""
        found = _BINDING.fullmatch(text.strip())
        if not found or int(found["port"]) > HIGHEST_PORT:
            raise ValueError(f"{text!r} is not a binding; write 127.0.0.1:2525 or [::1]:2525")
        try:
            address = parse_address(found["six"] or found["four"])
        except ValueError:
            raise ValueError(f"{text!r} is not a binding; its address is not an IP address") from None
        if (address.version == 6) != bool(found["six"]):  # noqa: PLR2004 - IP version 6
            raise ValueError(
                f"{text!r} is not a binding; an IPv6 address stands in brackets, an IPv4 one does not"
            )
        return cls(address, int(found["port"]))

    def __str__(self) -> str:
        return f"{bracketed(self.address)}:{self.port}"

    def __lt__(self, other: Binding) -> bool:
        return self._rank < other._rank

    @property
    def _rank(self) -> tuple[int, int, int]:
        # The addresses themselves know no order between the families.
        return self.address.version, int(self.address), self.port

    @property
    def is_wildcard(self) -> bool:
        """Whether it stands for every local address of its family."""
        return self.address.is_unspecified

    def covers(self, address: IPAddress, port: int) -> bool:
        """Whether a connection to this local *address* and *port* arrives here."""
        if port != self.port or address.version != self.address.version:
            return False
        return self.is_wildcard or self.address == address


@dataclass(frozen=True, slots=True)
class RemoteIPRange:
    """All addresses from *first* to *last*, both included; *text* is how it was written."""

    first: IPAddress
    last: IPAddress
    text: str

    @classmethod
    def parse(cls, text: str) -> RemoteIPRange:
        """Read an address, ``first-last`` or CIDR; ValueError says what is wrong."""
        written = text.strip()
        try:
            first, last = _ends(written)
        except ValueError:
            raise ValueError(
                f"{text!r} is not an address range; write 10.1.2.3, 10.1.2.0-10.1.2.255 or 10.1.2.0/24",
            ) from None
        if first.version != last.version:
            raise ValueError(f"{text!r} begins in IPv{first.version} and ends in IPv{last.version}")
        if int(first) > int(last):
            raise ValueError(f"{text!r} ends before it begins")
        return cls(first, last, written)

    def __str__(self) -> str:
        return self.text

    @property
    def size(self) -> int:
        """How many addresses it holds; the smaller, the more specific."""
        return int(self.last) - int(self.first) + 1

    def covers(self, address: IPAddress) -> bool:
        """Whether *address* is one of them."""
        return address.version == self.first.version and int(self.first) <= int(address) <= int(self.last)

    def same_addresses(self, other: RemoteIPRange) -> bool:
        """Whether both hold exactly the same addresses, however they are written."""
        return (self.first, self.last) == (other.first, other.last)

    def overlaps_partly(self, other: RemoteIPRange) -> bool:
        """Whether they share addresses although neither contains the other."""
        if self.first.version != other.first.version:
            return False
        mine, theirs = (int(self.first), int(self.last)), (int(other.first), int(other.last))
        if mine[1] < theirs[0] or theirs[1] < mine[0]:
            return False
        contains = mine[0] <= theirs[0] and theirs[1] <= mine[1]
        contained = theirs[0] <= mine[0] and mine[1] <= theirs[1]
        return not (contains or contained)


# Each connection brings two, and one of them is nearly always the same.
@lru_cache(maxsize=1000)
def parse_address(text: str) -> IPAddress:
    """Read an IP address; an IPv4 address inside IPv6 (``::ffff:10.1.2.3``) counts as IPv4."""
    address = _without_scope(ipaddress.ip_address(text.strip()))
    return _embedded(address) or address


def bracketed(address: IPAddress) -> str:
    """Write *address* so that a port can follow: IPv6 in brackets."""
    return f"[{address}]" if isinstance(address, ipaddress.IPv6Address) else str(address)


def _ends(written: str) -> tuple[IPAddress, IPAddress]:
    """Return first and last address of a written range; IPv4 inside IPv6 counts as IPv4 where both are."""
    if "/" in written:
        network = ipaddress.ip_network(written, strict=False)
        first, last = _without_scope(network[0]), _without_scope(network[-1])
    else:
        low, dash, high = written.partition("-")
        first = _without_scope(ipaddress.ip_address(low.strip()))
        last = _without_scope(ipaddress.ip_address(high.strip())) if dash else first
    plain_first, plain_last = _embedded(first) or first, _embedded(last) or last
    if plain_first.version == plain_last.version:
        return plain_first, plain_last
    return first, last


def _embedded(address: IPAddress) -> ipaddress.IPv4Address | None:
    return address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None


def _without_scope(address: IPAddress) -> IPAddress:
    """Return *address* alone: a link-local peer arrives as fe80::1%eth0, and ranges know no interfaces."""
    return ipaddress.IPv6Address(int(address)) if isinstance(address, ipaddress.IPv6Address) else address
