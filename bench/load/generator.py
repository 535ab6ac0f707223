"""The load generator as its user sees it: processes of senders that do one order together."""

from __future__ import annotations

import functools
import ipaddress
import multiprocessing
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from bench.load.process import take_orders
from bench.load.work import Active, Crowd, Flow, Leave, Order, Tally, shared_out

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

_PATIENCE = 10.0  # Seconds that a process has to end.


class LoadError(Exception):
    """A session did not go as it has to: there is nothing to measure."""


class LoadGenerator:
    """Processes of senders on this machine, kept from one order to the next; a context manager.

    Each order has *limit* seconds.  With *cpus* all of them run there alone.
    """

    def __init__(self, processes: int = 1, *, limit: float = 120.0, cpus: set[int] | None = None) -> None:
        spawning = multiprocessing.get_context("spawn")
        self._pipes: list[Connection[Order | None, Tally]] = []
        self._processes: list[BaseProcess] = []
        for _ in range(processes):
            ours, theirs = spawning.Pipe()
            process = spawning.Process(target=take_orders, args=(theirs, limit, cpus), daemon=True)
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in self._pipes:
            pipe.send(None)
        for process in self._processes:
            process.join(_PATIENCE)
            if process.is_alive():
                process.kill()

    def do(self, order: Order) -> Tally:
        """Share *order* out, and return what came of it; LoadError where any session failed."""
        if isinstance(order, Flow | Crowd) and not ipaddress.ip_address(order.address[0]).is_loopback:
            raise ValueError(f"{order.address[0]} is not a loopback address")
        for pipe, part in zip(self._pipes, parts_of(order, len(self._pipes)), strict=True):
            pipe.send(part)
        tally = functools.reduce(Tally.__add__, [pipe.recv() for pipe in self._pipes])
        if tally.failures:
            words = "; ".join(f"{count} times {what}" for what, count in tally.failures.most_common(3))
            raise LoadError(f"{sum(tally.failures.values())} sessions failed: {words}")
        return tally


def parts_of(order: Order, parts: int) -> list[Order]:
    """Return what each of *parts* processes does of *order*."""
    match order:
        case Flow(sessions=sessions, at_once=at_once):
            shares = zip(shared_out(sessions, parts), shared_out(max(at_once, parts), parts), strict=True)
            return [replace(order, sessions=some, at_once=at_a_time) for some, at_a_time in shares]
        case Crowd(sessions=sessions) | Active(sessions=sessions):
            return [replace(order, sessions=some) for some in shared_out(sessions, parts)]
        case Leave():
            return [order] * parts
