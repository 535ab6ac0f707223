"""``probe`` and ``tunnel``: meet any SMTP server, not only this receiver."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from smtpd_anontls.certificates.passwords import PasswordInEnvironment, PasswordInFile
from smtpd_anontls.cli.common import CommandError, Common, ExitCode, common_options
from smtpd_anontls.cli.groups import Command, OneOf, Option
from smtpd_anontls.cli.output import say_facts, say_json
from smtpd_anontls.client.client_certificate import ClientCertificate
from smtpd_anontls.client.conversation import local_name
from smtpd_anontls.client.errors import ClientError
from smtpd_anontls.client.logon import LogonOptions
from smtpd_anontls.client.outgoing import Outgoing, read_message
from smtpd_anontls.client.probe import ProbeOptions, probe
from smtpd_anontls.client.target import Target
from smtpd_anontls.client.tls import TlsOffer
from smtpd_anontls.client.tunnel import tunnel
from smtpd_anontls.domain.authentication import Mechanism
from smtpd_anontls.domain.records import TlsVerb
from smtpd_anontls.domain.tls_policy import TlsVersion

if TYPE_CHECKING:
    from collections.abc import Callable

_VERSIONS = OneOf(*(version.value for version in TlsVersion))
_NO_VERB = "none"
_TLS, _AUTHENTICATE, _SEND = "TLS", "Authenticate", "Send a message"
_FILE = click.Path(path_type=Path)


class _TargetType(click.ParamType[Target]):
    name = "host[:port]"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Target:
        try:
            return Target.parse(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _options(
    *options: Callable[[Callable[..., None]], Callable[..., None]],
) -> Callable[..., Callable[..., None]]:
    """Give a command these options, in this order."""

    def given(command: Callable[..., None]) -> Callable[..., None]:
        for option in reversed(options):
            command = option(command)
        return command

    return given


def _option(
    heading: str, *names: str, **details: Any
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return an option that stands under *heading* in the help."""
    return click.option(*names, cls=Option, heading=heading, **details)


_session_options = _options(
    click.option("--ehlo", metavar="NAME", help="The name to say. Default: this machine's."),
    click.option(
        "--timeout",
        type=float,
        default=30.0,
        show_default=True,
        metavar="S",
        help="Seconds for everything together.",
    ),
)
_tls_options = _options(
    _option(
        _TLS,
        "--tls-min",
        type=_VERSIONS,
        default="TLSv1",
        show_default=True,
        help="Oldest TLS to offer.",
    ),
    _option(
        _TLS,
        "--tls-max",
        type=_VERSIONS,
        default="TLSv1.3",
        show_default=True,
        help="Newest TLS to offer.",
    ),
    _option(
        _TLS,
        "--client-certificate",
        type=_FILE,
        metavar="FILE",
        help="Present this certificate where the server asks for one: PEM, with its key.",
    ),
    _option(
        _TLS,
        "--client-key",
        type=_FILE,
        metavar="FILE",
        help="The certificate's key, where it stands in a file of its own.",
    ),
)
_authentication_options = _options(
    _option(
        _AUTHENTICATE,
        "--auth",
        type=OneOf(*(each.value.lower() for each in (Mechanism.GSSAPI, Mechanism.NTLM, Mechanism.LOGIN))),
        help="Authenticate: by X-EXPS where it offers the mechanism, else by AUTH.",
    ),
    _option(
        _AUTHENTICATE,
        "--user",
        metavar="NAME",
        help="Who to be. gssapi without it: whoever has the ticket that kinit got.",
    ),
    _option(
        _AUTHENTICATE,
        "--password-env",
        metavar="NAME",
        help="The environment variable with the password.",
    ),
    _option(
        _AUTHENTICATE,
        "--password-file",
        type=_FILE,
        metavar="PATH",
        help="The file with the password.",
    ),
    _option(
        _AUTHENTICATE,
        "--spn",
        metavar="NAME",
        help="Service principal name to get a ticket for. Default: SMTPSVC/HOST.",
    ),
    _option(
        _AUTHENTICATE,
        "--no-channel-binding",
        is_flag=True,
        help="Leave the server's certificate out of gssapi and ntlm.",
    ),
    _option(
        _AUTHENTICATE,
        "--allow-clear",
        is_flag=True,
        help="Let login say the password without TLS.",
    ),
)
_message_options = _options(
    _option(
        _SEND,
        "--send",
        type=_FILE,
        metavar="FILE",
        help="Send this message as it is; - is standard input.",
    ),
    _option(
        _SEND,
        "--from",
        "sender",
        metavar="ADDRESS",
        help="Its sender; <> is nobody. Default: probe at the name of --ehlo.",
    ),
    _option(
        _SEND,
        "--to",
        "recipients",
        multiple=True,
        metavar="ADDRESS",
        help="Its recipient. May be repeated.",
    ),
)


