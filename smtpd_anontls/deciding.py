"""Running the selections: the one place that hands a connector, its server's store and the directory to them.

A session, a start, ``check`` and ``explain`` all come through here, so they show the same trace.
"""

from __future__ import annotations

import asyncio
import operator
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

from smtpd_anontls.authenticating import Authentication
from smtpd_anontls.certificates.contexts import check_ciphers
from smtpd_anontls.certificates.ephemeral import EphemeralCertificates
from smtpd_anontls.certificates.passwords import PasswordInEnvironment, PasswordInFile
from smtpd_anontls.certificates.store import KeyElsewhereError, LocalComputerStore, StoreError, say_nothing
from smtpd_anontls.directory.file import FileDirectory
from smtpd_anontls.domain.certificate import KeyState
from smtpd_anontls.domain.flags import AuthMechanism, ServerRole, StartTlsCertificate
from smtpd_anontls.domain.records import TlsVerb
from smtpd_anontls.selection import anonymous_tls, outbound, starttls
from smtpd_anontls.selection.fallback import reconsider
from smtpd_anontls.selection.recollection import Recollections
from smtpd_anontls.settings import values
from smtpd_anontls.settings.document import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from smtpd_anontls.certificates.entries import Entry
    from smtpd_anontls.certificates.passwords import PasswordSource
    from smtpd_anontls.certificates.stand_ins import StandIns
    from smtpd_anontls.directory.active_directory import ActiveDirectory
    from smtpd_anontls.domain.certificate import Certificate
    from smtpd_anontls.domain.connectors import ReceiveConnector, Server
    from smtpd_anontls.domain.sending import Delivery
    from smtpd_anontls.domain.tls_policy import TlsPolicy
    from smtpd_anontls.selection.outcome import Selection
    from smtpd_anontls.selection.validity import Moment
    from smtpd_anontls.settings.values import ServerSettings, Settings
    from smtpd_anontls.smtp.ports import ServerContext

    # What a selection came to, and what a session starts TLS with; None: the verb is not advertised.
    Decision: TypeAlias = tuple[Selection, ServerContext | None]

# Each verb's selection asks once, and once more where the store changed meanwhile.
_QUESTIONS_OF_A_SESSION = 4
_SELECTIONS = {TlsVerb.X_ANONYMOUSTLS: anonymous_tls.select, TlsVerb.STARTTLS: starttls.select}


