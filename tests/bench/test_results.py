"""What a run found: statistics, choice of work, tables and charts."""

from __future__ import annotations

import pytest

from bench.load.work import Tally
from bench.measuring import percentiles, with_figures
from bench.results import Cell, Machine, Results, Spread, from_json, ratio, to_json
from bench.servers.peers import Aiosmtpd, SmtpSink
from bench.servers.receiver import CAPTURE_OFF
from bench.tables import in_columns, in_markdown, number, rate, work_table
from bench.works import chosen, works

MACHINE = Machine("2026-01-02T03:04:05Z", "CPU", 2, 1 << 34, "6.1", "3.11.7", "OpenSSL 3", None, (0.1, 0.2))
NAMES = [work.name for work in works()]


def results() -> Results:
    """Return a run of two servers at one work."""
    return Results(
        MACHINE,
        rounds=3,
        titles={"receiver": "ours | capture off", "stock": "stock"},
        works={
            "1kb-100/plain/data": {
                "receiver": Cell(
                    [100, 200, 150], [5000, 6000, 7000], [1, 2, 3], [4, 5, 6], [0.95, 0.99, 0.8]
                ),
                "stock": Cell([600, 600, 600], [900, 1000, 800], [20, 30, 25], [40, 50, 60], [0.2, 0.3, 0.1]),
            }
        },
    )


def test_a_spread_has_the_median_and_both_ends() -> None:
    """Whatever the order of the rounds."""
    assert Spread.of([3, 1, 2]) == Spread(2, 1, 3)
    assert Spread.of([4]) == Spread(4, 4, 4)


def test_a_ratio_is_taken_round_by_round() -> None:
    """A round in which everything was slow does not move it."""
    assert ratio([600, 6000, 600], [100, 1000, 150]) == Spread(6, 4, 6)
    with pytest.raises(ValueError, match="zip"):
        ratio([1, 2], [1])


def test_results_survive_their_file() -> None:
    """What was written is read as it was."""
    assert from_json(to_json(results())) == results()
    with pytest.raises(ValueError, match="machine"):
        from_json("{}")


def test_a_round_becomes_a_figure_in_each_list() -> None:
    """CPU time is per message, and per session where none is sent."""
    tally = Tally(began=0, ended=2, cpu=1, sessions=10, messages=100, latencies=[0.001] * 99 + [0.5])
    cell = with_figures(Cell([7], [8], [9], [10], [0.1]), tally, 0.02)
    without = with_figures(Cell(), Tally(began=0, ended=2, sessions=10), 0.02)

    assert cell == Cell([7, 200], [8, 50], [9, 1], [10, 500], [0.1, 0.5], [0])
    assert without == Cell([2000], [5], [], [], [0], [0])
    assert percentiles([]) == ([], [])


@pytest.mark.parametrize(
    ("pattern", "count"),
    [("1kb-100/plain/data", 1), ("1kb-100", 10), ("*/plain/*", 8), ("handshake/*", 4), ("nothing", 0)],
)
def test_work_is_chosen_by_name_or_pattern(pattern: str, count: int) -> None:
    """A name means all kinds of it."""
    assert len(chosen([pattern], NAMES)) == count
    assert len(NAMES) == len(set(NAMES))


def test_a_server_gets_the_work_that_it_can_do() -> None:
    """smtp-sink knows no TLS; nobody else knows X-ANONYMOUSTLS or BDAT."""
    fitting = {
        server.name: {work.name for work in works() if work.fits(server)}
        for server in (CAPTURE_OFF, Aiosmtpd(), SmtpSink())
    }

    assert fitting["receiver"] == set(NAMES)
    assert not any("bdat" in name or "anonymoustls" in name for name in fitting["stock"])
    assert "5mb/starttls-p256/data" in fitting["stock"]
    assert all("/plain" in name for name in fitting["smtp-sink"])


@pytest.mark.parametrize(
    ("figure", "text"),
    [(0.1234, "0.12"), (9.876, "9.88"), (12.34, "12.3"), (123.4, "123"), (12345, "12,345"), (0, "0.00")],
)
def test_a_number_has_three_digits(figure: float, text: str) -> None:
    """No more than was measured."""
    assert number(figure) == text


def test_a_table_compares_with_stock() -> None:
    """By the median of the rounds' ratios; a rate that the senders limited stands in brackets."""
    table = work_table(results(), "1kb-100/plain/data")
    head, first, second = list(in_columns(table))

    assert table[1] == ["ours | capture off", "150", "100..200", "4.00", "(6,000)", "2.00", "5.00"]
    assert table[2][3:5] == ["1.00", "900"]
    assert rate(Cell(per_second=[10], busy=[0.5])) == "10.0"
    assert head.startswith("server ")
    assert len(first) == len(second)
    assert in_markdown(table).splitlines()[1:3] == [
        "|---|---:|---:|---:|---:|---:|---:|",
        "| ours \\| capture off | 150 | 100..200 | 4.00 | (6,000) | 2.00 | 5.00 |",
    ]
