"""The search index of SQLite: which messages may hold a text, newest or oldest first.

FTS5 keeps for each three characters in a row the ids of the messages that have them, in the order
of the ids.  A pattern asks for messages that have all the threes of its literal pieces; that is
more than those that match it, so the plain comparison is made on each of them, too, and the index
only leaves out what cannot match.  Values stand between line feeds, which no value holds:
``*@contoso.test`` has an end to look for, and a name of one letter has a three of its own.

Of the value of a header that is longer than LONGEST characters only its beginning is in it, and a mark
that says so: such values are signatures and the like, whose threes occur once, which makes each a list
of its own (taking in 16 headers with one DKIM-Signature is 5 to 8 times as cheap without the end of that).
Who asks for what a long value has behind its beginning finds the marked ones, too, and compares.

The index follows the deliveries (``journal_state.searchable_message_id`` says how far it has come):
:mod:`smtpd_anontls.journal.feeding` says when.  What it does not hold yet is compared without it.
It keeps no text; what is removed has to be told again.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import case, column, func, literal_column, select, table, text, update

from smtpd_anontls.domain.filters import folded, indexed
from smtpd_anontls.journal.pace import Pace
from smtpd_anontls.journal.prepared import Prepared
from smtpd_anontls.journal.schema import message_headers, messages, state

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import ColumnElement, Connection

    from smtpd_anontls.domain.filters import Filter

# One transaction takes in so much, 15 ms of work as a rule: a delivery may wait for it.  Four times as much
# costs as much a message, half of it a third more.
BATCH_MESSAGES = 1000
BATCH_CHARACTERS = 50_000

# A list that holds a third of all messages leaves out little, and is long to go through.
_COMMON = 1 / 3
SAMPLED = 64
LARGE = 20_000

_EDGE = "\n\n"  # Two, so that "a*" and the null sender have three characters.
_COLUMNS = "place, sender, recipients, subject, headers"
# A change of what stands below is a change of the schema: FTS5 must be told what is removed as it was added.
LONGEST, BEGINNING = 256, 64
_CUT = "\t"  # Instead of the value, behind the name of a header whose value is longer; no value holds it.
_TEXTS = f"""
    char(10, 10) || server || char(10, 10) || connector || char(10, 10),
    char(10, 10) || sender || char(10, 10),
    (SELECT char(10, 10) || group_concat(address, char(10, 10)) || char(10, 10)
        FROM message_recipients WHERE message_id = messages.id),
    subject,
    (SELECT char(10, 10) || group_concat(name || ':' || CASE WHEN length(value) <= {LONGEST} THEN value
        ELSE substr(value, 1, {BEGINNING}) || char(10, 10) || name || ':' || char(9) END, char(10, 10))
        || char(10, 10) FROM message_headers WHERE message_id = messages.id)
