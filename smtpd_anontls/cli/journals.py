"""What the commands that look at the journal share: the filters, and the journal itself."""

from __future__ import annotations

import functools
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from smtpd_anontls.cli.common import CommandError, Common, ExitCode
from smtpd_anontls.cli.groups import COMMON, Option, WholeNumber
from smtpd_anontls.domain.filters import Filter
from smtpd_anontls.journal import following
from smtpd_anontls.journal.errors import JournalError
from smtpd_anontls.journal.purge import purge
from smtpd_anontls.journal.reader import JournalReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from smtpd_anontls.cli.remote import RemoteJournal
    from smtpd_anontls.domain.records import Json

R = TypeVar("R")


class RefusedError(Exception):
    """The receiver that is asked does not take the question; its own sentence says why."""


_PLACE_FILTERS = (
    ("server", "Only of this server."),
    ("connector", "Only of this connector."),
    ("session", "Only of this session."),
    ("since", "From this time on, or after this id."),
)
SESSION_FILTERS = (
    *_PLACE_FILTERS,
    ("outcome", "Only with this outcome."),
    ("remote", "Peer address; * allowed."),
)
EVENT_FILTERS = (*_PLACE_FILTERS, ("event-id", "Only with this event id, such as 12015."))
MESSAGE_FILTERS = (
    *_PLACE_FILTERS,
    ("run", "Only of this run."),
    ("sender", "Sender, in any case; * stands for anything."),
    ("recipient", "Recipient, in any case; * stands for anything."),
    ("subject", "Part of the subject."),
    ("header", "A header, as 'Name: value'; * stands for anything in the value."),
)


def filtered(
    *filters: tuple[str, str], numbered: bool = True, limited: bool = True
) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """Give a command filters, of which it receives a Filter, and ``--limit`` where it is *limited*.

    Its ids are numbers or not.
    """

    def decorate(command: Callable[..., R]) -> Callable[..., R]:
        @functools.wraps(command)
        def wrapped(common: Common, **options: Any) -> R:
            terms = {name: options.pop(name.replace("-", "_")) for name, _ in filters}
            try:
                wanted = Filter.read({name.replace("-", "_"): text for name, text in terms.items()})
                if numbered:
                    wanted.since_number()
            except ValueError as error:
                # It begins with the name of the term, which the option writes with a hyphen.
                term, colon, why = str(error).partition(":")
                raise CommandError(f"--{term.replace('_', '-')}{colon}{why}", ExitCode.BAD_USAGE) from error
            return command(common, wanted=wanted, **options)

        result: Callable[..., R] = wrapped
        for name, explanation in reversed(filters):
            result = click.option(f"--{name}", metavar="TEXT", help=explanation)(result)
        if not limited:
            return result
        limit = click.option(
            "--limit",
            type=WholeNumber(1, 100_000),
            default=50,
            show_default=True,
            metavar="N",
            help="How many at most.",
        )
        return limit(result)

    return decorate


def journal_url(common: Common) -> str:
    """Return where the journal of this configuration is."""
    url = common.load().settings.capture.url
    if url is None:
        raise CommandError(
            "capture.url is null: this receiver keeps its last sessions and events in memory only",
            ExitCode.UNREACHABLE,
        )
    return url


class LocalJournal(JournalReader):
    """The journal of this configuration, for the commands."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._url = url

    def ended_sessions(self, wanted: Filter) -> Iterator[Json]:
        """Yield, without end, the sessions that *wanted* takes as they end; those of before only where it says since."""
        return following.finished_sessions(self, wanted)

    def coming_events(self, wanted: Filter) -> Iterator[Json]:
        """Yield, without end, the events that *wanted* takes as they come; those of before only where it says since."""
        return following.events(self, wanted)

    def wait(self, wanted: Filter, *, count: int, limit: int, timeout: float) -> list[Json]:
        """Return up to *limit* messages that *wanted* takes once there are *count*, or after *timeout* seconds."""
        return following.wait_for_messages(self, wanted, count=count, limit=limit, timeout=timeout)

    def purge(self, wanted: Filter, *, until: datetime | None = None) -> int:
        """Remove the messages that *wanted* takes, taken before *until* where it is given, and return how many."""
        return purge(self._url, wanted, until=until)


def journal_of(common: Common) -> LocalJournal | RemoteJournal:
    """Return the journal of this configuration, or of the running receiver that is to be asked."""
    if common.url is None:
        return LocalJournal(journal_url(common))
    # Here, since most commands are asked about the journal beside them.
    from smtpd_anontls.cli.remote import RemoteJournal  # noqa: PLC0415

    try:
        return RemoteJournal(common.url, os.environ.get("SMTPD_ANONTLS_TOKEN"), common.ca_file)
    except ValueError as error:
        raise CommandError(str(error), ExitCode.BAD_USAGE) from None


def reading(command: Callable[..., R]) -> Callable[..., R]:
    """Give a command ``--url``, and turn a journal that cannot be read into one line and exit code 3."""

    @click.option(
        "--url",
        envvar="SMTPD_ANONTLS_URL",
        metavar="URL",
        help="Ask the receiver whose page is there, instead of the journal. $SMTPD_ANONTLS_TOKEN is its token.",
        cls=Option,
        heading=COMMON,
    )
    @click.option(
        "--ca-file",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="With an https URL: believe these certificates, in PEM form. Default: those of the system.",
        cls=Option,
        heading=COMMON,
    )
    @functools.wraps(command)
    def wrapped(common: Common, *, url: str | None, ca_file: Path | None, **options: Any) -> R:
        try:
            return command(replace(common, url=url or None, ca_file=ca_file), **options)
        except JournalError as error:
            raise CommandError(str(error), ExitCode.UNREACHABLE) from error
        except RefusedError as error:
            raise CommandError(str(error), ExitCode.BAD_USAGE) from error

    return wrapped
