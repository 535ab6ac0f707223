"""``probe`` and ``tunnel``: meet any SMTP server, not only this receiver."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from smtpd_anontls.cli.common import CommandError, Common, ExitCode, common_options
from smtpd_anontls.cli.groups import Command, OneOf
from smtpd_anontls.cli.output import say_facts, say_json
from smtpd_anontls.client.conversation import local_name
from smtpd_anontls.client.errors import ClientError
from smtpd_anontls.client.probe import ProbeOptions, probe
from smtpd_anontls.client.target import Target
from smtpd_anontls.client.tls import TlsOffer
from smtpd_anontls.client.tunnel import tunnel
from smtpd_anontls.domain.records import TlsVerb
from smtpd_anontls.domain.tls_policy import TlsVersion

if TYPE_CHECKING:
    from collections.abc import Callable

_VERSIONS = OneOf(*(version.value for version in TlsVersion))
_NO_VERB = "none"


class _TargetType(click.ParamType[Target]):
    name = "host[:port]"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Target:
        try:
            return Target.parse(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _tls_options(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option(
            "--timeout",
            type=float,
            default=30.0,
            show_default=True,
            metavar="S",
            help="Seconds for everything together.",
        ),
        click.option(
            "--tls-max", type=_VERSIONS, default="TLSv1.3", show_default=True, help="Newest TLS to offer."
        ),
        click.option(
            "--tls-min", type=_VERSIONS, default="TLSv1", show_default=True, help="Oldest TLS to offer."
        ),
        click.option("--ehlo", metavar="NAME", help="The name to say. Default: this machine's."),
    ):
        command = option(command)
    return command


@click.command("probe", cls=Command, short_help="Connect, upgrade to TLS, and say what the answers mean.")
@click.argument("target", type=_TargetType(), metavar="HOST[:PORT]")
@click.option(
    "--verb",
    type=OneOf(*TlsVerb, _NO_VERB),
    default=TlsVerb.X_ANONYMOUSTLS.value,
    show_default=True,
    help="How to upgrade; none: banner and EHLO only.",
)
@click.option(
    "--expect-thumbprint", metavar="T", help="Exit 1 where the server presents another certificate."
)
@_tls_options
@common_options
def probe_command(
    common: Common,
    *,
    target: Target,
    verb: str,
    expect_thumbprint: str | None,
    ehlo: str | None,
    tls_min: str,
    tls_max: str,
    timeout: float,
) -> None:
    """Connect to any SMTP server, upgrade to TLS, and say what its answers mean.

    Exit code 0: as expected. 1: verb not advertised or refused, certificate expired or another
    than expected. 3: no connection, or the TLS handshake failed.
    """
    try:
        options = ProbeOptions(
            ehlo=ehlo or local_name(),
            verb=None if verb == _NO_VERB else TlsVerb(verb),
            expect_thumbprint=expect_thumbprint,
            tls_min=TlsVersion(tls_min),
            tls_max=TlsVersion(tls_max),
            timeout=timeout,
        )
    except ValueError as error:
        raise CommandError(str(error), ExitCode.BAD_USAGE) from error
    result = probe(target, options, datetime.now(UTC))
    if common.as_json:
        say_json(result.as_json())
    else:
        say_facts(result.rows())
    raise SystemExit(result.exit_code)


@click.command("tunnel", cls=Command, short_help="Upgrade, then join stdin and stdout to the session.")
@click.argument("target", type=_TargetType(), metavar="HOST[:PORT]")
@click.option(
    "--verb",
    type=OneOf(*TlsVerb),
    default=TlsVerb.X_ANONYMOUSTLS.value,
    show_default=True,
    help="How to upgrade.",
)
@_tls_options
@common_options
def tunnel_command(
    common: Common,  # noqa: ARG001 - every command takes the common options
    *,
    target: Target,
    verb: str,
    ehlo: str | None,
    tls_min: str,
    tls_max: str,
    timeout: float,
) -> None:
    """Upgrade, then join stdin and stdout to the session, which begins with the banner.

    For swaks: swaks --pipe 'smtpd-anontls tunnel host:port' --to b@contoso.test
    """
    try:
        code = tunnel(
            target,
            ehlo=ehlo or local_name(),
            stdin=sys.stdin.fileno(),
            stdout=sys.stdout.fileno(),
            verb=TlsVerb(verb),
            offer=TlsOffer(TlsVersion(tls_min), TlsVersion(tls_max)),
            timeout=timeout,
        )
    except ClientError as error:
        raise CommandError(str(error), ExitCode(error.exit_code)) from error
    except ValueError as error:
        raise CommandError(str(error), ExitCode.BAD_USAGE) from error
    raise SystemExit(code)
