"""The work that servers are given: what is sent, how much of it, and under which security."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from bench.load.work import Flow, Session
from bench.servers.server import Key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bench.load.work import Address, TlsVerb
    from bench.servers.server import Server

_KB = 1024
_MB = 1024**2


@dataclass(frozen=True, slots=True)
class Work:
    """So many equal sessions, some of them at a time, at the endpoint that shows the certificate with *key*."""

    name: str
    title: str
    session: Session
    sessions: int
    at_once: int
    key: Key = Key.RSA

    @property
    def unit(self) -> str:
        """What its cost is counted by."""
        return "message" if self.session.messages else "session"

    @property
    def is_handshake(self) -> bool:
        """Whether it is handshakes, and nothing else."""
        return self.session.tls is not None and not self.session.messages

    def flow(self, address: Address) -> Flow:
        """Return it as an order for the load generator."""
        return Flow(address, self.session, self.sessions, self.at_once)

    def fits(self, server: Server) -> bool:
        """Whether *server* can do it."""
        if self.session.bdat and not server.takes_bdat:
            return False
        return self.session.tls is None or (self.session.tls in server.verbs and self.key in server.keys)


# Little of each, and more rounds of it: what slows the machine down for a second then meets several servers.
_SHAPES = (
    Work("1kb-100", "1 KB, 100 per connection", Session(100, _KB), sessions=10, at_once=10),
    Work("1kb-1", "1 KB, 1 per connection", Session(1, _KB), sessions=200, at_once=20),
    Work("50kb", "50 KB, 15 per connection", Session(15, 50 * _KB), sessions=10, at_once=10),
    Work("5mb", "5 MB, 1 per connection", Session(1, 5 * _MB), sessions=4, at_once=4),
)
_CONNECT = Work("connect", "connect, EHLO, QUIT", Session(0), sessions=300, at_once=20)
# There is more work under TLS than without: there is less of each.
_LESS = 2
_HANDSHAKES = (
    Work("handshake", "connect, EHLO, full handshake, EHLO, QUIT", Session(0), sessions=100, at_once=20),
    Work("resumed", "the same with the TLS session resumed", Session(0, resumes=True), 100, 20),
)
_VERBS: dict[str, TlsVerb] = {"starttls": "STARTTLS", "anonymoustls": "X-ANONYMOUSTLS"}
_SECURITIES = {f"{word}-{key}": (verb, key) for word, verb in _VERBS.items() for key in Key}


def works() -> Iterator[Work]:
    """Yield all work, named ``what/security`` and, where mail is sent, ``/data`` or ``/bdat``."""
    yield replace(_CONNECT, name="connect/plain")
    yield from _messages("plain", None, Key.RSA)
    for security, (verb, key) in _SECURITIES.items():
        for each in _HANDSHAKES:
            yield replace(
                each, name=f"{each.name}/{security}", session=replace(each.session, tls=verb), key=key
            )
        yield from _messages(security, verb, key)


def _messages(security: str, verb: TlsVerb | None, key: Key) -> Iterator[Work]:
    for shape in _SHAPES:
        for bdat in (False, True):
            yield replace(
                shape,
                name=f"{shape.name}/{security}/{'bdat' if bdat else 'data'}",
                session=replace(shape.session, tls=verb, bdat=bdat),
                sessions=shape.sessions // _LESS if verb else shape.sessions,
                key=key,
            )


def chosen(patterns: Iterable[str], names: Iterable[str]) -> set[str]:
    """Return the *names* that any of the patterns of a shell fits; ``1kb-100`` means ``1kb-100/*``, too."""
    patterns = list(patterns)
    return {
        name
        for name in names
        for pattern in patterns
        if fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}/*")
    }
