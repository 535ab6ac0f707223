"""What a process costs, children and ended threads included: CPU time and resident memory, from the kernel."""

from __future__ import annotations

import os
import time
from pathlib import Path

_TICK = 1 / os.sysconf("SC_CLK_TCK")
_SCHEDULED_TIME = 2  # CPUCLOCK_SCHED of the kernel's posix-timers.h.
_REST = 0.03  # Seconds between two looks at whether a process has come to rest,
_AT_REST = 0.0005  # and the CPU seconds that it may use between them.
_LONGEST_REST = 3.0


def family(process: int) -> list[int]:
    """Return a process and all its descendants."""
    found = [process]
    for each in found:
        try:
            tasks = list(Path(f"/proc/{each}/task").iterdir())
            found += [int(child) for task in tasks for child in (task / "children").read_text().split()]
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def cpu_seconds(process: int) -> float:
    """Return the CPU time of a process, its ended threads, and its children, those that have ended included.

    Of what runs it is exact to the nanosecond: the process's own clock, which is what schedstat counts, but
    for threads that have ended, too.  Children that have ended count in clock ticks.
    """
    return sum(_own_seconds(each) + _seconds_of_ended_children(each) for each in family(process))


def _own_seconds(process: int) -> float:
    # MAKE_PROCESS_CPUCLOCK of the kernel's posix-timers.h, as clock_getcpuclockid(3) returns it.
    try:
        return time.clock_gettime((~process << 3) | _SCHEDULED_TIME)
    except OSError:
        return 0.0


def _seconds_of_ended_children(process: int) -> float:
    try:
        # The name may hold anything; fields are counted behind its closing bracket: cutime and cstime.
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return (int(fields[13]) + int(fields[14])) * _TICK


def cpu_seconds_at_rest(process: int) -> float:
    """Return the CPU time of a process once what it does behind its answers is done, too."""
    deadline = time.monotonic() + _LONGEST_REST
    used = cpu_seconds(process)
    while time.monotonic() < deadline:
        time.sleep(_REST)
        before, used = used, cpu_seconds(process)
        if used - before < _AT_REST:
            break
    return used


def resident_bytes(process: int) -> int:
    """Return the resident memory of a process and its descendants."""
    total = 0
    for each in family(process):
        try:
            status = Path(f"/proc/{each}/status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        rows = dict(line.split(":", 1) for line in status.splitlines())
        total += int(rows.get("VmRSS", "0 kB").split()[0]) * 1024
    return total
