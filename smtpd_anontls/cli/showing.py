"""A selection for people: its steps, one a line, and what it would write."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from smtpd_anontls.cli.output import say
from smtpd_anontls.domain.events import CATALOGUE

if TYPE_CHECKING:
    from smtpd_anontls.selection.outcome import Selection


def say_steps(selection: Selection) -> None:
    """Print every step of a selection."""
    for step in selection.steps:
        say_step(step.step, step.detail, passed=step.passed)


def say_step(name: str, detail: str, *, passed: bool) -> None:
    """Print one step: the answer to its question, its name, its sentence."""
    style = "" if passed else "yellow"
    say(detail, style=style, label=Text(f"  {'yes' if passed else 'no':<5}{name:<19}", style=style))


def say_events(selection: Selection) -> None:
    """Print the events of a selection, with their texts."""
    for draft in selection.events:
        kind = CATALOGUE[draft.event_id]
        say(f"event {kind.event_id.value} ({kind.level.value}): {kind.message(draft.inserts)}", label="  => ")
