"""``check`` and ``explain``: the selections, run offline; neither writes an event."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click
from rich.text import Text

from smtpd_anontls.certificates.store import StoreError
from smtpd_anontls.cli.common import (
    CommandError,
    Common,
    ExitCode,
    Instant,
    choose_connectors,
    choose_server,
    common_options,
    store_error,
)
from smtpd_anontls.cli.directories import is_active_directory
from smtpd_anontls.cli.groups import Command, OneOf
from smtpd_anontls.cli.outbound import delivery_of, explain_outbound
from smtpd_anontls.cli.output import NOTHING, Column, diagnose, say, say_json, table
from smtpd_anontls.cli.showing import say_events, say_steps
from smtpd_anontls.deciding import (
    Surroundings,
    close_directory,
    refuse_useless_ciphers,
)
from smtpd_anontls.directory.file import DirectoryError
from smtpd_anontls.domain.endpoints import Binding, parse_address
from smtpd_anontls.domain.events import CATALOGUE
from smtpd_anontls.domain.instants import rfc3339_seconds
from smtpd_anontls.domain.matching import Bound, NotTaken, match
from smtpd_anontls.domain.records import TlsVerb
from smtpd_anontls.domain.sending import TO_EDGE, TO_ORGANIZATION
from smtpd_anontls.selection.readiness import problem
from smtpd_anontls.selection.validity import Moment
from smtpd_anontls.settings.load import ConfigError
from smtpd_anontls.starting import select_at_start
from smtpd_anontls.web.certificate import PageCertificateError, choose

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

    from smtpd_anontls.directory.server_object import ServerObject
    from smtpd_anontls.domain.connectors import ReceiveConnector, Server
    from smtpd_anontls.selection.outcome import Selection
    from smtpd_anontls.settings.values import Loaded
    from smtpd_anontls.starting import PlacedEvent


@click.command(cls=Command, short_help="Run the selections as at service start; exit 1 on a problem.")
@common_options
def check(common: Common) -> None:
    """Validate the configuration and run the selections as at service start.

    Exit code 1 if a connector could not do what its AuthMechanism asks.
    """
    loaded = common.load(findings_stop=True)
    _refuse_useless_access(loaded)
    surroundings = surroundings_of(loaded)
    servers = [each.server for each in loaded.settings.servers]
    now = datetime.now(UTC)

    async def run() -> tuple[
        tuple[list[tuple[ReceiveConnector, Selection]], list[PlacedEvent]], list[ServerObject], list[str]
    ]:
        async with closing(surroundings):
            started = await select_at_start(surroundings, servers, Moment(now, at_start=True))
            shown = (surroundings.directory.show(each.name) for each in servers)
            objects = list(await asyncio.gather(*shown))
            return started, objects, await _problems_of_page(loaded, surroundings, now)

    (selections, events), objects, of_page = asyncio.run(run())
    problems = [
        *(why for connector, selection in selections if (why := problem(selection, connector)) is not None),
        *of_page,
    ]
    if common.as_json:
        say_json(
            {
                "ok": not problems,
                "selections": [selection.as_json() for _, selection in selections],
                "problems": problems,
                "directory": _directory_json(loaded, objects),
            },
        )
    else:
        selection_table(selections)
        say()
        if is_active_directory(loaded.settings):
            for each in objects:
                say(each.source or each.reason or "", label=f"directory, {each.server}: ")
        for event in events:
            kind = CATALOGUE[event.draft.event_id]
            where = event.server if event.connector is None else f"{event.server}: {event.connector}"
            say(f"{kind.event_id.value} ({kind.level.value}) for {where}", label="would write event ")
        for why in problems:
            say(why, style="red", label=Text("problem: ", style="red"))
        if not problems:
            say("Every connector can do what its AuthMechanism asks.", style="green")
    if problems:
        raise SystemExit(ExitCode.NOT_AS_IT_SHOULD_BE)


@click.command(cls=Command, short_help="Show step by step which certificate a session would get, and why.")
@click.option("--server", metavar="NAME", help="Only the connectors of this server.")
@click.option("--connector", metavar="NAME", help="Only this connector.")
@click.option("--remote-ip", metavar="IP", help="The connector that would take this peer.")
@click.option("--local", metavar="ADDR:PORT", help="Where the peer would connect to; with --remote-ip.")
@click.option("--verb", type=OneOf(*TlsVerb), help="Only this verb.")
@click.option("--at", "at", type=Instant(), metavar="TIME", help="As if it were this time: 2027-06-01.")
@click.option("--startup", is_flag=True, help="As at service start, not as in a session.")
@click.option("--outbound", is_flag=True, help="What each server loads when it is the one that sends.")
@click.option(
    "--delivery-type",
    metavar="TYPE",
    help=f"DeliveryType of a Mailbox server's queue; with --outbound. Default: {TO_EDGE}.",
)
@click.option(
    "--smart-host-auth",
    metavar="WORD,...",
    help="SmartHostAuthMechanism of an Edge server's Send connector; with --outbound. Default: ExchangeServer.",
)
@click.option(
    "--address-space",
    metavar="SPACE",
    help=f"Address space of an Edge server's Send connector; with --outbound. Default: {TO_ORGANIZATION}, the organization.",
)
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
    outbound: bool,
    delivery_type: str | None,
    smart_host_auth: str | None,
    address_space: str | None,
) -> None:
    """Show, step by step, which certificate a session would get, and why."""
    loaded = common.load()
    moment = Moment(at or datetime.now(UTC), at_start=startup)
    _refuse_the_other_direction(
        outbound=outbound,
        inbound_options={"connector": connector, "remote-ip": remote_ip, "local": local, "verb": verb},
        outbound_options={
            "delivery-type": delivery_type,
            "smart-host-auth": smart_host_auth,
            "address-space": address_space,
        },
    )
    if outbound:
        delivery = delivery_of(delivery_type, smart_host_auth, address_space)
        servers = [choose_server(loaded, server)] if server else [s.server for s in loaded.settings.servers]
        explain_outbound(surroundings_of(loaded), servers, delivery, moment, as_json=common.as_json)
        return
    chosen = choose_connectors(loaded, server, connector)
    if remote_ip is not None:
        chosen = _taking(chosen, remote_ip, local, quiet=common.as_json)
    elif local is not None:
        raise CommandError("--local goes with --remote-ip: say which peer connects there", ExitCode.BAD_USAGE)
    verbs = [TlsVerb(verb)] if verb else list(TlsVerb)
    surroundings = surroundings_of(loaded)

    async def run() -> list[Selection]:
        async with closing(surroundings):
            return [
                await surroundings.select(each, owner, which, moment)
                for owner, each in chosen
                for which in verbs
            ]

    selections = asyncio.run(run())
    if common.as_json:
        say_json([selection.as_json() for selection in selections])
        return
    for selection in selections:
        show_selection(selection)
        say()


def _refuse_the_other_direction(
    *, outbound: bool, inbound_options: Mapping[str, str | None], outbound_options: Mapping[str, str | None]
) -> None:
    """End the command where an option speaks of receiving and the question is about sending, or the other way."""
    for name, value in (inbound_options if outbound else outbound_options).items():
        if value is not None:
            about = "is about receiving, --outbound about sending; leave one of them out"
            raise CommandError(
                f"--{name} {about if outbound else 'goes with --outbound'}", ExitCode.BAD_USAGE
            )


def _refuse_useless_access(loaded: Loaded) -> None:
    """End the command where nobody could be let in to the page."""
    auth = loaded.settings.web.auth
    if loaded.settings.web.bind is None or auth is None:
        return
    from smtpd_anontls.web.access import Access, AccessError  # noqa: PLC0415 - most do without

    try:
        Access.read(auth, os.environ)
    except AccessError as error:
        raise CommandError(str(error), ExitCode.BAD_USAGE) from error


async def _problems_of_page(loaded: Loaded, surroundings: Surroundings, now: datetime) -> list[str]:
    """Return why the page would not open, where it is to present a certificate and there is none."""
    web = loaded.settings.web
    if web.bind is None or web.tls is None:
        return []
    try:
        await choose(web.tls, loaded.settings, surroundings, now)
    except PageCertificateError as error:
        return [str(error)]
    return []


def _directory_json(loaded: Loaded, objects: Iterable[ServerObject]) -> dict[str, object]:
    """Return which directory was asked, and what it says of each server."""
    kind = "ldap" if is_active_directory(loaded.settings) else "file"
    return {"type": kind, "servers": [{**each.as_json(), "source": each.source} for each in objects]}


@asynccontextmanager
async def closing(surroundings: Surroundings) -> AsyncIterator[None]:
    """Close the directory when the block ends."""
    try:
        yield
    finally:
        await close_directory(surroundings.directory)


def surroundings_of(loaded: Loaded) -> Surroundings:
    """Return what the selections ask, read once; a store or directory that cannot be read ends the command."""
    surroundings = Surroundings.of(loaded.settings, on_warning=lambda text: diagnose(f"warning: {text}"))
    try:
        refuse_useless_ciphers(loaded.settings)
        surroundings.load(each.server for each in loaded.settings.servers)
    except ConfigError as error:
        raise CommandError("\n".join(error.lines), ExitCode.BAD_USAGE) from error
    except StoreError as error:
        raise store_error(error) from error
    except DirectoryError as error:
        raise CommandError(str(error), ExitCode.UNREACHABLE) from error
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


def selection_table(selections: Iterable[tuple[ReceiveConnector, Selection]]) -> None:
    """Print a row for each selection: is the verb advertised, with which certificate, and what would be written."""
    selections = list(selections)
    rows = [
        (
            selection.server,
            selection.connector,
            selection.verb.value,
            "yes" if selection.advertised else "no",
            selection.certificate.thumbprint if selection.certificate else NOTHING,
            rfc3339_seconds(selection.certificate.not_after)[:10] if selection.certificate else NOTHING,
            ", ".join(map(str, selection.event_ids)) or NOTHING,
        )
        for _, selection in selections
    ]
    names = ("Server", "Connector", "Verb", "Advertised", "Thumbprint", "Expires", "Events")
    marks = {"yes": "green", "no": "red"}
    table([Column(name) for name in names], rows, marks=marks, otherwise=lambda: overview(selections))


def overview(
    selections: Iterable[tuple[ReceiveConnector, Selection]],
    places: Mapping[tuple[str, str], str] | None = None,
) -> None:
    """Print each connector, *places* of it, and below it what it would do with each verb, and why."""
    last = None
    for connector, selection in selections:
        here = (selection.server, selection.connector)
        if here != last:
            place = (places or {}).get(here, "")
            say(f"{selection.server}: {selection.connector}{place}", style="bold")
            last = here
        if selection.advertised:
            answer = ("yes", "green")
        else:
            # What AuthMechanism does not ask for is no fault.
            answer = ("no", "red" if problem(selection, connector) else "dim")
        label = Text.assemble(f"  {selection.verb.value:<16}", (f"{answer[0]:<5}", answer[1]))
        say(_in_short(selection), label=label)


def _in_short(selection: Selection) -> str:
    """Say in one sentence what was chosen or why nothing, and the events."""
    last = selection.steps[-1]
    certificate = selection.certificate
    if certificate is None:
        result = last.detail
    elif last.passed:
        result = f"{certificate.thumbprint} until {rfc3339_seconds(certificate.not_after)[:10]}"
    else:
        result = f"{certificate.thumbprint}, {last.detail}"
    events = "".join(f"; event {number}" for number in selection.event_ids)
    return f"{result}{events}"


def show_selection(selection: Selection) -> None:
    """Print a selection's steps and its result."""
    verb = selection.verb.value
    say(f"{selection.server}: {selection.connector}: {verb}", style="bold")
    say_steps(selection)
    if selection.certificate is None:
        say(f"{verb} is not advertised, no certificate is loaded", style="red", label="  => ")
    else:
        say(f"{verb} is advertised with {selection.certificate.thumbprint}", style="green", label="  => ")
    say_events(selection)
