"""Fuzz: ``python -m tests.fuzz TARGET|all [--runs N] [--seconds S]``.

Each target runs under atheris in a process of its own, one for each processor at a time, from its committed
seeds; what it learns on the way is thrown away.  An input that fails is kept in ``finds``, to be committed
with the change that mends it.  Exit code 1 says that there is one.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.catalogue import FOLDER, TARGETS, Target

ROOT = FOLDER.parents[1]
# Of one input: seconds, and of the whole process: megabytes.  Far from what any takes.
INPUT_TIMEOUT = 10
MEMORY_LIMIT = 768
# libFuzzer names what failed by how it did.
_FIND = re.compile(r"(?:crash|timeout|oom|leak)-[0-9a-f]+")
_EXECUTED = re.compile(r"^(?:stat::number_of_executed_units: |#)(\d+)", re.MULTILINE)
_MEMORY = re.compile(r"(?:stat::peak_rss_mb: |rss: )(\d+)")


@dataclass(frozen=True, slots=True)
class Report:
    """How a target fared."""

    target: Target
    executions: int
    seconds: float
    memory: int  # Megabytes at most.
    finds: tuple[str, ...]  # Files that were not there before.
    ended_well: bool
    output: str

    @property
    def row(self) -> tuple[str, ...]:
        """The columns of the table."""
        speed = self.executions / self.seconds
        finds = ", ".join(self.finds) or ("0" if self.ended_well else "did not end well")
        return (
            self.target.name,
            f"{self.executions:,}",
            f"{self.seconds:.0f}",
            f"{speed:,.0f}",
            f"{self.memory:,}",
            finds,
        )


def fuzz(target: Target, *, runs: int, seconds: int, seed: int = 0) -> Report:
    """Run a target until it has had *runs* executions or *seconds*, whichever comes first; 0 is no limit."""
    target.finds.mkdir(parents=True, exist_ok=True)
    before = {path.name for path in target.finds.iterdir()}
    with tempfile.TemporaryDirectory() as learned:
        words = Path(learned, "words.dict")
        words.write_text("".join(map(_quoted, target.words)))
        corpus = Path(learned, "corpus")
        corpus.mkdir()
        began = time.monotonic()
        done = subprocess.run(
            [
                sys.executable, "-m", "tests.fuzz.engine", target.name, str(corpus), str(target.corpus), str(target.finds),
                f"-runs={runs or -1}", f"-max_total_time={seconds}", f"-max_len={target.max_length}", f"-seed={seed}",
                f"-dict={words}", f"-timeout={INPUT_TIMEOUT}", f"-rss_limit_mb={MEMORY_LIMIT}",
                f"-artifact_prefix={target.finds}/", "-print_final_stats=1",
            ],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )  # fmt: skip
    found = {path.name for path in target.finds.iterdir()} - before
    if not any(target.finds.iterdir()):
        target.finds.rmdir()
    return Report(
        target,
        executions=_highest(_EXECUTED, done.stdout),
        seconds=max(time.monotonic() - began, 0.001),
        memory=_highest(_MEMORY, done.stdout),
        finds=tuple(sorted(name for name in found if _FIND.match(name))),
        ended_well=done.returncode == 0,
        output=done.stdout,
    )


def _quoted(word: bytes) -> str:
    """Return a line of libFuzzer's dictionary."""
    return '"' + "".join(f"\\x{octet:02x}" for octet in word) + '"\n'


def _highest(pattern: re.Pattern[str], output: str) -> int:
    return max((int(number) for number in pattern.findall(output)), default=0)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _table(reports: list[Report], seconds: float) -> None:
    executions = sum(report.executions for report in reports)
    rows = [
        ("target", "executions", "seconds", "exec/s", "MB", "finds"),
        *(report.row for report in reports),
        ("all", f"{executions:,}", f"{seconds:.0f}", f"{executions / seconds:,.0f}", "", ""),
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    for name, *numbers, finds in rows:
        cells = [f"{cell:>{width}}" for cell, width in zip(numbers, widths[1:], strict=True)]
        _say("  ".join([f"{name:{widths[0]}}", *cells, finds]).rstrip())


def main(words: list[str] | None = None) -> int:
    """Run the targets that are named and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description="Fuzz, until all had their runs."
    )
    parser.add_argument("target", choices=[*(target.name for target in TARGETS), "all"])
    parser.add_argument(
        "--runs", type=int, help="executions of each target; default: what each has by itself"
    )
    parser.add_argument("--seconds", type=int, default=0, help="stop each target after so many")
    parser.add_argument("--seed", type=int, default=0, help="0: another one each time")
    asked = parser.parse_args(words)
    targets = [target for target in TARGETS if asked.target in {target.name, "all"}]
    began = time.monotonic()

    def run(target: Target) -> Report:
        runs = target.runs if asked.runs is None else asked.runs
        report = fuzz(target, runs=runs, seconds=asked.seconds, seed=asked.seed)
        _say(f"{target.name}: {report.executions:,} executions, finds: {report.row[-1]}")
        return report

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        reports = list(pool.map(run, targets))
    _say("")
    _table(reports, time.monotonic() - began)
    for report in reports:
        if not report.ended_well:
            _say(f"\n{report.target.name}:\n{report.output[-4000:]}")
    return int(not all(report.ended_well for report in reports))


if __name__ == "__main__":
    sys.exit(main())
