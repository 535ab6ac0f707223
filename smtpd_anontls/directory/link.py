"""One bound connection to one directory server, each of whose steps has a time to end by.

SAFE_SYNC returns what belongs to a call from the call itself.  ldap3 takes whole seconds for a
time-out, so the socket's own is set before each step.
"""

from __future__ import annotations

import math
import socket
import ssl
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from smtpd_anontls.directory.ldap_library import exceptions, ldap3, results
from smtpd_anontls.directory.reasons import (
    RefusedError,
    UnavailableError,
    of_bind,
    of_exception,
    of_result,
)
from smtpd_anontls.domain.ldap_access import BindMethod

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from smtpd_anontls.domain.ldap_access import LdapAccess

Scope = Literal["BASE", "LEVEL", "SUBTREE"]

_PAGED_RESULTS = "1.2.840.113556.1.4.319"
_PORTS = {"ldap": 389, "ldaps": 636}


class Deadline:
    """A moment by which something has ended."""

    def __init__(self, seconds: float) -> None:
        self._at = time.monotonic() + seconds

    def remaining(self) -> float:
        """Return the seconds that are left; UnavailableError where none is."""
        left = self._at - time.monotonic()
        if left <= 0:
            raise UnavailableError("time-out: no answer in the time that was left")
        return left

    def within(self, seconds: float) -> Deadline:
        """Return the deadline after *seconds*, or this one where it comes first."""
        return Deadline(min(seconds, self.remaining()))


def verifying_context(ca_file: str | None) -> ssl.SSLContext:
    """Return the TLS context that trusts *ca_file* alone, or the machine's authorities."""
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        why = "no certificate in it" if isinstance(error, ssl.SSLError) else error.strerror
        raise RefusedError(f"directory.ca_file cannot be read ({why})") from error


class _VerifyingTls(ldap3.Tls):
    """TLS whose certificate and name OpenSSL verifies, for host names and addresses alike, with SNI."""

    def __init__(self, context: ssl.SSLContext, host: str, deadline: Deadline) -> None:
        super().__init__(validate=ssl.CERT_REQUIRED)
        self._context = context
        self._host = host
        self._deadline = deadline
        self.failure: Exception | None = None  # ldap3 keeps only the text of what failed.

    def wrap_socket(self, connection: ldap3.Connection, do_handshake: bool = False) -> None:  # noqa: FBT001, FBT002
        try:
            connection.socket.settimeout(self._deadline.remaining())
            connection.socket = self._context.wrap_socket(
                connection.socket, server_hostname=self._host, do_handshake_on_connect=do_handshake
            )
        except Exception as error:
            self.failure = error
            raise


