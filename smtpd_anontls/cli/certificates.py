"""``certificate`` and ``transport-service``: the local computer store, and what the directory names."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from smtpd_anontls.certificates.issue import KeyType, issue
from smtpd_anontls.certificates.store import StoreError
from smtpd_anontls.certificates.writing import enable, write_certificate
from smtpd_anontls.cli.certificate_changes import import_certificate, remove_certificate, renew_certificate
from smtpd_anontls.cli.common import (
    CommandError,
    Common,
    ExitCode,
    choose_server,
    common_options,
    program,
)
from smtpd_anontls.cli.groups import Command, CommandGroup, OneOf
from smtpd_anontls.cli.output import (
    NOTHING,
    Column,
    diagnose,
    say,
    say_json,
    say_json_lines,
    say_verbatim,
    table,
)
from smtpd_anontls.cli.stores import Place, document, server_option, services_of
from smtpd_anontls.directory.file import DirectoryError, FileDirectory
from smtpd_anontls.domain.certificate import KeyState, normalized_thumbprint
from smtpd_anontls.domain.instants import rfc3339_seconds
from smtpd_anontls.provisioning import DEFAULT_SERVICES, names_of
from smtpd_anontls.selection.outcome import certificate_json

if TYPE_CHECKING:
    from smtpd_anontls.domain.certificate import StoreCertificate
    from smtpd_anontls.domain.connectors import Server

_SMTP = "SMTP"


@click.group(cls=CommandGroup, short_help="The local computer store of each server.")
def certificate() -> None:
    """Work with the local computer store (Get-, New-, Import-, Enable-, Remove-ExchangeCertificate)."""


@click.command("list", cls=Command)
@server_option
@common_options
def list_certificates(common: Common, *, server: str | None) -> None:
    """List the certificates of one server's store, or of all."""
    loaded = common.load()
    servers = [choose_server(loaded, server)] if server else [each.server for each in loaded.settings.servers]
    now = datetime.now(UTC)
    documents, rows = [], []
    for owner in servers:
        place = Place.of(loaded, owner)
        held, named = asyncio.run(place.held_and_named())
        for one in sorted(held, key=lambda c: c.file):
            internal = named == one.certificate.thumbprint
            documents.append(document(one, owner, internal_transport=internal))
            rows.append(_row(one, owner, now, internal_transport=internal))
    if common.as_json:
        say_json_lines(documents)
        return
    columns = (
        Column("Server"),
        Column("Thumbprint"),
        Column("Subject", leaves=1),
        Column("Valid from", leaves=4),
        Column("Valid to"),
        Column("Services", leaves=2),
        Column("Private key", leaves=3),
        Column("Status", wraps=True),
        Column("File", leaves=5),
    )
    if rows:
        table(columns, rows, marks={"expired": "red", "none": "red", "valid": "green"})
    else:
        say(f"The store is empty. To make a certificate: {program()} certificate new")


def _row(
    one: StoreCertificate, server: Server, now: datetime, *, internal_transport: bool
) -> tuple[str, ...]:
    certificate = one.certificate
    status = []
    if certificate.is_expired(now):
        status.append("expired")
    if certificate.is_not_yet_valid(now):
        status.append("not yet valid")
    if one.key is not KeyState.USABLE:
        status.append(one.key.value)
    if internal_transport:
        status.append("internal transport")
    services = "not listed: SMTP" if one.services is None else ", ".join(sorted(one.services)) or "none"
    return (
        server.name,
        certificate.thumbprint,
        certificate.subject,
        rfc3339_seconds(certificate.not_before)[:10],
        rfc3339_seconds(certificate.not_after)[:10],
        services,
        "yes" if one.key is KeyState.USABLE else one.key.name.lower(),
        ", ".join(status) or "valid",
        one.file,
    )


@click.command("new", cls=Command, short_help="Make a self-signed certificate, as Exchange does by default.")
@server_option
@click.option(
    "--key-type", type=OneOf(*KeyType), default="rsa", show_default=True, help="RSA 2048, or EC P-256."
)
@common_options
def new(common: Common, *, server: str | None, key_type: str) -> None:
    """Make a self-signed certificate as New-ExchangeCertificate does by default.

    RSA 2048 (or P-256), five years, CN and SAN from the server's NetBIOS name and FQDN.
    """
    loaded = common.load()
    place = Place.of(loaded, choose_server(loaded, server))
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
    say_verbatim(f"  {place.invocation(common, f'certificate enable {thumbprint} --services SMTP')}")


@click.command("enable", cls=Command)
@click.argument("thumbprint")
@click.option(
    "--services", required=True, metavar="SMTP[,IIS…]", help="Services to enable; none is taken away."
)
@click.option("--force", is_flag=True, help="Replace the current default certificate without asking.")
@server_option
@common_options
def enable_certificate(
    common: Common, *, thumbprint: str, services: str, force: bool, server: str | None
) -> None:
    """Enable a certificate for services; with SMTP, write it to the directory (Enable-ExchangeCertificate)."""
    loaded = common.load()
    place = Place.of(loaded, choose_server(loaded, server))
    try:
        wanted = services_of(services)
        plain = normalized_thumbprint(thumbprint)
    except ValueError as error:
        raise CommandError(str(error), ExitCode.BAD_USAGE) from error
    found, current = asyncio.run(place.found_and_current(common, plain))
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
    elif _SMTP in wanted and current is not None:
        kept = current.certificate.thumbprint
        say(f"msExchServerInternalTLSCert of {place.server.name} names {kept}, as before.")


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


for _command in (
    list_certificates,
    new,
    import_certificate,
    renew_certificate,
    enable_certificate,
    remove_certificate,
):
    certificate.add_command(_command)


@click.group("transport-service", cls=CommandGroup, short_help="What the directory says of each server.")
def transport_service() -> None:
    """Show what the directory says of the servers (Get-TransportService)."""


@transport_service.command("show", cls=Command)
@server_option
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
            str(each["thumbprint"] or NOTHING),
            str(each["reason"] or ("readable" if each["thumbprint"] else "not set")),
            str(each["value_form"] or NOTHING),
            str(each["friendly_name"] or NOTHING),
            str(each["dn"]),
        )
        for each in objects
    ]
    columns = (
        Column("Server"),
        Column("InternalTransportCertificateThumbprint"),
        Column("State", wraps=True),
        Column("Form", leaves=1),
        Column("Friendly name", leaves=2),
        Column("Object", leaves=3),
    )
    table(columns, rows)
