"""Which rows a list has, looked for so that it takes about as long whether many, few or none match.

A list is newest first and ends early, so terms that many rows meet are compared row by row.  Where
that could go on for long, one of these goes first: an index that leaves few rows (a session, a run,
one recipient, a time just now), the search index for texts, or the few sessions in which something
of another kind meets its terms.  Each only leaves out rows that the terms would have left out.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from smtpd_anontls.domain.filters import folded, indexed
from smtpd_anontls.journal import search
from smtpd_anontls.journal.codec import microseconds
from smtpd_anontls.journal.schema import events, message_recipients, messages, sessions
from smtpd_anontls.journal.terms import (
    about_events,
    about_messages,
    about_sessions,
    from_hosts,
    in_the_session,
    place,
    since,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Column, ColumnElement, Connection, Row, Select, Table

    from smtpd_anontls.domain.filters import Filter
    from smtpd_anontls.journal.terms import Terms

FEW = 500  # Rows that are sooner fetched one by one.
FEW_SESSIONS = 500  # ... and sessions, named one by one.
FEW_OF_HOSTS = 5000  # Sessions that are sooner fetched, and put into their order, than looked for in it.


def find_messages(
    connection: Connection,
    wanted: Filter,
    columns: Sequence[Column[Any]],
    *,
    limit: int,
    above: int | None = None,
    below: int | None = None,
    oldest_first: bool = False,
    further: Sequence[ColumnElement[bool]] = (),
) -> list[Row[Any]]:
    """Return *columns* of the messages that *wanted* takes and that meet *further* terms, newest first.

    *above* and *below* are ids that are not among them.
    """
    elsewhere, is_narrow = _elsewhere(connection, messages, messages.c.session_id, wanted)
    local = [*place(messages, messages.c.session_id, wanted), *about_messages(wanted), *further, *elsewhere]
    query = select(*columns).where(*local, *since(messages, wanted))

    few = None if is_narrow else _few_messages(connection, wanted)
    if few is not None:
        query = query.where(messages.c.id.in_(few))
    elif isinstance(wanted.since, datetime) and not is_narrow and (local or limit > FEW):
        # Ids grow with time as a rule, so that there is little to look for behind the first.
        recent = messages.c.time >= microseconds(wanted.since)
        first = connection.scalars(select(func.min(messages.c.id)).where(recent)).one()
        above = max(above or 0, first - 1)
    elif isinstance(wanted.since, int):
        above = max(above or 0, wanted.since)

    by_text = search.is_kept(connection) and few is None and not is_narrow and search.expression(wanted)
    if not by_text:
        query = _between(query, messages.c.id, above, below, oldest_first=oldest_first)
        return list(connection.execute(query.limit(limit)))

    asked = search.expression(wanted, search.sample(connection)) or by_text
    known = search.upto(connection)
    id_found = search.found.c.rowid
    in_the_index = query.join(search.found, id_found == messages.c.id).where(search.matching(asked))
    in_the_index = _between(
        in_the_index.where(id_found <= known), id_found, above, below, oldest_first=oldest_first
    )
    behind_it = _between(
        query.where(messages.c.id > known), messages.c.id, above, below, oldest_first=oldest_first
    )
    rows: list[Row[Any]] = []
    for part in (in_the_index, behind_it) if oldest_first else (behind_it, in_the_index):
        if len(rows) < limit:
            rows += connection.execute(part.limit(limit - len(rows)))
    return rows


def _between(
    query: Select[Any],
    number: ColumnElement[int],
    above: int | None,
    below: int | None,
    *,
    oldest_first: bool,
) -> Select[Any]:
    """Return *query* for numbers between the two, in their order."""
    if above is not None:
        query = query.where(number > above)
    if below is not None:
        query = query.where(number < below)
    return query.order_by(number if oldest_first else number.desc())


def terms_of_sessions(connection: Connection, wanted: Filter) -> Terms:
    """Return all terms of a list of sessions but since when."""
    elsewhere, is_narrow = _elsewhere(connection, sessions, sessions.c.id, wanted)
    terms = [*place(sessions, sessions.c.id, wanted), *about_sessions(wanted), *elsewhere]
    hosts = None if is_narrow else from_hosts(wanted)
    if hosts is not None and _count(connection, sessions.c.id, hosts, FEW_OF_HOSTS) <= FEW_OF_HOSTS:
        # The newest first among so few: SQLite goes along the index of hosts, not along that of times.
        terms.append(sessions.c.id.in_(select(sessions.c.id).where(hosts)))
    return terms


def terms_of_events(connection: Connection, wanted: Filter) -> Terms:
    """Return all terms of a list of events."""
    elsewhere, is_narrow = _elsewhere(connection, events, events.c.session_id, wanted)
    terms = [
        *place(events, events.c.session_id, wanted),
        *about_events(wanted),
        *since(events, wanted),
        *elsewhere,
    ]
    if isinstance(wanted.since, datetime) and not is_narrow:
        few = _few(connection, events.c.id, events.c.time >= microseconds(wanted.since))
        terms += [] if few is None else [events.c.id.in_(few)]
    return terms


def _few_messages(connection: Connection, wanted: Filter) -> list[int] | None:
    """Return the ids of few messages among which are all that *wanted* takes; None where no index has them."""
    exact: list[tuple[Column[int], ColumnElement[bool]]] = []
    if wanted.session is not None:
        exact.append((messages.c.id, messages.c.session_id == indexed(wanted.session)))
    if wanted.run is not None:
        exact.append((messages.c.id, messages.c.run == indexed(wanted.run)))
    if wanted.recipient is not None and "*" not in wanted.recipient:
        address = message_recipients.c.address == folded(wanted.recipient)
        exact.append((message_recipients.c.message_id, address))
    if isinstance(wanted.since, datetime):
        exact.append((messages.c.id, messages.c.time >= microseconds(wanted.since)))
    for column, term in exact:
        few = _few(connection, column, term)
        if few is not None:
            return few
    return None


def _count(connection: Connection, column: Column[Any], term: ColumnElement[bool], enough: int) -> int:
    """Return how many rows meet *term*; one more than *enough* where there are still more."""
    some = select(column).where(term).limit(enough + 1).subquery()
    return connection.scalars(select(func.count()).select_from(some)).one()


def _few(connection: Connection, column: Column[int], term: ColumnElement[bool]) -> list[int] | None:
    found = connection.scalars(select(column).where(term).limit(FEW + 1)).all()
    return list(found) if len(found) <= FEW else None


def _elsewhere(
    connection: Connection, but: Table, session_id: Column[str], wanted: Filter
) -> tuple[Terms, bool]:
    """Return the terms about kinds other than *but*: something of that kind in the same session meets them.

    ... and whether they leave few rows.
    """
    terms: Terms = []
    is_narrow = False
    for table, column, about in (
        (messages, messages.c.session_id, about_messages(wanted)),
        (sessions, sessions.c.id, about_sessions(wanted)),
        (events, events.c.session_id, about_events(wanted)),
    ):
        if table is but or not about:
            continue
        bound: Terms = []
        some: Sequence[str]
        if table is messages:
            some, newest = _sessions_of_messages(connection, wanted)
            bound = [messages.c.id <= newest]
        else:
            some = _sessions_of(connection, column, about)
        if len(some) > FEW_SESSIONS:
            terms += in_the_session(session_id, column, [*about, *bound])
        else:
            terms.append(session_id.in_(set(some)))
            is_narrow = is_narrow or len(some) <= FEW
    return terms, is_narrow


def _sessions_of_messages(connection: Connection, wanted: Filter) -> tuple[list[str], int]:
    """Return the sessions of the newest messages that meet the terms about messages, and the newest one's id."""
    about = replace(
        wanted,
        server=None, connector=None, session=None, outcome=None, remote=None, event_id=None, since=None,
    )  # fmt: skip
    columns = (messages.c.id, messages.c.session_id)
    rows = find_messages(connection, about, columns, limit=FEW_SESSIONS + 1)
    return [row.session_id for row in rows], rows[0].id if rows else 0


def _sessions_of(
    connection: Connection, column: Column[str], about: Sequence[ColumnElement[bool]]
) -> Sequence[str]:
    query = select(column).where(*about, column.is_not(None)).limit(FEW_SESSIONS + 1)
    return connection.scalars(query).all()
