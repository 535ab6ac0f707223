"""Independent clients, as programs that run beside the receiver's event loop."""

from __future__ import annotations

import asyncio
import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.peer import PATIENCE

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Finished:
    """A program that has ended."""

    code: int
    output: str  # Both streams.


async def run(*words: str | Path, said: str = "", **environment: str) -> Finished:
    """Run a program with *said* on its standard input; it has to end by itself."""
    program, *arguments = map(str, words)
    if shutil.which(program) is None:
        pytest.fail(f"{program} is not installed: run sudo ./.ci/packages", pytrace=False)
    process = await asyncio.create_subprocess_exec(
        program,
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "LC_ALL": "C", **environment},
    )
    try:
        async with asyncio.timeout(PATIENCE):
            output, _ = await process.communicate(said.encode())
    except TimeoutError:
        process.kill()
        await process.communicate()
        raise
    assert process.returncode is not None
    return Finished(process.returncode, output.decode(errors="backslashreplace"))
