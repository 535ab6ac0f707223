"""What a sender says: opening a session, sending its messages, ending it."""

from __future__ import annotations

import ssl
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.load.work import Flight, Session, Tally, flights_of

if TYPE_CHECKING:
    from collections.abc import Generator

    from bench.load.wire import Wire
    from bench.load.work import Address

_EHLO = b"EHLO sender.example.org\r\n"


@dataclass(slots=True)
class Senders:
    """All senders of one process that do the same: what they have in common, and their tally."""

    address: Address
    session: Session
    tally: Tally
    _flights: tuple[Flight, ...] = field(init=False, repr=False)
    _context: ssl.SSLContext | None = field(init=False, default=None)
    _ticket: ssl.SSLSession | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._flights = flights_of(self.session)
        if self.session.tls is not None:
            self._context = client_context()

    def open(self, wire: Wire) -> Generator[int]:
        """Connect, greet, and upgrade where the session does."""
        yield from wire.connect()
        yield from wire.reply()
        yield from wire.send(_EHLO)
        yield from wire.reply()
        if self._context is None:
            return
        yield from wire.send(b"%b\r\n" % str(self.session.tls).encode())
        yield from wire.reply()
        secure = yield from wire.start_tls(self._context, self._ticket)
        if self.tally.tls is None:
            cipher = secure.cipher()
            self.tally.tls = f"{secure.version()} {cipher[0] if cipher else ''}"
        if self.session.resumes:
            self.tally.resumed += bool(secure.session_reused)
            self._ticket = secure.session
        yield from wire.send(_EHLO)
        yield from wire.reply()

    def send(self, wire: Wire) -> Generator[int]:
        """Send the session's messages one after another."""
        for _ in range(self.session.messages):
            began = time.perf_counter()
            for flight in self._flights:
                yield from wire.send(flight.octets)
                yield from wire.reply(flight.replies)
            self.tally.latencies.append(time.perf_counter() - began)
            self.tally.messages += 1

    def leave(self, wire: Wire) -> Generator[int]:
        """End the session."""
        yield from wire.send(b"QUIT\r\n")
        yield from wire.reply()
        wire.close()
        self.tally.sessions += 1

    def whole(self, wire: Wire) -> Generator[int]:
        """Do all of it."""
        yield from self.open(wire)
        yield from self.send(wire)
        yield from self.leave(wire)


def client_context() -> ssl.SSLContext:
    """Return what every sender shakes hands with: TLS 1.2, as Exchange speaks it, and no question of trust."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context
