"""Which Receive connector takes a connection.

Exchange decides by the local binding first and by the most specific remote range then
("Receive connectors", Receive connector remote addresses).  A binding to one address is
more specific than a wildcard; where it exists, the wildcard's connectors are not asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from smtpd_anontls.domain.connectors import ReceiveConnector, Server
    from smtpd_anontls.domain.endpoints import Binding, IPAddress, RemoteIPRange


@dataclass(frozen=True, slots=True)
class Bound:
    """A connector of a server, with one of the bindings under which it really listens."""

    server: Server
    connector: ReceiveConnector
    binding: Binding


@dataclass(frozen=True, slots=True)
class Taken:
    """The connector that takes the session, and the sentence that says why."""

    server: Server
    connector: ReceiveConnector
    detail: str


@dataclass(frozen=True, slots=True)
class NotTaken:
    """No connector takes the session; *server* is known where a binding was found."""

    server: Server | None
    detail: str


def match(bound: Iterable[Bound], local: tuple[IPAddress, int], remote: IPAddress) -> Taken | NotTaken:
    """Return the connector that takes a connection from *remote* to *local*, or why none does."""
    address, port = local
    here = [b for b in bound if b.connector.enabled and b.binding.covers(address, port)]
    if not here:
        return NotTaken(None, f"no enabled connector has a binding for {address} port {port}")

    # The local binding decides first: one address goes before the wildcard.
    exact = [b for b in here if not b.binding.is_wildcard] or here

    # Then the most specific remote range that holds the peer.
    best: tuple[Bound, RemoteIPRange] | None = None
    losers: list[str] = []
    for candidate in exact:
        for remote_range in candidate.connector.remote_ip_ranges:
            if not remote_range.covers(remote):
                continue
            if best is None or remote_range.size < best[1].size:
                if best is not None:
                    losers.append(f"{best[0].connector.name!r} ({best[1]})")
                best = (candidate, remote_range)
            else:
                losers.append(f"{candidate.connector.name!r} ({remote_range})")
    if best is None:
        names = ", ".join(sorted({repr(b.connector.name) for b in exact}))
        return NotTaken(
            exact[0].server,
            f"{remote} is in no RemoteIPRanges of the connectors on {exact[0].binding}: {names}",
        )
    winner, winning_range = best
    detail = f"binding {winner.binding} and range {winning_range} match {remote}"
    if losers:
        detail += f"; less specific: {', '.join(losers)}"
    return Taken(winner.server, winner.connector, detail)
