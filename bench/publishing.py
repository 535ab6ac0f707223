"""Writing a run into README.md and docs: tables, pictures, and the figures themselves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bench.chart import Bar, Group, Line, bar_chart, line_chart
from bench.report import OVERVIEW, document_of, journal_of, readme_of
from bench.results import Spread, ratio, to_json
from bench.tables import number

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bench.results import Results

ROOT = Path(__file__).parents[1]
RESULTS = "docs/performance.json"
BEGIN = "<!-- The measurements begin; `make bench` writes them. -->"
END = "<!-- The measurements end. -->"
JOURNAL_BEGIN = "<!-- The growth of the journal begins; `make bench` and `python -m bench.growing_journal --write` write it. -->"
JOURNAL_END = "<!-- The growth of the journal ends. -->"
# Each unit has an axis, and so a picture, of its own.
_JOURNALS = {
    "docs/images/journal-writing.svg": (
        "µs a message",
        "Receiving into and deleting from a large journal",
    ),
    "docs/images/journal-asking.svg": ("ms", "Listing and searching a large journal"),
}
_COLOURS = {"receiver": "a", "receiver-logged": "b", "receiver-durable": "c"}


def publish(results: Results, root: Path = ROOT) -> None:
    """Write everything below *root*, which is the project's folder."""
    readme = root / "README.md"
    readme.write_text(rewritten(readme.read_text("utf-8"), results), "utf-8")
    _write(files_of(results), root)
    if results.journal:
        publish_journal(results, root)


def publish_journal(results: Results, root: Path = ROOT) -> None:
    """Write what *results* says of the journal alone: README.md's part of it, and the pictures."""
    readme = root / "README.md"
    text = _between(
        readme.read_text("utf-8"), JOURNAL_BEGIN, JOURNAL_END, journal_of(results, list(_JOURNALS))
    )
    readme.write_text(text, "utf-8")
    _write(
        {
            name: line_chart(title, "messages in the journal", f"CPU, {unit}", list(_lines(results, unit)))
            for name, (unit, title) in _JOURNALS.items()
        },
        root,
    )


def _write(files: Mapping[str, str], root: Path) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")


def _lines(results: Results, unit: str) -> Iterator[Line]:
    """Yield the line of each work of the journal that is measured in *unit*."""
    for work, points in results.journal.items():
        if work.endswith(unit):
            yield Line(work.removesuffix(unit).rstrip(", "), points)


def files_of(results: Results) -> Mapping[str, str]:
    """Return what is written beside README.md, by its place in the project."""
    files = {
        RESULTS: to_json(results) + "\n",
        "docs/performance.md": document_of(results),
        "docs/images/performance.svg": bar_chart(
            "Server CPU per message",
            "µs, less is better; in brackets how many times as cheap as stock aiosmtpd",
            list(_groups(results)),
        ),
    }
    if results.growth:
        lines = [
            Line(results.titles[name], [(count, Spread.of(us).median) for count, us in by_count.items()])
            for name, by_count in results.growth.items()
        ]
        files["docs/images/sessions.svg"] = line_chart(
            "Cost of a message by sessions that send at once", "sessions", "server CPU µs, 1 KB", lines
        )
    return files


def rewritten(readme: str, results: Results) -> str:
    """Return *readme* with the measurements as they have to be."""
    return _between(readme, BEGIN, END, readme_of(results))


def _between(readme: str, begin: str, end: str, text: str) -> str:
    """Return *readme* with *text* between the lines *begin* and *end*."""
    before, found, rest = readme.partition(begin)
    _, found_end, after = rest.partition(end)
    if not (found and found_end):
        raise ValueError(f"README.md has no lines {begin!r} and {end!r}")
    return f"{before}{begin}\n\n{text}\n\n{end}{after}"


def _groups(results: Results) -> Iterator[Group]:
    for work, title in OVERVIEW.items():
        cells = results.works.get(work, {})
        stock = cells.get("stock")
        bars = []
        for name in results.titles:
            if (cell := cells.get(name)) is not None:
                median = Spread.of(cell.cpu_us).median
                against = f" ({ratio(stock.cpu_us, cell.cpu_us).median:.1f}x)" if stock else ""
                bars.append(
                    Bar(
                        _label(results.titles[name]),
                        median,
                        f"{number(median)}{against}",
                        _COLOURS.get(name, "other"),
                    )
                )
        if bars:
            yield Group(title, bars)


def _label(title: str) -> str:
    """Return what a bar is called: the receiver without its version, which is that of this page."""
    program, comma, records = title.partition(", ")
    return f"{program.split()[0]}, {records}" if comma and program.startswith("smtpd-anontls") else title
