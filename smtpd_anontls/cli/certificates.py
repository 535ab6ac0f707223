"""``certificate`` and ``transport-service``: the local computer store, and what the directory names."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from smtpd_anontls.certificates.issue import KeyType, issue
from smtpd_anontls.certificates.services import known_service
from smtpd_anontls.certificates.store import LocalComputerStore, StoreError
from smtpd_anontls.certificates.writing import enable, write_certificate
from smtpd_anontls.cli.common import (
    CommandError,
    Common,
    ExitCode,
    choose_server,
    common_options,
    store_error,
)
from smtpd_anontls.cli.output import diagnose, say, say_json, say_json_lines, table
from smtpd_anontls.directory.file import DirectoryError, FileDirectory
from smtpd_anontls.domain.certificate import normalized_thumbprint
from smtpd_anontls.domain.directory_value import Named
from smtpd_anontls.domain.instants import rfc3339_seconds
from smtpd_anontls.provisioning import DEFAULT_SERVICES, names_of
from smtpd_anontls.selection.outcome import certificate_json

if TYPE_CHECKING:
    from pathlib import Path

    from smtpd_anontls.domain.certificate import StoreCertificate
    from smtpd_anontls.domain.connectors import Server
    from smtpd_anontls.settings.values import Loaded

_SMTP = "SMTP"
_server_option = click.option(
    "--server", metavar="NAME", help="Which server; needed where there are several."
)


@dataclass(frozen=True, slots=True)
class _Place:
    """A server's store and the directory."""

    server: Server
    folder: Path
    store: LocalComputerStore
    directory: FileDirectory

    @classmethod
    def of(cls, loaded: Loaded, server: Server) -> _Place:
        settings = next(each for each in loaded.settings.servers if each.server == server)
        folder = settings.certificate_store
        return cls(
            server,
            folder,
            LocalComputerStore(folder, on_warning=_warn),
            FileDirectory(loaded.settings.directory.path, on_warning=_warn),
        )

    async def current(self) -> StoreCertificate | None:
        """Return the internal transport certificate that the directory names, where the store holds it."""
        answer = await self.directory.internal_tls_certificate(self.server.name)
        return await self.store.find(answer.thumbprint) if isinstance(answer, Named) else None


@click.group()
def certificate() -> None:
    """Work with the local computer store (Get-, New-, Enable-ExchangeCertificate)."""


@certificate.command("list")
@_server_option
@common_options
def list_certificates(common: Common, *, server: str | None) -> None:
    """List the certificates of one server's store, or of all."""
    loaded = common.load()
    servers = [choose_server(loaded, server)] if server else [each.server for each in loaded.settings.servers]
    now = datetime.now(UTC)
    documents, rows = [], []
    for owner in servers:
        place = _Place.of(loaded, owner)
        held, named = asyncio.run(_held_and_named(place))
        for one in sorted(held, key=lambda c: c.file):
            internal = named == one.certificate.thumbprint
            documents.append(_document(one, owner, internal_transport=internal))
            rows.append(_row(one, owner, now, internal_transport=internal))
    if common.as_json:
        say_json_lines(documents)
        return
    columns = (
        "Server",
        "Thumbprint",
        "Subject",
        "Valid from",
        "Valid to",
        "Services",
        "Private key",
        "Status",
        "File",
    )
    table(columns, rows, marks={"expired": "red", "no": "red"})


async def _held_and_named(place: _Place) -> tuple[list[StoreCertificate], str | None]:
    try:
        place.store.load()
    except StoreError as error:
        raise store_error(error) from error
    answer = await place.directory.internal_tls_certificate(place.server.name)
    return list(await place.store.all()), answer.thumbprint if isinstance(answer, Named) else None


def _document(one: StoreCertificate, server: Server, *, internal_transport: bool) -> dict[str, object]:
    return {
        **certificate_json(one.certificate),
        "server": server.name,
        "file": one.file,
        "private_key": one.key.name.lower(),
        "services": None if one.services is None else sorted(one.services),
        "internal_transport": internal_transport,
    }


def _row(
    one: StoreCertificate, server: Server, now: datetime, *, internal_transport: bool
) -> tuple[str, ...]:
    certificate = one.certificate
    status = (
        "expired"
        if certificate.is_expired(now)
        else "not yet valid"
        if certificate.is_not_yet_valid(now)
        else ""
    )
    internal = "internal transport" if internal_transport else ""
    services = "not listed: SMTP" if one.services is None else ", ".join(sorted(one.services)) or "none"
    return (
        server.name,
        certificate.thumbprint,
        certificate.subject,
        rfc3339_seconds(certificate.not_before)[:10],
        rfc3339_seconds(certificate.not_after)[:10],
        services,
        "yes" if one.key.name == "USABLE" else one.key.name.lower(),
        ", ".join(filter(None, (status, internal))) or "valid",
        one.file,
    )


