"""The facts of the machine that figures are worth nothing without."""

from __future__ import annotations

import os
import platform
import shutil
import ssl
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from bench.results import Machine


def this_machine() -> Machine:
    """Return this machine as it is now; the run's end is still to come."""
    load = load_average()
    return Machine(
        at=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        processor=_processor(Path("/proc/cpuinfo").read_text(encoding="utf-8")),
        cores=os.cpu_count() or 1,
        memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        kernel=platform.release(),
        python=platform.python_version(),
        openssl=ssl.OPENSSL_VERSION,
        node=_node(),
        load_average=(load, load),
    )


def load_average() -> float:
    """Return how many tasks ran or waited, over the last five minutes."""
    return round(os.getloadavg()[1], 2)


def _processor(text: str) -> str:
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.machine()


def _node() -> str | None:
    if (node := shutil.which("node")) is None:
        return None
    done = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)  # noqa: S603 - the words are ours
    return done.stdout.strip() or None
