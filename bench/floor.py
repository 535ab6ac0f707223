"""What a handshake costs that nobody can save: OpenSSL alone, between two memory buffers, without a socket."""

from __future__ import annotations

import ssl
import time
from typing import TYPE_CHECKING

from bench.load.conversation import client_context

if TYPE_CHECKING:
    from bench.keys import KeyPair

NAME = "openssl"
TITLE = f"{' '.join(ssl.OPENSSL_VERSION.split()[:2])} alone, between memory buffers"
_HANDSHAKES = 100
_MICRO = 1e6


def handshake_us(pair: KeyPair, *, resumed: bool) -> float:
    """Return the CPU µs of the server's half of a handshake, as the senders shake hands.

    With *resumed* each but the first one, which does not count, takes up the session of the first.
    """
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pair.certificate, pair.key)
    client = client_context()
    session: ssl.SSLSession | None = None
    spent = []
    for _ in range(_HANDSHAKES + 1):
        seconds, ended = _shake_hands(server, client, session)
        spent.append(seconds)
        session = ended if resumed else None
    return sum(spent[1:]) / _HANDSHAKES * _MICRO


def _shake_hands(
    server: ssl.SSLContext, client: ssl.SSLContext, session: ssl.SSLSession | None
) -> tuple[float, ssl.SSLSession | None]:
    """Return the seconds of the server's half, and the client's session."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = client.wrap_bio(to_client, to_server, session=session)
    began = time.thread_time()
    answering = server.wrap_bio(to_server, to_client, server_side=True)
    spent = time.thread_time() - began
    done = False
    while not done:
        done = _goes_on(asking)
        began = time.thread_time()
        done &= _goes_on(answering)
        spent += time.thread_time() - began
    return spent, asking.session


def _goes_on(side: ssl.SSLObject) -> bool:
    """Take one side as far as it comes, and return whether it has done its half."""
    try:
        side.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True
