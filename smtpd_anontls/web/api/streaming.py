"""Server-sent events: what is recorded, as it is recorded.

Each reader reads the journal at its own pace, so that nothing is lost and nothing is queued; the id of
each event is the place in the journal from which it goes on.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Header
from starlette.responses import Response, StreamingResponse

from smtpd_anontls.domain.records import SessionRecord
from smtpd_anontls.journal.errors import JournalError
from smtpd_anontls.journal.journal import JournalLike
from smtpd_anontls.journal.position import Position
from smtpd_anontls.web.api.house import Json
from smtpd_anontls.web.feed import Feed, Kind, TooManyReadersError
from smtpd_anontls.web.problems import ProblemError, failures

# Milliseconds after which a browser connects again.
_RETRY = 2000
# What comes within so many seconds is read at once.
_GATHER = 0.02

LastEventId = Annotated[
    int | None,
    Header(alias="Last-Event-ID", ge=0, le=2**63 - 1, description="Goes on behind the event of this id."),
]
STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Events without end, a comment at least every 15 seconds.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    },
    **failures(HTTPStatus.SERVICE_UNAVAILABLE),
}

Read = Callable[[int], Awaitable[list[tuple[int, Json]]]]


async def stream(
    comings: Feed,
    kind: Kind,
    last_event_id: int | None,
    *,
    read: Read,
    newest: Callable[[Position], int],
    journal: JournalLike,
    from_now: bool,
) -> Response:
    """Return a response that follows *kind*, from where *last_event_id* or *from_now* say."""
    start = newest(await journal.position())
    if last_event_id is not None:
        # An id that is still to come is one of another journal.
        start = min(last_event_id, start)
    elif not from_now:
        start = 0
    name = "session" if kind is SessionRecord else "event"
    if comings.is_full:
        raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, "too many follow already; try again later")
    return StreamingResponse(_follow(comings, kind, name, start, read), media_type="text/event-stream")


async def _follow(comings: Feed, kind: Kind, name: str, after: int, read: Read) -> AsyncIterator[str]:
    yield f"retry: {_RETRY}\n\n"
    try:
        with comings.reader(kind) as came:
            while not comings.is_closed():
                came.clear()
                # All that is there, before anything is waited for.
                while not comings.is_closed() and (found := await read(after)):
                    for number, item in found:
                        yield f"id: {number}\nevent: {name}\ndata: {json.dumps(item)}\n\n"
                        after = number
                if not await _comes(came, comings.heartbeat):
                    yield ": still here\n\n"
    except (TooManyReadersError, JournalError):
        # The reader comes again, and is then told why not.
        return


async def _comes(came: asyncio.Event, heartbeat: float) -> bool:
    try:
        async with asyncio.timeout(heartbeat):
            await came.wait()
            await asyncio.sleep(_GATHER)
    except TimeoutError:
        return False
    return True
