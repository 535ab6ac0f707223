"""Adding rows: many of a table go to the driver in one call."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, func, insert, select, update

from smtpd_anontls.domain.filters import indexed
from smtpd_anontls.journal.codec import (
    event_row,
    header_rows,
    message_row,
    recipient_rows,
    session_row,
    transcript_row,
)
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
    from collections.abc import Sequence

    from sqlalchemy import Connection, Table

    from smtpd_anontls.domain.records import EventRecord, MessageRecord, SessionRecord


def _adding(table: Table) -> Prepared:
    return Prepared(insert(table), tuple(table.c.keys()))


_add_messages = _adding(messages)
_add_bodies = _adding(message_bodies)
_add_recipients = _adding(message_recipients)
_add_headers = _adding(message_headers)
_add_sessions = _adding(sessions)
_add_transcripts = _adding(session_transcripts)
_add_events = _adding(events)

_take_ids = Prepared(
    update(state)
    .values(
        last_message_id=state.c.last_message_id + bindparam("added"),
        message_count=state.c.message_count + bindparam("more"),
        message_octets=state.c.message_octets + bindparam("octets"),
    )
    .returning(state.c.last_message_id)
)
_take_changes = Prepared(
    update(state)
    .values(
        last_session_change=state.c.last_session_change + bindparam("added"),
        session_count=state.c.session_count + bindparam("new"),
    )
    .returning(state.c.last_session_change)
)
_EVENTS = select(events).where(events.c.id.in_(bindparam("ids", expanding=True)))
_COUNT_EVENTS = update(state).values(event_count=state.c.event_count + bindparam("added"))
_forget_sessions = Prepared(delete(sessions).where(sessions.c.id == bindparam("key")))
_forget_transcripts = Prepared(
    delete(session_transcripts).where(session_transcripts.c.session_id == bindparam("key"))
)


def add_messages(connection: Connection, records: Sequence[MessageRecord]) -> range:
    """Add messages and return their ids, in their order."""
    if not records:
        return range(0)
    count = len(records)
    numbers = {"added": count, "more": count, "octets": sum(len(record.raw) for record in records)}
    (last,) = _take_ids.once(connection, numbers)
    ids = range(last - count + 1, last + 1)
    numbered = list(zip(ids, records, strict=True))
    _add_messages.for_each(connection, [message_row(number, record) for number, record in numbered])
    _add_bodies.for_each(connection, [(number, record.raw) for number, record in numbered])
    _add_recipients.for_each(
        connection, [row for number, record in numbered for row in recipient_rows(number, record)]
    )
    _add_headers.for_each(
        connection, [row for number, record in numbered for row in header_rows(number, record)]
    )
    return ids


def add_sessions(connection: Connection, records: Sequence[SessionRecord]) -> None:
    """Add sessions, each once, in place of what there is of them."""
    if not records:
        return
    keys = [(indexed(record.id),) for record in records]
    replaced = _forget_sessions.for_each(connection, keys)
    if replaced:
        _forget_transcripts.for_each(connection, keys)
    (last,) = _take_changes.once(connection, {"added": len(records), "new": len(records) - replaced})
    changes = range(last - len(records) + 1, last + 1)
    _add_sessions.for_each(
        connection, [session_row(change, record) for change, record in zip(changes, records, strict=True)]
    )
    _add_transcripts.for_each(connection, [transcript_row(record) for record in records])


def add_events(connection: Connection, records: Sequence[EventRecord]) -> None:
    """Add events in the order of their ids: one that comes too late for its own gets the next.

    Several receivers number theirs by the clock; who follows them goes on behind the newest id, and
    would miss what came in below it.  One that is there already is not added again: a COMMIT may
    have succeeded although the connection failed before it said so.
    """
    if not records:
        return
    newest: int = connection.execute(select(func.max(events.c.id))).scalar_one() or 0
    late = [record.id for record in records if record.id <= newest]
    known = {row.id: tuple(row) for row in connection.execute(_EVENTS, {"ids": late})} if late else {}
    rows = []
    for record in records:
        row = event_row(record)
        if known.get(record.id) == row:
            continue
        newest = max(newest + 1, record.id)
        rows.append(row if newest == record.id else event_row(replace(record, id=newest)))
    connection.execute(_COUNT_EVENTS, {"added": len(rows)})
    _add_events.for_each(connection, rows)
