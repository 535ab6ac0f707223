"""The terms of a filter as conditions on rows; each can be decided for one row by itself.

A condition about another table is an EXISTS, so that a list that ends early asks it of few rows.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import exists, or_, select

from smtpd_anontls.domain.filters import folded, host_of, indexed
from smtpd_anontls.journal.codec import microseconds
from smtpd_anontls.journal.schema import (
    VALUE_CHARACTERS,
    events,
    message_headers,
    message_recipients,
    messages,
    sessions,
    start_of_value,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Column, ColumnElement, Table

    from smtpd_anontls.domain.filters import Filter

    Terms = list[ColumnElement[bool]]

# LIKE's own wildcards in a text that means them literally, and the character that says so.
_ESCAPE = "/"
_SPECIAL = re.compile(r"[/%_]")


def place(table: Table, session_id: Column[str], wanted: Filter) -> Terms:
    """Return the terms that say where."""
    columns = (
        (table.c.server, wanted.server),
        (table.c.connector, wanted.connector),
        (session_id, wanted.session),
    )
    return [column == indexed(text) for column, text in columns if text is not None]


def since(table: Table, wanted: Filter) -> Terms:
    """Return the terms that say since when, of a table whose ids are numbers in the order of time."""
    start = wanted.since_number()
    if isinstance(start, datetime):
        # The sum keeps SQLite from going along the index of times, and then sorting what it found by id.
        return [table.c.time + 0 >= microseconds(start)]
    return [] if start is None else [table.c.id > start]


def about_messages(wanted: Filter) -> Terms:
    """Return the terms about messages."""
    terms: Terms = []
    if wanted.run is not None:
        terms.append(messages.c.run == indexed(wanted.run))
    if wanted.sender is not None:
        terms.append(_like(messages.c.sender, folded(wanted.sender)))
    if wanted.recipient is not None:
        address = _like(message_recipients.c.address, folded(wanted.recipient))
        terms.append(_of_the_message(message_recipients, [address]))
    if wanted.subject is not None:
        terms.append(messages.c.subject.contains(_escaped(folded(wanted.subject)), escape=_ESCAPE))
    if wanted.header is not None:
        found = [
            message_headers.c.name == wanted.header_name,
            _like(message_headers.c.value, wanted.header_value),
            *_begins_so(wanted.header_value),
        ]
        terms.append(_of_the_message(message_headers, found))
    return terms


def _begins_so(pattern: str) -> Terms:
    """Return what the index of PostgreSQL has of a header's value, where *pattern* says how it begins."""
    start, star, _ = pattern.partition("*")
    start = start[:VALUE_CHARACTERS]
    if not star:
        return [start_of_value == start]
    return [start_of_value.like(_escaped(start) + "%", escape=_ESCAPE)] if start else []


def about_sessions(wanted: Filter) -> Terms:
    """Return the terms about sessions."""
    terms: Terms = []
    if wanted.outcome is not None:
        terms.append(sessions.c.outcome == wanted.outcome.value)
    if wanted.remote is not None:
        remote = folded(wanted.remote)
        terms.append(or_(_like(sessions.c.remote, remote), _like(sessions.c.remote_host, remote)))
    return terms


def from_hosts(wanted: Filter) -> ColumnElement[bool] | None:
    """Return what an index has of the sessions that *wanted*'s remote takes; None where it has nothing.

    Some more may meet it: what is said of the port is left to the whole term.
    """
    start, star, _ = folded(wanted.remote or "").partition("*")
    if not start:
        return None
    host = sessions.c.remote_host
    beginning = start.removeprefix("[").partition("]")[0]
    meant: Terms = [host.like(_escaped(beginning) + "%", escape=_ESCAPE)] if star else [host == beginning]
    if ":" in start:
        meant.append(host == host_of(start))
    return or_(*meant)


def about_events(wanted: Filter) -> Terms:
    """Return the terms about events."""
    return [] if wanted.event_id is None else [events.c.event_id == wanted.event_id]


def in_the_session(
    session_id: Column[str], column: Column[str], terms: Sequence[ColumnElement[bool]]
) -> Terms:
    """Return the term that something meets *terms* whose *column* is the session of *session_id*."""
    return [exists(select(column).where(column == session_id, *terms).correlate(session_id.table))]


def _of_the_message(table: Table, terms: Terms) -> ColumnElement[bool]:
    query = select(table.c.message_id).where(table.c.message_id == messages.c.id, *terms)
    return exists(query.correlate(messages))


def _like(column: Column[str], pattern: str) -> ColumnElement[bool]:
    if "*" not in pattern:
        return column == pattern
    return column.like(_escaped(pattern).replace("*", "%"), escape=_ESCAPE)


def _escaped(text: str) -> str:
    return _SPECIAL.sub(lambda found: _ESCAPE + found[0], text)
