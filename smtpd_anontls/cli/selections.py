"""``check`` and ``explain``: the selections, run offline; neither writes an event."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from smtpd_anontls.certificates.store import StoreError
from smtpd_anontls.cli.common import (
    CommandError,
    Common,
    ExitCode,
    Instant,
    choose_connectors,
    common_options,
    store_error,
)
from smtpd_anontls.cli.output import diagnose, say, say_json, table
from smtpd_anontls.deciding import Surroundings, select_at_start
from smtpd_anontls.domain.endpoints import Binding, parse_address
from smtpd_anontls.domain.events import CATALOGUE
from smtpd_anontls.domain.instants import rfc3339_seconds
from smtpd_anontls.domain.matching import Bound, NotTaken, match
from smtpd_anontls.domain.records import TlsVerb
from smtpd_anontls.selection.readiness import problem
from smtpd_anontls.selection.validity import Moment

if TYPE_CHECKING:
    from smtpd_anontls.domain.connectors import ReceiveConnector, Server
    from smtpd_anontls.selection.outcome import Selection
    from smtpd_anontls.settings.values import Loaded


@click.command()
@common_options
def check(common: Common) -> None:
    """Validate the configuration and run the selections as at service start.

    Exit code 1 if a connector could not do what its AuthMechanism asks.
    """
    loaded = common.load(findings_stop=True)
    surroundings = surroundings_of(loaded)
    servers = [each.server for each in loaded.settings.servers]
    now = datetime.now(UTC)
    selections, events = asyncio.run(select_at_start(surroundings, servers, Moment(now, at_start=True)))
    problems = [
        why for connector, selection in selections if (why := problem(selection, connector)) is not None
    ]
    if common.as_json:
        say_json(
            {
                "ok": not problems,
                "selections": [selection.as_json() for _, selection in selections],
                "problems": problems,
            },
        )
    else:
        selection_table([selection for _, selection in selections])
        say()
        for event in events:
            kind = CATALOGUE[event.draft.event_id]
            where = event.server if event.connector is None else f"{event.server}: {event.connector}"
            say(f"would write event {kind.event_id.value} ({kind.level.value}) for {where}")
        for why in problems:
            say(f"problem: {why}", style="red")
        if not problems:
            say("Every connector can do what its AuthMechanism asks.", style="green")
    if problems:
        raise SystemExit(ExitCode.NOT_AS_IT_SHOULD_BE)


@click.command()
@click.option("--server", metavar="NAME", help="Only the connectors of this server.")
@click.option("--connector", metavar="NAME", help="Only this connector.")
@click.option("--remote-ip", metavar="IP", help="The connector that would take this peer.")
@click.option("--local", metavar="ADDR:PORT", help="Where the peer would connect to; with --remote-ip.")
@click.option(
    "--verb", type=click.Choice([v.value for v in TlsVerb], case_sensitive=False), help="Only this verb."
)
@click.option("--at", "at", type=Instant(), metavar="TIME", help="As if it were this time: 2027-06-01.")
@click.option("--startup", is_flag=True, help="As at service start, not as in a session.")
@common_options
def explain(
    common: Common,
    *,
    server: str | None,
    connector: str | None,
    remote_ip: str | None,
    local: str | None,
    verb: str | None,
    at: datetime | None,
    startup: bool,
) -> None:
    """Show, step by step, which certificate a session would get, and why."""
    loaded = common.load()
    chosen = choose_connectors(loaded, server, connector)
    if remote_ip is not None:
        chosen = _taking(chosen, remote_ip, local, quiet=common.as_json)
    elif local is not None:
        raise CommandError("--local goes with --remote-ip: say which peer connects there", ExitCode.BAD_USAGE)
    verbs = [TlsVerb(verb.upper())] if verb else list(TlsVerb)
    surroundings = surroundings_of(loaded)
    moment = Moment(at or datetime.now(UTC), at_start=startup)

    async def run() -> list[Selection]:
        return [
            await surroundings.select(each, owner, which, moment) for owner, each in chosen for which in verbs
        ]

    selections = asyncio.run(run())
    if common.as_json:
        say_json([selection.as_json() for selection in selections])
        return
    for selection in selections:
        show_selection(selection)
        say()


def surroundings_of(loaded: Loaded) -> Surroundings:
    """Return what the selections ask, with each store read once; a store that cannot be read ends the command."""
    surroundings = Surroundings.of(loaded.settings, on_warning=lambda text: diagnose(f"warning: {text}"))
    try:
        for store in surroundings.stores.values():
            store.load()
    except StoreError as error:
        raise store_error(error) from error
    return surroundings


def _taking(
    chosen: list[tuple[Server, ReceiveConnector]],
    remote_ip: str,
    local: str | None,
    *,
    quiet: bool,
) -> list[tuple[Server, ReceiveConnector]]:
    """Return the connectors that would take the peer: on *local*, or on every binding there is."""
    try:
        remote = parse_address(remote_ip)
    except ValueError:
        raise CommandError(f"--remote-ip: {remote_ip!r} is not an IP address", ExitCode.BAD_USAGE) from None
    bound = [Bound(owner, each, binding) for owner, each in chosen for binding in each.bindings]
    if local is None:
        endpoints = list(
            dict.fromkeys(b.binding for b in bound if b.binding.address.version == remote.version)
        )
    else:
        try:
            endpoints = [Binding.parse(local)]
        except ValueError as error:
            raise CommandError(f"--local: {error}", ExitCode.BAD_USAGE) from None
    taking: list[tuple[Server, ReceiveConnector]] = []
    for endpoint in endpoints:
        result = match(bound, (endpoint.address, endpoint.port), remote)
        if isinstance(result, NotTaken):
            diagnose(f"{endpoint}: {result.detail}; the peer would be told 421 4.3.2 Service not available")
            continue
        if not quiet:
            say(f"{endpoint}: {result.connector.name} takes {remote}: {result.detail}")
        if (result.server, result.connector) not in taking:
            taking.append((result.server, result.connector))
    if not taking:
        raise CommandError(f"no connector takes {remote}", ExitCode.NOT_AS_IT_SHOULD_BE)
    if not quiet:
        say()
    return taking


def selection_table(selections: list[Selection]) -> None:
    """Print one row a selection: is the verb advertised, with which certificate, and what would be written."""
    rows = []
    for selection in selections:
        certificate = selection.certificate
        rows.append(
            (
                selection.server,
                selection.connector,
                selection.verb.value,
                "yes" if selection.advertised else "no",
                certificate.thumbprint if certificate else "-",
                rfc3339_seconds(certificate.not_after) if certificate else "-",
                ", ".join(map(str, selection.event_ids)) or "-",
            ),
        )
    columns = ("Server", "Connector", "Verb", "Advertised", "Thumbprint", "Expires", "Events")
    table(columns, rows, marks={"yes": "green", "no": "red"})


def show_selection(selection: Selection) -> None:
    """Print a selection's steps and its result."""
    say(f"{selection.server}: {selection.connector}: {selection.verb.value}", style="bold")
    for step in selection.steps:
        say(
            f"  {'yes' if step.passed else 'no ':<4}{step.step:<18} {step.detail}",
            style="" if step.passed else "yellow",
        )
    if selection.certificate is None:
        say(f"  => {selection.verb.value} is not advertised, no certificate is loaded", style="red")
    else:
        say(
            f"  => {selection.verb.value} is advertised with {selection.certificate.thumbprint}",
            style="green",
        )
    for draft in selection.events:
        kind = CATALOGUE[draft.event_id]
        say(f"  => event {kind.event_id.value} ({kind.level.value}): {kind.message(draft.inserts)}")
