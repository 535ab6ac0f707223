"""The command line: ``smtpd-anontls``.  See ``smtpd-anontls --help``."""

from __future__ import annotations

import click

from smtpd_anontls.cli.certificates import certificate, transport_service
from smtpd_anontls.cli.connectors import connector
from smtpd_anontls.cli.history import event, message, session
from smtpd_anontls.cli.network import probe_command, tunnel_command
from smtpd_anontls.cli.selections import check, explain
from smtpd_anontls.cli.serve import serve

__all__ = ["main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="smtpd-anontls", prog_name="smtpd-anontls")
def main() -> None:
    """Receive mail as a Microsoft Exchange Receive connector would, and explain what happened."""


for _command in (
    serve,
    check,
    explain,
    probe_command,
    tunnel_command,
    certificate,
    transport_service,
    connector,
    session,
    message,
    event,
):
    main.add_command(_command)
