"""Connections to the directory servers, kept warm, with failover and fail-back.

The servers are asked in the order of the configuration, those that failed lately last.  One that
failed is tried again beside the sessions, so its return costs none of them anything; where no
other is left, a session itself tries it, after a short pause since the last attempt.
Everything here blocks: it runs in the threads of the pool.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from smtpd_anontls.directory.ldap_library import results
from smtpd_anontls.directory.link import Deadline, Link, verifying_context
from smtpd_anontls.directory.reasons import RefusedError, UnavailableError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from smtpd_anontls.domain.ldap_access import LdapAccess

T = TypeVar("T")

MAX_THREADS = 4  # Each asks for another server object; sessions of one share its search.

_PAUSE = 0.1  # Between two attempts at a server when there is no other.
_FIRST_PROBE, _LAST_PROBE = 0.25, 15.0  # Seconds until a failed server is tried beside the sessions.
_LONGEST_IDLE = 240.0  # Active Directory ends connections idle for 15 minutes, firewalls for 5.
_SAME_PASSWORD = 1.0  # A password that was refused is not tried again within: accounts get locked.


class Effort:
    """One question under way: the time that it has in all, and the connection that it uses now."""

    def __init__(self, seconds: float) -> None:
        self.deadline = Deadline(seconds)
        self._link: Link | None = None
        self._aborted = False
        self._lock = threading.Lock()

    def uses(self, link: Link | None) -> None:
        """Note the connection that waits for a server."""
        with self._lock:
            self._link = link
            if self._aborted and link is not None:
                link.abort()

    def abort(self) -> None:
        """Give up: whichever thread waits for a server is woken."""
        with self._lock:
            self._aborted = True
            if self._link is not None:
                self._link.abort()


class _Place:
    """What is known of one directory server."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.failures = 0
        self.tried_at = float("-inf")
        self.probing = False
        self._idle: list[Link] = []
        self._lock = threading.Lock()

    def take(self) -> Link | None:
        """Return the connection used last, if there is one; those idle for too long are closed."""
        with self._lock:
            link = self._idle.pop() if self._idle else None
        if link is not None and time.monotonic() - link.used_at > _LONGEST_IDLE:
            link.close()
            self.drop_idle()
            return None
        return link

    def put(self, link: Link) -> None:
        """Keep a connection whose server answered."""
        with self._lock:
            self.failures = 0
            self._idle.append(link)

    def failed(self) -> None:
        """Note that the server does not serve; its other connections are not trusted either."""
        with self._lock:
            self.failures += 1
            self.tried_at = time.monotonic()
        self.drop_idle()

    def drop_idle(self) -> None:
        """Close the connections that wait for work."""
        with self._lock:
            dropped, self._idle = self._idle, []
        for link in dropped:
            link.close()

    def probe_is_due(self) -> bool:
        """Whether it failed, nobody tries it now, and its pause is over."""
        if not self.failures or self.probing:
            return False
        pause = min(_FIRST_PROBE * 2.0 ** min(self.failures - 1, 16), _LAST_PROBE)
        return time.monotonic() - self.tried_at >= pause