def refuse_useless_ciphers(settings: Settings) -> None:
    """Raise ConfigError where no handshake could come of the cipher string, which only OpenSSL can tell."""
    if (why := check_ciphers(settings.tls)) is not None:
        raise ConfigError([f"{settings.text_name}: tls.ciphers: {why}"])


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the selections of one configuration ask: the directory, the store of each server, the TLS policy.

    Whoever made it closes its directory with ``close_directory``.
    """

    directory_settings: values.FileDirectorySettings | values.LdapDirectorySettings
    directory: FileDirectory | ActiveDirectory
    stores: Mapping[str, LocalComputerStore]
    tls: TlsPolicy
    ephemeral: EphemeralCertificates
    authentication: Authentication
    stand_ins: StandIns | None = None  # None: nothing stands in for a certificate whose key is elsewhere.
    recollections: Recollections[tuple[Decision, ...]] = field(
        default_factory=Recollections, compare=False, repr=False
    )

    @classmethod
    def of(
        cls,
        settings: Settings,
        *,
        on_warning: Callable[[str], None],
        ephemeral: EphemeralCertificates | None = None,
        directory: FileDirectory | ActiveDirectory | None = None,
        stand_ins: StandIns | None = None,
    ) -> Surroundings:
        """Return the surroundings that *settings* describe, with *directory* where there is one; nothing is read yet."""
        ephemeral = ephemeral or EphemeralCertificates()
        directory = directory or directory_of(settings.directory, on_warning=on_warning)
        return cls(
            settings.directory,
            directory,
            {
                each.server.name: store_of(
                    each, on_warning=on_warning, ephemeral=ephemeral, stand_ins=stand_ins
                )
                for each in settings.servers
            },
            settings.tls,
            ephemeral,
            Authentication.of(settings, directory, on_warning=on_warning),
            stand_ins,
        )

    def adapted_to(self, settings: Settings, *, on_warning: Callable[[str], None]) -> Surroundings:
        """Return the surroundings of changed *settings*; what did not move keeps what it has read."""
        same = self.directory_settings == settings.directory
        # An ephemeral certificate lives as long as the process.
        fresh = Surroundings.of(
            settings,
            on_warning=on_warning,
            ephemeral=self.ephemeral,
            directory=self.directory if same else None,
            stand_ins=self.stand_ins,
        )
        known = list(self.stores.values())
        stores = {
            name: next((old for old in known if old.shows_the_same_as(store)), store)
            for name, store in fresh.stores.items()
        }
        return replace(fresh, stores=stores)

    @property
    def longest_decision(self) -> float:
        """Seconds after which a session that began to ask the directory no longer asks it."""
        match self.directory_settings:
            case values.LdapDirectorySettings(access):
                return _QUESTIONS_OF_A_SESSION * (access.connect_timeout + access.search_timeout)
        return 0.0

    def load(self, servers: Iterable[Server]) -> None:
        """Read every store, and the directory where a connector asks it; StoreError, DirectoryError say why not."""
        for store in self.stores.values():
            store.load()
        if any(_asks_the_directory(each) for server in servers for each in server.connectors):
            self.directory.load()

    async def decide_for_session(
        self, connector: ReceiveConnector, server: Server, moment: Moment
    ) -> tuple[Decision, ...]:
        """Return what ``decide`` comes to for each verb, from memory where directory and store are as they were."""
        began = time.perf_counter()
        place = (server.name, connector.name)
        if (origin := self._origin(connector, server)) is not None:
            kept = self.recollections.recall(place, origin, moment.now)
            if kept is not None:
                took = (time.perf_counter() - began) * 1000 / len(kept)
                return tuple([(selection.lasting(took), context) for selection, context in kept])
        decided = tuple([await self.decide(connector, server, verb, moment) for verb in TlsVerb])
        if origin is not None and all(_may_be_kept(each) for each in decided):
            now_there = self._origin(connector, server)
            # Unless it changed while it was asked.
            if now_there is not None and all(map(operator.is_, origin, now_there)):
                store = [entry.shown for entry in now_there[-1].values()]
                self.recollections.keep(place, origin, moment.now, decided, store=store)
        return decided

    def _origin(
        self, connector: ReceiveConnector, server: Server
    ) -> tuple[ReceiveConnector, Server, object, Mapping[str, Entry]] | None:
        """Return what both selections would ask now; None where that takes more than a look, or depends on more."""
        if not isinstance(self.directory, FileDirectory):
            return None
        # A certificate that is made for the moment ages, and a look-alike is made of another.
        if server.ephemeral_fallback or self.stand_ins is not None:
            return None
        directory, store = self.directory.known(server.name), self.stores[server.name].known()
        return None if directory is None or store is None else (connector, server, directory, store)

    async def decide(
        self,
        connector: ReceiveConnector,
        server: Server,
        verb: TlsVerb,
        moment: Moment,
        *,
        to_serve: bool = True,
    ) -> tuple[Selection, ServerContext | None]:
        """Run one selection, load what it chose, and measure both; no context: the verb is not advertised.

        Unless it is *to_serve*, a certificate whose key is on the server that it was exported from counts as
        loaded there.
        """
        began = time.perf_counter()
        store = self.stores[server.name]
        context: ServerContext | None = None
        for is_last in (False, True):
            selection = await _SELECTIONS[verb](
                connector, server, directory=self.directory, store=store, moment=moment
            )
            if selection.certificate is None:
                break
            try:
                context = await self._context(
                    store, selection.certificate.thumbprint, connector, server, verb
                )
                break
            except KeyElsewhereError as error:
                if self.stand_ins is None and not to_serve:
                    break
                selection, context = await self._standing_in(selection, str(error), connector, server, moment)
                break
            except StoreError as error:
                # The store may have changed since it was asked, so the first time it is asked again.
                if is_last:
                    selection, context = await self._without(selection, str(error), connector, server, moment)
        return selection.lasting((time.perf_counter() - began) * 1000), context

    async def _standing_in(
        self,
        selection: Selection,
        reason: str,
        connector: ReceiveConnector,
        server: Server,
        moment: Moment,
    ) -> tuple[Selection, ServerContext | None]:
        """Return a selection whose certificate's key is elsewhere, with the look-alike that is presented, if any."""
        assert selection.certificate is not None
        store = self.stores[server.name]
        try:
            stand_in = await store.stand_in(selection.certificate.thumbprint)
            if stand_in is not None:
                context = await self._context(store, stand_in.thumbprint, connector, server, selection.verb)
                return selection.presenting(stand_in), context
        except StoreError as error:
            reason = str(error)
        return await self._without(selection, reason, connector, server, moment)

    async def _without(
        self,
        selection: Selection,
        reason: str,
        connector: ReceiveConnector,
        server: Server,
        moment: Moment,
    ) -> tuple[Selection, ServerContext | None]:
        """Return what is left of a selection whose certificate cannot be loaded."""
        store = self.stores[server.name]
        left = await reconsider(selection, reason, connector, server, store=store, moment=moment)
        if left.certificate is None:
            return left, None
        try:
            return left, await self._context(
                store, left.certificate.thumbprint, connector, server, selection.verb
            )
        except StoreError as error:
            # What keeps OpenSSL from taking any certificate.
            return left.not_loadable(str(error), server.fqdn_of(connector)), None

    async def _context(
        self,
        store: LocalComputerStore,
        thumbprint: str,
        connector: ReceiveConnector,
        server: Server,
        verb: TlsVerb,
    ) -> ServerContext:
        """Return what a session starts TLS with; StoreError where the certificate cannot be loaded."""
        # Direct trust is between servers, which say X-ANONYMOUSTLS; an Edge server always asks.
        asks = connector.request_client_certificate or server.role is ServerRole.Edge
        if asks and verb is TlsVerb.X_ANONYMOUSTLS:
            return await store.direct_trust_context(thumbprint, self.tls)
        return await store.context(thumbprint, self.tls)

    async def another_context(
        self,
        connector: ReceiveConnector,
        server: Server,
        verb: TlsVerb,
        *,
        thumbprint: str | None,
        policy: TlsPolicy,
        now: datetime,
    ) -> tuple[Certificate, ServerContext]:
        """Return a certificate that no selection chose and what presents it under *policy*; StoreError says why not.

        None is one that is made for the moment, for a host of another name.
        """
        store = self.stores.get(server.name)
        if store is None:
            raise StoreError(f"the configuration has no server {server.name} any more")
        if thumbprint is None:
            certificate = await store.ephemeral([f"another.{server.fqdn_of(connector)}"], now)
        else:
            found = await store.find(thumbprint)
            if found is None:
                raise StoreError(
                    f"the local computer store holds no certificate with thumbprint {thumbprint}"
                )
            certificate = found.certificate
        there = replace(self, tls=policy)
        context = await there._context(  # noqa: SLF001 - these surroundings, but for the policy
            store, certificate.thumbprint, connector, server, verb
        )
        return certificate, context

    async def select(
        self, connector: ReceiveConnector, server: Server, verb: TlsVerb, moment: Moment
    ) -> Selection:
        """Return the selection that ``decide`` comes to, where nothing has to be served."""
        selection, _ = await self.decide(connector, server, verb, moment, to_serve=False)
        return selection

    async def select_outbound(self, delivery: Delivery, server: Server, moment: Moment) -> Selection:
        """Return what *server* loads as the sending side of *delivery*."""
        began = time.perf_counter()
        selection = await outbound.select(
            delivery, server, directory=self.directory, store=self.stores[server.name], moment=moment
        )
        return replace(selection, duration_ms=(time.perf_counter() - began) * 1000)

    async def refuse_keys_elsewhere(
        self, selections: Iterable[tuple[ReceiveConnector, Selection]], text_name: str
    ) -> None:
        """Raise ConfigError where one of *selections* chose a certificate that cannot be loaded on this machine."""
        lines = []
        for _, selection in selections:
            if selection.certificate is None:
                continue
            found = await self.stores[selection.server].find(selection.certificate.thumbprint)
            if found is not None and found.key is KeyState.ELSEWHERE:
                lines.append(
                    f"{text_name}: {selection.server}: {found.file} {found.key.value}, so it can be explained but not "
                    "served; say --stand-in-keys to serve a look-alike with a key of its own, or put the key beside it"
                )
        if lines:
            raise ConfigError(dict.fromkeys(lines))


