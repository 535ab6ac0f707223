"""``connector``: lists, shows and edits Receive connectors in the YAML (Get-, Set-ReceiveConnector)."""

from __future__ import annotations

from dataclasses import fields
from enum import Enum
from typing import TYPE_CHECKING, Any

import click

from smtpd_anontls.cli.common import CommandError, Common, ExitCode, choose_connectors, common_options
from smtpd_anontls.cli.output import diagnose, say, say_json, say_json_lines, table
from smtpd_anontls.domain.connectors import ReceiveConnector
from smtpd_anontls.domain.flags import ExchangeFlag
from smtpd_anontls.settings.edit import set_connector_properties
from smtpd_anontls.settings.load import ConfigError, editable_config

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpd_anontls.domain.connectors import Server

_server_option = click.option("--server", metavar="NAME", help="Only on this server.")
_NAME = "name"


@click.group()
def connector() -> None:
    """Work with Receive connectors."""


@connector.command("list")
@_server_option
@common_options
def list_connectors(common: Common, *, server: str | None) -> None:
    """List the Receive connectors."""
    chosen = choose_connectors(common.load(), server, None)
    if common.as_json:
        say_json_lines(_document(owner, each) for owner, each in chosen)
        return
    rows = [
        (
            owner.name,
            each.name,
            ", ".join(map(str, each.bindings)) or "-",
            ", ".join(map(str, each.remote_ip_ranges)),
            str(each.auth_mechanism),
            each.transport_role.value,
            "yes" if each.enabled else "no",
        )
        for owner, each in chosen
    ]
    columns = ("Server", "Name", "Bindings", "RemoteIPRanges", "AuthMechanism", "TransportRole", "Enabled")
    table(columns, rows, marks={"no": "yellow"})


@connector.command("show")
@click.argument("name")
@_server_option
@common_options
def show_connector(common: Common, *, name: str, server: str | None) -> None:
    """Show every property of a connector, with what Exchange calls it."""
    chosen = choose_connectors(common.load(), server, name)
    if common.as_json:
        say_json_lines(_document(owner, each) for owner, each in chosen)
        return
    for owner, each in chosen:
        say(f"{owner.name}: {each.name}", style="bold")
        table(("Property", "Value"), [(key, _shown(value)) for key, value in _document(owner, each).items()])
        say()


def _document(owner: Server, each: ReceiveConnector) -> dict[str, Any]:
    own = {field.name: _plain(getattr(each, field.name)) for field in fields(each)}
    return {"server": owner.name, **own}


def _plain(value: object) -> object:
    if isinstance(value, ExchangeFlag):
        return value.names
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple):
        return [str(item) for item in value]
    return value


def _shown(value: object) -> str:
    match value:
        case list():
            return ", ".join(map(str, value)) or "None"
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case _:
            return str(value)


def _property_options(command: Callable[..., None]) -> Callable[..., None]:
    for field in reversed(fields(ReceiveConnector)):
        if field.name == _NAME:
            continue
        command = click.option(
            f"--{field.name.replace('_', '-')}",
            field.name,
            metavar="VALUE",
            help=str(field.metadata["doc"]),
        )(command)
    return command


@connector.command("set")
@click.argument("name")
@_server_option
@_property_options
@common_options
def set_connector(common: Common, *, name: str, server: str | None, **properties: str | None) -> None:
    """Change properties of a connector in the YAML file, keeping its comments.

    Lists are written with commas: --auth-mechanism Tls,ExchangeServer.  A running receiver takes
    the change over with its next session.
    """
    changes = {key: text for key, text in properties.items() if text is not None}
    if not changes:
        raise CommandError("nothing to set: name a property, such as --auth-mechanism", ExitCode.BAD_USAGE)
    try:
        edit = set_connector_properties(editable_config(common.config), server, name, changes)
    except ConfigError as error:
        raise CommandError("\n".join(error.lines), ExitCode.BAD_USAGE) from error
    for warning in edit.loaded.warnings:
        diagnose(f"warning: {warning}")
    if common.as_json:
        done = [{"property": each.name, "before": each.before, "after": each.after} for each in edit.changes]
        say_json({"server": edit.server, "connector": edit.connector, "changes": done})
        return
    for each in edit.changes:
        say(
            f"{edit.server}: {edit.connector}: {each.name}: {each.before or 'not in the file'} -> {each.after}"
        )
