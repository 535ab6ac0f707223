"""``certificate``: the local computer store of each server."""

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
    store_error,
)
from smtpd_anontls.cli.directories import (
    directory_error,
    is_active_directory,
    name_certificate,
)
from smtpd_anontls.cli.groups import Command, CommandGroup, OneOf
from smtpd_anontls.cli.output import (
    Column,
    diagnose,
    say,
    say_json,
    say_json_lines,
    say_verbatim,
    table,
)
from smtpd_anontls.cli.stores import Current, Place, document, server_option, services_of
from smtpd_anontls.directory.file import ATTRIBUTE, DirectoryError
from smtpd_anontls.domain.certificate import KeyState, normalized_thumbprint
from smtpd_anontls.domain.instants import rfc3339_seconds
from smtpd_anontls.provisioning import DEFAULT_SERVICES, names_of
from smtpd_anontls.selection.outcome import certificate_json

if TYPE_CHECKING:
    from smtpd_anontls.cli.directories import Saved
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
    settings, name = loaded.settings, place.server.name
    found = asyncio.run(place.found(common, plain))
    current, replace, saved = Current(), False, None
    try:
        if _SMTP in wanted:
            current = asyncio.run(place.current())
            replace = force or _may_replace(current, found)
        enabled = enable(place.folder, plain, wanted)
        if replace:
            naming = name_certificate(settings, name, found.certificate, before=current.octets)
            saved = asyncio.run(naming)
    except StoreError as error:
        raise store_error(error) from error
    except DirectoryError as error:
        raise directory_error(error) from error
    if common.as_json:
        shown = {"thumbprint": plain, "services": sorted(enabled), "directory_written": replace}
        say_json(shown | _backup_json(saved) if is_active_directory(settings) else shown)
        return
    say(f"{plain} is enabled for {', '.join(sorted(enabled)) or 'no service'}.")
    if replace:
        where = name if saved is None else saved.dn
        say(f"{ATTRIBUTE} of {where} names it now; the next session presents it.")
    elif current.thumbprint is not None:
        say(f"{ATTRIBUTE} of {name} names {current.thumbprint}, as before.")
    if saved is not None:
        saved.say_how_to_restore(common)


def _backup_json(saved: Saved | None) -> dict[str, object]:
    """Return what is known of a write to Active Directory, which does not happen where the value is right already."""
    return {
        "directory_written": saved is not None,
        "backup": None if saved is None else str(saved.backup),
    }


def _may_replace(current: Current, new: StoreCertificate) -> bool:
    """Whether the directory may name *new*: it names nothing, or that already, or somebody says so."""
    if current.certificate == new or (current.certificate is None and current.octets is None):
        return True
    thumbprint = current.thumbprint or "what is not understood"
    remark = "not in this store" if current.certificate is None else _expires(current.certificate)
    # What Enable-ExchangeCertificate asks; without a terminal the question cannot be put.
    if not sys.stdin.isatty():
        raise CommandError(
            f"{thumbprint} is the current default SMTP certificate; "
            "say --force to replace it where nobody can be asked",
            ExitCode.BAD_USAGE,
        )
    diagnose("Overwrite the existing default SMTP certificate?")
    diagnose(f"  Current certificate: {thumbprint} ({remark})")
    diagnose(f"  Replace it with certificate: {new.certificate.thumbprint} ({_expires(new)})")
    return click.confirm("Replace it?", default=True, err=True)


def _expires(one: StoreCertificate) -> str:
    return f"expires {rfc3339_seconds(one.certificate.not_after)}"


for _command in (
    list_certificates,
    new,
    import_certificate,
    renew_certificate,
    enable_certificate,
    remove_certificate,
):
    certificate.add_command(_command)
