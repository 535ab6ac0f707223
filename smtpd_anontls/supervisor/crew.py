"""The workers: so many places, each with a process in it, and another one where that has ended."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from smtpd_anontls.supervisor.process import WorkerError, WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from smtpd_anontls.supervisor.process import Hears
    from smtpd_anontls.supervisor.sockets import SharedSockets

# Seconds that sessions get to end by themselves when their worker is replaced.
PATIENCE = 10.0
# Seconds after which a worker that ends has served well, and the longest wait before the next one is tried.
_SERVED_WELL = 60.0
_LONGEST_WAIT = 30.0


@dataclass(slots=True)
class Place:
    """A place for a worker."""

    number: int  # From 0.
    worker: WorkerProcess | None = None
    failures: int = 0  # Workers in a row that ended soon, or did not start.
    filling: asyncio.Task[None] | None = field(default=None, repr=False)


class Crew:
    """Starts workers, replaces those that end, and ends them."""

    def __init__(
        self,
        number: int,
        sockets: SharedSockets,
        house: Hears,
        *,
        begin: Callable[[WorkerProcess], None],
        on_warning: Callable[[str], None],
    ) -> None:
        """*begin* says the first word to a worker."""
        self.places = [Place(each) for each in range(number)]
        self.everybody: list[WorkerProcess] = []  # Those that drain included.
        self.lost = 0  # Workers that ended without being told to.
        self._sockets = sockets
        self._house = house
        self._begin = begin
        self._on_warning = on_warning
        self._ending = False
        self._replacing = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def running(self) -> int:
        """How many places have a worker that serves."""
        return sum(each.worker is not None for each in self.places)

    async def start(self) -> None:
        """Fill every place; WorkerError where one cannot be filled."""
        results = await asyncio.gather(*(self._fill(place) for place in self.places), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def restart(self) -> None:
        """Put a new worker in each place, one after another; each serves before the old one drains."""
        for worker in [place.worker for place in self.places if place.worker is not None]:
            await self._replace(worker)

    def replace(self, worker: WorkerProcess) -> None:
        """Put a new worker in the place of one."""
        self._keep(self._replace(worker))

    async def _replace(self, old: WorkerProcess) -> None:
        async with self._replacing:
            place = self.places[old.number]
            if place.worker is not old or self._ending:
                return  # Another one is there, or will be.
            try:
                await self._fill(place)
            except WorkerError as error:
                self._on_warning(f"{error}; worker {place.number + 1} goes on as it is")
            else:
                await old.end(PATIENCE)

    async def stop(self) -> None:
        """Let all drain, and end."""
        self._ending = True
        for place in self.places:
            if place.filling is not None:
                place.filling.cancel()
        await asyncio.gather(*(worker.end() for worker in self.everybody))
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _fill(self, place: Place) -> None:
        """Let a new worker serve in *place*; WorkerError where that does not come about."""
        worker = await WorkerProcess.spawn(place.number)
        self.everybody.append(worker)
        self._keep(self._accompany(worker))
        self._begin(worker)
        await worker.serves()
        place.worker = worker

    async def _accompany(self, worker: WorkerProcess) -> None:
        await worker.listen(self._house)
        self.everybody.remove(worker)
        self._house.lost(worker)
        place = self.places[worker.number]
        if place.worker is not worker or self._ending:
            return
        self.lost += 1
        place.worker = None
        served_well = time.monotonic() - worker.began >= _SERVED_WELL
        place.failures = 1 if served_well else place.failures + 1
        self._on_warning(
            f"worker {place.number + 1} (process {worker.pid}) {worker.how_it_ended}; another is started"
        )
        place.filling = self._keep(self._fill_again(place))

    async def _fill_again(self, place: Place) -> None:
        while True:
            # The first one is replaced at once.
            wait = min(2.0 ** (place.failures - 2), _LONGEST_WAIT) if place.failures > 1 else 0.0
            if wait:
                # Nobody is to connect to a place where nobody comes.
                self._sockets.close_place(place.number)
                await asyncio.sleep(wait)
                self._sockets.open_place(place.number)
            try:
                await self._fill(place)
            except WorkerError as error:
                place.failures += 1
                self._on_warning(str(error))
            else:
                place.filling = None
                return

    def _keep(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
