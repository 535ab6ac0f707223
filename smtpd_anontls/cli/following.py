"""``session tail``, ``event tail``, ``message wait`` and ``message purge``: what comes, and what is to go."""

from __future__ import annotations

import contextlib
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from smtpd_anontls.cli.common import CommandError, Common, ExitCode, common_options
from smtpd_anontls.cli.groups import Command, Number, WholeNumber
from smtpd_anontls.cli.history import MARKS, event, message, session, show_messages, tls_in_short
from smtpd_anontls.cli.journals import (
    EVENT_FILTERS,
    MESSAGE_FILTERS,
    SESSION_FILTERS,
    filtered,
    journal_of,
    reading,
)
from smtpd_anontls.cli.output import NOTHING, diagnose, say, say_json, short_time
from smtpd_anontls.domain.filters import EVERYTHING
from smtpd_anontls.settings.parsers import duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from smtpd_anontls.domain.filters import Filter

__all__ = ["event", "message", "session"]


class Age(click.ParamType[datetime]):
    """An age, written as the configuration writes a span of time; its value is the instant so long ago."""

    name = "age"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return the instant."""
        written: object = value
        with contextlib.suppress(ValueError):
            written = float(str(value))
        try:
            return datetime.now(UTC) - timedelta(seconds=duration()(written))
        except ValueError as error:
            self.fail(str(error), param, ctx)
        except OverflowError:
            self.fail(f"{value!r} is out of range; nothing is that old", param, ctx)


@session.command("tail", cls=Command)
@common_options
@filtered(*SESSION_FILTERS, numbered=False, limited=False)
@reading
def tail_sessions(common: Common, *, wanted: Filter) -> None:
    """Show sessions as they end, until Ctrl-C; with --since those of before, too."""
    _show_as_they_come(common, journal_of(common).ended_sessions(wanted), _show_session)


@event.command("tail", cls=Command)
@common_options
@filtered(*EVENT_FILTERS, limited=False)
@reading
def tail_events(common: Common, *, wanted: Filter) -> None:
    """Show events as they come, until Ctrl-C; with --since those of before, too."""
    _show_as_they_come(common, journal_of(common).coming_events(wanted), _show_event)


def _show_as_they_come(
    common: Common, items: Iterator[dict[str, Any]], show: Callable[[dict[str, Any]], None]
) -> None:
    diagnose("following; Ctrl-C ends it")
    with contextlib.suppress(KeyboardInterrupt):
        for item in items:
            if common.as_json:
                say_json(item)
            else:
                show(item)
            sys.stdout.flush()


def _show_session(each: dict[str, Any]) -> None:
    count = len(each["messages"])
    parts = (
        short_time(each["ended"] or each["started"]),
        each["id"],
        each["connector"] or NOTHING,
        each["remote"],
        tls_in_short(each) if each["tls"] else NOTHING,
        f"{count} message{'' if count == 1 else 's'}",
        each["outcome"],
    )
    say("  ".join(parts), style=MARKS.get(each["outcome"], ""))


def _show_event(each: dict[str, Any]) -> None:
    parts = (
        short_time(each["time"]),
        each["level"],
        str(each["event_id"]),
        each["server"] or NOTHING,
        each["connector"] or NOTHING,
        each["session_id"] or "at start",
    )
    say("  ".join(parts), style=MARKS.get(each["level"], ""))
    say(each["message"], label="  ")


@message.command("wait", cls=Command)
@click.option(
    "--count",
    type=WholeNumber(1, 100_000),
    default=1,
    show_default=True,
    metavar="N",
    help="How many must come.",
)
@click.option(
    "--timeout",
    type=Number(0),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait; 0 only looks.",
)
@common_options
@filtered(*MESSAGE_FILTERS)
@reading
def wait_for_messages(common: Common, *, wanted: Filter, limit: int, count: int, timeout: float) -> None:
    """Wait until there are so many messages, and list them; exit code 1 where they do not come in time.

    Those that are there already count: --since and --run leave them out.
    """
    found = journal_of(common).wait(wanted, count=count, limit=limit, timeout=timeout)
    show_messages(found, as_json=common.as_json)
    if len(found) < count:
        raise CommandError(
            f"{len(found)} of {count} messages within {timeout:g} seconds", ExitCode.NOT_AS_IT_SHOULD_BE
        )


@message.command("purge", cls=Command)
@click.option(
    "--older-than",
    "until",
    type=Age(),
    metavar="AGE",
    help="Only messages older than this: 7d, 12h, 01:30:00.",
)
@click.option("--yes", is_flag=True, help="Do not ask before all messages are removed.")
@common_options
@filtered(*MESSAGE_FILTERS, limited=False)
@reading
def purge_messages(common: Common, *, wanted: Filter, until: datetime | None, yes: bool) -> None:
    """Remove messages; without a filter all of them, and then it asks.  A receiver may run meanwhile."""
    journal = journal_of(common)
    if wanted == EVERYTHING and until is None and not (yes or _confirmed()):
        raise CommandError("nothing was removed", ExitCode.NOT_AS_IT_SHOULD_BE)
    removed = journal.purge(wanted, until=until)
    if common.as_json:
        say_json({"removed": removed})
    else:
        say(f"{removed} message{'' if removed == 1 else 's'} removed.")


def _confirmed() -> bool:
    if not sys.stdin.isatty():
        raise CommandError(
            "this would remove all messages; say --yes where nobody can be asked, or narrow it with a filter",
            ExitCode.BAD_USAGE,
        )
    return click.confirm("Remove all messages?", default=False, err=True)
