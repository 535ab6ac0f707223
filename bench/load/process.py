"""A process of senders: it takes orders through a pipe, and answers each with a tally."""

from __future__ import annotations

import os
import select
import time
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from bench.load.conversation import Senders
from bench.load.wire import ServerError, Wire
from bench.load.work import Active, Crowd, Flow, Leave, Order, Session, Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from multiprocessing.connection import Connection

_POLL = 1.0  # Seconds.
# Sessions of a crowd that are being opened at a time: shorter than any server's backlog.
_OPENING = 100


def take_orders(pipe: Connection[Tally, Order | None], limit: float, cpus: set[int] | None) -> None:
    """Carry out orders until there is None; each ends after *limit* seconds at the latest, on *cpus* where some are named."""
    if cpus is not None:
        os.sched_setaffinity(0, cpus)
    office = Office(limit)
    while (order := pipe.recv()) is not None:
        pipe.send(office.carry_out(order))


@dataclass(slots=True)
class Office:
    """The orders of a process, and the sessions that it holds from one to the next."""

    limit: float
    _held: list[Wire] = field(default_factory=list)
    _senders: Senders = field(default_factory=lambda: Senders(("127.0.0.1", 0), Session(), Tally()))

    def carry_out(self, order: Order) -> Tally:
        """Carry out an order, and return what came of it."""
        tally = Tally(began=time.monotonic())
        used = time.process_time()
        match order:
            case Flow(address, session, sessions, at_once):
                senders = Senders(address, session, tally)
                wires: Iterator[Wire] = (Wire(address) for _ in range(sessions))
                if session.resumes:
                    # One that the others can take up.
                    self._perform(islice(wires, 1), 1, senders.whole, tally)
                self._perform(wires, at_once, senders.whole, tally)
            case Crowd(address, session, sessions):
                self._senders = Senders(address, session, tally)
                self._held = [Wire(address) for _ in range(sessions)]
                self._perform(self._held, _OPENING, self._senders.open, tally)
            case Active(sessions):
                self._senders.tally = tally
                self._perform(self._held[:sessions], sessions, self._senders.send, tally)
            case Leave():
                self._senders.tally = tally
                self._perform(self._held, len(self._held), self._senders.leave, tally)
                self._held = []
        tally.ended = time.monotonic()
        tally.cpu = time.process_time() - used
        return tally

    def _perform(
        self,
        wires: Iterable[Wire],
        at_once: int,
        script: Callable[[Wire], Generator[int]],
        tally: Tally,
    ) -> None:
        """Play *script* on each wire, *at_once* of them at a time."""
        stage = _Stage(tally)
        coming = iter(wires)
        deadline = time.monotonic() + self.limit
        try:
            while True:
                while len(stage) < at_once and (wire := next(coming, None)) is not None:
                    stage.enter(wire, script(wire))
                if not len(stage):
                    return
                stage.play()
                if time.monotonic() > deadline:
                    tally.failures[f"not done within {self.limit:g} s"] += len(stage)
                    return
        finally:
            stage.close()


@dataclass(slots=True)
class _Player:
    """A wire with the rest of its script."""

    wire: Wire
    steps: Generator[int]
    descriptor: int
    event: int = 0  # What epoll watches for it.


class _Stage:
    """The scripts that are being played, and the epoll that says which of them can go on."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._epoll = select.epoll()
        self._players: dict[int, _Player] = {}

    def __len__(self) -> int:
        return len(self._players)

    def enter(self, wire: Wire, steps: Generator[int]) -> None:
        """Begin a script."""
        self._advance(_Player(wire, steps, wire.socket.fileno()))

    def play(self) -> None:
        """Take each script that can go on a step further."""
        for descriptor, _ in self._epoll.poll(_POLL):
            # One that failed may have had its descriptor given away in the same round.
            if (player := self._players.get(descriptor)) is not None:
                self._advance(player)

    def close(self) -> None:
        """End all scripts where they are."""
        for player in self._players.values():
            player.wire.close()
        self._epoll.close()

    def _advance(self, player: _Player) -> None:
        try:
            event = next(player.steps)
        except StopIteration:
            self._forget(player)
        except (OSError, ServerError) as error:
            self._tally.failures[str(error)] += 1
            self._forget(player)
            player.wire.close()
        else:
            if not player.event:
                self._epoll.register(player.descriptor, event)
                self._players[player.descriptor] = player
            elif player.event != event:
                self._epoll.modify(player.descriptor, event)
            player.event = event

    def _forget(self, player: _Player) -> None:
        if player.event:
            del self._players[player.descriptor]
            # A closed descriptor has left by itself.
            with suppress(OSError):
                self._epoll.unregister(player.descriptor)
