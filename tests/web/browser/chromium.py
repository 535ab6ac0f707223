"""Debian's Chromium, driven by Playwright, and axe-core from the npm registry, which no package of ours holds."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import async_playwright

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Browser

_AXE = "axe-core@4.14.1"
_AXE_SHA256 = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"
_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Run a browser; without one the test fails, and says what would help."""
    path = shutil.which("chromium")
    if path is None:
        pytest.fail("the pages are looked at with Chromium; run: sudo apt-get install chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, headless=True, args=_ARGUMENTS)
        try:
            yield browser
        finally:
            await browser.close()


def axe() -> str:
    """Return the source of axe-core, fetched once; without npm the test fails, and says what would help."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "smtpd-anontls"
    kept = cache / f"{_AXE}.min.js"
    if not kept.exists():
        source = _fetched()
        cache.mkdir(parents=True, exist_ok=True)
        # Several tests may fetch it at once: each writes a file of its own, and the last one stays.
        with tempfile.NamedTemporaryFile(dir=cache, delete=False) as new:
            new.write(source)
        Path(new.name).rename(kept)
    source = kept.read_bytes()
    assert hashlib.sha256(source).hexdigest() == _AXE_SHA256, f"{kept} is not {_AXE}; remove it"
    return source.decode()


def _fetched() -> bytes:
    npm = shutil.which("npm")
    if npm is None:
        pytest.fail("axe-core comes from the npm registry; run: sudo apt-get install npm")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [npm, "pack", _AXE, "--silent", "--pack-destination", folder],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        (archive,) = Path(folder).glob("*.tgz")
        with tarfile.open(archive) as packed:
            member = packed.extractfile("package/axe.min.js")
            assert member is not None
            return member.read()
