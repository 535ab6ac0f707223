"""``serve`` with a window in it: at SIGUSR1 it writes how many tasks and blocks of memory there are.

``python -m tests.soak.observed FILE … -m smtpd_anontls ARGUMENTS``: what runs is the command itself.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from smtpd_anontls.cli import main

if TYPE_CHECKING:
    from types import FrameType


def observe(file: Path) -> None:
    """Answer SIGUSR1 in *file*; Python runs this between two steps of the loop's thread."""

    def look(_number: int, _frame: FrameType | None) -> None:
        # Not gc.get_objects(): who holds a tuple that another thread is making spoils it.
        seen = {"tasks": len(asyncio.all_tasks()), "blocks": sys.getallocatedblocks()}
        fresh = file.with_suffix(".new")
        fresh.write_text(json.dumps(seen))
        fresh.replace(file)

    signal.signal(signal.SIGUSR1, look)


if __name__ == "__main__":
    observe(Path(sys.argv[1]))
    main(sys.argv[sys.argv.index("smtpd_anontls") + 1 :], prog_name="smtpd-anontls")
