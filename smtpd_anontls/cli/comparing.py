"""``compare``: a live server against a configuration, or two configurations, or two live servers."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from smtpd_anontls.cli.common import CommandError, Common, ExitCode, choose_connectors, common_options
from smtpd_anontls.cli.groups import Command
from smtpd_anontls.cli.output import NOTHING, Column, say, say_json, table
from smtpd_anontls.cli.selections import closing, surroundings_of
from smtpd_anontls.client.conversation import checked_ehlo_name, local_name
from smtpd_anontls.client.probe import ProbeOptions, probe
from smtpd_anontls.client.target import Target
from smtpd_anontls.client.wire import checked_timeout
from smtpd_anontls.diagnosis.compare import PREFERENCE, View, compare, configured, measured
from smtpd_anontls.domain.endpoints import parse_address
from smtpd_anontls.domain.matching import Bound, NotTaken, match
from smtpd_anontls.domain.tls_policy import TlsVersion
from smtpd_anontls.selection.validity import Moment

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from smtpd_anontls.client.probe import ProbeResult
    from smtpd_anontls.diagnosis.compare import Row
    from smtpd_anontls.domain.certificate import Certificate
    from smtpd_anontls.domain.connectors import ReceiveConnector, Server
    from smtpd_anontls.domain.endpoints import IPAddress
    from smtpd_anontls.domain.records import TlsVerb
    from smtpd_anontls.settings.values import Loaded


T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """What is asked of either side."""

    server: str | None
    connector: str | None
    remote: IPAddress | None
    kerberos: bool
    ehlo: str
    timeout: float  # Seconds for each conversation.


# A connector that only one of two configurations has.
_NO_SUCH = View({})


@dataclass(frozen=True, slots=True)
class _Comparison:
    """The rows of one connector."""

    title: str
    rows: Sequence[Row]


@click.command("compare", cls=Command, short_help="Lay two servers or configurations side by side.")
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.option("--server", metavar="NAME", help="The server of a configuration with several.")
@click.option("--connector", metavar="NAME", help="The connector; else the one that would take this machine.")
@click.option("--remote-ip", metavar="IP", help="The connector that would take this peer.")
@click.option(
    "--kerberos",
    is_flag=True,
    help="As if each configured server had its Kerberos key, as Exchange servers do.",
)
@click.option("--ehlo", metavar="NAME", help="The name to say. Default: this machine's.")
@click.option(
    "--timeout", type=float, default=30.0, show_default=True, metavar="S", help="Seconds for each connection."
)
@click.option("--all", "everything", is_flag=True, help="Show what is the same, too.")
@common_options
def compare_command(
    common: Common,
    first: str,
    second: str,
    *,
    server: str | None,
    connector: str | None,
    remote_ip: str | None,
    kerberos: bool,
    ehlo: str | None,
    timeout: float,
    everything: bool,
) -> None:
    """Lay A and B side by side: each a configuration FILE, or the HOST[:PORT] of a live server.

    Compared are the verbs, the certificates, the TLS versions and the lines of EHLO; of two configurations
    the connectors' properties, too.  Exit code 1 if they differ, 3 if a server cannot be reached.
    """
    wanted = _Wanted(
        server=server,
        connector=connector,
        remote=_address(remote_ip),
        kerberos=kerberos,
        ehlo=_usable("--ehlo", checked_ehlo_name, ehlo or local_name()),
        timeout=_usable("--timeout", checked_timeout, timeout),
    )
    compared = _compare(common, _side(first), _side(second), wanted)
    differ = any(not row.same for each in compared for row in each.rows)
    if common.as_json:
        rows = [{"connector": each.title, **row.as_json()} for each in compared for row in each.rows]
        say_json({"a": first, "b": second, "same": not differ, "rows": rows})
    else:
        for each in compared:
            _show(each, first, second, everything=everything)
        if not differ:
            say("Both are the same.", style="green")
    if differ:
        raise SystemExit(ExitCode.NOT_AS_IT_SHOULD_BE)


def _address(text: str | None) -> IPAddress | None:
    if text is None:
        return None
    try:
        return parse_address(text)
    except ValueError:
        raise CommandError(f"--remote-ip: {text!r} is not an IP address", ExitCode.BAD_USAGE) from None


def _usable(option: str, check: Callable[[T], T], value: T) -> T:
    """Return *value* as *check* does; what it says against it ends the command."""
    try:
        return check(value)
    except ValueError as error:
        raise CommandError(f"{option}: {error}", ExitCode.BAD_USAGE) from None


def _side(text: str) -> Path | Target:
    """Return the file that is meant, or else the server."""
    path = Path(text)
    if path.is_file() or path.suffix in {".yaml", ".yml"}:
        return path
    try:
        return Target.parse(text)
    except ValueError as error:
        raise CommandError(
            f"{text!r} is neither a configuration file nor a server: {error}", ExitCode.BAD_USAGE
        ) from None


def _compare(
    common: Common, first: Path | Target, second: Path | Target, wanted: _Wanted
) -> list[_Comparison]:
    match first, second:
        case Target(), Target():
            return [
                _Comparison(f"{first} and {second}", compare(_live(first, wanted), _live(second, wanted)))
            ]
        case Path(), Path():
            return _configurations(common, first, second, wanted)
        case Target(), Path():
            loaded = _load(common, second)
            title, view = _met(loaded, first, wanted)
            return [_Comparison(title, compare(_live(first, wanted), view))]
        case _:
            assert isinstance(first, Path)
            assert isinstance(second, Target)
            title, view = _met(_load(common, first), second, wanted)
            return [_Comparison(title, compare(view, _live(second, wanted)))]


def _load(common: Common, path: Path) -> Loaded:
    return replace(common, config=path).load()


# -- a configuration


def _views(
    loaded: Loaded,
    chosen: Sequence[tuple[Server, ReceiveConnector]],
    wanted: _Wanted,
    *,
    with_properties: bool,
) -> list[View]:
    surroundings = surroundings_of(loaded)
    moment = Moment(datetime.now(UTC))
    keytabs = {each.server.name: each.keytab is not None for each in loaded.settings.servers}

    async def run() -> list[View]:
        async with closing(surroundings):
            return [
                configured(
                    server,
                    connector,
                    [await surroundings.select(connector, server, verb, moment) for verb in PREFERENCE],
                    loaded.settings.tls,
                    has_keytab=wanted.kerberos or keytabs[server.name],
                    with_properties=with_properties,
                )
                for server, connector in chosen
            ]

    return asyncio.run(run())


def _met(loaded: Loaded, target: Target, wanted: _Wanted) -> tuple[str, View]:
    """Return the connector of *loaded* that stands for the one met at *target*, and what it would show."""
    chosen = choose_connectors(loaded, wanted.server, wanted.connector)
    if len(chosen) > 1:
        chosen = [_taking(chosen, target, wanted.remote)]
    [(server, connector)] = chosen
    [view] = _views(loaded, chosen, wanted, with_properties=False)
    return f"{server.name}: {connector.name}", view


def _taking(
    chosen: Sequence[tuple[Server, ReceiveConnector]], target: Target, remote: IPAddress | None
) -> tuple[Server, ReceiveConnector]:
    """Return the connector that takes whoever connects to *target*."""
    names = ", ".join(repr(connector.name) for _, connector in chosen)
    here, there = _endpoints(target)
    bound = [Bound(server, each, binding) for server, each in chosen for binding in each.bindings]
    taken = match(bound, (there, target.port), remote or here)
    if isinstance(taken, NotTaken):
        raise CommandError(
            f"{target}: {taken.detail}; say --connector with one of {names}", ExitCode.BAD_USAGE
        )
    return taken.server, taken.connector


def _endpoints(target: Target) -> tuple[IPAddress, IPAddress]:
    """Return the address that this machine would connect from, and the one that it would connect to."""
    try:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_DGRAM)
        family, kind, protocol, _, address = found[0]
        # A datagram socket that is connected knows its own address, and nothing is sent.
        with socket.socket(family, kind, protocol) as asked:
            asked.connect(address)
            return parse_address(asked.getsockname()[0]), parse_address(str(address[0]))
    except OSError as error:
        raise CommandError(f"{target}: {error.strerror or error}", ExitCode.UNREACHABLE) from error


def _configurations(common: Common, first: Path, second: Path, wanted: _Wanted) -> list[_Comparison]:
    sides = []
    for path in (first, second):
        loaded = _load(common, path)
        chosen = choose_connectors(loaded, wanted.server, wanted.connector)
        views = _views(loaded, chosen, wanted, with_properties=True)
        sides.append(dict(zip(map(_role_of, chosen), views, strict=True)))
    ours, theirs = sides
    return [
        _Comparison(role, compare(ours.get(role, _NO_SUCH), theirs.get(role, _NO_SUCH)))
        for role in dict.fromkeys((*ours, *theirs))
    ]


def _role_of(chosen: tuple[Server, ReceiveConnector]) -> str:
    """Return a connector's name as servers of other names have it: ``Default Frontend MBX1`` ends in its server's."""
    server, connector = chosen
    return connector.name.replace(server.name, "*")


# -- a live server


def _live(target: Target, wanted: _Wanted) -> View:
    """Return what *target* shows; a server that cannot be met ends the command."""
    seen = _probe(target, wanted, None)
    hello = seen.seen.hello
    if hello is None:
        raise CommandError(seen.verdict, ExitCode.UNREACHABLE)
    certificates: dict[TlsVerb, Certificate | None] = {}
    after: Sequence[str] = ()
    for verb in PREFERENCE:
        if not hello.offers(verb):
            continue
        result = _probe(target, wanted, verb).seen
        certificates[verb] = None if result.secured is None else result.secured.certificate
        if not after and result.hello_after_tls is not None:
            after = result.hello_after_tls.ehlo_lines
    return measured(
        ehlo=hello.ehlo_lines,
        ehlo_after_tls=after,
        certificates=certificates,
        versions=_versions(target, wanted, next(iter(certificates), None)),
    )


def _versions(target: Target, wanted: _Wanted, verb: TlsVerb | None) -> list[TlsVersion]:
    """Return the TLS versions that the server speaks, each asked for alone."""
    if verb is None:
        return []
    return [
        version for version in TlsVersion if _probe(target, wanted, verb, version).seen.secured is not None
    ]


def _probe(
    target: Target, wanted: _Wanted, verb: TlsVerb | None, version: TlsVersion | None = None
) -> ProbeResult:
    options = ProbeOptions(
        ehlo=wanted.ehlo,
        verb=verb,
        tls_min=version or TlsVersion.TLSv1,
        tls_max=version or TlsVersion.TLSv1_3,
        timeout=wanted.timeout,
    )
    return probe(target, options, datetime.now(UTC))


# -- what is printed


def _show(compared: _Comparison, first: str, second: str, *, everything: bool) -> None:
    rows = [row for row in compared.rows if everything or not row.same]
    if not rows:
        return
    say(compared.title, style="bold")
    table(
        [
            Column("What"),
            Column(first, wraps=True),
            Column(second, wraps=True),
            *([Column("Same")] if everything else []),
        ],
        [
            (
                row.what,
                row.first or NOTHING,
                row.second or NOTHING,
                *(["yes" if row.same else "no"] if everything else []),
            )
            for row in rows
        ],
        marks={"no": "red", "yes": "green"} if everything else {},
    )
    say()
