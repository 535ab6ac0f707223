"""The command line: ``smtpd-anontls``.  See ``smtpd-anontls --help``."""

from __future__ import annotations

import contextlib
import sys

import click

from smtpd_anontls.cli.groups import CommandGroup

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


main.add_under(
    "Receive",
    {
        "serve": "smtpd_anontls.cli.serve:serve",
        "check": "smtpd_anontls.cli.selections:check",
        "explain": "smtpd_anontls.cli.selections:explain",
    },
)
main.add_under(
    "Look at what happened",
    {
        "session": "smtpd_anontls.cli.following:session",
        "message": "smtpd_anontls.cli.following:message",
        "event": "smtpd_anontls.cli.following:event",
    },
)
main.add_under(
    "Manage",
    {
        "connector": "smtpd_anontls.cli.connectors:connector",
        "certificate": "smtpd_anontls.cli.certificates:certificate",
        "transport-service": "smtpd_anontls.cli.transport_service:transport_service",
        "credential": "smtpd_anontls.cli.credentials:credential",
    },
)
main.add_under(
    "Diagnose a real Exchange server",
    {
        "import": "smtpd_anontls.cli.imports:import_export",
        "advise": "smtpd_anontls.cli.advising:advise_command",
        "compare": "smtpd_anontls.cli.comparing:compare_command",
    },
)
main.add_under(
    "Meet any SMTP server",
    {
        "probe": "smtpd_anontls.cli.network:probe_command",
        "tunnel": "smtpd_anontls.cli.network:tunnel_command",
    },
)
