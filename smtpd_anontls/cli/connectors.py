"""``connector``: lists, shows and edits Receive connectors in the YAML (Get-, Set-ReceiveConnector)."""

from __future__ import annotations

from dataclasses import fields
from enum import Enum
from typing import TYPE_CHECKING, Any, get_origin, get_type_hints

import click

from smtpd_anontls.cli.common import CommandError, Common, ExitCode, choose_connectors, common_options
from smtpd_anontls.cli.groups import Command, CommandGroup, Option
from smtpd_anontls.cli.output import (
    NOTHING,
    Column,
    diagnose,
    say,
    say_facts,
    say_json,
    say_json_lines,
    table,
)
from smtpd_anontls.domain.connectors import Bytes, Limit, ReceiveConnector, Seconds, connector_json
from smtpd_anontls.domain.flags import ExchangeFlag
from smtpd_anontls.settings.edit import set_connector_properties
from smtpd_anontls.settings.load import ConfigError, editable_config

if TYPE_CHECKING:
    from collections.abc import Callable


_server_option = click.option("--server", metavar="NAME", help="Only on this server.")
_NAME = "name"
_KINDS = get_type_hints(ReceiveConnector)

# Where a property stands in the help; one that is missing here fails at once.
_HEADINGS = {
    "TLS and authentication": (
        "auth_mechanism",
        "permission_groups",
        "tls_certificate_name",
        "suppress_x_anonymous_tls",
        "starttls_certificate",
        "require_tls",
        "request_client_certificate",
        "domain_secure_enabled",
        "enable_auth_gssapi",
        "extended_protection_policy",
    ),
    "Which sessions it takes": (
        "enabled",
        "transport_role",
        "bindings",
        "remote_ip_ranges",
        "proxy_protocol",
        "trusted_proxies",
    ),
    "What it says": (
        "fqdn",
        "banner",
        "comment",
        "protocol_logging_level",
        "require_ehlo_domain",
        "size_enabled",
        "pipelining_enabled",
        "enhanced_status_codes_enabled",
        "eight_bit_mime_enabled",
        "delivery_status_notification_enabled",
        "chunking_enabled",
        "binary_mime_enabled",
        "smtp_utf8_enabled",
    ),
    "Messages": (
        "max_message_size",
        "max_header_size",
        "max_recipients_per_message",
        "max_hop_count",
        "max_local_hop_count",
        "bare_linefeed_rejection_enabled",
        "long_addresses_enabled",
        "orar_enabled",
        "unknown_mail_parameters",
    ),
    "Limits of sessions": (
        "max_protocol_errors",
        "max_logon_failures",
        "max_inbound_connection",
        "max_inbound_connection_per_source",
        "max_inbound_connection_percentage_per_source",
        "message_rate_limit",
        "message_rate_source",
        "connection_timeout",
        "connection_inactivity_timeout",
        "tarpit_interval",
        "auth_tarpit_interval",
    ),
}
_HEADING_OF = {name: heading for heading, names in _HEADINGS.items() for name in names}


@click.group(cls=CommandGroup, short_help="Receive connectors in the configuration.")
def connector() -> None:
    """Work with the Receive connectors of the configuration (Get-, Set-ReceiveConnector)."""


@connector.command("list", cls=Command)
@_server_option
@common_options
def list_connectors(common: Common, *, server: str | None) -> None:
    """List the Receive connectors."""
    chosen = choose_connectors(common.load(), server, None)
    if common.as_json:
        say_json_lines(connector_json(owner.name, each) for owner, each in chosen)
        return
    rows = [
        (
            owner.name,
            each.name,
            ", ".join(map(str, each.bindings)) or NOTHING,
            ", ".join(map(str, each.remote_ip_ranges)),
            str(each.auth_mechanism),
            each.transport_role.value,
            "yes" if each.enabled else "no",
        )
        for owner, each in chosen
    ]
    columns = (
        Column("Server"),
        Column("Name"),
        Column("Bindings", wraps=True),
        Column("RemoteIPRanges", leaves=3),
        Column("AuthMechanism", wraps=True),
        Column("TransportRole", leaves=2),
        Column("Enabled", leaves=1),
    )
    table(columns, rows, marks={"no": "yellow"})


@connector.command("show", cls=Command)
@click.argument("name")
@_server_option
@common_options
def show_connector(common: Common, *, name: str, server: str | None) -> None:
    """Show every property of a connector, with what Exchange calls it."""
    chosen = choose_connectors(common.load(), server, name)
    if common.as_json:
        say_json_lines(connector_json(owner.name, each) for owner, each in chosen)
        return
    for number, (owner, each) in enumerate(chosen):
        if number:
            say()
        say(f"{owner.name}: {each.name}", style="bold")
        properties = {key: _shown(value) for key, value in connector_json(owner.name, each).items()}
        say_facts(properties.items(), indent="  ")


def _shown(value: object) -> str:
    match value:
        case list():
            return ", ".join(map(str, value)) or "None"
        case None:
            return "null"
        case "":
            return '""'
        case bool():
            return str(value).lower()
        case _:
            return str(value)


def _metavar(kind: Any) -> str:
    """Return how a value of *kind* is written."""
    if kind is bool:
        return "true|false"
    if isinstance(kind, type) and issubclass(kind, ExchangeFlag):
        return "WORD,..."
    if get_origin(kind) is tuple:
        return "VALUE,..."
    if isinstance(kind, type) and issubclass(kind, Enum):
        return "|".join(str(member.value) for member in kind)
    return {Bytes: "SIZE", Seconds: "TIME", int: "N", Limit: "N|unlimited"}.get(kind, "TEXT")


def _property_options(command: Callable[..., None]) -> Callable[..., None]:
    properties = {each.name: each for each in fields(ReceiveConnector) if each.name != _NAME}
    # The last option that decorates a command comes first in its help.
    for name in sorted(properties, key=_place_in_help, reverse=True):
        command = click.option(
            f"--{name.replace('_', '-')}",
            name,
            metavar=_metavar(_KINDS[name]),
            help=str(properties[name].metadata["doc"]),
            cls=Option,
            heading=_HEADING_OF[name],
        )(command)
    return command


def _typed(name: str, text: str) -> object:
    """Return *text*, or the number where it is one that Exchange has for a set of options."""
    kind = _KINDS[name]
    is_flag = isinstance(kind, type) and issubclass(kind, ExchangeFlag)
    return int(text) if is_flag and text.isascii() and text.isdigit() else text


def _place_in_help(name: str) -> int:
    return list(_HEADING_OF).index(name)


@connector.command("set", cls=Command)
@click.argument("name")
@_server_option
@_property_options
@common_options
def set_connector(common: Common, *, name: str, server: str | None, **properties: str | None) -> None:
    """Change properties of a connector in the YAML file, keeping its comments.

    Lists are written with commas: --auth-mechanism Tls,ExchangeServer.  A running receiver takes
    the change over with its next session.
    """
    changes = {key: _typed(key, text) for key, text in properties.items() if text is not None}
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
