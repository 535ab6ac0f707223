"""Soak: ``python -m tests.soak [--minutes N] [--seed N]``.

A real ``serve`` on 127.0.0.1 has well-behaved senders, and beside them peers that reset, fall silent, talk
garbage, break TLS, send too much and read slowly, while its configuration, certificates and journal are
interfered with.  All the time every reply to a sender has to be right, and every message that was answered
250 has to be in the journal.  In the end, with everybody gone, the process may hold no more than it did
after all of that had happened for the first time.  Exit code 1 says that one of these does not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from tests.lab import Lab, Pki
from tests.serving import COMMAND, served
from tests.soak import changes, senders, troublemakers
from tests.soak.figures import PATIENCE, Account, Sample, Window, growth, table

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from tests.serving import Served
    from tests.soak.senders import Shared

SENDERS = 4
TROUBLEMAKERS_OF_A_KIND = 2
# The first part of a run, after which the process is measured at rest.
_WARM_UP = 0.3
_LONGEST_WARM_UP = 60.0
_LINES_OF_A_FAULT = 40
# Seconds in which a receiver whose peers have all gone comes to rest.
_REST = 20.0


@dataclass
class Run:
    """One run: the receiver, everybody around it, and what came of it."""

    lab: Lab
    served: Served
    shared: Shared
    window: Window
    random: Random
    began: float = field(default_factory=time.monotonic)
    samples: list[Sample] = field(default_factory=list)

    async def spend(self, seconds: float) -> None:
        """Let everybody do what they do for so long, and then come to an end."""
        self.shared.ending = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for work in self._everybody():
                group.create_task(work)
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._sample_all_the_time()
            self.shared.ending.set()

    def _everybody(self) -> list[Coroutine[None, None, None]]:
        shared, lab, pid = self.shared, self.lab, self.served.process.pid
        kinds = [kind for kind in troublemakers.KINDS for _ in range(TROUBLEMAKERS_OF_A_KIND)]
        return [
            *(senders.send_all_the_time(shared, self._chance()) for _ in range(SENDERS)),
            *(troublemakers.make_trouble_all_the_time(shared, self._chance(), kind) for kind in kinds),
            changes.reload_all_the_time(shared, self._chance(), lab, pid),
            changes.swap_all_the_time(shared, self._chance(), lab),
            changes.lock_all_the_time(shared, self._chance(), lab),
            senders.look_up_all_the_time(shared, _url(lab)),
        ]

    def _chance(self) -> Random:
        return Random(self.random.getrandbits(64))  # noqa: S311 - nothing is secret here

    async def _sample_all_the_time(self) -> None:
        while self.served.process.returncode is None:
            self.window.ask()
            await asyncio.sleep(1)
            self.samples.append(self.window.sample(time.monotonic() - self.began))
        self.shared.account.problem(f"the receiver ended by itself: {self.served.stderr[-20:]}")

    async def rest(self, tasks: int | None) -> Sample:
        """Return the process once it has no more than *tasks*, or does not change any more."""
        sample = self.samples[-1]
        for _ in range(int(_REST * 2)):
            self.window.ask()
            await asyncio.sleep(0.5)
            last, sample = sample, self.window.sample(time.monotonic() - self.began)
            if sample.tasks <= tasks if tasks is not None else sample.tasks == last.tasks <= _RESTING_TASKS:
                break
        self.samples.append(sample)
        return sample


# The main task, the one that keeps watch, and one that a reload may still have.
_RESTING_TASKS = 3


def _url(lab: Lab) -> str:
    return f"sqlite:///{lab.database}"


def _write(lab: Lab) -> None:
    lab.write(
        connector={
            "max_message_size": troublemakers.MAX_MESSAGE_SIZE,
            "connection_inactivity_timeout": troublemakers.INACTIVITY_TIMEOUT,
            "connection_timeout": 120,
            "max_logon_failures": 0,
        },
        settings={
            "tls": {"handshake_timeout": troublemakers.HANDSHAKE_TIMEOUT},
            # Messages stay, to be looked for in the end; sessions come and go.
            "capture": {"url": _url(lab), "retention": {"messages": None, "sessions": 2000}},
        },
    )


async def soak(folder: Path, seconds: float, seed: int) -> tuple[Account, list[Sample]]:
    """Run for so long in *folder*, and return what happened."""
    lab = Lab(folder, Pki())
    _write(lab)
    account = Account()
    look = folder / "look.json"
    before = (sys.executable, "-m", "tests.soak.observed", str(look))
    async with served(lab.config, before=before) as running:
        shared = senders.Shared(running.address, account)
        shared.thumbprints.update(lab.certificate(name).thumbprint for name in ("internal", "mx1.lab.test"))
        window = Window(running.process.pid, look)
        run = Run(lab, running, shared, window, Random(seed))  # noqa: S311 - nothing is secret here
        warm_up = min(seconds * _WARM_UP, _LONGEST_WARM_UP)
        await run.spend(warm_up)
        first = await run.rest(None)
        await run.spend(seconds - warm_up)
        last = await run.rest(first.tasks)
    _judge(account, running, growth(first, last))
    await senders.look_up(shared, _url(lab))
    await asyncio.to_thread(senders.count_again, shared, _url(lab))
    return account, run.samples


def _judge(account: Account, running: Served, grown: list[str]) -> None:
    for text in grown:
        account.problem(text)
    if running.process.returncode != 0:
        account.problem(f"serve ended with {running.process.returncode}: {running.stderr[-20:]}")
    for at, line in enumerate(running.stderr):
        if "internal error" in line or line.startswith("Traceback"):
            said = "\n  ".join(running.stderr[at : at + _LINES_OF_A_FAULT])
            account.problem(f"serve reported a fault of its own:\n  {said}")
            break
    if account.slowest > PATIENCE:
        account.problem(f"a well-behaved sender waited {account.slowest:.1f} s for a reply")
    if not account.counts["messages answered 250"]:
        account.problem("no message was taken at all")


def _say(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


def main(words: list[str] | None = None) -> int:
    """Run, say what happened, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description="Run with faults injected.")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument(
        "--seed", type=int, default=None, help="of what the peers choose; default: another one each time"
    )
    parser.add_argument(
        "--keep", type=Path, help="an empty folder for the receiver's files, to look into afterwards"
    )
    asked = parser.parse_args(words)
    seed = Random().getrandbits(32) if asked.seed is None else asked.seed  # noqa: S311 - nothing is secret here
    _say(f"{' '.join(COMMAND[1:])} serve for {asked.minutes:g} minutes, seed {seed}")
    with tempfile.TemporaryDirectory() as passing:
        folder = Path(passing) if asked.keep is None else asked.keep.absolute()
        folder.mkdir(parents=True, exist_ok=True)
        account, samples = asyncio.run(soak(folder, asked.minutes * 60, seed))
    _say("", *table(samples), "")
    _say(*(f"{number:9,} {what}" for what, number in sorted(account.counts.items())))
    _say(f"{account.slowest:9.2f} seconds: the longest that a well-behaved sender waited for a reply")
    if not account.problems:
        _say("", "Nothing was lost, nothing failed, nothing grew beyond its bound.")
        return 0
    _say("", *(f"PROBLEM: {text}" for text in account.problems))
    return 1


if __name__ == "__main__":
    sys.exit(main())
