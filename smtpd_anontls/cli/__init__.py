"""The command line: ``smtpd-anontls``.  See ``smtpd-anontls --help``."""

from __future__ import annotations

import contextlib
import sys

import click

from smtpd_anontls.cli.certificates import certificate, transport_service
from smtpd_anontls.cli.connectors import connector
from smtpd_anontls.cli.following import event, message, session
from smtpd_anontls.cli.groups import CommandGroup
from smtpd_anontls.cli.network import probe_command, tunnel_command
from smtpd_anontls.cli.selections import check, explain
from smtpd_anontls.cli.serve import serve

__all__ = ["main"]


@click.group(
    cls=CommandGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Exit codes: 0 fine; 1 the thing asked about is not as it should be; 2 bad usage or "
    "configuration; 3 something could not be reached.",
)
@click.version_option(package_name="smtpd-anontls", prog_name="smtpd-anontls")
def main() -> None:
    """Receive mail as a Microsoft Exchange Receive connector would, and explain what happened."""
    for stream in (sys.stdout, sys.stderr):
        # A character that the terminal does not know is shown as an escape, never a reason to fail.
        with contextlib.suppress(AttributeError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


main.add_under("Receive", (serve, check, explain))
main.add_under("Look at what happened", (session, message, event))
main.add_under("Manage", (connector, certificate, transport_service))
main.add_under("Meet any SMTP server", (probe_command, tunnel_command))
