"""What the commands that look at the journal share: the filters, and the journal itself."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, TypeVar

import click

from smtpd_anontls.cli.common import CommandError, Common, ExitCode
from smtpd_anontls.domain.filters import Filter
from smtpd_anontls.journal.errors import JournalError
from smtpd_anontls.journal.reader import JournalReader

if TYPE_CHECKING:
    from collections.abc import Callable

R = TypeVar("R")

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
            type=click.IntRange(1, 100_000),
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


def journal_of(common: Common) -> JournalReader:
    """Return the journal of this configuration, to be read."""
    return JournalReader(journal_url(common))


def reading(command: Callable[..., R]) -> Callable[..., R]:
    """Turn a journal that cannot be read into one line and exit code 3."""

    @functools.wraps(command)
    def wrapped(*arguments: Any, **options: Any) -> R:
        try:
            return command(*arguments, **options)
        except JournalError as error:
            raise CommandError(str(error), ExitCode.UNREACHABLE) from error

    return wrapped