"""  # noqa: S608 - our numbers
_ADD = text(
    f"INSERT INTO message_search (rowid, {_COLUMNS})"  # noqa: S608 - our names
    f" SELECT id, {_TEXTS} FROM messages WHERE id > :after AND id <= :upto"
)
_SAMPLE = text(
    f"SELECT {_TEXTS} FROM messages WHERE id IN (SELECT value FROM json_each(:ids))"  # noqa: S608
)
# Each by itself, since SQLite looks at the ends of an index for one of them alone.
_ENDS = select(
    select(func.min(messages.c.id)).scalar_subquery(), select(func.max(messages.c.id)).scalar_subquery()
)
# FTS5's command: the texts must be those that were added.
_remove = Prepared(
    text(
        f"INSERT INTO message_search (message_search, rowid, {_COLUMNS})"  # noqa: S608
        f" SELECT 'delete', id, {_TEXTS} FROM messages WHERE id IN (SELECT value FROM json_each(:ids))"
        " AND id <= (SELECT searchable_message_id FROM journal_state)"
    )
)

_MERGE = "INSERT INTO message_search (message_search, rank) VALUES ('merge', ?)"
_CHANGES = "SELECT total_changes()"
_PROGRESS = select(state.c.searchable_message_id, state.c.last_message_id)

found = table("message_search", column("rowid"))


def is_kept(connection: Connection) -> bool:
    """Whether this database has the index: PostgreSQL has indexes of its own, kept by itself."""
    return connection.dialect.name == "sqlite"


def upto(connection: Connection) -> int:
    """Return the id of the last message in the index."""
    found_upto: int = connection.scalars(select(state.c.searchable_message_id)).one()
    return found_upto


class LeftOut(NamedTuple):
    """What the index does not hold yet."""

    messages: int  # At the most: ids may leave gaps.
    newest: int  # Id of the newest message, whether it is in the index or not.


def left_out(connection: Connection) -> LeftOut:
    """Return how far the index is behind; a database that keeps its own is not."""
    after, last = connection.execute(_PROGRESS).one()
    return LeftOut(last - after if is_kept(connection) else 0, last)


def extend(connection: Connection) -> bool:
    """Add one batch of messages; return whether there may be more."""
    if not is_kept(connection):
        return False
    after: int
    last: int
    after, last = connection.execute(_PROGRESS).one()
    if after >= last:
        return False
    # Ids may leave a gap: a database that was put in place of another goes on behind that one's last.
    first = connection.scalars(select(func.min(messages.c.id)).where(messages.c.id > after)).one()
    end = last if first is None else _end_of_batch(connection, first - 1, last)
    connection.execute(_ADD, {"after": after, "upto": end})
    connection.execute(update(state).values(searchable_message_id=end))
    return end < last


def remove(connection: Connection, message_ids: Sequence[int]) -> None:
    """Remove messages whose rows are still there."""
    if is_kept(connection):
        # One statement: at the end of each, FTS5 makes a segment of what was changed.
        _remove.once(connection, {"ids": json.dumps(sorted(message_ids))})


def merging() -> Pace:
    """Return the pace for :func:`tidy`, in pages."""
    return Pace(4, 64)


def tidy(connection: Connection, pace: Pace) -> bool:
    """Merge what was added and removed by parts, a little of it; return whether there may be more to do.

    Every transaction that changes the index adds a segment, and a search reads them all.  Where sixteen have
    come together FTS5 merges them at once, however long that takes.  What it counts is the pages that it
    writes: where most of what it reads has been removed, few of them take long.
    """
    if not is_kept(connection):
        return False
    began = time.monotonic()
    before = connection.exec_driver_sql(_CHANGES).scalar_one()
    connection.exec_driver_sql(_MERGE, (pace.size,))
    pace.took(pace.size, time.monotonic() - began)
    # The command itself counts as one.
    return bool(connection.exec_driver_sql(_CHANGES).scalar_one() - before > 1)


class Sample(NamedTuple):
    """The texts of some messages, those of a column together."""

    place: tuple[str, ...] = ()
    sender: tuple[str, ...] = ()
    recipients: tuple[str, ...] = ()
    subject: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()


NOTHING = Sample()


def sample(connection: Connection) -> Sample:
    """Return a sample of all messages; an empty one where there are so few that nothing takes long."""
    first, last = connection.execute(_ENDS).one()
    if last is None or last - first < LARGE:
        return NOTHING
    step = (last - first) / SAMPLED
    ids = [first + int(number * step) for number in range(SAMPLED)]
    rows = connection.execute(_SAMPLE, {"ids": json.dumps(ids)}).all()
    return Sample(*(tuple(found or "" for found in column) for column in zip(*rows, strict=True)))


def expression(wanted: Filter, known: Sample = NOTHING) -> str | None:
    """Return what FTS5 is asked for *wanted*; None where no term has three characters in a row.

    Threes that most messages of *known* have are left out where others find the same with less to go through.
    """
    places = [_EDGE + indexed(name) + _EDGE for name in (wanted.server, wanted.connector) if name is not None]
    terms = {
        "place": _all(_threes(places, known.place)),
        "sender": _all(_threes(_pieces(wanted.sender), known.sender)),
        "recipients": _all(_threes(_pieces(wanted.recipient), known.recipients)),
        "subject": _all(_threes([] if wanted.subject is None else [folded(wanted.subject)], known.subject)),
        "headers": _headers(wanted, known.headers),
    }
    return " AND ".join(f"{name} : ({asked})" for name, asked in terms.items() if asked) or None


def matching(asked: str) -> ColumnElement[bool]:
    """Return the condition under which :data:`found` has the messages that *asked* may mean."""
    return literal_column("message_search").op("MATCH", is_comparison=True)(asked)


def _end_of_batch(connection: Connection, after: int, last: int) -> int:
    """Return the id of the last message of the batch behind *after*: at least one."""
    header = message_headers.c
    value = func.length(header.value)
    taken_in = func.length(header.name) + case((value <= LONGEST, value), else_=BEGINNING)
    sizes = (
        select(header.message_id, func.sum(taken_in))
        .where(header.message_id > after, header.message_id <= after + BATCH_MESSAGES)
        .group_by(header.message_id)
        .order_by(header.message_id)
    )
    characters = 0
    end = after
    for message_id, size in connection.execute(sizes):
        characters += size
        if end > after and characters > BATCH_CHARACTERS:
            return end
        end = message_id
    return min(after + BATCH_MESSAGES, last)


def _pieces(pattern: str | None) -> list[str]:
    return [] if pattern is None else (_EDGE + folded(pattern) + _EDGE).split("*")


def _headers(wanted: Filter, known: Sequence[str]) -> str:
    """Return what is asked about a header: its value whole, or its beginning where it is a longer one."""
    if wanted.header is None:
        return ""
    name, value = f"{_EDGE}{wanted.header_name}:", wanted.header_value
    first, *rest = (value + _EDGE).split("*")
    whole = _threes([name + first, *rest], known)
    cut = _threes([name + value.partition("*")[0][:BEGINNING], name + _CUT], known)
    if len(value) - len(rest) > LONGEST:
        return _all(cut)
    if not rest or whole <= cut:
        return _all(whole)
    both = whole & cut
    if both == cut:
        return _all(cut)
    either = f"({_all(whole - both)}) OR ({_all(cut - both)})"
    return _all(both) + f" AND ({either})" if both else either


def _all(threes: Iterable[str]) -> str:
    """Return the expression for all *threes*, as FTS5 writes them."""
    return " AND ".join('"' + three.replace('"', '""') + '"' for three in sorted(threes))


def _threes(pieces: Iterable[str], known: Sequence[str]) -> set[str]:
    """Return as few threes as cover each of *pieces*: each costs a list to go through."""
    threes = {
        piece[at : at + 3]
        for piece in pieces
        if len(piece) >= 3  # noqa: PLR2004
        for at in (*range(0, len(piece) - 2, 3), len(piece) - 3)
    }
    found = {three: sum(three in text for text in known) for three in threes}
    rare = {three for three, count in found.items() if count <= len(known) * _COMMON}
    return rare or set(sorted(threes, key=lambda three: (found[three], three))[:1])
