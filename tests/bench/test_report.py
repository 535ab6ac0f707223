"""What becomes of a run: targets, README.md, docs/performance.md, pictures; the command, and what it refuses."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from bench import floor
from bench.__main__ import main
from bench.keys import make_keys
from bench.publishing import (
    BEGIN,
    END,
    JOURNAL_BEGIN,
    JOURNAL_END,
    RESULTS,
    ROOT,
    files_of,
    publish,
    rewritten,
)
from bench.reach import Row, reach
from bench.report import document_of, readme_of, text_of
from bench.results import Cell, Held, Machine, Results, from_json, to_json
from bench.servers.server import Key

if TYPE_CHECKING:
    from pathlib import Path

MACHINE = Machine("2026-01-02T03:04:05Z", "CPU", 2, 1 << 34, "6.1", "3.11.7", "OpenSSL 3", None, (0.1, 0.2))
MIB = 2**20


def cell(*cpu: float) -> Cell:
    """Return a cell that was measured in as many rounds as it has figures of CPU."""
    return Cell([*cpu], [1e6 / each for each in cpu], busy=[0.5] * len(cpu))


def a_run() -> Results:
    """Return a run with something of everything, in two rounds."""
    return Results(
        MACHINE,
        rounds=2,
        titles={
            "receiver": "smtpd-anontls 1, capture off",
            "stock": "aiosmtpd 2",
            "smtp-sink": "smtp-sink 3",
            floor.NAME: "OpenSSL",
        },
        missing={"haraka": "no such package"},
        seconds=120,
        works={
            "connect/plain": {"receiver": cell(400, 400), "stock": cell(500, 500)},
            "1kb-100/plain/data": {
                "receiver": cell(100, 200),
                "stock": cell(500, 1000),
                "smtp-sink": cell(30, 60),
            },
            "5mb/plain/data": {"receiver": cell(30_000, 30_000), "stock": cell(300_000, 300_000)},
            "5mb/plain/bdat": {"receiver": cell(10_000, 10_000)},
            "handshake/starttls-rsa": {"stock": cell(2000, 2000)},
            "handshake/anonymoustls-rsa": {"receiver": cell(1900, 1900), floor.NAME: cell(1000, 1000)},
            "resumed/anonymoustls-rsa": {"receiver": replace(cell(900, 900), resumed=[0.99, 0.99])},
        },
        held=[
            Held("receiver", None, 1000, 50 * MIB, 60 * MIB),
            Held("receiver", "X-ANONYMOUSTLS", 10_000, 50 * MIB, 550 * MIB, 1000, 10_000),
        ],
        selection_us=[60, 70],
        selection_anew_us=[200, 210],
        growth={"receiver": {1: [300, 310], 1000: [150, 160]}},
        journal={
            "receiving, µs a message": [(1000, 300.0), (1_000_000, 310.0)],
            "listing, ms": [(1000, 1.5), (1_000_000, 1.6)],
        },
        workers={1: cell(200, 200), 2: cell(210, 210)},
    )


def test_a_target_is_met_by_the_median_of_the_rounds() -> None:
    """Each row has both sides of it in the run; what was not measured has no row."""
    title = "1 KB, 100 per connection, capture off"

    assert reach(a_run()) == [
        Row(title, "≥ 4x stock", "5.00x (5.00 to 5.00)", met=True),
        Row(title, "≥ 0.4x smtp-sink", "0.30x (0.30 to 0.30)", met=False),
        Row("5 MB by DATA, capture off", "≥ 12x stock", "10.00x (10.00 to 10.00)", met=False),
        Row("5 MB by BDAT, capture off", "≥ 20x stock's DATA", "30.00x (30.00 to 30.00)", met=True),
        Row("X-ANONYMOUSTLS handshake, RSA-2048", "≤ 1x stock's STARTTLS", "0.95x (0.95 to 0.95)", met=True),
        Row(
            "X-ANONYMOUSTLS handshake, RSA-2048",
            "≤ 1.6x bare OpenSSL",
            "1.50x (1.50 to 1.50); with the whole session around it 1.90x",
            met=True,
        ),
        Row(
            "Both selections of a session, embedded directory",
            "≤ 50 µs CPU",
            "65.0 µs (60.0 to 70.0); run anew 205 µs",
            met=False,
        ),
        Row("10,000 idle TLS sessions, resident memory", "≤ 50 MiB per 1,000", "50.0 MiB", met=True),
    ]


def test_every_figure_is_in_the_documents() -> None:
    """The terminal, README.md and docs/performance.md show one run, with its machine and what is missing."""
    run = a_run()
    text, document, readme = text_of(run), document_of(run), readme_of(run)

    for each in (text, document, readme):
        assert "2 cores of CPU" in each
        assert "no such package" in each
    assert "| aiosmtpd 2 | 750 (1.00x) | 300,000 (1.00x) |" in readme
    assert "| smtp-sink 3 | 45.0 (16.67x) |  |" in readme
    assert "| smtpd-anontls 1, capture off |  | 1,900 |" in readme
    assert "10,000 messages by 1,000 of them" in document
    assert "99%" in document
    assert all(f"## {name}: " in document for name in run.works)


def test_a_run_is_published_and_read_again(tmp_path: Path) -> None:
    """README.md keeps what stands around the measurements; pictures are images; the figures are those of the run."""
    (tmp_path / "README.md").write_text(
        f"before\n{BEGIN}\nold\n{END}\nbetween\n{JOURNAL_BEGIN}{JOURNAL_END}\nafter\n"
    )
    publish(a_run(), tmp_path)
    readme = (tmp_path / "README.md").read_text()

    assert readme.startswith(f"before\n{BEGIN}\n\n![")
    assert f"\n\n{END}\nbetween\n{JOURNAL_BEGIN}\n\n" in readme
    assert readme.endswith(f"\n\n{JOURNAL_END}\nafter\n")
    assert "| receiving, µs a message | 300 | 310 |" in readme
    assert from_json((tmp_path / RESULTS).read_text()) == a_run()
    for image in (tmp_path / "docs" / "images").iterdir():
        assert ET.parse(image).getroot().tag.endswith("svg")  # noqa: S314 - our own
    with pytest.raises(ValueError, match="has no lines"):
        rewritten("nothing", a_run())


def test_what_is_published_is_one_run() -> None:
    """README.md, docs/performance.md and the pictures are what docs/performance.json makes of them."""
    results = from_json((ROOT / RESULTS).read_text("utf-8"))
    readme = (ROOT / "README.md").read_text("utf-8")

    assert rewritten(readme, results) == readme, (
        "run .venv/bin/python -m bench --render docs/performance.json --write"
    )
    for name, text in files_of(results).items():
        assert (ROOT / name).read_text("utf-8") == text, name


@pytest.mark.parametrize("resumed", [False, True])
def test_bare_handshakes_have_a_cost(tmp_path: Path, *, resumed: bool) -> None:
    """Of either kind."""
    keys = make_keys(tmp_path / "keys")

    assert floor.handshake_us(keys[Key.EC], resumed=resumed) > 0


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--only", "no-such-work"], "nothing is called no-such-work"),
        (["--servers", "exim"], "exim: there are receiver, "),
        (["--rounds", "0"], "at least 1"),
        (["--write", "--only", "memory"], "--write publishes whole runs"),
    ],
)
def test_what_makes_no_sense_is_refused(
    words: list[str], what: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a line that says why, before anything is started."""
    monkeypatch.setattr(sys, "argv", ["bench", *words])

    assert main() == 2
    assert what in capsys.readouterr().err


def test_a_run_is_shown_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The figures of a file become the same text, and the same JSON."""
    file = tmp_path / "run.json"
    file.write_text(to_json(a_run()))
    monkeypatch.setattr(sys, "argv", ["bench", "--render", str(file)])
    assert main() == 0
    assert capsys.readouterr().out == text_of(a_run()) + "\n"

    monkeypatch.setattr(sys, "argv", ["bench", "--render", str(file), "--json"])
    assert main() == 0
    assert from_json(capsys.readouterr().out) == a_run()
