"""What an administrator does meanwhile: reloads, new certificates, another process at the journal."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import yaml

from smtpd_anontls.certificates.issue import KeyType, issue
from tests.lab import FQDN, SERVER

if TYPE_CHECKING:
    from pathlib import Path
    from random import Random

    from tests.lab import Lab
    from tests.soak.senders import Shared

# Seconds that another process holds the journal: less than the receiver waits for it, and more.
SHORT_LOCK, LONG_LOCK = 2.0, 7.0
# Certificates that stay in the store behind the current one: no session that was told of them is still
# looking for them.
_GRACE = 3
_HOLD = """\
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
time.sleep(float(sys.argv[2]))
connection.execute("ROLLBACK")
"""


async def reload_all_the_time(shared: Shared, random: Random, lab: Lab, process: int) -> None:
    """Change the configuration, or send SIGHUP, or both."""
    content = yaml.safe_load(lab.config.read_text())
    number = 0
    while not await _ends_within(shared, random.uniform(0.5, 2.5)):
        number += 1
        if random.random() < 0.6:
            content["servers"][0]["connectors"][0]["comment"] = f"change {number}"
            _replace(lab.config, yaml.safe_dump(content, sort_keys=False).encode())
            shared.account.count("changes of the configuration")
        if random.random() < 0.6:
            os.kill(process, signal.SIGHUP)
            shared.account.count("SIGHUPs")


async def swap_all_the_time(shared: Shared, random: Random, lab: Lab) -> None:
    """Put a new certificate into the store and name it in the directory; an old one goes a while later."""
    old: list[Path] = []
    number = 0
    while not await _ends_within(shared, random.uniform(1.0, 3.0)):
        number += 1
        now = datetime.now(UTC)
        made = await asyncio.to_thread(
            issue, [SERVER, FQDN], now=now, valid_to=now + timedelta(days=400), key_type=KeyType.EC
        )
        shared.thumbprints.add(made.certificate.thumbprint)
        file = lab.store / f"swap-{number}.pem"
        _replace(file, made.certificate_pem + made.key_pem)
        entry = {SERVER: {"msExchServerInternalTLSCert": made.certificate.thumbprint}}
        _replace(lab.config.parent / "directory.yaml", yaml.safe_dump(entry).encode())
        old.append(file)
        if len(old) > _GRACE:
            old.pop(0).unlink()
        shared.account.count("certificate swaps")


async def lock_all_the_time(shared: Shared, random: Random, lab: Lab) -> None:
    """Hold the journal's lock from another process, mostly for less than the receiver's patience."""
    number = 0
    while not await _ends_within(shared, random.uniform(3.0, 8.0)):
        is_long = number % 5 == 2
        number += 1
        seconds = LONG_LOCK if is_long else SHORT_LOCK
        holder = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _HOLD, str(lab.database), str(seconds), stdout=asyncio.subprocess.PIPE
        )
        assert holder.stdout is not None
        if await holder.stdout.readline() != b"locked\n":
            shared.account.problem("the journal could not be locked from outside")
        elif is_long:
            shared.locked_until = time.monotonic() + seconds
        await holder.wait()
        shared.account.count("long locks of the journal" if is_long else "short locks of the journal")


async def _ends_within(shared: Shared, seconds: float) -> bool:
    """Wait, and return whether the run ends."""
    try:
        await asyncio.wait_for(shared.ending.wait(), seconds)
    except TimeoutError:
        return False
    return True


def _replace(path: Path, content: bytes) -> None:
    """Put *content* in the place of the file at once, as a careful administrator does."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_bytes(content)
    fresh.replace(path)
