"""How the command line explains itself: commands and options under headings, and the name that was meant."""

from __future__ import annotations

import difflib
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Mapping


COMMON = "Options of every command"
_LONGEST_SENTENCE = 200  # Of a command's help in the list of commands; it wraps, and nothing is cut off.


class OneOf(click.ParamType[str]):
    """One of several words, in any case; the value has the spelling that stands here."""

    name = "word"

    def __init__(self, *words: str) -> None:
        self._words = words

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:  # noqa: ARG002 - click's signature
        """Return what the help shows in the place of a value."""
        return "|".join(self._words)

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the word that is meant."""
        found = [word for word in self._words if word.casefold() == str(value).casefold()]
        if not found:
            self.fail(f"{value!r} is not one of {', '.join(self._words)}", param, ctx)
        return found[0]


class WholeNumber(click.IntRange):
    """A whole number within bounds, which a mistake calls so and not an integer range."""

    name = "whole number"


class Number(click.FloatRange):
    """A number within bounds, in the same way."""

    name = "number"


class CommandGroup(click.Group):
    """A group whose commands stand in their own order, under headings; a misspelt one is told the nearest."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._headings: dict[str, str] = {}
        self._homes: dict[str, str] = {}

    def add_under(self, heading: str, homes: Mapping[str, str]) -> None:
        """Add commands by name, each with its ``module:attribute``, which the help shows under *heading*.

        A command's module is imported when the command is asked for: ``probe`` and ``tunnel`` need
        neither a database nor a server, and start in half the time.
        """
        self._homes.update(homes)
        self._headings.update(dict.fromkeys(homes, heading))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command, imported now where it has not been yet."""
        if cmd_name in self._homes and cmd_name not in self.commands:
            module, _, attribute = self._homes[cmd_name].partition(":")
            self.add_command(getattr(import_module(module), attribute), cmd_name)
        return super().get_command(ctx, cmd_name)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names in the order in which the commands were added."""
        return [*self._homes, *(name for name in self.commands if name not in self._homes)]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is meant."""
        name = args[0]
        known = self.list_commands(ctx)
        if name not in known and not name.startswith("-") and not ctx.resilient_parsing:
            near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            ctx.fail(f"No such command {name!r}.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands, with one sentence each."""
        commands = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        width = max(map(len, commands), default=0)
        sections: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            line = (f"{name:<{width}}", self.commands[name].get_short_help_str(_LONGEST_SENTENCE))
            sections.setdefault(self._headings.get(name, "Commands"), []).append(line)
        for heading, lines in sections.items():
            with formatter.section(heading):
                formatter.write_dl(lines)


class Option(click.Option):
    """An option that stands under a heading of its own in the help."""

    def __init__(self, *arguments: Any, heading: str | None = None, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.heading = heading


class Command(click.Command):
    """A command whose options stand under their headings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options."""
        sections: dict[str, list[tuple[str, str]]] = {"Options": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            # Arguments stand in the usage line.
            if isinstance(parameter, click.Option) and record is not None:
                heading = getattr(parameter, "heading", None) or "Options"
                sections.setdefault(heading, []).append(record)
        # What every command takes, --help among it, is the least news.
        sections.setdefault(COMMON, []).extend(each for each in sections["Options"] if "--help" in each[0])
        sections["Options"] = [each for each in sections["Options"] if "--help" not in each[0]]
        sections[COMMON] = sections.pop(COMMON)
        for heading, records in sections.items():
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)
