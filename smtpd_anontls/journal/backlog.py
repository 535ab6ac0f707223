"""What waits for the writer: deliveries, and the session and event rows that follow them.

A delivery waits with its sender, so there are no more of them than sessions.  Rows do not
hold anyone up, so their number is bounded here: past the bound the oldest are dropped.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from smtpd_anontls.domain.records import SessionRecord

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable, Sequence

    from smtpd_anontls.domain.records import EventRecord, MessageRecord

    Record = SessionRecord | EventRecord

MAX_ROWS = 50_000

# One transaction: enough to share its sync, not so much that its last delivery waits for long.
GROUP_ROWS = 200
GROUP_OCTETS = 8 * 1024 * 1024


@dataclass(slots=True, eq=False)
class Delivery:
    """A message whose sender waits for the future."""

    message: MessageRecord
    session: SessionRecord | None
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[int]


@dataclass(slots=True)
class Group:
    """What goes into one transaction."""

    deliveries: list[Delivery] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    octets: int = 0

    @property
    def is_full(self) -> bool:
        """Whether the next delivery or row belongs into another transaction."""
        return len(self) >= GROUP_ROWS or self.octets >= GROUP_OCTETS

    def alone(self) -> list[Group]:
        """Return a group for each row; sessions come before the messages that belong to them."""
        return [
            *(Group(records=[record]) for record in self.records),
            *(Group(deliveries=[delivery]) for delivery in self.deliveries),
        ]

    def __len__(self) -> int:
        return len(self.deliveries) + len(self.records)


class Rows:
    """Session and event records in the order in which they came; of a session, the newest record alone."""

    def __init__(self) -> None:
        self._records: dict[str | int, Record] = {}

    def __len__(self) -> int:
        return len(self._records)

    def add(self, record: Record) -> int:
        """Add *record* behind all others; return how many had to be dropped for it."""
        self._records.pop(record.id, None)
        self._records[record.id] = record
        return self._drop_oldest()

    def put_back(self, records: Iterable[Record]) -> int:
        """Return *records* to the front, but for those that a newer one has replaced."""
        self._records = {record.id: record for record in records} | self._records
        return self._drop_oldest()

    def replaced_by(self, session: SessionRecord) -> None:
        """Forget an older record of *session*."""
        self._records.pop(session.id, None)

    def take_newer(self, session: SessionRecord) -> SessionRecord:
        """Take what there is of this session now; *session* itself where that is the newest."""
        found = self._records.pop(session.id, session)
        return found if isinstance(found, SessionRecord) else session

    def take(self, limit: int | None) -> list[Record]:
        """Take the oldest records, all of them without a *limit*."""
        taken = list(islice(self._records.values(), limit))
        for record in taken:
            del self._records[record.id]
        return taken

    def _drop_oldest(self) -> int:
        dropped = max(0, len(self._records) - MAX_ROWS)
        for key in list(islice(self._records, dropped)):
            del self._records[key]
        return dropped


def divide(deliveries: Sequence[Delivery], rows: Rows, limit: int | None) -> list[Group]:
    """Divide *deliveries*, their sessions and up to *limit* of *rows* into transactions, in order.

    Of a session only the newest record is written, with the first delivery that brings it.
    A delivery whose sender no longer waits is left out: nothing of it was acknowledged.
    """
    brought = {delivery.session.id: delivery.session for delivery in deliveries if delivery.session}
    newest = {session_id: rows.take_newer(session) for session_id, session in brought.items()}
    found = [Group()]
    for delivery in deliveries:
        group = _open_group(found)
        if not delivery.future.cancelled():
            group.deliveries.append(delivery)
            group.octets += len(delivery.message.raw)
        if delivery.session and delivery.session.id in newest:
            group.records.append(newest.pop(delivery.session.id))
    for record in rows.take(limit):
        _open_group(found).records.append(record)
    return [group for group in found if len(group)]


def _open_group(found: list[Group]) -> Group:
    if found[-1].is_full:
        found.append(Group())
    return found[-1]
