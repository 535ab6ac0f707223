"""How the work of a journal grows with the messages in it: receiving, listing, searching, deleting.

    python -m bench.growing_journal [--most 1000000] [--json] [--svg FILE]

Fills one journal in a folder for temporary files, stops at each power of ten, and does each work there:
CPU time, so that other load of the machine counts little.  Receiving includes making searchable.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench.chart import Line, line_chart
from bench.large_journal import add
from smtpd_anontls.domain.filters import Filter
from smtpd_anontls.journal import queries
from smtpd_anontls.journal.sqlite import SqliteFile
from smtpd_anontls.journal.sweep import BATCH_ROWS, forget_messages

if TYPE_CHECKING:
    from collections.abc import Callable

LEAST = 1000
ROUNDS = 5
RECEIVED = 2000
TRANSACTION = 50  # Messages that share a sync while many senders push.

# The unit is behind the name: per message, or per question.
RECEIVING, DELETING = "receiving, us a message", "deleting, us a message"
QUESTIONS = {
    "listing, ms": Filter(),
    "many match a recipient, ms": Filter(recipient="*@older.test"),
    "few match a subject, ms": Filter(subject="urgent"),
    "nothing matches a header, ms": Filter(header="X-Origin: *.none.test"),
}


def measured(most: int) -> dict[str, list[tuple[int, float]]]:
    """Return for each work its figures, by the messages that there were."""
    figures: dict[str, list[tuple[int, float]]] = {name: [] for name in (RECEIVING, DELETING, *QUESTIONS)}
    with tempfile.TemporaryDirectory(prefix="growing-journal-") as folder:
        file = SqliteFile(f"sqlite:///{folder}/capture.db")
        file.create()
        there = 0
        count = LEAST
        while count <= most:
            add(file, range(there, count), most)
            for name, wanted in QUESTIONS.items():
                figures[name].append((count, 1e3 * _median(lambda wanted=wanted: _ask(file, wanted))))  # type: ignore[misc]
            there = count + RECEIVED
            received = _cpu(lambda: add(file, range(count, there), most, group=TRANSACTION))  # noqa: B023
            figures[RECEIVING].append((count, 1e6 * received / RECEIVED))
            figures[DELETING].append((count, 1e6 * _cpu(lambda: _delete(file)) / BATCH_ROWS))
            count *= 10
        file.close()
    return figures


def _ask(file: SqliteFile, wanted: Filter) -> None:
    with file.reading() as connection:
        queries.list_messages(connection, wanted, 50, None)


def _delete(file: SqliteFile) -> None:
    with file.writing() as connection:
        upto = queries.position(connection).message
        oldest = queries.sizes_of_messages(
            connection, Filter(), after=0, upto=upto, until=None, limit=BATCH_ROWS
        )
        forget_messages(connection, dict(oldest))


def _median(work: Callable[[], None]) -> float:
    return statistics.median(_cpu(work) for _ in range(ROUNDS))


def _cpu(work: Callable[[], None]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def main() -> None:
    """Measure, and print a table or JSON."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--most", type=int, default=1_000_000)
    options.add_argument("--json", action="store_true")
    options.add_argument("--svg", type=Path)
    given = options.parse_args()
    figures = measured(given.most)
    if given.svg:
        lines = [Line(name, points) for name, points in figures.items() if name.endswith("ms")]
        chart = line_chart("Asking a large journal", "messages in the journal", "CPU, ms", lines)
        given.svg.write_text(chart, encoding="utf-8")
    if given.json:
        print(json.dumps(figures))
        return
    counts = [count for count, _ in figures[RECEIVING]]
    print(f"{'work':30}" + "".join(f"{count:>12,}" for count in counts))
    for name, points in figures.items():
        print(f"{name:30}" + "".join(f"{value:12.1f}" for _, value in points))


if __name__ == "__main__":
    main()
