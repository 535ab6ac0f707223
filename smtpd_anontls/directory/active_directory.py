"""msExchServerInternalTLSCert of each server, and the groups of an account, asked of Active Directory or AD LDS.

The event loop never waits: searches run in a small pool of threads, and a session waits for one
at most ``connect_timeout`` + ``search_timeout``, over all servers together.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from smtpd_anontls.directory.connections import Connections, Effort
from smtpd_anontls.directory.file import ATTRIBUTE, ChangedInBetweenError, DirectoryError
from smtpd_anontls.directory.finding import find_organization, find_server, groups_of, no_such_object
from smtpd_anontls.directory.ldap_library import ldap3, results
from smtpd_anontls.directory.listing import read_register
from smtpd_anontls.directory.membership import Accounts, can_be_asked_for
from smtpd_anontls.directory.notification import Watch
from smtpd_anontls.directory.reasons import RefusedError, UnavailableError
from smtpd_anontls.directory.searching import Searching
from smtpd_anontls.directory.server_object import ServerObject
from smtpd_anontls.domain.account_names import AccountName
from smtpd_anontls.domain.directory_value import Answer, Unreadable, Unset, decode
from smtpd_anontls.domain.ldap_access import BindMethod
from smtpd_anontls.domain.membership import Groups, Membership
from smtpd_anontls.domain.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpd_anontls.directory.link import Deadline, Link
    from smtpd_anontls.directory.naming import Register
    from smtpd_anontls.domain.direct_trust import Naming
    from smtpd_anontls.domain.ldap_access import LdapAccess

T = TypeVar("T")

# An access rule leaves the attribute out without a word.
HIDDEN = "an access rule that hides it looks the same"

# What stands for a server where all of them are asked for.
_ALL = ""

# What a conditional write answers where the value is another one than was expected.
_CONFLICTS = frozenset(
    {
        results.RESULT_NO_SUCH_ATTRIBUTE,
        results.RESULT_ATTRIBUTE_OR_VALUE_EXISTS,
        results.RESULT_CONSTRAINT_VIOLATION,
    }
)


@dataclass(frozen=True, slots=True)
class _Found:
    """A server object as one server showed it."""

    dn: str
    values: tuple[bytes, ...]
    url: str
    milliseconds: float

    def value(self) -> bytes | None:
        if len(self.values) > 1:
            raise RefusedError(
                f"its value was not understood: {len(self.values)} values, where one is allowed"
            )
        return self.values[0] if self.values else None

    def answer(self) -> Answer:
        value = self.value()
        return Unset(HIDDEN) if value is None else decode(value)


class ActiveDirectory:
    """The server objects of a forest, or of an Edge Transport server's AD LDS.

    Server names match in any case, as a CN does.  An unreachable directory is an answer, at the
    start of the service too.
    """

    def __init__(self, access: LdapAccess, *, on_warning: Callable[[str], None] = lambda _: None) -> None:
        self.access = access
        self._on_warning = on_warning
        self._seconds = access.connect_timeout + access.search_timeout
        self._connections = Connections(access)
        self._names: dict[str, str] = {}  # DNs by casefolded server, until one is not there any more.
        self._watches: dict[str, Watch] = {}
        self._answers = Searching(
            self._answer, keep_seconds=access.cache_seconds, may_keep=self._is_kept_informed
        )
        self._organization: str | None = None  # Its DN, until it is not there any more.
        self._registers = Searching(
            self._register,
            keep_seconds=access.cache_seconds,
            # Of a change to another server's object nobody would hear.
            may_keep=lambda _: not self._watches_changes(),
        )
        self._accounts = Accounts(access)
        self._memberships = Searching(
            self._membership,
            keep_seconds=access.cache_seconds,
            may_keep=lambda _: not self._watches_changes(),
        )

    def load(self) -> None:
        """Do nothing: the first session asks, and an unreachable directory stops no start."""

    async def internal_tls_certificate(self, server: str) -> Answer:
        """Return what the object of *server* names; never raise."""
        return await self._answers.answer(server)

    async def servers_naming(self, thumbprint: str) -> Naming:
        """Return the servers whose objects name this certificate; never raise."""
        register = await self._registers.answer(_ALL)
        return register if isinstance(register, Unreadable) else register.naming(thumbprint)

    async def groups_of(self, identity: str) -> Membership:
        r"""Return the permission groups that hold ``CONTOSO\MBX2$``; never raise."""
        if self.access.edge:
            return Unreadable("AD LDS of an Edge Transport server holds no accounts")
        if not can_be_asked_for(AccountName.parse(identity)):
            return Groups((), "no account can be called so")
        return await self._memberships.answer(identity)

    async def show(self, server: str) -> ServerObject:
        """Return the server object as it is found now, for people to read."""
        try:
            found = await self._run(lambda link, deadline: self._look(link, server, deadline))
            answer, dn = found.answer(), found.dn
            source = f"{found.url} {self._bound_as()} ({found.milliseconds:.1f} ms)"
        except (UnavailableError, RefusedError) as error:
            return ServerObject.of(server, f"CN={server}", Unreadable(printable(str(error))))
        return replace(ServerObject.of(server, dn, answer), source=source)

    async def value(self, server: str) -> bytes | None:
        """Return the attribute's octets, None where it is not set; DirectoryError says why it is not read."""
        try:
            found = await self._run(lambda link, deadline: self._look(link, server, deadline))
            return found.value()
        except (UnavailableError, RefusedError) as error:
            raise DirectoryError(printable(str(error))) from error

    async def replace(self, server: str, new: bytes | None, *, expected: bytes | None) -> None:
        """Let the attribute hold *new* where it holds *expected*, and read it back; None is not set.

        DirectoryError says why it is not so; ChangedInBetweenError, that nothing was written.
        """
        try:
            await self._run(lambda link, deadline: self._replace(link, server, new, expected, deadline))
        except (UnavailableError, RefusedError) as error:
            conflict = isinstance(error, RefusedError) and error.code in _CONFLICTS
            kind = ChangedInBetweenError if conflict else DirectoryError
            raise kind(printable(str(error))) from error
        finally:
            self._answers.forget(server)
            self._registers.forget(_ALL)

    def close(self) -> None:
        """Let go of every connection; whoever still asks gets an answer within the time-outs."""
        for watch in self._watches.values():
            watch.close()
        self._connections.close()

    async def _answer(self, server: str) -> Answer:
        try:
            found = await self._run(lambda link, deadline: self._look(link, server, deadline))
            answer = found.answer()
        except (UnavailableError, RefusedError) as error:
            return Unreadable(printable(str(error)))
        if self._watches_changes():
            self._watch(server, found)
        return answer

    async def _register(self, _all: str) -> Register | Unreadable:
        try:
            return await self._run(self._look_at_all)
        except (UnavailableError, RefusedError) as error:
            return Unreadable(printable(str(error)))

    async def _membership(self, identity: str) -> Membership:
        account = AccountName.parse(identity)
        try:
            return await self._run(lambda link, deadline: self._accounts.membership(link, account, deadline))
        except (UnavailableError, RefusedError) as error:
            return Unreadable(printable(str(error)))

    async def _run(self, ask: Callable[[Link, Deadline], T]) -> T:
        """Run *ask* in the pool, for as long as a session may be held up."""
        # A little earlier than the session gives up, so that the sentence says what it waited for.
        effort = Effort(self._seconds - min(0.1, self._seconds / 20))
        loop = asyncio.get_running_loop()
        try:
            work = loop.run_in_executor(self._connections.executor, self._connections.run, ask, effort)
        except RuntimeError as error:  # The pool is closed: a session of a configuration that is gone.
            raise UnavailableError("the directory is closed; the configuration was replaced") from error
        try:
            return await asyncio.wait_for(work, self._seconds)
        except TimeoutError:
            effort.abort()
            urls = ", ".join(self.access.urls)
            raise UnavailableError(f"{urls}: time-out: no answer within {self._seconds:g} s") from None

    def _look(self, link: Link, server: str, deadline: Deadline) -> _Found:
        """Read the object where it was last; look for it where it is not there any more."""
        began = time.monotonic()
        key = server.casefold()
        known = self._names.get(key)
        values = None if known is None else _values(link, known, deadline)
        if known is None or values is None:
            known = self._names[key] = find_server(link, self.access, server, deadline)
            values = _values(link, known, deadline)
            if values is None:
                del self._names[key]
                raise no_such_object(known)
        return _Found(known, values, link.url, (time.monotonic() - began) * 1000)

    def _look_at_all(self, link: Link, deadline: Deadline) -> Register:
        """Read all server objects where they were last; look for the organization where it is not there any more."""
        if self._organization is not None:
            try:
                return read_register(link, groups_of(self._organization), ATTRIBUTE, deadline)
            except RefusedError as error:
                if error.code != results.RESULT_NO_SUCH_OBJECT:
                    raise
        self._organization = find_organization(link, self.access, deadline)
        return read_register(link, groups_of(self._organization), ATTRIBUTE, deadline)

    def _replace(
        self, link: Link, server: str, new: bytes | None, expected: bytes | None, deadline: Deadline
    ) -> None:
        dn = self._look(link, server, deadline).dn
        changes: list[tuple[Any, list[bytes]]] = []
        if expected is not None:
            changes.append((ldap3.MODIFY_DELETE, [expected]))
        if new is not None:
            changes.append((ldap3.MODIFY_ADD, [new]))
        wanted = () if new is None else (new,)
        try:
            if new != expected:
                link.modify(dn, {ATTRIBUTE: changes}, deadline)
        except UnavailableError as error:
            raise UnavailableError(
                f"{error}; whether it was written is not known, look at it again"
            ) from error
        except RefusedError as error:
            if error.code == results.RESULT_INSUFFICIENT_ACCESS_RIGHTS:
                raise RefusedError(
                    f"access refused: the account may not write {ATTRIBUTE} of {dn}; "
                    "give it Write on this attribute of this object",
                    error.code,
                ) from error
            # After a connection that ended in between, the change may be our own.
            if error.code not in _CONFLICTS or _values(link, dn, deadline) != wanted:
                raise _conflict(error, dn, expected) from error
        if _values(link, dn, deadline) != wanted:
            raise RefusedError(
                f"{ATTRIBUTE} of {dn} does not read back as it was written: it changed again, or is hidden"
            )

    def _bound_as(self) -> str:
        bind = self.access.bind
        if bind.method is BindMethod.ANONYMOUS:
            return "anonymously"
        if bind.method is BindMethod.GSSAPI:
            return f"as {bind.user or 'the default principal'} with Kerberos"
        return f"as {bind.user}"

    def _watches_changes(self) -> bool:
        return self.access.change_notification and self.access.cache_seconds > 0

    def _is_kept_informed(self, server: str) -> bool:
        """Whether a kept answer may be given: with change notification, only while changes are heard of."""
        if not self._watches_changes():
            return True
        watch = self._watches.get(server.casefold())
        return watch is not None and watch.listens()

    def _watch(self, server: str, found: _Found) -> None:
        watch = self._watches.get(server.casefold())
        if watch is None:
            loop = asyncio.get_running_loop()

            def warn(text: str) -> None:
                with suppress(RuntimeError):  # The loop is closed: nobody listens.
                    loop.call_soon_threadsafe(self._on_warning, text)

            watch = Watch(self._connections, server, self._answers.forget, warn)
            self._watches[server.casefold()] = watch
        if not watch.listens():
            self._connections.beside(partial(watch.start, found.url, found.dn, self._seconds))


def _values(link: Link, dn: str, deadline: Deadline) -> tuple[bytes, ...] | None:
    """Return the values of the attribute, none where it is not set; None where there is no such object."""
    try:
        entries = link.search(dn, "BASE", "(objectClass=*)", (ATTRIBUTE,), deadline)
    except RefusedError as error:
        if error.code == results.RESULT_NO_SUCH_OBJECT:
            return None
        raise
    if not entries:
        return None
    found = {key.lower(): value for key, value in entries[0]["raw_attributes"].items()}
    return tuple(bytes(value) for value in found.get(ATTRIBUTE.lower(), ()))


def _conflict(error: RefusedError, dn: str, expected: bytes | None) -> RefusedError:
    if error.code not in _CONFLICTS:
        return error
    what = (
        "changed in between" if expected is not None else "was set in between, or is hidden from this account"
    )
    return RefusedError(f"{ATTRIBUTE} of {dn} {what}, so nothing was written; look at it again", error.code)