class Connections:
    """Bound connections to whichever of the servers answers."""

    def __init__(self, access: LdapAccess) -> None:
        self._access = access
        self._places = [_Place(url) for url in access.urls]
        self._refused: tuple[str | None, RefusedError, float] | None = None
        self._closed = False
        self.executor = ThreadPoolExecutor(MAX_THREADS, thread_name_prefix="directory")

    def run(self, ask: Callable[[Link, Deadline], T], effort: Effort) -> T:
        """Return what *ask* gets from the first server that serves.

        RefusedError is a directory's answer, UnavailableError names what is wrong with each server.
        *ask* may run twice, where a connection ends under it.
        """
        failures = []
        # A stable sort: the order of preference stays within those that failed and those that did not.
        order = sorted(self._places, key=lambda place: place.failures > 0)
        for index, place in enumerate(order):
            try:
                share = Deadline(effort.deadline.remaining() / (len(order) - index))
                found = self._ask_place(place, ask, share, effort)
            except UnavailableError as error:
                failures.append(f"{place.url}: {error}")
            except RefusedError as error:
                raise RefusedError(f"{place.url}: {error}", error.code) from error
            else:
                self._probe_preferred(place)
                return found
        raise UnavailableError("; ".join(failures))

    def open(self, url: str, *, streaming: bool = False) -> Link:
        """Return a new connection to *url*, which the caller closes."""
        return self._open(url, Deadline(self._access.connect_timeout), None, streaming=streaming)

    def close(self) -> None:
        """Close what is idle; whoever still waits for a server is done within the time-outs."""
        self._closed = True
        self.executor.shutdown(wait=False)
        for place in self._places:
            place.drop_idle()

    def _ask_place(
        self, place: _Place, ask: Callable[[Link, Deadline], T], share: Deadline, effort: Effort
    ) -> T:
        try:
            if (warm := place.take()) is not None:
                try:
                    return self._ask(place, warm, ask, share.within(self._access.search_timeout), effort)
                except UnavailableError:
                    # The connection may be gone and the server well: what is left is for a new one.
                    place.drop_idle()
            elif place.failures:
                time.sleep(max(0.0, min(place.tried_at + _PAUSE - time.monotonic(), share.remaining())))
            link = self._open(place.url, share.within(self._access.connect_timeout), effort)
            return self._ask(place, link, ask, share.within(self._access.search_timeout), effort)
        except UnavailableError:
            place.failed()
            raise

    def _ask(
        self,
        place: _Place,
        link: Link,
        ask: Callable[[Link, Deadline], T],
        deadline: Deadline,
        effort: Effort,
    ) -> T:
        effort.uses(link)
        try:
            found = ask(link, deadline)
        except RefusedError:
            self._keep(place, link)
            raise
        except BaseException:
            link.close()
            raise
        else:
            self._keep(place, link)
            return found
        finally:
            effort.uses(None)

    def _keep(self, place: _Place, link: Link) -> None:
        if self._closed:
            link.close()
        else:
            place.put(link)

    def _open(self, url: str, deadline: Deadline, effort: Effort | None, *, streaming: bool = False) -> Link:
        password = self._password()
        link = Link(
            url,
            self._access,
            self._tls_context(url),
            password,
            deadline,
            strategy="ASYNC_STREAM" if streaming else "SAFE_SYNC",
        )
        if effort is not None:
            effort.uses(link)
        try:
            link.open(deadline)
        except RefusedError as error:
            if error.code == results.RESULT_INVALID_CREDENTIALS:
                self._refused = (password, error, time.monotonic())
            raise
        finally:
            if effort is not None:
                effort.uses(None)
        return link

    def _password(self) -> str | None:
        """Read the password anew, so a changed one counts from the next connection on."""
        source = self._access.bind.password
        try:
            password = None if source is None else source()
        except ValueError as error:
            raise RefusedError(f"the password for the bind cannot be read: {error}") from error
        if password == "":
            # RFC 4513 section 5.1.2: servers take it for an anonymous bind, and say success.
            raise RefusedError("the password for the bind is empty")
        if self._refused is not None:
            refused, reason, at = self._refused
            if refused == password and time.monotonic() - at < _SAME_PASSWORD:
                raise RefusedError(str(reason), reason.code)
        return password

    def _tls_context(self, url: str) -> ssl.SSLContext | None:
        """Return what TLS to *url* trusts, as the file of authorities says now."""
        secured = self._access.start_tls or url.startswith("ldaps:")
        return verifying_context(self._access.ca_file) if secured else None

    def beside(self, work: Callable[[], None]) -> bool:
        """Run *work* in the pool and wait for nothing; False where the pool is closed."""
        try:
            self.executor.submit(work)
        except RuntimeError:
            return False
        return True

    def _probe_preferred(self, answered: _Place) -> None:
        """Try the servers preferred to *answered* again, in a thread of their own."""
        for place in self._places[: self._places.index(answered)]:
            if place.probe_is_due():
                place.probing = self.beside(partial(self._probe, place))

    def _probe(self, place: _Place) -> None:
        try:
            self._keep(place, self.open(place.url))
        except (UnavailableError, RefusedError):
            place.failed()
        finally:
            place.probing = False