class Link:
    """A bound connection; a step that fails raises UnavailableError or RefusedError."""

    def __init__(
        self,
        url: str,
        access: LdapAccess,
        context: ssl.SSLContext | None,
        password: str | None,
        deadline: Deadline,
        *,
        strategy: Literal["SAFE_SYNC", "ASYNC_STREAM"] = "SAFE_SYNC",
    ) -> None:
        self.url = url
        self.used_at = time.monotonic()
        self._access = access
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = parts.port or _PORTS[parts.scheme]
        self._tls = None if context is None else _VerifyingTls(context, host, deadline)
        server = ldap3.Server(
            host,
            port=port,
            use_ssl=parts.scheme == "ldaps",
            get_info=ldap3.NONE,
            tls=self._tls,
            # ldap3 tries one address after the other, each for so long.
            connect_timeout=deadline.remaining() / _addresses(host, port),
        )
        self.connection = ldap3.Connection(
            server,
            user=access.bind.user,
            password=password,
            auto_bind=ldap3.AUTO_BIND_NONE,
            client_strategy=strategy,
            auto_referrals=False,
            check_names=False,
            # The receiver of a stream would spin on a socket with a time-out that was closed.
            receive_timeout=math.ceil(access.search_timeout) if strategy == "SAFE_SYNC" else None,
            **_authentication(access.bind.method),
        )

    def open(self, deadline: Deadline) -> None:
        """Connect, begin TLS and bind."""
        try:
            with self._step("connect", deadline):
                self.connection.open(read_server_info=False)
                self.connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if self._access.start_tls:
                with self._step("StartTLS", deadline):
                    self.connection.start_tls(read_server_info=False)
            with self._step("bind", deadline):
                self._bind()
        except (UnavailableError, RefusedError):
            self.close()
            raise

    def search(
        self, base: str, scope: Scope, wanted: str, attributes: Sequence[str], deadline: Deadline
    ) -> list[Mapping[str, Any]]:
        """Return the entries found; references to other naming contexts are left out."""
        with self._step("search", deadline):
            _, result, response, _ = self.connection.search(
                base, wanted, search_scope=scope, attributes=list(attributes)
            )
        if result["result"] != results.RESULT_SUCCESS:
            raise of_result(result)
        return [entry for entry in response or () if entry["type"] == "searchResEntry"]

    def pages(
        self, base: str, wanted: str, attributes: Sequence[str], size: int, deadline: Deadline
    ) -> Iterator[list[Mapping[str, Any]]]:
        """Yield the entries found below *base*, at most *size* at a time (RFC 2696)."""
        cookie: bytes | None = None
        while True:
            with self._step("search", deadline):
                _, result, response, _ = self.connection.search(
                    base,
                    wanted,
                    search_scope="SUBTREE",
                    attributes=list(attributes),
                    paged_size=size,
                    paged_cookie=cookie,
                )
            if result["result"] != results.RESULT_SUCCESS:
                raise of_result(result)
            yield [entry for entry in response or () if entry["type"] == "searchResEntry"]
            control = (result.get("controls") or {}).get(_PAGED_RESULTS)
            cookie = control["value"]["cookie"] if control else None
            if not cookie:
                return

    def modify(self, dn: str, changes: Mapping[str, Any], deadline: Deadline) -> None:
        """Change an entry, all of it or nothing."""
        with self._step("modify", deadline):
            _, result, _, _ = self.connection.modify(dn, changes)  # type: ignore[no-untyped-call]
        if result["result"] != results.RESULT_SUCCESS:
            raise of_result(result)

    def abort(self) -> None:
        """Wake whichever thread waits on the socket; from any thread."""
        with suppress(OSError, AttributeError, TypeError):
            # Not SSLSocket's own, which takes the TLS state away under the waiting thread.
            socket.socket.shutdown(self.connection.socket, socket.SHUT_RDWR)

    def close(self) -> None:
        """End the connection without a word: a server that hangs would not take it."""
        with suppress(Exception):  # Whatever is wrong with a connection that is given up is no news.
            self.connection.strategy.close()
        # ldap3 forgets the socket of a connection that never came to be.
        if self.connection.socket is not None:
            self.connection.socket.close()

    def _bind(self) -> None:
        bound = self.connection.bind(read_server_info=False)
        if bound is True:  # Of a stream, which keeps no result.
            return
        if bound is False:
            raise RefusedError(f"the bind was refused ({self.connection.last_error})")
        if bound[1]["result"] != results.RESULT_SUCCESS:
            raise of_bind(bound[1], self._access.bind.user)

    @contextmanager
    def _step(self, what: str, deadline: Deadline) -> Iterator[None]:
        """Run one step by *deadline*, whatever a broken server or the library answers with."""
        left = deadline.remaining()
        if self.connection.socket is not None:
            self.connection.socket.settimeout(left)
        try:
            yield
        except (UnavailableError, RefusedError):
            raise
        except exceptions.LDAPPackageUnavailableError as error:
            raise RefusedError("a GSSAPI bind needs the Python package gssapi; install it") from error
        except Exception as error:
            if type(error).__module__.startswith("gssapi"):
                raise RefusedError(f"no Kerberos ticket for the bind: {_one_line(error)}") from error
            failure = self._tls.failure if self._tls is not None else None
            raise of_exception(failure or error, what) from error
        self.used_at = time.monotonic()


def _addresses(host: str, port: int) -> int:
    """Return how many addresses *host* has."""
    try:
        return len(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    except (OSError, UnicodeError) as error:
        raise UnavailableError(
            "server down: its name is not found; check the URL and the resolver"
        ) from error


def _authentication(method: BindMethod) -> dict[str, Any]:
    if method is BindMethod.SIMPLE:
        return {"authentication": ldap3.SIMPLE}
    if method is BindMethod.GSSAPI:
        return {"authentication": ldap3.SASL, "sasl_mechanism": ldap3.KERBEROS}
    return {"authentication": ldap3.ANONYMOUS}


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
