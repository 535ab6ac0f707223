"""The events of the Application log."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from smtpd_anontls.domain.records import EventRecord
from smtpd_anontls.web.api.filters import EventPage, EventTerms, number_before
from smtpd_anontls.web.api.house import Comings, House, page
from smtpd_anontls.web.api.records import Events
from smtpd_anontls.web.api.streaming import STREAM, LastEventId, stream

router = APIRouter(tags=["events"])


@router.get("/events", response_model=Events, summary="List events, the newest first")
async def list_events(house: House, query: Annotated[EventPage, Query()]) -> Response:
    """A term about messages takes the events of sessions that had one such."""
    before = number_before(query.cursor)
    found = await house.journal.events(query.filter(), limit=query.limit + 1, before=before)
    return page(found, query.limit)


@router.get("/events/stream", responses=STREAM, summary="Follow events as they come", response_class=Response)
async def stream_events(
    house: House, comings: Comings, query: Annotated[EventTerms, Query()], last_event_id: LastEventId = None
) -> Response:
    """Server-sent events (`event`), from now on; with `since` or Last-Event-ID those of before, too."""
    wanted = query.filter()
    return await stream(
        comings,
        EventRecord,
        last_event_id,
        read=lambda after: house.journal.next_events(wanted, after=after),
        newest=lambda position: position.event,
        journal=house.journal,
        from_now=wanted.since is None,
    )
