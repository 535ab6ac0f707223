"""What is measured of the process, what a run counts, and the verdict over both."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

# How much more a receiver at rest may hold at the end than it did when all kinds of peers had been there once.
MEMORY_BOUND = 32 * 1024  # KiB; what malloc keeps for itself goes up and down by some of it.
DESCRIPTOR_BOUND = 4  # The journal's threads have their connections when they need them.
TASK_BOUND = 0
THREAD_BOUND = 4  # The pool of the loop grows to its size when it is first busy.
BLOCK_BOUND = 100_000
# The slowest that a well-behaved sender's command may be answered, in seconds, beside a lock that is held.
PATIENCE = 15.0
MOST_PROBLEMS = 50


@dataclass(frozen=True, slots=True)
class Sample:
    """The process at one moment."""

    at: float  # Seconds since the run began.
    memory: int  # Resident, KiB.
    descriptors: int
    threads: int
    tasks: int
    blocks: int  # Of Python's allocator: whatever its objects are made of.


class Window:
    """Looks into a running ``serve`` that answers SIGUSR1 in *file*."""

    def __init__(self, process: int, file: Path) -> None:
        self._process = process
        self._file = file

    def ask(self) -> None:
        """Ask for new figures; they are there a moment later."""
        os.kill(self._process, signal.SIGUSR1)

    def sample(self, at: float) -> Sample:
        """Return the process as it is, with the tasks and blocks of the last answer."""
        folder = Path("/proc", str(self._process))
        status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
        seen = json.loads(self._file.read_text()) if self._file.exists() else {"tasks": 0, "blocks": 0}
        return Sample(
            at,
            memory=int(status["VmRSS"].split()[0]),
            descriptors=len(list((folder / "fd").iterdir())),
            threads=int(status["Threads"]),
            tasks=seen["tasks"],
            blocks=seen["blocks"],
        )


@dataclass
class Account:
    """What has happened so far."""

    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    slowest: float = 0.0  # Seconds that a well-behaved sender waited for one reply.

    def count(self, what: str) -> None:
        """Count something."""
        self.counts[what] += 1

    def problem(self, text: str) -> None:
        """Note what must not be; the first are kept."""
        self.count("problems")
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(text)


def growth(before: Sample, after: Sample) -> list[str]:
    """Return what has grown beyond its bound between two moments of rest."""
    bounds = {
        "memory": (MEMORY_BOUND, "KiB"),
        "descriptors": (DESCRIPTOR_BOUND, "descriptors"),
        "threads": (THREAD_BOUND, "threads"),
        "tasks": (TASK_BOUND, "tasks"),
        "blocks": (BLOCK_BOUND, "blocks"),
    }
    found = []
    for name, (bound, unit) in bounds.items():
        first, last = getattr(before, name), getattr(after, name)
        if last - first > bound:
            found.append(f"{name}: {first:,} at rest became {last:,}; {bound:,} {unit} more were allowed")
    return found


def table(samples: list[Sample], *, rows: int = 12) -> list[str]:
    """Return the samples as lines, at most *rows* of them beside the last."""
    lines = [f"{'seconds':>8} {'RSS KiB':>9} {'descriptors':>11} {'threads':>7} {'tasks':>6} {'blocks':>9}"]
    every = max(1, -(-len(samples) // rows))
    shown = [*samples[::every], *([samples[-1]] if samples and (len(samples) - 1) % every else [])]
    lines.extend(
        f"{each.at:8.1f} {each.memory:9,} {each.descriptors:11} {each.threads:7} {each.tasks:6} {each.blocks:9,}"
        for each in shown
    )
    return lines
