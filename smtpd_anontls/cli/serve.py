"""``serve``: runs the receiver until it is told to stop."""

from __future__ import annotations

import asyncio
import shlex
import signal
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import click

from smtpd_anontls.certificates.stand_ins import StandIns
from smtpd_anontls.certificates.store import StoreError
from smtpd_anontls.cli.common import CommandError, Common, ExitCode, common_options, program
from smtpd_anontls.cli.groups import Command, OneOf, WholeNumber
from smtpd_anontls.cli.logs import LogFormat, log_record, logging_to_stderr
from smtpd_anontls.cli.output import say, say_json, say_verbatim
from smtpd_anontls.cli.selections import overview
from smtpd_anontls.directory.file import DirectoryError
from smtpd_anontls.domain.endpoints import bracketed, parse_address
from smtpd_anontls.domain.records import TlsVerb
from smtpd_anontls.eventlog.log import EventLogError
from smtpd_anontls.journal.errors import JournalError
from smtpd_anontls.protocol_log.log import ProtocolLogError
from smtpd_anontls.provisioning import ProvisioningError
from smtpd_anontls.receiver import Receiver
from smtpd_anontls.settings.load import ConfigError, load_config
from smtpd_anontls.smtp.event_loop import loop_factory, spare_what_stays
from smtpd_anontls.smtp.listener import ListenError
from smtpd_anontls.supervisor.process import WorkerError
from smtpd_anontls.supervisor.sockets import shares_ports
from smtpd_anontls.supervisor.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from smtpd_anontls.settings.values import Loaded
    from smtpd_anontls.web.page import Page


_LOOPBACK = {4: parse_address("127.0.0.1"), 6: parse_address("::1")}
_CANNOT_START = (
    StoreError,
    DirectoryError,
    ProvisioningError,
    ListenError,
    JournalError,
    EventLogError,
    ProtocolLogError,
    WorkerError,
)
# More would be a slip of the finger; a machine of that size has other ways.
MOST_WORKERS = 256


@click.command(cls=Command, short_help="Run the receiver until SIGINT or SIGTERM.")
@click.option(
    "--log-format",
    type=OneOf(*LogFormat),
    default=LogFormat.text,
    show_default=True,
    help="How stderr looks; json: an object a line, also for each event and each session that ends.",
)
@click.option(
    "--stand-in-keys",
    is_flag=True,
    help="Where a certificate was imported without its private key, present a look-alike: same names and dates, own key.",
)
@click.option(
    "--workers",
    type=WholeNumber(1, MOST_WORKERS),
    default=1,
    show_default=True,
    metavar="N",
    help="Processes that serve, on the same ports; more than one need a processor for each.",
)
@common_options
def serve(common: Common, log_format: str, *, stand_in_keys: bool, workers: int) -> None:
    """Run the receiver until SIGINT or SIGTERM; SIGHUP reads the configuration again.

    A change of the configuration, the directory or the store needs no signal: the next session sees
    it.  With --json, one object on stdout says where it listens, and where the page is, once it does.
    """
    form = LogFormat(log_format)
    with logging_to_stderr(form):
        try:
            _run(common, form, stand_in_keys=stand_in_keys, workers=workers)
        except CommandError as error:
            for line in error.message.split("\n"):
                form.fail(line)
            raise click.exceptions.Exit(error.exit_code) from error


def _run(common: Common, form: LogFormat, *, stand_in_keys: bool, workers: int) -> None:
    if workers > 1:
        _refuse_workers(stand_in_keys=stand_in_keys)
    try:
        loaded = load_config(common.config, overrides=common.overrides)
        for warning in loaded.warnings:
            form.warn(warning)
        if loaded.findings:
            raise CommandError("\n".join(each.line for each in loaded.findings), ExitCode.BAD_USAGE)
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(_serve(common, loaded, form, stand_in_keys=stand_in_keys, workers=workers))
    except ConfigError as error:
        raise CommandError("\n".join(error.lines), ExitCode.BAD_USAGE) from error
    except _CANNOT_START as error:
        raise CommandError(str(error), ExitCode.UNREACHABLE) from error


def _refuse_workers(*, stand_in_keys: bool) -> None:
    """Say in one line why there cannot be several workers."""
    if stand_in_keys:
        raise CommandError(
            "--workers: the keys of --stand-in-keys are in one process; leave out one of the two",
            ExitCode.BAD_USAGE,
        )
    if not shares_ports():
        raise CommandError(
            "--workers: this system does not let several processes listen on one port (SO_REUSEPORT); "
            "leave it out",
            ExitCode.BAD_USAGE,
        )


def _receiver(
    loaded: Loaded,
    *,
    workers: int,
    stand_ins: StandIns | None,
    form: LogFormat,
    on_made: Callable[[str], None],
) -> Receiver:
    if workers == 1:
        return Receiver(loaded, on_warning=form.warn, on_made=on_made, stand_ins=stand_ins)
    return Supervisor(loaded, workers=workers, on_warning=form.warn, on_made=on_made)


