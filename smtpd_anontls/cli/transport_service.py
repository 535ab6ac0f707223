"""``transport-service``: what the directory says of each server, and putting back what it said before."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from smtpd_anontls.cli.common import CommandError, Common, ExitCode, choose_server, common_options
from smtpd_anontls.cli.directories import Saved, directory_error, object_of, opened, replace_value
from smtpd_anontls.cli.groups import Command, CommandGroup
from smtpd_anontls.cli.output import NOTHING, Column, say, say_json, table
from smtpd_anontls.cli.stores import server_option
from smtpd_anontls.directory.backup import Backup, BackupError
from smtpd_anontls.directory.file import ATTRIBUTE, DirectoryError, FileDirectory
from smtpd_anontls.domain.instants import rfc3339_seconds

if TYPE_CHECKING:
    from smtpd_anontls.directory.server_object import ServerObject
    from smtpd_anontls.settings.values import Settings


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

    async def ask() -> list[ServerObject]:
        async with opened(loaded.settings) as directory:
            shown = await asyncio.gather(*(directory.show(owner.name) for owner in servers))
            return list(shown)

    objects = asyncio.run(ask())
    if common.as_json:
        say_json([each.as_json() for each in objects])
        return
    rows = [
        (
            each.server,
            each.thumbprint or NOTHING,
            _state(each),
            each.value_form or NOTHING,
            each.friendly_name or NOTHING,
            each.dn,
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


def _state(shown: ServerObject) -> str:
    if not shown.readable:
        return shown.reason or NOTHING
    if shown.thumbprint is not None:
        return "readable"
    return "not set" if shown.reason is None else f"not set; {shown.reason}"


@transport_service.command(
    "restore", cls=Command, short_help="Put back what Active Directory held before a write."
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--force", is_flag=True, help="Put it back even where somebody else has changed the value since."
)
@common_options
def restore(common: Common, *, file: Path, force: bool) -> None:
    """Put back what Active Directory held before a command wrote to it.

    FILE is what that command saved.  The value is put back only where what the command wrote is
    still there; what is replaced is saved in its turn.
    """
    loaded = common.load()
    try:
        backup = Backup.read(file)
    except BackupError as error:
        raise CommandError(str(error), ExitCode.BAD_USAGE) from error
    names = {each.server.name.casefold(): each.server.name for each in loaded.settings.servers}
    if backup.server.casefold() not in names:
        raise CommandError(
            f"{file}: is of the server {backup.server!r}, and the configuration has {', '.join(names.values())}",
            ExitCode.BAD_USAGE,
        )
    server = names[backup.server.casefold()]
    try:
        saved = asyncio.run(_put_back(loaded.settings, server, backup, force=force))
    except DirectoryError as error:
        raise directory_error(error) from error
    if common.as_json:
        written = {"server": server, "dn": saved.dn, "restored": str(file), "backup": str(saved.backup)}
        say_json(written)
        return
    what = "is not set again" if backup.old is None else "holds again what it held"
    say(f"{ATTRIBUTE} of {saved.dn} {what} before {rfc3339_seconds(backup.time)}.")
    saved.say_how_to_restore(common)


async def _put_back(settings: Settings, server: str, backup: Backup, *, force: bool) -> Saved:
    async with opened(settings) as directory:
        if isinstance(directory, FileDirectory):
            raise CommandError(
                f"{settings.text_name}: directory.type is file; only what was written to ldap is restored, "
                "the embedded directory is a file to edit",
                ExitCode.BAD_USAGE,
            )
        dn = await object_of(directory, server)
        if dn.casefold() != backup.dn.casefold():
            raise CommandError(
                f"the backup is of {backup.dn}, and the object of {server} here is {dn}; nothing was written",
                ExitCode.NOT_AS_IT_SHOULD_BE,
            )
        expected = await directory.value(server) if force else backup.written
        return await replace_value(directory, settings, server, backup.old, expected=expected)
