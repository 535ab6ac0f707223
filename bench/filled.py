"""What receiving costs with messages in the journal already: from a thousand to a million."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.large_journal import fill
from bench.servers.receiver import DURABLE, Receiver
from bench.works import works

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.measuring import Bench
    from bench.results import Cell
    from bench.rounds import Rounds
    from bench.servers.server import Place

COUNTS = (1_000, 10_000, 100_000, 1_000_000)
_WORK = "1kb-100/plain/data"


@dataclass(frozen=True)
class Filled(Receiver):
    """The receiver as it is shipped, over a journal that somebody has filled; nothing is too old for it."""

    messages: int = 0

    def command(self, place: Place) -> list[str]:
        """Fill its journal, and return ``serve``."""
        fill(place.folder / "capture.db", self.messages)
        return super().command(place)


def over_journals(bench: Bench, counts: Sequence[int], rounds: Rounds) -> dict[int, Cell]:
    """Return what a message of 1 KB costs, by the messages that the journal held at first, by *counts*."""
    servers = [
        Filled(
            f"{count}-messages",
            DURABLE.records,
            capture=True,
            protocol_log=True,
            page=True,
            retains=True,
            messages=count,
        )
        for count in counts
    ]
    work = next(each for each in works() if each.name == _WORK)
    cells = bench.alternate(servers, [work], rounds)[work.name]
    return {each.messages: cells[each.name] for each in servers}