def _may_be_kept(decision: Decision) -> bool:
    """Whether nothing but directory, store and moment led there: loading what was chosen did not fail."""
    selection, context = decision
    return context is not None or not selection.events


def directory_of(
    settings: values.FileDirectorySettings | values.LdapDirectorySettings,
    *,
    on_warning: Callable[[str], None] = say_nothing,
) -> FileDirectory | ActiveDirectory:
    """Return the directory that *settings* describe; nothing is read yet."""
    match settings:
        case values.FileDirectorySettings(path):
            return FileDirectory(path, on_warning=on_warning)
        case values.LdapDirectorySettings(access):
            # Here, since ldap3 takes its time to load and most configurations do without.
            from smtpd_anontls.directory.active_directory import ActiveDirectory  # noqa: PLC0415

            return ActiveDirectory(access, on_warning=on_warning)


async def close_directory(directory: FileDirectory | ActiveDirectory) -> None:
    """Give back what the directory holds open; a thread may have to wait for a server."""
    if not isinstance(directory, FileDirectory):
        await asyncio.to_thread(directory.close)


def store_of(
    settings: ServerSettings,
    *,
    on_warning: Callable[[str], None] = say_nothing,
    ephemeral: EphemeralCertificates | None = None,
    stand_ins: StandIns | None = None,
) -> LocalComputerStore:
    """Return the local computer store of a server, with the passwords that its files need; nothing is read yet."""
    return LocalComputerStore(
        settings.certificate_store,
        passwords={name: _source(place) for name, place in settings.certificate_passwords.items()},
        ephemeral=ephemeral,
        stand_ins=stand_ins,
        on_warning=on_warning,
    )


def _source(place: values.PasswordInEnvironment | values.PasswordInFile) -> PasswordSource:
    match place:
        case values.PasswordInEnvironment(name):
            return PasswordInEnvironment(name)
        case values.PasswordInFile(path):
            return PasswordInFile(path)


def _asks_the_directory(connector: ReceiveConnector) -> bool:
    asked = (
        AuthMechanism.ExchangeServer in connector.auth_mechanism,
        connector.starttls_certificate is StartTlsCertificate.internal_transport,
    )
    return connector.enabled and any(asked)
