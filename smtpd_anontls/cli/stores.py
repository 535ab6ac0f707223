"""What the commands on certificates share: one server's store, and what the directory says of it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from smtpd_anontls.certificates.services import known_service
from smtpd_anontls.certificates.store import StoreError
from smtpd_anontls.cli.common import CommandError, ExitCode, store_error
from smtpd_anontls.cli.directories import opened
from smtpd_anontls.cli.output import diagnose
from smtpd_anontls.deciding import store_of
from smtpd_anontls.directory.file import FileDirectory
from smtpd_anontls.domain.directory_value import Named, Unset, decode
from smtpd_anontls.selection.outcome import stored_certificate_json

if TYPE_CHECKING:
    from pathlib import Path

    from smtpd_anontls.certificates.store import LocalComputerStore
    from smtpd_anontls.cli.common import Common
    from smtpd_anontls.domain.certificate import StoreCertificate
    from smtpd_anontls.domain.connectors import Server
    from smtpd_anontls.domain.directory_value import Answer
    from smtpd_anontls.settings.values import Loaded, Settings

server_option = click.option("--server", metavar="NAME", help="Which server; needed where there are several.")


@dataclass(frozen=True, slots=True)
class Current:
    """What the directory names before a command replaces it, from one reading."""

    thumbprint: str | None = None  # None: nothing, or what is not understood.
    certificate: StoreCertificate | None = None  # None: the store does not hold it.
    octets: bytes | None = None  # What Active Directory holds; None: nothing, or the directory is a file.


@dataclass(frozen=True, slots=True)
class Place:
    """A server's store, and the settings that say where the directory is."""

    server: Server
    folder: Path
    store: LocalComputerStore
    settings: Settings
    neighbours: tuple[Server, ...]  # All servers with the same store, this one among them.
    is_only_server: bool

    @classmethod
    def of(cls, loaded: Loaded, server: Server) -> Place:
        """Return the place of *server*; nothing is read yet."""
        every = loaded.settings.servers
        own = next(each for each in every if each.server == server)
        folder = own.certificate_store
        return cls(
            server,
            folder,
            store_of(own, on_warning=_warn),
            loaded.settings,
            tuple(each.server for each in every if each.certificate_store == folder),
            len(every) == 1,
        )

    def invocation(self, common: Common, command: str) -> str:
        """Return *command* of this program as it can be typed here, for this server."""
        server = "" if self.is_only_server else f" --server {shlex.quote(self.server.name)}"
        return common.invocation(f"{command}{server}")

    async def named(self) -> Answer:
        """Return what the directory says of the server."""
        async with opened(self.settings) as directory:
            return await directory.internal_tls_certificate(self.server.name)

    async def held_and_named(self) -> tuple[list[StoreCertificate], str | None]:
        """Return the certificates of the store, and the thumbprint that the directory names."""
        self._load()
        answer = await self.named()
        return list(await self.store.all()), answer.thumbprint if isinstance(answer, Named) else None

    async def found(self, common: Common, thumbprint: str) -> StoreCertificate:
        """Return the certificate with this thumbprint; where there is none the command ends."""
        self._load()
        found = await self.store.find(thumbprint)
        if found is None:
            raise CommandError(
                f"{self.server.name}: the local computer store holds no certificate with thumbprint "
                f"{thumbprint}; `{common.invocation('certificate list')}` shows those it has",
                ExitCode.NOT_AS_IT_SHOULD_BE,
            )
        return found

    async def current(self) -> Current:
        """Return what the directory names, for a command that replaces it; DirectoryError where it cannot be read."""
        octets = None
        async with opened(self.settings) as directory:
            if isinstance(directory, FileDirectory):
                answer = await directory.internal_tls_certificate(self.server.name)
            else:
                octets = await directory.value(self.server.name)
                answer = Unset() if octets is None else decode(octets)
        if not isinstance(answer, Named):
            return Current(octets=octets)
        return Current(answer.thumbprint, await self.store.find(answer.thumbprint), octets)

    def _load(self) -> None:
        try:
            self.store.load()
        except StoreError as error:
            raise store_error(error) from error


def document(one: StoreCertificate, server: Server, *, internal_transport: bool) -> dict[str, object]:
    """Return the JSON object of a certificate in the store of *server*."""
    return stored_certificate_json(one, server.name, internal_transport=internal_transport)


def services_of(text: str) -> list[str]:
    """Return the services of ``SMTP,IIS``; ValueError says what would do."""
    return [known_service(name.strip()) for name in text.split(",") if name.strip()]


def _warn(text: str) -> None:
    diagnose(f"warning: {text}")
