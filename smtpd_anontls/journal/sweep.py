"""Retention: the only thing that removes acknowledged mail unasked; a purge shares its removing.

Works in small transactions between the writer's own, so that no delivery waits for it long.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, select, update

from smtpd_anontls.journal import search
from smtpd_anontls.journal.codec import microseconds
from smtpd_anontls.journal.prepared import Prepared
from smtpd_anontls.journal.schema import (
    events,
    message_bodies,
    message_headers,
    message_recipients,
    messages,
    session_transcripts,
    sessions,
    state,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Column, Connection, Select, Table

    from smtpd_anontls.domain.retention import Retention

# One transaction removes no more than this: freeing a body reads all of its pages, and deliveries wait.
BATCH_ROWS = 200
BATCH_OCTETS = 8 * 1024 * 1024

MAX_EVENTS = 1_000_000

_FORGET_MESSAGES = update(state).values(
    message_count=state.c.message_count - bindparam("removed"),
    message_octets=state.c.message_octets - bindparam("octets"),
)
_FORGET_SESSIONS = update(state).values(session_count=state.c.session_count - bindparam("removed"))
_FORGET_EVENTS = update(state).values(event_count=state.c.event_count - bindparam("removed"))
_forget_a_message = [
    Prepared(delete(column.table).where(column == bindparam("key")))
    for column in (
        message_bodies.c.message_id,
        message_recipients.c.message_id,
        message_headers.c.message_id,
        messages.c.id,
    )
]
_SESSION_TABLES: tuple[tuple[Table, Column[str]], ...] = (
    (session_transcripts, session_transcripts.c.session_id),
    (sessions, sessions.c.id),
)


def sweep(
    connection: Connection, retention: Retention, now: datetime, *, max_events: int = MAX_EVENTS
) -> bool:
    """Remove one batch of what *retention* no longer keeps; return whether there may be more."""
    cutoff = None if retention.age is None else microseconds(now - timedelta(seconds=retention.age))
    removed = (
        _sweep_messages(connection, retention, cutoff),
        _sweep_sessions(connection, retention.sessions, cutoff),
        _sweep_events(connection, max_events, cutoff),
    )
    return any(removed)


def _sweep_messages(connection: Connection, retention: Retention, cutoff: int | None) -> bool:
    columns = (messages.c.id, messages.c.size)
    doomed: dict[int, int] = {}
    if cutoff is not None:
        aged = select(*columns).where(messages.c.time < cutoff).order_by(messages.c.time).limit(BATCH_ROWS)
        doomed = within_batch(_ids_and_sizes(connection, aged))
    if not doomed:
        oldest = select(*columns).order_by(messages.c.id).limit(BATCH_ROWS)
        kept = connection.execute(select(state.c.message_count, state.c.message_octets)).one()
        too_many = _excess(kept.message_count, retention.messages)
        too_large = _excess(kept.message_octets, retention.size)
        if too_many or too_large:
            doomed = _over_limits(_ids_and_sizes(connection, oldest), too_many, too_large)
    if not doomed:
        return False
    forget_messages(connection, doomed)
    return True


def forget_messages(connection: Connection, doomed: Mapping[int, int]) -> None:
    """Remove messages, by id and size, and count them out."""
    search.remove(connection, list(doomed))
    keys = [(number,) for number in doomed]
    for statement in _forget_a_message:
        statement.for_each(connection, keys)
    connection.execute(_FORGET_MESSAGES, {"removed": len(doomed), "octets": sum(doomed.values())})


def _ids_and_sizes(connection: Connection, query: Select[int, int]) -> list[tuple[int, int]]:
    return [(row.id, row.size) for row in connection.execute(query)]


def _excess(kept: int, limit: int | None) -> int:
    return 0 if limit is None else max(0, kept - limit)


def within_batch(rows: Sequence[tuple[int, int]]) -> dict[int, int]:
    """Return id and size of the first *rows*: at least one, and together no more than a batch."""
    chosen: dict[int, int] = {}
    octets = 0
    for message_id, size in rows:
        octets += size
        if chosen and octets > BATCH_OCTETS:
            break
        chosen[message_id] = size
    return chosen


def _over_limits(rows: Sequence[tuple[int, int]], too_many: int, too_large: int) -> dict[int, int]:
    """Return id and size of those of the oldest *rows* that must go for both limits to hold."""
    going: list[tuple[int, int]] = []
    octets = 0
    for message_id, size in rows:
        if len(going) >= too_many and octets >= too_large:
            break
        going.append((message_id, size))
        octets += size
    return within_batch(going)


def _sweep_sessions(connection: Connection, limit: int | None, cutoff: int | None) -> bool:
    oldest = select(sessions.c.id).order_by(sessions.c.started, sessions.c.id)
    doomed: Sequence[str] = ()
    if cutoff is not None:
        doomed = connection.scalars(oldest.where(sessions.c.started < cutoff).limit(BATCH_ROWS)).all()
    if not doomed and limit is not None:
        excess = _excess(connection.scalars(select(state.c.session_count)).one(), limit)
        doomed = connection.scalars(oldest.limit(min(excess, BATCH_ROWS))).all()
    if not doomed:
        return False
    for table, column in _SESSION_TABLES:
        connection.execute(delete(table).where(column.in_(doomed)))
    connection.execute(_FORGET_SESSIONS, {"removed": len(doomed)})
    return True


def _sweep_events(connection: Connection, limit: int, cutoff: int | None) -> bool:
    oldest = select(events.c.id).order_by(events.c.id)
    doomed: Sequence[int] = ()
    if cutoff is not None:
        doomed = connection.scalars(oldest.where(events.c.time < cutoff).limit(BATCH_ROWS)).all()
    if not doomed:
        excess = _excess(connection.scalars(select(state.c.event_count)).one(), limit)
        doomed = connection.scalars(oldest.limit(min(excess, BATCH_ROWS))).all()
    if not doomed:
        return False
    connection.execute(delete(events).where(events.c.id.in_(doomed)))
    connection.execute(_FORGET_EVENTS, {"removed": len(doomed)})
    return True