async def _serve(
    common: Common, loaded: Loaded, form: LogFormat, *, stand_in_keys: bool, workers: int
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    # Before the start, which may take seconds to make certificates: no signal ends it half done.
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    made = say if form is LogFormat.text and not common.as_json else form.inform
    stand_ins = StandIns() if stand_in_keys else None
    receiver = _receiver(loaded, workers=workers, stand_ins=stand_ins, form=form, on_made=made)
    if form is LogFormat.json:
        receiver.observe(log_record)
    async with receiver, _page(receiver) as page:
        running: set[asyncio.Task[None]] = set()

        def reload() -> None:
            task = loop.create_task(receiver.reload())
            running.add(task)
            task.add_done_callback(running.discard)

        loop.add_signal_handler(signal.SIGHUP, reload)
        if common.as_json:
            say_json({**_as_json(receiver), "page": None if page is None else page.url})
        else:
            _introduce(common, receiver, page)
        sys.stdout.flush()
        spare_what_stays()
        await stop.wait()
        form.inform("stopping: open transactions get to finish")
    form.inform("stopped")


@asynccontextmanager
async def _page(receiver: Receiver) -> AsyncIterator[Page | None]:
    """Open the page where there is to be one."""
    if receiver.settings.web.bind is None:
        yield None
        return
    # Here, since what serves it takes its time to load and no other command needs it.
    from smtpd_anontls.web import page as web  # noqa: PLC0415
    from smtpd_anontls.web.access import AccessError  # noqa: PLC0415
    from smtpd_anontls.web.certificate import PageCertificateError  # noqa: PLC0415

    async with AsyncExitStack() as opened:
        try:
            page = await opened.enter_async_context(web.Page(receiver))
        except AccessError as error:
            raise CommandError(str(error), ExitCode.BAD_USAGE) from error
        except (web.PageError, PageCertificateError) as error:
            raise CommandError(str(error), ExitCode.UNREACHABLE) from error
        yield page


def _as_json(receiver: Receiver) -> dict[str, object]:
    listening = [
        {
            "server": bound.server.name,
            "connector": bound.connector.name,
            "address": str(bound.binding.address),
            "port": bound.binding.port,
        }
        for bound in receiver.bound
    ]
    selections = [selection.as_json() for _, selection in receiver.selections_at_start]
    return {"listening": listening, "selections": selections}


def _introduce(common: Common, receiver: Receiver, page: Page | None) -> None:
    """Print where it listens, what it would advertise and why, where the page is, and what to try."""
    bindings: dict[tuple[str, str], list[str]] = {}
    for bound in receiver.bound:
        bindings.setdefault((bound.server.name, bound.connector.name), []).append(str(bound.binding))
    places = {key: f" on {' and '.join(each)}" for key, each in bindings.items()}
    overview(receiver.selections_at_start, places)
    say()
    _own_up(receiver)
    if page is not None:
        say_verbatim(f"The page and the API: {page.url}")
        if (presented := page.certificate) is not None:
            names = ", ".join(presented.subject_alternative_names) or presented.subject
            say_verbatim(f"  with the certificate {presented.thumbprint} ({names})")
    if not receiver.bound:
        say("No connector listens: each is disabled or has no binding.", style="red")
        return
    _suggest(common, receiver)


def _own_up(receiver: Receiver) -> None:
    """Say which certificates are look-alikes."""
    stand_ins = receiver.surroundings.stand_ins
    for real, shown in ({} if stand_ins is None else stand_ins.made).items():
        say(
            f"{shown.thumbprint} stands in for {real}, {shown.subject}: a key of its own",
            label="stand-in: ",
            style="yellow",
        )


def _suggest(common: Common, receiver: Receiver) -> None:
    advertised = {(s.server, s.connector, s.verb) for _, s in receiver.selections_at_start if s.advertised}
    best = next(
        (
            b
            for b in receiver.bound
            if (b.server.name, b.connector.name, TlsVerb.X_ANONYMOUSTLS) in advertised
        ),
        receiver.bound[0],
    )
    # A wildcard is no address to connect to.
    host = _LOOPBACK[best.binding.address.version] if best.binding.is_wildcard else best.binding.address
    target = f"{bracketed(host)}:{best.binding.port}"
    tunnel = shlex.quote(f"{program()} tunnel {target}")
    say("Three commands to try, in another terminal:", style="bold")
    say_verbatim(f"  {program()} probe {target}")
    say_verbatim(f"  swaks --from a@example.test --to b@contoso.test --pipe {tunnel}")
    say_verbatim(f"  openssl s_client -connect {target} -starttls smtp -name client.test </dev/null")
    say("What happened then:", style="bold")
    for command in ("session list", "message list", "event list"):
        say_verbatim(f"  {common.invocation(command)}")
    say("Ctrl-C stops it.")
