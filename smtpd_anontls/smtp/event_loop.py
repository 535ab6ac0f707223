"""The event loop of ``serve`` and its workers: uvloop where it is installed, else asyncio's own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """Return what makes the loop."""
    # Here, since no other command needs it: loading it takes some milliseconds.
    try:
        import uvloop  # noqa: PLC0415
    except ImportError:
        # On PyPy and on Windows there is none.
        return asyncio.new_event_loop
    return uvloop.new_event_loop
