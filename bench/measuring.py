"""Measuring servers at the same work in alternation."""

from __future__ import annotations

import os
import statistics
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bench import floor
from bench.load.work import Flow, Session
from bench.processes import cpu_seconds_at_rest
from bench.results import Cell
from bench.servers.server import SetupError, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from bench.keys import KeyPair
    from bench.load.generator import LoadGenerator
    from bench.load.work import Tally
    from bench.rounds import Rounds
    from bench.servers.server import Key, Running, Server
    from bench.works import Work

_MICRO = 1e6
_MILLI = 1e3
_MESSAGES_OF_A_WARM_UP_SESSION = 100


@dataclass(frozen=True, slots=True)
class Bench:
    """What every measurement needs."""

    folder: Path  # For whatever servers write; it goes with the run.
    keys: Mapping[Key, KeyPair]
    generator: LoadGenerator
    cpu: int | None  # Where a server runs alone.
    say: Callable[[str], None]  # How far the run is.

    @contextmanager
    def server(
        self, server: Server, name: str | None = None, *, warm_up: int | None = None
    ) -> Iterator[Running]:
        """Run one server, warmed up with so many messages; None: as many as it needs to be at its fastest."""
        with running(server, self.folder / (name or server.name), self.keys, self.cpu) as started:
            self._warm_up(started, server.warm_up if warm_up is None else warm_up)
            yield started

    def _warm_up(self, started: Running, messages: int) -> None:
        sessions = max(1, messages // _MESSAGES_OF_A_WARM_UP_SESSION)
        session = Session(_MESSAGES_OF_A_WARM_UP_SESSION)
        self.generator.do(Flow(started.address(), session, sessions, 20))
        for verb in sorted(started.server.verbs):
            for key in sorted(started.server.keys):
                self.generator.do(Flow(started.address(key), Session(1, tls=verb), 50, 20))

    def alternate(
        self, servers: Sequence[Server], works: Sequence[Work], rounds: Rounds
    ) -> dict[str, dict[str, Cell]]:
        """Give each work to each server that can do it, round after round, and return a cell for each pair.

        All servers run all the time; one that has nothing to do costs nothing.  Each round begins with
        another server, so that none always follows the same one.
        """
        found: dict[str, dict[str, Cell]] = {work.name: {} for work in works}
        with ExitStack() as stack:
            started = [stack.enter_context(self.server(each)) for each in servers]
            for turn in rounds:
                order = started[turn % len(started) :] + started[: turn % len(started)]
                for number, work in enumerate(works, 1):
                    self.say(f"round {turn} of {rounds.most}: {work.name} ({number} of {len(works)})")
                    cells = found[work.name]
                    for each in order:
                        if work.fits(each.server):
                            cell = cells.get(each.server.name, Cell())
                            cells[each.server.name] = self._measured(work, each, cell)
                    if work.is_handshake:
                        cells[floor.NAME] = self._floor(work, cells.get(floor.NAME, Cell()))
        return found

    def _floor(self, work: Work, cell: Cell) -> Cell:
        """Return what OpenSSL alone needs for the handshakes of *work*, where the servers run."""
        usual = os.sched_getaffinity(0)
        if self.cpu is not None:
            os.sched_setaffinity(0, {self.cpu})
        try:
            alone = floor.handshake_us(self.keys[work.key], resumed=work.session.resumes)
        finally:
            os.sched_setaffinity(0, usual)
        return Cell([*cell.cpu_us, alone], [*cell.per_second, _MICRO / alone], busy=[*cell.busy, 0.0])

    def _measured(self, work: Work, at: Running, cell: Cell) -> Cell:
        """Do *work* once, and return the cell with one figure more in each list."""
        before = cpu_seconds_at_rest(at.process)
        tally = self.generator.do(work.flow(at.address(work.key)))
        return with_figures(cell, tally, cpu_seconds_at_rest(at.process) - before)


def with_figures(cell: Cell, tally: Tally, cpu: float) -> Cell:
    """Return *cell* with a round more: *cpu* seconds of the server for what *tally* counts."""
    count = tally.messages or tally.sessions
    p50, p99 = percentiles(tally.latencies)
    return replace(
        cell,
        cpu_us=[*cell.cpu_us, cpu / count * _MICRO],
        per_second=[*cell.per_second, count / tally.wall],
        p50_ms=[*cell.p50_ms, *p50],
        p99_ms=[*cell.p99_ms, *p99],
        busy=[*cell.busy, tally.busy],
        resumed=[*cell.resumed, tally.resumed / tally.sessions],
        tls=tally.tls,
    )


def percentiles(latencies: Sequence[float]) -> tuple[list[float], list[float]]:
    """Return the median and the 99th percentile of *latencies* in ms, each in a list; empty where there is none."""
    if not latencies:
        return [], []
    ordered = sorted(latencies)
    last = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return [statistics.median(ordered) * _MILLI], [last * _MILLI]


def installed(servers: Sequence[Server]) -> tuple[list[Server], dict[str, str]]:
    """Install all that can be had, and return them; and for each other one, why not."""
    had, missing = [], {}
    for server in servers:
        try:
            server.install()
        except SetupError as error:
            missing[server.name] = str(error)
        else:
            had.append(server)
    return had, missing
