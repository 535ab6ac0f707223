"""A run: which parts of it, with which servers, and what was found."""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench import floor, growing_journal, holding
from bench.keys import make_keys
from bench.load.generator import LoadGenerator
from bench.machine import load_average, this_machine
from bench.measuring import Bench, installed
from bench.results import Cell, Results
from bench.rounds import Rounds
from bench.selecting import selection_us
from bench.servers.node import PEERS
from bench.servers.peers import Aiosmtpd, SmtpSink
from bench.servers.receiver import CAPTURE_OFF, DURABLE, LOGGED, VARIANTS
from bench.servers.server import Server, SetupError
from bench.works import chosen, works

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SERVERS: tuple[Server, ...] = (*VARIANTS, Aiosmtpd(), *PEERS, SmtpSink())
# Without them there is no comparison; the others are measured where they can be had.
NEEDED = {"stock", "smtp-server", "smtp-sink"}
MEMORY, SELECTION, SESSIONS, JOURNAL, WORKERS = PARTS = (
    "memory",
    "selection",
    "sessions",
    "journal",
    "workers",
)
_WORKERS = (1, 2)
_MOST_SENDERS = 4
_MESSAGES = 1_000_000  # In the largest journal.
# Seconds for one order: a machine that is busy with something else opens ten thousand sessions in minutes.
_LIMIT = 600.0
_WORK_OF_WORKERS = "1kb-100/plain/data"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be measured."""

    only: Sequence[str]  # Names and patterns; none: everything.
    servers: Sequence[str]  # Names; none: all.
    rounds: int
    minutes: float  # That a run may take; see Rounds.
    processes: int  # Of senders.
    pinned: bool  # Whether a server and its senders each have a CPU of their own, where there are two.

    @property
    def names(self) -> set[str]:
        """The names of works and parts that are meant."""
        return chosen(self.only or ["*"], every_name())

    def wants(self, server: Server) -> bool:
        """Whether *server* is meant."""
        return not self.servers or server.name in self.servers


def usual_processes() -> int:
    """Return how many processes of senders there are unless told otherwise: one for each CPU that no server has."""
    return min(_MOST_SENDERS, max(1, len(os.sched_getaffinity(0)) - 1))


def every_name() -> list[str]:
    """Return the names of all works and parts."""
    return [*(each.name for each in works()), *PARTS]


def carry_out(plan: Plan, say: Callable[[str], None]) -> Results:
    """Measure what is planned; SetupError and LoadError say why it cannot be done."""
    began = time.monotonic()
    servers, missing = installed([each for each in SERVERS if plan.wants(each)])
    for name in NEEDED & missing.keys():
        raise SetupError(missing[name])
    titles = {each.name: each.title for each in servers} | {floor.NAME: floor.TITLE}
    results = Results(this_machine(), plan.rounds, titles, missing)
    results.descriptors = holding.raise_descriptor_limit()
    here, there = _places(plan)
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as name,
        LoadGenerator(plan.processes, limit=_LIMIT, cpus=there) as generator,
    ):
        folder = Path(name)
        bench = Bench(folder / "servers", make_keys(folder / "keys"), generator, here, say)
        _measure(plan, bench, servers, results, began)
    results.seconds = time.monotonic() - began
    results.machine = replace(results.machine, load_average=(results.machine.load_average[0], load_average()))
    return results


def _places(plan: Plan) -> tuple[int | None, set[int] | None]:
    """Return the CPU of a server and those of the senders; None: any."""
    cpus = sorted(os.sched_getaffinity(0))
    if not plan.pinned or len(cpus) == 1:
        return None, None
    return cpus[0], set(cpus[1:])


def _measure(plan: Plan, bench: Bench, servers: Sequence[Server], results: Results, began: float) -> None:
    names = plan.names

    def within(part: float) -> Rounds:
        return Rounds(plan.rounds, began + part * plan.minutes * 60)

    # The cheap ones first: what is wrong is seen early.
    if SELECTION in names:
        bench.say("the selections of a session")
        found = selection_us(bench.folder / SELECTION, bench.keys, plan.rounds)
        results.selection_us, results.selection_anew_us = found
    if some := [each for each in works() if each.name in names]:
        results.works = bench.alternate(servers, some, within(0.55))
    if SESSIONS in names:
        some_servers = [each for each in servers if each.name in {CAPTURE_OFF.name, DURABLE.name, "stock"}]
        results.growth = holding.growth(bench, some_servers, within(0.7))
    if MEMORY in names:
        # Their logs take no memory: one receiver that writes is enough.
        some_servers = [each for each in servers if each.name != LOGGED.name]
        big = [each for each in some_servers if each.name in {CAPTURE_OFF.name, DURABLE.name}]
        results.held, failed = holding.memory(bench, some_servers, big, results.descriptors)
        results.missing |= failed
    if JOURNAL in names and plan.wants(DURABLE):
        most = _MESSAGES if time.monotonic() < within(0.75).until else _MESSAGES // 10
        bench.say(f"a journal of up to {most:,} messages")
        results.journal = growing_journal.measured(most)
    if WORKERS in names and plan.wants(DURABLE):
        results.workers = _workers(plan, bench, within(1))


def _workers(plan: Plan, bench: Bench, rounds: Rounds) -> dict[int, Cell]:
    """Return what the receiver with its journal does with so many worker processes; all CPUs are everybody's."""
    servers = [replace(DURABLE, name=f"{count}-workers", workers=count) for count in _WORKERS]
    work = next(each for each in works() if each.name == _WORK_OF_WORKERS)
    with LoadGenerator(plan.processes) as generator:
        anywhere = replace(bench, generator=generator, cpu=None)
        cells = anywhere.alternate(servers, [work], rounds)[work.name]
    return {each.workers: cells[each.name] for each in servers if each.workers is not None}