@click.command("probe", cls=Command, short_help="Connect, upgrade to TLS, and say what the answers mean.")
@click.argument("target", type=_TargetType(), metavar="HOST[:PORT]")
@click.option(
    "--verb",
    type=OneOf(*TlsVerb, _NO_VERB),
    default=TlsVerb.X_ANONYMOUSTLS.value,
    show_default=True,
    help="How to upgrade; none: stay in the clear.",
)
@_session_options
@_option(
    _TLS,
    "--expect-thumbprint",
    metavar="T",
    help="Exit 1 where the server presents another certificate.",
)
@_tls_options
@_authentication_options
@_message_options
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
    client_certificate: Path | None,
    client_key: Path | None,
    send: Path | None,
    sender: str | None,
    recipients: tuple[str, ...],
    **authentication: Any,
) -> None:
    """Connect to any SMTP server, upgrade to TLS, and say what its answers mean.

    With --auth it authenticates too, with --send it sends a message.

    Exit code 0: as expected. 1: verb not advertised or refused, certificate expired or another
    than expected, authentication or message refused. 3: no connection, the TLS handshake failed,
    or no KDC gave a ticket.
    """
    name = ehlo or local_name()
    try:
        options = ProbeOptions(
            ehlo=name,
            verb=None if verb == _NO_VERB else TlsVerb(verb),
            expect_thumbprint=expect_thumbprint,
            tls_min=TlsVersion(tls_min),
            tls_max=TlsVersion(tls_max),
            timeout=timeout,
            client_certificate=_client_certificate(client_certificate, client_key),
            logon=_logon(**authentication),
            outgoing=_outgoing(send, sender, recipients, name),
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
@_session_options
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
    client_certificate: Path | None,
    client_key: Path | None,
) -> None:
    """Upgrade, then join stdin and stdout to the session, which begins with the banner.

    For swaks: swaks --pipe 'smtpd-anontls tunnel host:port' --to b@contoso.test
    """
    try:
        certificate = _client_certificate(client_certificate, client_key)
        code = tunnel(
            target,
            ehlo=ehlo or local_name(),
            stdin=sys.stdin.fileno(),
            stdout=sys.stdout.fileno(),
            verb=TlsVerb(verb),
            offer=TlsOffer(TlsVersion(tls_min), TlsVersion(tls_max), client_certificate=certificate),
            timeout=timeout,
        )
    except ClientError as error:
        raise CommandError(str(error), ExitCode(error.exit_code)) from error
    except ValueError as error:
        raise CommandError(str(error), ExitCode.BAD_USAGE) from error
    raise SystemExit(code)


def _client_certificate(file: Path | None, key: Path | None) -> ClientCertificate | None:
    if file is not None:
        return ClientCertificate.load(file, key)
    if key is not None:
        raise ValueError("--client-key belongs to --client-certificate; say both")
    return None


def _logon(
    *,
    auth: str | None,
    user: str | None,
    password_env: str | None,
    password_file: Path | None,
    spn: str | None,
    no_channel_binding: bool,
    allow_clear: bool,
) -> LogonOptions | None:
    if auth is None:
        if any((user, password_env, password_file, spn, no_channel_binding, allow_clear)):
            raise ValueError(
                "--user, --password-env, --password-file, --spn, --no-channel-binding and --allow-clear belong to --auth; "
                "say --auth gssapi, ntlm or login"
            )
        return None
    return LogonOptions(
        mechanism=Mechanism(auth.upper()),
        user=user,
        password=_password(password_env, password_file),
        spn=spn,
        channel_binding=not no_channel_binding,
        allow_clear=allow_clear,
    )


def _password(name: str | None, path: Path | None) -> str | None:
    if name is not None and path is not None:
        raise ValueError("--password-env and --password-file exclude each other; say one of them")
    if name is not None:
        found = PasswordInEnvironment(name).read().password
    elif path is not None:
        found = PasswordInFile(path).read().password
    else:
        return None
    if found.octets is None:
        raise ValueError(found.problem)
    if not found.octets:
        raise ValueError(f"{found.place} is empty; write the password")
    return found.octets.decode()


def _outgoing(
    send: Path | None, sender: str | None, recipients: tuple[str, ...], name: str
) -> Outgoing | None:
    if send is None:
        if sender is not None or recipients:
            raise ValueError("--from and --to belong to --send; say which message to send")
        return None
    # The envelope first: standard input is not read for a command that cannot be.
    envelope = Outgoing(f"probe@{name}" if sender is None else sender, recipients, b"")
    return replace(envelope, content=read_message(send, sys.stdin.buffer))
