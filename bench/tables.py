"""Results as tables for a terminal and in Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.results import Spread, ratio

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.results import Cell, Results

REFERENCE = "stock"
# Senders that are this busy limit the rate: it says nothing of the server.
CLIENT_BOUND = 0.9

Table = list[list[str]]  # The first row is the head.


def work_table(results: Results, work: str) -> Table:
    """Return one work: a row for each server."""
    cells = results.works[work]
    reference = cells.get(REFERENCE)
    table = [["server", "CPU µs", "min..max", f"x {REFERENCE}", "per second", "p50 ms", "p99 ms"]]
    table += [_row(title, cells[name], reference) for name, title in results.titles.items() if name in cells]
    # What has no figure in any row has no column.
    columns = [column for column in zip(*table, strict=True) if any(column[1:])]
    if work.startswith("resumed/"):
        shares = (cells[name].resumed for name in results.titles if name in cells)
        columns.append(("resumed", *(f"{Spread.of(each).median:.0%}" if each else "" for each in shares)))
    return [list(row) for row in zip(*columns, strict=True)]


def _row(title: str, cell: Cell, reference: Cell | None) -> list[str]:
    cpu = Spread.of(cell.cpu_us)
    return [
        title,
        number(cpu.median),
        f"{number(cpu.low)}..{number(cpu.high)}",
        times(reference.cpu_us, cell.cpu_us) if reference else "",
        rate(cell),
        number(Spread.of(cell.p50_ms).median) if cell.p50_ms else "",
        number(Spread.of(cell.p99_ms).median) if cell.p99_ms else "",
    ]


def times(of: Sequence[float], to: Sequence[float]) -> str:
    """Return how many times dearer *of* is than *to*, as a table has it."""
    return f"{ratio(of, to).median:.2f}"


def rate(cell: Cell) -> str:
    """Return the rate by the wall clock, in brackets where the senders limited it."""
    text = number(Spread.of(cell.per_second).median)
    return f"({text})" if Spread.of(cell.busy).median >= CLIENT_BOUND else text


def number(figure: float) -> str:
    """Return *figure* with three digits that mean something."""
    if abs(figure) >= 100:  # noqa: PLR2004
        return f"{figure:,.0f}"
    return f"{figure:.1f}" if abs(figure) >= 10 else f"{figure:.2f}"  # noqa: PLR2004


def in_columns(table: Table) -> Iterator[str]:
    """Yield the lines of *table* for a terminal: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        first, *others = row
        cells = [
            first.ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)),
        ]
        yield "  ".join(cells).rstrip()


def in_markdown(table: Table) -> str:
    """Return *table* in Markdown."""
    head, *rows = ([cell.replace("|", "\\|") for cell in row] for row in table)
    line = "|---|" + "---:|" * (len(head) - 1)
    return "\n".join([_line(head), line, *map(_line, rows)])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
