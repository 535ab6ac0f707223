"""``serve``: runs the receiver until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from typing import TYPE_CHECKING

import click

from smtpd_anontls.certificates.store import StoreError
from smtpd_anontls.cli.common import CommandError, Common, ExitCode, common_options
from smtpd_anontls.cli.output import diagnose, say
from smtpd_anontls.cli.selections import selection_table
from smtpd_anontls.domain.printable import printable
from smtpd_anontls.domain.records import TlsVerb
from smtpd_anontls.eventlog.log import EventLogError
from smtpd_anontls.journal.errors import JournalError
from smtpd_anontls.provisioning import ProvisioningError
from smtpd_anontls.receiver import Receiver
from smtpd_anontls.selection.readiness import problem
from smtpd_anontls.smtp.listener import ListenError

if TYPE_CHECKING:
    from smtpd_anontls.settings.values import Loaded


@click.command()
@common_options
def serve(common: Common) -> None:
    """Run the receiver until SIGINT or SIGTERM; SIGHUP reads the configuration again."""
    loaded = common.load(findings_stop=True)
    _set_up_logging()
    try:
        asyncio.run(_serve(loaded))
    except (StoreError, ProvisioningError) as error:
        raise CommandError(str(error), ExitCode.BAD_USAGE) from error
    except (ListenError, JournalError, EventLogError) as error:
        raise CommandError(str(error), ExitCode.UNREACHABLE) from error


async def _serve(loaded: Loaded) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    async with Receiver(loaded, on_warning=_warn, on_made=say) as receiver:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        running: set[asyncio.Task[None]] = set()

        def reload() -> None:
            task = loop.create_task(receiver.refresh(force=True))
            running.add(task)
            task.add_done_callback(running.discard)

        loop.add_signal_handler(signal.SIGHUP, reload)
        _introduce(receiver)
        await stop.wait()
        diagnose("stopping: open transactions get to finish")
    diagnose("stopped")


def _warn(text: str) -> None:
    diagnose(f"warning: {text}")


def _introduce(receiver: Receiver) -> None:
    """Print where it listens, what it would advertise and why, and what to try."""
    for bound in receiver.bound:
        say(f"listening on {bound.binding}: {bound.server.name}: {bound.connector.name}", style="bold")
    say()
    selections = [selection for _, selection in receiver.selections_at_start]
    selection_table(selections)
    say()
    for connector, selection in receiver.selections_at_start:
        if (why := problem(selection, connector)) is not None:
            say(f"not advertised: {why}", style="yellow")
    if not receiver.bound:
        say("No connector listens.", style="red")
        return
    _suggest(receiver)
    sys.stdout.flush()


def _suggest(receiver: Receiver) -> None:
    advertised = {(s.server, s.connector, s.verb) for _, s in receiver.selections_at_start if s.advertised}
    best = next(
        (
            b
            for b in receiver.bound
            if (b.server.name, b.connector.name, TlsVerb.X_ANONYMOUSTLS) in advertised
        ),
        receiver.bound[0],
    )
    target, port = str(best.binding), best.binding.port
    mail = "--from a@example.test --to b@contoso.test"
    say("Three commands to try:", style="bold")
    say(f"  swaks {mail} --pipe 'smtpd-anontls tunnel {target}'")
    say(f"  openssl s_client -connect {target} -starttls smtp -name client.test </dev/null")
    say(f"  smtpd-anontls probe {target}")
    say(f"Then: smtpd-anontls session list, message list, event list. Port {port} stays open until Ctrl-C.")


class _OneLine(logging.Formatter):
    """Time, level and a message without control characters; a traceback only for our own faults."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line = f"{self.formatTime(record, '%H:%M:%S')} {printable(record.getMessage())}"
        if record.exc_info:
            line += f"\n{self.formatException(record.exc_info)}"
        return line


def _set_up_logging() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine())
    log = logging.getLogger("smtpd_anontls")
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    # aiosmtpd writes a line for each session that says less than ours; asyncio complains of peers
    # that leave in the middle of TLS, which the record says better.
    logging.getLogger("mail.log").setLevel(logging.ERROR)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    with contextlib.suppress(AttributeError, ValueError):
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
