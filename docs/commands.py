"""The options of the commands in README.md, written from the commands themselves: ``make reference``."""

# ruff: noqa: INP001 - beside the package, not in it

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from smtpd_anontls.cli import main
from smtpd_anontls.cli.groups import COMMON
from smtpd_anontls.domain.connectors import ReceiveConnector

if TYPE_CHECKING:
    from collections.abc import Iterator

README = Path(__file__).parents[1] / "README.md"
BEGIN = "<!-- The options begin; `make reference` writes them from the commands. -->"
END = "<!-- The options end. -->"

_PROPERTIES = frozenset(ReceiveConnector.__dataclass_fields__)


def commands(group: click.Group = main, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Yield every command that does something, by the words that call it."""
    context = click.Context(group)
    for name in group.list_commands(context):
        words, command = (*path, name), group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command, words)
        elif command is not None:
            yield " ".join(words), command


def options_of(command: click.Command) -> list[click.Option]:
    """Return the options that are a command's own: no common ones, no properties of a connector."""
    every = [each for each in command.params if isinstance(each, click.Option)]
    return [
        each for each in every if getattr(each, "heading", None) != COMMON and each.name not in _PROPERTIES
    ]


def reference() -> str:
    """Return a table of all options, each with the commands that take it and its meaning."""
    takers: dict[tuple[str, str], list[str]] = {}
    for words, command in commands():
        for each in options_of(command):
            takers.setdefault((_written(each), _meaning(each)), []).append(f"`{words}`")
    rows = [
        f"| `{_cell(option)}` | {', '.join(words)} | {_cell(meaning)} |"
        for (option, meaning), words in takers.items()
    ]
    properties = "| `--auth-mechanism WORD,...` and so on | `connector set` | Any property of a connector. |"
    return "\n".join(["| Option | Of | Meaning |", "|---|---|---|", *rows, properties]) + "\n"


def rewritten(readme: str) -> str:
    """Return *readme* with the table as the commands are now; ValueError where it has no place for it."""
    before, begin, rest = readme.partition(f"{BEGIN}\n")
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"README.md has no lines {BEGIN!r} and {END!r} around the options")
    return f"{before}{begin}\n{reference()}\n{end}{after}"


def _written(option: click.Option) -> str:
    return (
        option.opts[0] if option.is_flag else f"{option.opts[0]} {option.make_metavar(click.Context(main))}"
    )


def _meaning(option: click.Option) -> str:
    default = f" Default: {option.default}." if option.show_default and not option.is_flag else ""
    return f"{option.help or ''}{default}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*")


if __name__ == "__main__":
    README.write_text(rewritten(README.read_text(encoding="utf-8")), encoding="utf-8")
