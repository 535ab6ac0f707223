"""What a person or a program reads: tables, or one JSON object a line."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from smtpd_anontls.domain.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# Where output is no terminal nothing is wrapped: a program or a file takes the whole line.
_WIDE = 100_000


def _console() -> Console:
    # rich honours NO_COLOR and asks whether stdout is a terminal.
    console = Console(highlight=False, soft_wrap=False)
    return console if console.is_terminal else Console(highlight=False, width=_WIDE)


def say(text: str = "", style: str = "") -> None:
    """Print a line for a person; control characters of peers are escaped."""
    _console().print(Text("\n".join(printable(line) for line in text.split("\n")), style=style))


def say_json(document: Any) -> None:
    """Print one JSON document on one line; ASCII only, so that no terminal is driven by it."""
    sys.stdout.write(json.dumps(document) + "\n")


def say_json_lines(items: Iterable[Any]) -> None:
    """Print one object a line."""
    for item in items:
        say_json(item)


def diagnose(text: str) -> None:
    """Print a line about the work itself, on stderr."""
    sys.stderr.write(f"{printable(text)}\n")
    sys.stderr.flush()


def table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, marks: dict[str, str] | None = None
) -> None:
    """Print a table with *columns*; a cell whose whole text is in *marks* gets that style."""
    console = _console()
    shown = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        shown.add_column(column, overflow="fold", no_wrap=not console.is_terminal)
    for row in rows:
        shown.add_row(*(Text(printable(cell), style=(marks or {}).get(cell, "")) for cell in row))
    console.print(shown)
