"""What a process costs: ended threads and children count, too."""

from __future__ import annotations

import os
import subprocess
import sys

from bench.processes import cpu_seconds, cpu_seconds_at_rest, family, resident_bytes

_BUSY = "import time\nwhile time.{clock}() < 0.2: pass"
_IN_A_THREAD = f"""
import threading
def busy():
    {_BUSY.format(clock="thread_time").replace(chr(10), chr(10) + "    ")}
thread = threading.Thread(target=busy)
thread.start()
thread.join()
"""
_IN_A_CHILD = f"""
import subprocess, sys
subprocess.run([sys.executable, "-c", {_BUSY.format(clock="process_time")!r}])
"""


def spent_by(program: str) -> float:
    """Return the CPU seconds of a program that has done its work and is still there."""
    with subprocess.Popen(
        [sys.executable, "-c", f"{program}\nprint(flush=True)\ninput()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        used = cpu_seconds(process.pid)
        process.communicate(b"\n")
    return used


def test_a_thread_that_has_ended_counts() -> None:
    """Its CPU time is the process's."""
    assert spent_by(_IN_A_THREAD) >= 0.2


def test_a_child_that_has_ended_counts() -> None:
    """Its CPU time is its parent's, in clock ticks."""
    assert spent_by(_IN_A_CHILD) >= 0.18


def test_a_child_that_runs_counts() -> None:
    """Its time and its memory are those of the family."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert child.pid in family(os.getpid())
        assert resident_bytes(os.getpid()) > resident_bytes(child.pid) > 0
        child.communicate(b"\n")


def test_nobody_costs_nothing() -> None:
    """A process that has gone is at rest."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()

    assert cpu_seconds_at_rest(process.pid) == 0
    assert resident_bytes(process.pid) == 0
