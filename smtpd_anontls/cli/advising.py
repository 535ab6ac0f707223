"""``advise``: what is wrong with the servers of a configuration, and the command that mends each."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from smtpd_anontls.cli.common import Common, ExitCode, Instant, choose_server, common_options
from smtpd_anontls.cli.groups import Command
from smtpd_anontls.cli.output import say, say_json, say_verbatim
from smtpd_anontls.cli.selections import closing, surroundings_of
from smtpd_anontls.diagnosis.advise import Facts, advise
from smtpd_anontls.domain.endpoints import parse_address
from smtpd_anontls.domain.records import TlsVerb
from smtpd_anontls.selection.validity import Moment

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from smtpd_anontls.deciding import Surroundings
    from smtpd_anontls.diagnosis.advise import Finding
    from smtpd_anontls.domain.connectors import Server
    from smtpd_anontls.domain.endpoints import IPAddress


class _Address(click.ParamType["IPAddress"]):
    name = "ip"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> IPAddress:
        try:
            return parse_address(str(value))
        except ValueError:
            self.fail(f"{value!r} is not an IP address", param, ctx)


@click.command("advise", cls=Command, short_help="Say what is to be mended, and with which command.")
@click.option("--server", metavar="NAME", help="Only this server.")
@click.option(
    "--peer",
    "peers",
    type=_Address(),
    multiple=True,
    metavar="IP",
    help="Another Exchange server that connects here. May be repeated.",
)
@click.option("--at", "at", type=Instant(), metavar="TIME", help="As if it were this time: 2027-06-01.")
@common_options
def advise_command(
    common: Common, *, server: str | None, peers: Sequence[IPAddress], at: datetime | None
) -> None:
    """Say what is wrong with certificates and connectors, each with the Exchange command that mends it.

    Exit code 1 if there is anything.
    """
    # What breaks a rule between properties is among the findings, so nothing is said of it before.
    loaded = common.load(findings_told=False)
    servers = [each.server for each in loaded.settings.servers]
    if server is not None:
        servers = [choose_server(loaded, server)]
    surroundings = surroundings_of(loaded)
    moment = Moment(at or datetime.now(UTC))
    facts = asyncio.run(_gather(surroundings, servers, moment))
    findings = advise(facts, moment.now, peers=peers)
    if common.as_json:
        say_json({"ok": not findings, "findings": [each.as_json() for each in findings]})
    else:
        _show(findings)
    if findings:
        raise SystemExit(ExitCode.NOT_AS_IT_SHOULD_BE)


async def _gather(surroundings: Surroundings, servers: Iterable[Server], moment: Moment) -> list[Facts]:
    async with closing(surroundings):
        return [await facts_of(surroundings, each, moment) for each in servers]


async def facts_of(surroundings: Surroundings, server: Server, moment: Moment) -> Facts:
    """Return what the directory, the store and the selections say of *server*."""
    return Facts(
        server,
        await surroundings.directory.internal_tls_certificate(server.name),
        tuple(await surroundings.stores[server.name].all()),
        [
            (connector, await surroundings.select(connector, server, verb, moment))
            for connector in server.connectors
            if connector.enabled
            for verb in TlsVerb
        ],
    )


def _show(findings: Iterable[Finding]) -> None:
    last = None
    for each in findings:
        if each.server != last:
            if last is not None:
                say()
            say(each.server, style="bold")
            last = each.server
        where = f"{', '.join(each.connectors)}: " if each.connectors else ""
        say(f"{where}{each.detail}", style="yellow", label="  ")
        say_verbatim(f"    {each.command}")
    if last is None:
        say("Nothing to mend: the certificates and connectors are as the articles want them.", style="green")
