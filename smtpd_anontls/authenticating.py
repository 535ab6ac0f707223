"""Who a sender is: the one place that hands users, keytabs and the directory to an authentication.

What needs pyspnego is loaded for a receiver that runs; the other commands do without.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from smtpd_anontls.authentication.gssapi import GssapiExchange, missing_library
from smtpd_anontls.authentication.identities import identify
from smtpd_anontls.authentication.observe import ObserveExchange
from smtpd_anontls.directory.file import FileDirectory
from smtpd_anontls.domain.account_names import AccountName
from smtpd_anontls.domain.authentication import DIRECT_TRUST, ExchangeAuth, Identity, Mechanism
from smtpd_anontls.domain.direct_trust import NotTrusted, judge, presented
from smtpd_anontls.domain.flags import PermissionGroups

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from smtpd_anontls.authentication.credentials import Found, Users
    from smtpd_anontls.directory.active_directory import ActiveDirectory
    from smtpd_anontls.domain.authentication import Authenticated, TokenExchange
    from smtpd_anontls.domain.certificate import Certificate
    from smtpd_anontls.domain.connectors import ReceiveConnector, Server
    from smtpd_anontls.domain.direct_trust import Trusted
    from smtpd_anontls.settings.values import AuthenticationSettings, Settings


class _Users:
    """The user file, or its absence; read when somebody is looked for."""

    def __init__(self, path: Path | None, on_warning: Callable[[str], None]) -> None:
        self._path = path
        self._on_warning = on_warning
        self._users: Users | None = None

    async def find(self, asked: AccountName) -> Found:
        """Look *asked* up."""
        return await self.load().find(asked)

    def load(self) -> Users:
        from smtpd_anontls.authentication.credentials import NoUsers, UserFile  # noqa: PLC0415 - see the module

        if self._users is None:
            self._users = (
                NoUsers() if self._path is None else UserFile(self._path, on_warning=self._on_warning)
            )
        return self._users


@dataclass(frozen=True, slots=True)
class Authentication:
    """The users and the rules of one configuration; a session asks for its own part of it."""

    settings: AuthenticationSettings
    users: _Users
    keytabs: dict[str, Path]  # By the name of the server; empty where nobody could read them.
    directory: FileDirectory | ActiveDirectory

    @classmethod
    def of(
        cls,
        settings: Settings,
        directory: FileDirectory | ActiveDirectory,
        *,
        on_warning: Callable[[str], None],
    ) -> Authentication:
        """Return what *settings* describe; a keytab that only an extra could read is one warning."""
        rules = settings.authentication
        users = _Users(rules.credentials, on_warning)
        keytabs = {each.server.name: each.keytab for each in settings.servers if each.keytab is not None}
        if keytabs and (missing := missing_library()) is not None:
            on_warning(f"{settings.text_name}: GSSAPI is not offered, though a keytab is set: {missing}")
            keytabs = {}
        return cls(rules, users, keytabs, directory)

    def load(self) -> None:
        """Load what a logon needs, so that the first one waits for nothing."""
        from smtpd_anontls.authentication import login, ntlm  # noqa: F401, PLC0415 - see the module

        self.users.load()

    def at(self, server: Server, connector: ReceiveConnector) -> Logons:
        """Return what a session of *connector* needs."""
        return Logons(self, server, connector)


@dataclass(frozen=True, slots=True)
class Logons:
    """The ways in which a sender can say to one connector who it is (smtp.ports.Logons)."""

    _all: Authentication
    _server: Server
    _connector: ReceiveConnector

    @property
    def has_keytab(self) -> bool:
        """Whether GSSAPI can be answered."""
        return self._server.name in self._all.keytabs

    @property
    def observes(self) -> bool:
        """Whether EXCHANGEAUTH is looked at."""
        return self._all.settings.exchange_auth is ExchangeAuth.OBSERVE

    def begin(
        self, mechanism: Mechanism, *, certificate: Certificate | None, security_layer: bool
    ) -> TokenExchange:
        """Return an exchange that has not begun; *certificate* is ours in the TLS session."""
        binding = None if certificate is None else certificate.tls_server_end_point
        policy = self._connector.extended_protection_policy
        match mechanism:
            case Mechanism.LOGIN:
                from smtpd_anontls.authentication.login import LoginExchange  # noqa: PLC0415 - see the module

                return LoginExchange(self._all.users)
            case Mechanism.NTLM:
                from smtpd_anontls.authentication.ntlm import (  # noqa: PLC0415 - see the module
                    NtlmExchange,
                    target_names,
                )

                return NtlmExchange(
                    self._all.users,
                    ntlmv1=self._all.settings.ntlmv1,
                    policy=policy,
                    binding=binding,
                    names=target_names(self._server.fqdn, self._server.name),
                    random=secrets.token_bytes,
                    clock=lambda: datetime.now(UTC),
                )
            case Mechanism.GSSAPI:
                return GssapiExchange(
                    keytab=self._all.keytabs[self._server.name],
                    hostname=self._server.fqdn,
                    binding=binding,
                    policy=policy,
                    security_layer=security_layer,
                )
            case Mechanism.EXCHANGEAUTH:
                keytab = self._all.keytabs.get(self._server.name)
                return ObserveExchange(keytab=keytab, hostname=self._server.fqdn)

    async def identify(self, mechanism: Mechanism, found: Authenticated) -> Identity:
        """Return who *found* is, with the groups that follow."""
        name: AccountName | str = found.identity
        if mechanism is Mechanism.GSSAPI:
            name = AccountName.of_principal(found.identity)
        directory = self._all.directory
        return await identify(
            name,
            mechanism.value,
            identities=self._all.settings.identities,
            directory=None if isinstance(directory, FileDirectory) else directory,
        )

    async def recognise(
        self, der: bytes | None, now: datetime
    ) -> tuple[Identity | None, Trusted | NotTrusted]:
        """Return whom a client certificate makes of the client: direct trust."""
        shown = presented(der)
        if isinstance(shown, NotTrusted):
            return None, shown
        naming = await self._all.directory.servers_naming(shown.thumbprint)
        verdict = judge(shown, naming, own=self._server.name, now=now)
        if isinstance(verdict, NotTrusted):
            return None, verdict
        # A server object has no domain of its own; its account is the computer's.
        name = f"{verdict.server_name}$"
        groups = tuple(PermissionGroups.ExchangeServers.names)
        return Identity(name, DIRECT_TRUST, groups, verdict.detail), verdict
