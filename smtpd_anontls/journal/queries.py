"""What can be asked of the journal; every list is newest first."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sqlalchemy import func, select, tuple_

from smtpd_anontls.domain.filters import indexed
from smtpd_anontls.journal.codec import message_json, microseconds, session_json
from smtpd_anontls.journal.finding import find_messages, terms_of_events, terms_of_sessions
from smtpd_anontls.journal.position import Position
from smtpd_anontls.journal.schema import (
    events,
    message_bodies,
    messages,
    session_transcripts,
    sessions,
    state,
)
from smtpd_anontls.protocol.headers import parse_header_section

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection

    from smtpd_anontls.domain.filters import Filter
    from smtpd_anontls.domain.records import Json

_MANY = 500  # Databases take so many parameters in one statement.

# Sessions in the order in which they began.
_session_order = tuple_(sessions.c.started, sessions.c.id)


def list_messages(connection: Connection, wanted: Filter, limit: int, before: int | None) -> list[Json]:
    """Return the newest messages, older than the message *before* where that is given."""
    rows = find_messages(connection, wanted, (messages.c.id, messages.c.shown), limit=limit, below=before)
    return [message_json(row.id, row.shown) for row in rows]


def sizes_of_messages(
    connection: Connection, wanted: Filter, *, after: int, upto: int, until: datetime | None, limit: int
) -> list[tuple[int, int]]:
    """Return id and size of the oldest messages behind *after* and up to *upto*, taken before *until*."""
    early = [] if until is None else [messages.c.time < microseconds(until)]
    rows = find_messages(
        connection,
        wanted,
        (messages.c.id, messages.c.size),
        limit=limit,
        above=after,
        below=upto + 1,
        oldest_first=True,
        further=early,
    )
    return [(row.id, row.size) for row in rows]


def still_there(connection: Connection, message_ids: Sequence[int]) -> dict[int, int]:
    """Return id and size of those of the messages that there are."""
    query = select(messages.c.id, messages.c.size).where(messages.c.id.in_(message_ids))
    return {row.id: row.size for row in connection.execute(query)}


def one_message(connection: Connection, message_id: int) -> Json | None:
    """Return a message with its parameters and all of its header; None where there is none."""
    query = (
        select(messages.c.shown, messages.c.parameters, message_bodies.c.raw)
        .join(message_bodies, message_bodies.c.message_id == messages.c.id)
        .where(messages.c.id == message_id)
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    headers = [{"name": name, "value": value} for name, value in parse_header_section(row.raw)]
    return {**message_json(message_id, row.shown), **json.loads(row.parameters), "headers": headers}


def raw_message(connection: Connection, message_id: int) -> bytes | None:
    """Return a message as it was received; None where there is none."""
    query = select(message_bodies.c.raw).where(message_bodies.c.message_id == message_id)
    raw: bytes | None = connection.execute(query).scalar_one_or_none()
    return raw


def list_sessions(connection: Connection, wanted: Filter, limit: int, before: str | None) -> list[Json]:
    """Return the sessions that began last, before the session *before* where that is given."""
    terms = _terms_of_sessions(connection, wanted)
    if before is not None:
        end = _session_key(connection, before)
        if end is None:
            return []
        terms.append(_session_order < tuple_(*end))
    newest_first = (sessions.c.started.desc(), sessions.c.id.desc())
    query = select(sessions.c.id, sessions.c.shown).where(*terms).order_by(*newest_first).limit(limit)
    rows = connection.execute(query).all()
    delivered = _messages_of(connection, [row.id for row in rows])
    return [session_json(row.shown, delivered[row.id]) for row in rows]


def one_session(connection: Connection, session_id: str) -> Json | None:
    """Return a session with its transcript; None where there is none."""
    query = (
        select(sessions.c.shown, session_transcripts.c.transcript)
        .join(session_transcripts, session_transcripts.c.session_id == sessions.c.id)
        .where(sessions.c.id == indexed(session_id))
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    delivered = _messages_of(connection, [indexed(session_id)])
    shown = session_json(row.shown, delivered[indexed(session_id)])
    return {**shown, "transcript": json.loads(row.transcript)}


def list_events(connection: Connection, wanted: Filter, limit: int, before: int | None) -> list[Json]:
    """Return the newest events, older than the event *before* where that is given."""
    terms = terms_of_events(connection, wanted)
    if before is not None:
        terms.append(events.c.id < before)
    query = select(events.c.shown).where(*terms).order_by(events.c.id.desc()).limit(limit)
    return [json.loads(shown) for shown in connection.scalars(query)]


def position(connection: Connection) -> Position:
    """Return how far everything has come."""
    counters = connection.execute(
        select(state.c.last_message_id, state.c.last_session_change, state.c.last_override)
    ).one()
    newest = connection.execute(select(func.max(events.c.id))).scalar_one()
    return Position(
        counters.last_message_id, counters.last_session_change, newest or 0, counters.last_override
    )


def finished_sessions(
    connection: Connection, wanted: Filter, after: int, limit: int
) -> list[tuple[int, Json]]:
    """Return sessions that have ended, with their change, from the first behind *after* on."""
    terms = [
        *_terms_of_sessions(connection, wanted),
        sessions.c.outcome.is_not(None),
        sessions.c.change > after,
    ]
    columns = (sessions.c.change, sessions.c.id, sessions.c.shown)
    rows = connection.execute(select(*columns).where(*terms).order_by(sessions.c.change).limit(limit)).all()
    delivered = _messages_of(connection, [row.id for row in rows])
    return [(row.change, session_json(row.shown, delivered[row.id])) for row in rows]


def next_events(connection: Connection, wanted: Filter, after: int, limit: int) -> list[tuple[int, Json]]:
    """Return events with their ids, from the first behind *after* on."""
    terms = [*terms_of_events(connection, wanted), events.c.id > after]
    query = select(events.c.id, events.c.shown).where(*terms).order_by(events.c.id).limit(limit)
    return [(row.id, json.loads(row.shown)) for row in connection.execute(query)]


def _terms_of_sessions(connection: Connection, wanted: Filter) -> list[ColumnElement[bool]]:
    terms = terms_of_sessions(connection, wanted)
    since = wanted.since_session()
    if isinstance(since, str):
        # One that is no longer kept is older than all that are.
        start = _session_key(connection, since)
        terms += [] if start is None else [_session_order > tuple_(*start)]
    elif since is not None:
        terms.append(sessions.c.started >= microseconds(since))
    return terms


def _messages_of(connection: Connection, session_ids: Sequence[str]) -> dict[str, list[int]]:
    """Return for each session the ids of its messages, the first first."""
    found: dict[str, list[int]] = {session_id: [] for session_id in session_ids}
    columns = (messages.c.session_id, messages.c.id)
    for start in range(0, len(session_ids), _MANY):
        some = session_ids[start : start + _MANY]
        query = select(*columns).where(messages.c.session_id.in_(some)).order_by(messages.c.id)
        for row in connection.execute(query):
            found[row.session_id].append(row.id)
    return found


def _session_key(connection: Connection, session_id: str) -> tuple[int, str] | None:
    query = select(sessions.c.started, sessions.c.id).where(sessions.c.id == indexed(session_id))
    row = connection.execute(query).one_or_none()
    return None if row is None else (row.started, row.id)
