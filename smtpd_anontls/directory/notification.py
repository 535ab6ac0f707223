"""Active Directory's change notification: a search that stays open and answers at each change.

Source: [MS-ADTS] 3.1.1.3.4.1.9, LDAP_SERVER_NOTIFICATION_OID.  The server confirms nothing, and a
connection that ends calls nobody: a watch counts only while its connection listens.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from smtpd_anontls.directory.link import Deadline
from smtpd_anontls.directory.reasons import RefusedError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpd_anontls.directory.connections import Connections
    from smtpd_anontls.directory.link import Link

_RETRY_SECONDS = 5.0


class Watch:
    """The watch over one server object; *on_change* is called from a thread of the connection."""

    def __init__(
        self,
        connections: Connections,
        server: str,
        on_change: Callable[[str], None],
        on_warning: Callable[[str], None],
    ) -> None:
        self._connections = connections
        self._server = server
        self._on_change = on_change
        self._on_warning = on_warning
        self._link: Link | None = None
        self._ended = threading.Event()
        self._tried_at = float("-inf")
        self._warned = False
        self._closed = False
        self._starting = threading.Lock()

    def listens(self) -> bool:
        """Whether a change would be heard of."""
        link = self._link
        if link is None or self._ended.is_set():
            return False
        return bool(link.connection.listening) and not link.connection.closed

    def start(self, url: str, dn: str, seconds: float) -> None:
        """Watch *dn* on *url* unless it is watched; blocks, and tries a server that refuses only now and then."""
        if not self._starting.acquire(blocking=False):
            return
        try:
            if self.listens() or time.monotonic() - self._tried_at < _RETRY_SECONDS:
                return
            self._tried_at = time.monotonic()
            self._drop()
            self._start(url, dn, Deadline(seconds))
        finally:
            self._starting.release()

    def close(self) -> None:
        """End the watch for good."""
        self._closed = True
        self._drop()

    def _drop(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.abort()
            link.close()

    def _start(self, url: str, dn: str, deadline: Deadline) -> None:
        try:
            link = self._connections.open(url, streaming=True)
        except (UnavailableError, RefusedError) as error:
            self._warn(f"{url}: {error}")
            return
        connection = link.connection
        ended = self._ended = threading.Event()

        def hear(message: dict[str, Any]) -> None:
            if message["type"] == "searchResDone":
                # A server without the control takes it for a search like any other.
                ended.set()
            self._on_change(self._server)

        try:
            connection.socket.settimeout(None)
            connection.extend.microsoft.persistent_search(
                dn, "BASE", attributes=["1.1"], streaming=False, callback=hear
            )
            # Requests of a connection are taken in turn: with this answer the watch is on.
            rootdse = connection.search("", "(objectClass=*)", search_scope="BASE", attributes=["1.1"])
            connection.get_response(rootdse, timeout=deadline.remaining())
        except Exception as error:  # noqa: BLE001 - without a watch every session asks, whatever is wrong.
            link.close()
            self._warn(f"{url}: {type(error).__name__}")
            return
        if ended.is_set():
            link.close()
            self._warn(f"{url} does not know the control")
            return
        self._warned = False
        self._link = link
        self._on_change(self._server)
        if self._closed:  # In between.
            self._drop()

    def _warn(self, why: str) -> None:
        if not self._warned:
            self._warned = True
            self._on_warning(f"no change notification for {self._server}, so every session asks: {why}")
