"""Results in words: for a terminal, for README.md, and at length for docs/performance.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.reach import in_words, reach
from bench.results import Spread
from bench.tables import in_columns, in_markdown, number, rate, times, work_table
from bench.works import works

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bench.results import Held, Results
    from bench.tables import Table

# The works of the overview, and what they are called there.
OVERVIEW = {
    "1kb-100/plain/data": "1 KB, 100 per connection",
    "1kb-1/plain/data": "1 KB, 1 per connection",
    "50kb/plain/data": "50 KB",
    "5mb/plain/data": "5 MB",
}
_SECURE = {
    "handshake/starttls-rsa": "`STARTTLS`, RSA-2048",
    "handshake/starttls-p256": "`STARTTLS`, P-256",
    "handshake/anonymoustls-rsa": "`X-ANONYMOUSTLS`, RSA-2048",
    "handshake/anonymoustls-p256": "`X-ANONYMOUSTLS`, P-256",
}


def text_of(results: Results) -> str:
    """Return all of it for a terminal."""
    lines: list[str] = []
    for title, table in _tables(results):
        lines += [title, *(f"  {line}" for line in in_columns(table)), ""]
    lines += [f"not measured: {name}: {why}" for name, why in results.missing.items()]
    return "\n".join([*lines, facts(results)])


def document_of(results: Results) -> str:
    """Return the text of docs/performance.md."""
    parts = [
        "# Performance, in full",
        "`make bench` writes this file; README.md says what is measured, and how.",
        f"{facts(results)}.",
        *(f"Not measured: {name}: {why}." for name, why in results.missing.items()),
        (
            "Figures are medians of the rounds; `x stock` is the median of the ratios within each round.\n"
            "A rate in brackets was limited by the senders."
        ),
    ]
    for title, table in _tables(results):
        parts += [f"## {title}", in_markdown(table)]
    return "\n\n".join(parts) + "\n"


def readme_of(results: Results) -> str:
    """Return what stands in README.md: the overview, the handshakes, many sessions and the reach."""
    many = [
        "![CPU time of a message of 1 KB, by the sessions that send at once](docs/images/sessions.svg)",
        "Memory of sessions that are held, and what some of them then sent:",
        in_markdown(_memory(results)),
    ]
    parts = [
        "![Server CPU per message, the receiver beside its peers](docs/images/performance.svg)",
        "Server CPU per message in µs, and in brackets how many times as cheap that is as stock aiosmtpd:",
        in_markdown(overview(results)),
        "A whole session of connect, EHLO, full TLS 1.2 handshake, EHLO and QUIT, server CPU in µs:",
        in_markdown(handshakes(results)),
        *(many if results.growth and results.held else []),
        "What was to be reached, and what was:",
        in_markdown(reach_table(results)),
        *(f"Not measured: {name}: {why}." for name, why in results.missing.items()),
        (
            f"{facts(results)}.\n"
            "[All works, rates and rounds](docs/performance.md); [the figures as JSON](docs/performance.json)."
        ),
    ]
    return "\n\n".join(parts)


def journal_of(results: Results, pictures: Iterable[str]) -> str:
    """Return what stands in README.md about the growth of the journal."""
    return "\n\n".join(
        [
            "CPU time of the journal's work, by the messages of 1 KB with four header fields that it holds:",
            *(f"![The table below, as lines]({picture})" for picture in pictures),
            in_markdown(_journal(results)),
            f"{facts(results)}.",
        ]
    )


def overview(results: Results) -> Table:
    """Return a row for each server and a column for each kind of mail."""
    columns = {name: title for name, title in OVERVIEW.items() if results.works.get(name)}
    rows = [["server", *columns.values()]]
    for name, title in results.titles.items():
        row = [title]
        for work in columns:
            cells = results.works[work]
            if (cell := cells.get(name)) is None:
                row.append("")
                continue
            stock = cells.get("stock")
            against = f" ({times(stock.cpu_us, cell.cpu_us)}x)" if stock else ""
            row.append(f"{number(Spread.of(cell.cpu_us).median)}{against}")
        if any(row[1:]):
            rows.append(row)
    return rows


def handshakes(results: Results) -> Table:
    """Return a row for each server and a column for each verb and key."""
    columns = {name: title for name, title in _SECURE.items() if results.works.get(name)}
    rows = [["server", *columns.values()]]
    for name, title in results.titles.items():
        cells = [results.works[work].get(name) for work in columns]
        if any(cells):
            rows.append([title, *(number(Spread.of(cell.cpu_us).median) if cell else "" for cell in cells)])
    return rows


def reach_table(results: Results) -> Table:
    """Return the targets with what was reached."""
    head = ["work", "target", "reached (rounds)", "met"]
    return [
        head,
        *([each.work, each.target, each.reached, "yes" if each.met else "no"] for each in reach(results)),
    ]


def _tables(results: Results) -> Iterator[tuple[str, Table]]:
    """Yield every table that the run has figures for, with its title."""
    for each in works():
        if results.works.get(each.name):
            yield (
                f"{each.name}: {each.title}, CPU per {each.unit}, {_rounds(results, each.name)}",
                work_table(results, each.name),
            )
    if results.growth:
        yield "CPU µs per message of 1 KB, by sessions that send at once", _growth(results)
    if results.held:
        yield "Memory of sessions that are held", _memory(results)
    if results.journal:
        yield "CPU time of the journal's work, by the messages that it holds", _journal(results)
    if results.workers:
        yield "Worker processes, 1 KB, 100 per connection, on all CPUs", _workers(results)
    if results.selection_us:
        yield (
            "Both selections of a session, embedded directory, certificates loaded",
            [
                ["", "CPU"],
                ["as a session has them", in_words(Spread.of(results.selection_us), " µs")],
                ["run anew", in_words(Spread.of(results.selection_anew_us), " µs")],
            ],
        )
    if rows := reach_table(results)[1:]:
        yield "What was to be reached", [reach_table(results)[0], *rows]


def _rounds(results: Results, work: str) -> str:
    count = max(len(cell.cpu_us) for cell in results.works[work].values())
    return f"{count} round{'s' if count > 1 else ''}"


def _growth(results: Results) -> Table:
    counts = sorted({count for by_count in results.growth.values() for count in by_count})
    rows = [["server", *(f"{count:,}" for count in counts)]]
    for name, by_count in results.growth.items():
        medians = (number(Spread.of(by_count[count]).median) if count in by_count else "" for count in counts)
        rows.append([results.titles[name], *medians])
    return rows


def _memory(results: Results) -> Table:
    head = ["server", "sessions", "TLS", "MiB before", "MiB with them", "MiB per 1,000", "then sent"]
    return [head, *([results.titles[held.server], *_memory_of(held)] for held in results.held)]


def _memory_of(held: Held) -> list[str]:
    return [
        f"{held.sessions:,}",
        held.tls or "",
        f"{held.before / 2**20:.1f}",
        f"{held.resident / 2**20:.1f}",
        f"{held.mib_per_thousand:.1f}",
        f"{held.messages:,} messages by {held.active:,} of them" if held.active else "",
    ]


def _journal(results: Results) -> Table:
    counts = [f"{count:,}" for count, _ in next(iter(results.journal.values()))]
    rows = [["work", *counts]]
    rows += ([name, *(number(figure) for _, figure in points)] for name, points in results.journal.items())
    return rows


def _workers(results: Results) -> Table:
    rows = [["workers", "CPU µs per message", "min..max", "messages per second"]]
    for count, cell in results.workers.items():
        cpu = Spread.of(cell.cpu_us)
        rows.append([f"{count}", number(cpu.median), f"{number(cpu.low)}..{number(cpu.high)}", rate(cell)])
    return rows


def facts(results: Results) -> str:
    """Return where, when and how the run was made."""
    machine = results.machine
    begin, end = machine.load_average
    return ", ".join(
        _said(
            f"{machine.at}",
            f"{machine.cores} cores of {machine.processor}",
            f"{machine.memory / 2**30:.0f} GiB",
            f"Linux {machine.kernel}",
            f"Python {machine.python}",
            machine.openssl,
            f"Node.js {machine.node}" if machine.node else "",
            f"up to {results.rounds} rounds in {results.seconds / 60:.0f} minutes",
            f"at most {results.descriptors:,} descriptors a process" if results.descriptors else "",
            f"load average of the machine {begin:g} at the begin and {end:g} at the end",
        )
    )


def _said(*parts: str) -> Iterable[str]:
    return filter(None, parts)
