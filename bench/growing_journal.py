"""How the work of a journal grows with the messages in it: receiving, listing, searching, deleting.

    python -m bench.growing_journal [--most 1000000] [--json] [--write]

Fills one journal in a folder for temporary files, stops at each power of ten, and does each work there:
CPU time, so that other load of the machine counts little.  Receiving is what the journal does before the 250;
an idle receiver indexes afterwards.  With --write, pictures and table of README.md are made of it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.large_journal import add, make_searchable
from bench.machine import load_average, this_machine
from bench.publishing import publish_journal
from bench.results import Results
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
RECEIVING, INDEXING, DELETING = (
    f"{work}, µs a message" for work in ("receiving", "indexing for searches", "deleting")
)
QUESTIONS = {
    "listing, ms": Filter(),
    "many match a recipient, ms": Filter(recipient="*@older.test"),
    "few match a subject, ms": Filter(subject="urgent"),
    "nothing matches a header, ms": Filter(header="X-Origin: *.none.test"),
}


def measured(most: int) -> dict[str, list[tuple[int, float]]]:
    """Return for each work its figures, by the messages that there were."""
    works = (RECEIVING, INDEXING, DELETING, *QUESTIONS)
    figures: dict[str, list[tuple[int, float]]] = {name: [] for name in works}
    with tempfile.TemporaryDirectory(prefix="growing-journal-") as folder:
        file = SqliteFile(f"sqlite:///{folder}/capture.db")
        file.create()
        there = 0
        count = LEAST
        while count <= most:
            add(file, range(there, count), most)
            # Merging comes in lumps, so over all that were added.
            indexed = _cpu(lambda: make_searchable(file))
            figures[INDEXING].append((count, 1e6 * indexed / (count - there)))
            for name, wanted in QUESTIONS.items():
                figures[name].append((count, 1e3 * _median(lambda wanted=wanted: _ask(file, wanted))))  # type: ignore[misc]
            there = count + RECEIVED
            received = _cpu(lambda: add(file, range(count, there), most, group=TRANSACTION))  # noqa: B023
            figures[RECEIVING].append((count, 1e6 * received / RECEIVED))
            make_searchable(file)
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
    options.add_argument("--write", action="store_true", help="write README.md and its pictures")
    given = options.parse_args()
    began = time.monotonic()
    results = Results(this_machine(), ROUNDS, titles={})
    results.journal = measured(given.most)
    results.seconds = time.monotonic() - began
    begin, _ = results.machine.load_average
    results.machine = replace(results.machine, load_average=(begin, load_average()))
    if given.write:
        publish_journal(results)
    if given.json:
        print(json.dumps(results.journal))
        return
    counts = [count for count, _ in results.journal[RECEIVING]]
    print(f"{'work':38}" + "".join(f"{count:>12,}" for count in counts))
    for name, points in results.journal.items():
        print(f"{name:38}" + "".join(f"{value:12.1f}" for _, value in points))


if __name__ == "__main__":
    main()
