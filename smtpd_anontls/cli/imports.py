"""``import``: a real server's ``Export-Clixml`` dumps become a configuration that the other commands take."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from smtpd_anontls.cli.common import CommandError, Common, ExitCode, common_options, program
from smtpd_anontls.cli.groups import Command, WholeNumber
from smtpd_anontls.cli.output import NOTHING, Column, diagnose, say, say_facts, say_json, say_verbatim, table
from smtpd_anontls.domain.directory_value import Named
from smtpd_anontls.domain.instants import rfc3339_seconds
from smtpd_anontls.exchange_export.export import ExportError, read_export
from smtpd_anontls.importing import ImportFailedError, write_import
from smtpd_anontls.selection.outcome import certificate_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from smtpd_anontls.exchange_export.certificates import ReadCertificate
    from smtpd_anontls.exchange_export.export import ServerExport
    from smtpd_anontls.exchange_export.findings import Dropped
    from smtpd_anontls.importing import Imported

_HIGHEST_OFFSET = 65534


@click.command(
    "import", cls=Command, short_help="Turn a real server's Export-Clixml dumps into a configuration."
)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder to write: a new one, or an empty one.",
)
@click.option("--server", metavar="NAME", help="Which server, where the dumps hold several.")
@click.option(
    "--port-offset",
    type=WholeNumber(0, _HIGHEST_OFFSET),
    default=0,
    metavar="N",
    help="Add N to each port, so that `serve` needs no right to ports below 1024.",
)
@common_options
def import_export(
    common: Common, *, folder: Path, output: Path, server: str | None, port_offset: int
) -> None:
    """Read the Export-Clixml dumps in DIR and write a configuration, a store of public certificates, and the directory.

    The dumps are known by what is in them: Get-ReceiveConnector and Get-ExchangeCertificate are needed,
    Get-TransportService, Get-ExchangeServer and the certificate of msExchServerInternalTLSCert (X509Certificate2)
    say more, .cer files are certificates of the store.
    """
    try:
        export = read_export(folder, server)
        # Not resolve(): a symbolic link in the middle is the administrator's own affair.
        place = Path(os.path.abspath(output))  # noqa: PTH100 - see above
        imported = write_import(export, place, port_offset=port_offset)
    except (ExportError, ImportFailedError) as error:
        raise CommandError("\n".join(error.lines), ExitCode.BAD_USAGE) from error
    if common.as_json:
        say_json(_document(export, imported))
        return
    _show(export, imported, output)


def _document(export: ServerExport, imported: Imported) -> dict[str, Any]:
    internal = export.internal
    return {
        "config": str(imported.config),
        "server": export.name,
        "fqdn": export.fqdn,
        "fqdn_from": export.fqdn_from,
        "role": export.role.value,
        "connectors": [connector.name for connector in export.connectors],
        "certificates": [_certificate(each, imported) for each in export.certificates],
        "internal_transport": {
            "told": internal.is_told,
            "thumbprint": internal.answer.thumbprint if isinstance(internal.answer, Named) else None,
            "powershell": [] if internal.is_told else list(_powershell(export.name)),
        },
        "taken": [
            {"kind": t.kind, "owner": t.owner, "property": t.name, "value": t.value, "key": t.key}
            for t in export.taken
        ],
        "dropped": [
            {"kind": d.kind, "owner": d.owner, "property": d.name, "value": d.value, "reason": d.reason}
            for d in export.dropped
        ],
        "passed_over": [{"file": file, "reason": reason} for file, reason in export.passed_over],
        "findings": [finding.line for finding in imported.loaded.findings],
    }


def _certificate(each: ReadCertificate, imported: Imported) -> dict[str, Any]:
    return {
        **certificate_json(each.certificate),
        "file": imported.files[each.certificate.thumbprint],
        "services": None if each.services is None else sorted(each.services),
        "private_key": each.exported.private_key.value,
        "status": each.exported.status,
    }


def _show(export: ServerExport, imported: Imported, output: Path) -> None:
    say(f"Imported {export.name} into {output}.", style="bold")
    say_facts(
        [
            ("FQDN", f"{export.fqdn} ({export.fqdn_from})"),
            ("Role", export.role.value),
            ("Connectors", ", ".join(connector.name for connector in export.connectors)),
        ],
        indent="  ",
    )
    say()
    _show_certificates(export)
    say()
    _show_internal(export)
    say()
    say("What was not taken:", style="bold")
    columns = (Column("Of"), Column("Property", wraps=True), Column("Why", wraps=True))
    table(columns, list(_rows(export)))
    for finding in imported.loaded.findings:
        diagnose(f"finding: {finding.line}")
    say()
    say("Ask it:", style="bold")
    config = shlex.quote(str(output / imported.config.name))
    for command in ("check", "explain", "explain --remote-ip 192.0.2.1", "serve --stand-in-keys"):
        say_verbatim(f"  {program()} {command} --config {config}")


def _show_certificates(export: ServerExport) -> None:
    columns = (
        Column("Thumbprint"),
        Column("Subject", wraps=True),
        Column("Valid to", leaves=3),
        Column("Services", leaves=2),
        Column("Private key", leaves=4),
        Column("Status", leaves=5),
    )
    rows = [
        (
            each.certificate.thumbprint,
            each.certificate.subject,
            rfc3339_seconds(each.certificate.not_after)[:10],
            "not told" if each.services is None else ", ".join(sorted(each.services)) or "none",
            each.exported.private_key.value,
            each.exported.status or NOTHING,
        )
        for each in export.certificates
    ]
    table(columns, rows)


def _show_internal(export: ServerExport) -> None:
    internal = export.internal
    if isinstance(internal.answer, Named):
        say(f"{internal.answer.thumbprint} ({internal.source})", label="Internal transport certificate: ")
        return
    if internal.is_told:
        say(f"not set ({internal.source})", label="Internal transport certificate: ", style="yellow")
        return
    say(
        "no dump tells it, so the directory counts as unreadable. On the server, one of these says it:",
        label="Internal transport certificate: ",
        style="yellow",
    )
    for line in _powershell(export.name):
        say_verbatim(f"  {line}")


def _powershell(server: str) -> Iterator[str]:
    """Yield the two ways to have the attribute told; the second has the certificate itself."""
    yield f"Get-TransportService {server} | Export-Clixml transport-service.xml"
    yield (
        f'$object = [ADSI]("LDAP://" + (Get-ExchangeServer {server}).DistinguishedName); '
        "[System.Security.Cryptography.X509Certificates.X509Certificate2]::new("
        "[byte[]]$object.msExchServerInternalTLSCert.Value) | Export-Clixml internal-transport.xml"
    )


def _rows(export: ServerExport) -> Iterator[Sequence[str]]:
    """Yield a row for each reason: whose properties, which of them, and why; files that were passed over, too."""
    reasons: dict[tuple[str, str], list[Dropped]] = {}
    # What says something comes first.
    for each in sorted(export.dropped, key=lambda dropped: not dropped.matters):
        reasons.setdefault((each.kind, each.reason), []).append(each)
    for (kind, reason), dropped in reasons.items():
        yield kind, ", ".join(_named(dropped, export)), reason
    for file, reason in export.passed_over:
        yield "file", file, reason


def _named(dropped: Iterable[Dropped], export: ServerExport) -> Iterator[str]:
    """Yield each property once, with its value where that says something, and whose it is where not everybody's."""
    by_value: dict[tuple[str, str], list[str]] = {}
    for each in dropped:
        by_value.setdefault((each.name, each.value if each.matters else ""), []).append(each.owner)
    said = {name for name, value in by_value if value}
    for (name, value), owners in by_value.items():
        whose = "" if len(owners) == len(export.connectors) else f" ({', '.join(owners)})"
        if value:
            yield f"{name} = {value}{whose}"
        elif name not in said:
            yield name if not name.startswith("(") else f"{', '.join(owners)}"
