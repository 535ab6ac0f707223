"""Records to rows, and rows to the JSON that every surface shows."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from smtpd_anontls.domain.filters import INDEXED_HEADERS, folded, host_of, indexed
from smtpd_anontls.domain.instants import rfc3339

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from smtpd_anontls.domain.records import EventRecord, Json, MessageRecord, SessionRecord

# The values of one row, in the order of its table's columns.
Row = tuple[Any, ...]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def microseconds(instant: datetime) -> int:
    """Return *instant* as the database keeps it."""
    return (instant - _EPOCH) // _MICROSECOND


def message_row(message_id: int, record: MessageRecord) -> Row:
    """Return the row of *record* in ``messages``."""
    return (
        message_id,
        microseconds(record.time),
        indexed(record.server),
        indexed(record.connector),
        indexed(record.session_id),
        _indexed_or_none(record.run),
        folded(record.sender),
        folded(record.subject or ""),
        len(record.raw),
        json.dumps(_shown_message(record)),
        _parameters(record),
    )


def recipient_rows(message_id: int, record: MessageRecord) -> list[Row]:
    """Return the rows of *record* in ``message_recipients``."""
    return [(message_id, position, folded(address)) for position, address in enumerate(record.recipients)]


def header_rows(message_id: int, record: MessageRecord) -> list[Row]:
    """Return the rows of *record* in ``message_headers``."""
    return [
        (message_id, position, folded(name), indexed(value))
        for position, (name, value) in enumerate(record.headers[:INDEXED_HEADERS])
    ]


def session_row(change: int, record: SessionRecord) -> Row:
    """Return the row of *record*; its messages are not in it, since the messages say that themselves."""
    shown = record.as_json(transcript=False)
    del shown["messages"]
    return (
        indexed(record.id),
        microseconds(record.started),
        _indexed_or_none(record.server),
        _indexed_or_none(record.connector),
        folded(record.remote),
        folded(host_of(record.remote)),
        None if record.outcome is None else record.outcome.value,
        json.dumps(shown),
        change,
    )


def transcript_row(record: SessionRecord) -> Row:
    """Return the row of *record* in ``session_transcripts``."""
    return indexed(record.id), json.dumps([row.as_json() for row in record.transcript])


def event_row(record: EventRecord) -> Row:
    """Return the row of *record*."""
    return (
        record.id,
        microseconds(record.time),
        record.draft.event_id.value,
        _indexed_or_none(record.server),
        _indexed_or_none(record.connector),
        _indexed_or_none(record.session_id),
        json.dumps(record.as_json()),
    )


def message_json(message_id: int, shown: str) -> Json:
    """Return the message object of a row."""
    return {"id": message_id, **json.loads(shown)}


def session_json(shown: str, messages: list[int]) -> Json:
    """Return the session object of a row and the ids of its messages."""
    return {**json.loads(shown), "messages": messages}


def _indexed_or_none(text: str | None) -> str | None:
    return None if text is None else indexed(text)


def _shown_message(record: MessageRecord) -> Json:
    return {
        "time": rfc3339(record.time),
        "server": record.server,
        "connector": record.connector,
        "session_id": record.session_id,
        "run": record.run,
        "sender": record.sender,
        "recipients": record.recipients,
        "subject": record.subject,
        "message_id": record.message_id,
        "size": len(record.raw),
        "verb": None if record.verb is None else record.verb.value,
    }


def _parameters(record: MessageRecord) -> str:
    if not record.mail_parameters and not any(record.recipient_parameters):
        return _no_parameters(len(record.recipient_parameters))
    return _told(record.mail_parameters, record.recipient_parameters)


@lru_cache(maxsize=100)
def _no_parameters(recipients: int) -> str:
    """Return what is told of most mail."""
    return _told({}, [{}] * recipients)


def _told(mail: Mapping[str, str | None], recipients: Sequence[Mapping[str, str | None]]) -> str:
    return json.dumps(
        {
            "mail_parameters": dict(mail),
            "recipient_parameters": [dict(parameters) for parameters in recipients],
        }
    )