@certificate.command("new")
@_server_option
@click.option("--key-type", type=click.Choice([k.value for k in KeyType]), default="rsa", show_default=True)
@common_options
def new(common: Common, *, server: str | None, key_type: str) -> None:
    """Make a self-signed certificate as New-ExchangeCertificate does by default.

    RSA 2048 (or P-256), five years, CN and SAN from the server's NetBIOS name and FQDN.
    """
    loaded = common.load()
    place = _Place.of(loaded, choose_server(loaded, server))
    try:
        issued = issue(names_of(place.server), now=datetime.now(UTC), key_type=KeyType(key_type))
        path = write_certificate(place.folder, place.server.name, issued, services=DEFAULT_SERVICES)
    except (StoreError, ValueError) as error:
        raise CommandError(str(error), ExitCode.UNREACHABLE) from error
    thumbprint = issued.certificate.thumbprint
    if common.as_json:
        say_json(certificate_json(issued.certificate))
        return
    say(
        f"Made {thumbprint} in {path.name}: {issued.certificate.subject}, {', '.join(names_of(place.server))}"
    )
    say("The directory does not name it yet. To make it the internal transport certificate:")
    say(f"  smtpd-anontls certificate enable {thumbprint} --services SMTP --server {place.server.name}")


@certificate.command("enable")
@click.argument("thumbprint")
@click.option(
    "--services", required=True, metavar="SMTP[,IIS…]", help="Services to enable; none is taken away."
)
@click.option("--force", is_flag=True, help="Replace the current default certificate without asking.")
@_server_option
@common_options
def enable_certificate(
    common: Common, *, thumbprint: str, services: str, force: bool, server: str | None
) -> None:
    """Enable a certificate for services; with SMTP, write it to the directory (Enable-ExchangeCertificate)."""
    loaded = common.load()
    place = _Place.of(loaded, choose_server(loaded, server))
    try:
        wanted = [known_service(name.strip()) for name in services.split(",") if name.strip()]
        plain = normalized_thumbprint(thumbprint)
    except ValueError as error:
        raise CommandError(str(error), ExitCode.BAD_USAGE) from error
    found, current = asyncio.run(_found_and_current(place, plain))
    if found is None:
        raise CommandError(
            f"{place.server.name}: the local computer store holds no certificate with thumbprint {plain}; "
            "`smtpd-anontls certificate list` shows those it has",
            ExitCode.NOT_AS_IT_SHOULD_BE,
        )
    replace = _SMTP in wanted and (force or current is None or current == found or _confirm(current, found))
    try:
        enabled = enable(place.folder, plain, wanted)
        if replace:
            place.directory.set_internal_tls_certificate(place.server.name, plain)
    except (StoreError, DirectoryError) as error:
        raise CommandError(str(error), ExitCode.UNREACHABLE) from error
    if common.as_json:
        say_json({"thumbprint": plain, "services": sorted(enabled), "directory_written": replace})
        return
    say(f"{plain} is enabled for {', '.join(sorted(enabled)) or 'no service'}.")
    if replace:
        say(f"msExchServerInternalTLSCert of {place.server.name} names it now; the next session presents it.")


async def _found_and_current(
    place: _Place, thumbprint: str
) -> tuple[StoreCertificate | None, StoreCertificate | None]:
    try:
        place.store.load()
    except StoreError as error:
        raise store_error(error) from error
    return await place.store.find(thumbprint), await place.current()


def _confirm(current: StoreCertificate, new: StoreCertificate) -> bool:
    """Ask what Enable-ExchangeCertificate asks; without a terminal the question cannot be put."""
    if not sys.stdin.isatty():
        raise CommandError(
            f"{current.certificate.thumbprint} is the current default SMTP certificate; "
            "say --force to replace it where nobody can be asked",
            ExitCode.BAD_USAGE,
        )
    diagnose("Overwrite the existing default SMTP certificate?")
    for label, one in (("Current certificate", current), ("Replace it with certificate", new)):
        expires = rfc3339_seconds(one.certificate.not_after)
        diagnose(f"  {label}: {one.certificate.thumbprint} (expires {expires})")
    return click.confirm("Replace it?", default=True, err=True)


def _warn(text: str) -> None:
    diagnose(f"warning: {text}")


@click.group("transport-service")
def transport_service() -> None:
    """Show what the directory says of the servers (Get-TransportService)."""


@transport_service.command("show")
@_server_option
@common_options
def show_transport_service(common: Common, *, server: str | None) -> None:
    """Show msExchServerInternalTLSCert of each server as it is found."""
    loaded = common.load()
    servers = [choose_server(loaded, server)] if server else [each.server for each in loaded.settings.servers]
    directory = FileDirectory(loaded.settings.directory.path)

    async def ask() -> list[dict[str, object]]:
        return [(await directory.show(owner.name)).as_json() for owner in servers]

    objects = asyncio.run(ask())
    if common.as_json:
        say_json(objects)
        return
    rows = [
        (
            str(each["server"]),
            str(each["dn"]),
            str(each["thumbprint"] or "-"),
            str(each["value_form"] or "-"),
            str(each["friendly_name"] or "-"),
            "readable" if each["readable"] and each["thumbprint"] else str(each["reason"] or "not set"),
        )
        for each in objects
    ]
    columns = ("Server", "Object", "InternalTransportCertificateThumbprint", "Form", "Friendly name", "State")
    table(columns, rows)
