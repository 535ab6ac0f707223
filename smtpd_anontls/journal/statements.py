"""The statements that add rows, compiled once; many rows go to the driver in one call."""

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
    from smtpd_anontls.journal.codec import Row


class _Adding:
    """Adds whole rows to a table.

    SQLAlchemy makes the statement; the rows then go past it, which halves the cost of a message.
    """

    def __init__(self, table: Table) -> None:
        self._statement = insert(table)
        self._columns = tuple(table.c.keys())
        self._texts: dict[str, str] = {}  # By the name of the driver.

    def __call__(self, connection: Connection, rows: list[Row]) -> None:
        if not rows:
            return
        dialect = connection.dialect
        text = self._texts.get(dialect.driver)
        if text is None:
            text = str(self._statement.compile(dialect=dialect, column_keys=self._columns))
            self._texts[dialect.driver] = text
        connection.exec_driver_sql(text, rows)


_add_messages = _Adding(messages)
_add_bodies = _Adding(message_bodies)
_add_recipients = _Adding(message_recipients)
_add_headers = _Adding(message_headers)
_add_sessions = _Adding(sessions)
_add_transcripts = _Adding(session_transcripts)
_add_events = _Adding(events)

_TAKE_IDS = (
    update(state)
    .values(
        last_message_id=state.c.last_message_id + bindparam("added"),
        message_count=state.c.message_count + bindparam("added"),
        message_octets=state.c.message_octets + bindparam("octets"),
    )
    .returning(state.c.last_message_id)
)
_TAKE_CHANGES = (
    update(state)
    .values(
        last_session_change=state.c.last_session_change + bindparam("added"),
        session_count=state.c.session_count + bindparam("new"),
    )
    .returning(state.c.last_session_change)
)
_EVENTS = select(events).where(events.c.id.in_(bindparam("ids", expanding=True)))
_COUNT_EVENTS = update(state).values(event_count=state.c.event_count + bindparam("added"))
_FORGET_SESSIONS = delete(sessions).where(sessions.c.id == bindparam("key"))
_FORGET_TRANSCRIPTS = delete(session_transcripts).where(session_transcripts.c.session_id == bindparam("key"))


def add_messages(connection: Connection, records: Sequence[MessageRecord]) -> range:
    """Add messages and return their ids, in their order."""
    if not records:
        return range(0)
    numbers = {"added": len(records), "octets": sum(len(record.raw) for record in records)}
    last = connection.execute(_TAKE_IDS, numbers).scalar_one()
    ids = range(last - len(records) + 1, last + 1)
    numbered = list(zip(ids, records, strict=True))
    _add_messages(connection, [message_row(number, record) for number, record in numbered])
    _add_bodies(connection, [(number, record.raw) for number, record in numbered])
    _add_recipients(
        connection, [row for number, record in numbered for row in recipient_rows(number, record)]
    )
    _add_headers(connection, [row for number, record in numbered for row in header_rows(number, record)])
    return ids


def add_sessions(connection: Connection, records: Sequence[SessionRecord]) -> None:
    """Add sessions, each once, in place of what there is of them."""
    if not records:
        return
    keys = [{"key": indexed(record.id)} for record in records]
    replaced = connection.execute(_FORGET_SESSIONS, keys).rowcount
    connection.execute(_FORGET_TRANSCRIPTS, keys)
    numbers = {"added": len(records), "new": len(records) - replaced}
    last = connection.execute(_TAKE_CHANGES, numbers).scalar_one()
    changes = range(last - len(records) + 1, last + 1)
    _add_sessions(
        connection, [session_row(change, record) for change, record in zip(changes, records, strict=True)]
    )
    _add_transcripts(connection, [transcript_row(record) for record in records])


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
    _add_events(connection, rows)
