"""What a person or a program reads: tables and sentences that fit the terminal, or one JSON object a line.

Where output is no terminal nothing is wrapped or left out: a program or a file takes the whole line.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from smtpd_anontls.domain.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    Row = Sequence[str]

_GAP = "  "
# Columns whose words may wrap get no narrower than this, and sentences no narrower than that.
_NARROWEST_COLUMN = 20
_NARROWEST_SENTENCE = 24
# What a table shows where there is nothing to show.
NOTHING = "-"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table, and what becomes of it where the terminal is too narrow for all."""

    name: str
    leaves: int = 0  # The highest leaves first; 0 stays.
    wraps: bool = False  # Its words may go on in the next line.
    below: bool = False  # It is a text, which goes below its row.


def say(text: str = "", style: str = "", *, label: Text | str = "") -> None:
    """Print a sentence for a person behind *label*, wrapped at words; control characters of peers are escaped."""
    console = Console(highlight=False)
    head = label if isinstance(label, Text) else Text(printable(label))
    for line in text.split("\n"):
        for shown in _wrapped(console, printable(line), style, head):
            _print(console, shown)
        head = Text(" " * head.cell_len)


def say_verbatim(text: str, style: str = "") -> None:
    """Print lines that are to be copied, or that stand for themselves: none is wrapped."""
    console = Console(highlight=False)
    for line in text.split("\n"):
        _print(console, Text(printable(line), style=style))


def say_facts(facts: Iterable[tuple[str, str]], *, indent: str = "") -> None:
    """Print labels with their values, which begin in one column."""
    facts = list(facts)
    width = max((len(label) for label, _ in facts), default=0)
    for label, value in facts:
        say(value, label=f"{indent}{label:<{width}}{_GAP}")


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


def short_time(written: str) -> str:
    """Return an RFC 3339 instant in UTC as tables show it: ``2026-11-22 13:13:10``."""
    return written[:19].replace("T", " ")


def table(
    columns: Sequence[Column],
    rows: Iterable[Row],
    *,
    marks: Mapping[str, str] | None = None,
    otherwise: Callable[[], None] | None = None,
) -> None:
    """Print a table; a cell whose whole text is in *marks* gets that style.

    On a terminal that is too narrow, columns leave in their order, wrap, or go below their row; where
    that is not enough *otherwise* is called, or each row becomes a paragraph.
    """
    console = Console(highlight=False)
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(cell_len, (c.name, *(row[i] for row in cells)))) for i, c in enumerate(columns)]
    everything = range(len(columns))
    below: list[int] = []
    kept: Sequence[int] | None = everything
    if console.is_terminal and _total(widths, everything) > console.width:
        below = [i for i in everything if columns[i].below]
        kept = _fitting(columns, widths, [i for i in everything if i not in below], console.width)
    if kept is not None:
        shown = _shrunk(columns, widths, kept, console)
        _print_table(columns, cells, shown, marks=marks or {}, below=below)
    elif otherwise is not None:
        otherwise()
    else:
        _print_paragraphs(columns, cells)


def _wrapped(console: Console, line: str, style: str, head: Text) -> Iterable[Text]:
    """Yield *line* behind *head* in as many lines as it takes on a terminal, else as one."""
    if not console.is_terminal:
        return [Text.assemble(head, (line, style))]
    body = line.lstrip(" ")
    indent = " " * (len(line) - len(body))
    room = console.width - head.cell_len - len(indent)
    margin = head.cell_len + len(indent)
    if room < _NARROWEST_SENTENCE:
        # Behind such a label there is no room; the terminal breaks the line where it must.
        return [Text.assemble(head, (line, style))]
    pieces = Text(body, style=style).wrap(console, room)
    return [
        Text.assemble(head, indent, piece) if number == 0 else Text.assemble(" " * margin, piece)
        for number, piece in enumerate(pieces)
    ]


def _total(widths: Sequence[int], kept: Iterable[int]) -> int:
    taken = [widths[i] for i in kept]
    return sum(taken) + len(_GAP) * (len(taken) - 1)


def _fitting(
    columns: Sequence[Column], widths: Sequence[int], wanted: list[int], available: int
) -> list[int] | None:
    """Return which of the columns *wanted* fit side by side; None where not even those that stay do."""
    least = [
        min(width, _NARROWEST_COLUMN) if column.wraps else width
        for column, width in zip(columns, widths, strict=True)
    ]
    kept = list(wanted)
    while _total(least, kept) > available:
        first = max(kept, key=lambda i: columns[i].leaves)
        if columns[first].leaves == 0:
            return None
        kept.remove(first)
    return kept


def _shrunk(
    columns: Sequence[Column], widths: Sequence[int], kept: Sequence[int], console: Console
) -> dict[int, int]:
    """Return the width of each column that is kept; on a terminal those that wrap give way, the widest first."""
    given = {i: widths[i] for i in kept}
    if console.is_terminal:
        wrapping = [i for i in kept if columns[i].wraps]
        while wrapping and _total(widths=list(given.values()), kept=range(len(given))) > console.width:
            given[max(wrapping, key=lambda i: given[i])] -= 1
    return given


def _print_table(
    columns: Sequence[Column],
    cells: Sequence[Row],
    widths: Mapping[int, int],
    *,
    marks: Mapping[str, str],
    below: Sequence[int],
) -> None:
    console = Console(highlight=False)

    def row_of(texts: Row, style_of: Callable[[str], str]) -> None:
        parts = [
            Text(texts[i], style=style_of(texts[i])).wrap(console, width)
            if cell_len(texts[i]) > width
            else [Text(texts[i], style=style_of(texts[i]))]
            for i, width in widths.items()
        ]
        for number in range(max(map(len, parts))):
            line = Text()
            for part, width in zip(parts, widths.values(), strict=True):
                piece = part[number] if number < len(part) else Text()
                piece.rstrip()
                line.append_text(piece)
                line.append(" " * (width - piece.cell_len) + _GAP)
            _print(console, line)

    row_of([column.name for column in columns], lambda _: "bold")
    for row in cells:
        row_of(row, lambda text: marks.get(text, ""))
        for i in below:
            say(row[i], label=_GAP)


def _print_paragraphs(columns: Sequence[Column], cells: Iterable[Row]) -> None:
    for number, row in enumerate(cells):
        if number:
            say()
        shown = zip(columns, row, strict=True)
        say_facts((column.name, text) for column, text in shown if text not in {"", NOTHING})


def _print(console: Console, line: Text) -> None:
    line.rstrip()
    console.print(line, soft_wrap=True)
