"""Sessions: what happened in each, failed ones included."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from smtpd_anontls.domain.records import SessionRecord
from smtpd_anontls.web.api.filters import SessionPage, SessionTerms, session_before
from smtpd_anontls.web.api.house import Comings, House, answer, page
from smtpd_anontls.web.api.records import Sessions, WholeSession
from smtpd_anontls.web.api.streaming import STREAM, LastEventId, stream
from smtpd_anontls.web.problems import ProblemError, failures

router = APIRouter(tags=["sessions"])


@router.get("/sessions", response_model=Sessions, summary="List sessions, the newest first")
async def list_sessions(house: House, query: Annotated[SessionPage, Query()]) -> Response:
    """A term about messages or events takes the sessions that had one such."""
    before = session_before(query.cursor)
    found = await house.journal.sessions(query.filter(), limit=query.limit + 1, before=before)
    return page(found, query.limit)


@router.get(
    "/sessions/stream", responses=STREAM, summary="Follow sessions as they end", response_class=Response
)
async def stream_sessions(
    house: House, comings: Comings, query: Annotated[SessionTerms, Query()], last_event_id: LastEventId = None
) -> Response:
    """Server-sent events (`session`), from now on; with `since` or Last-Event-ID those of before, too."""
    wanted = query.filter()
    return await stream(
        comings,
        SessionRecord,
        last_event_id,
        read=lambda after: house.journal.finished_sessions(wanted, after=after),
        newest=lambda position: position.session,
        journal=house.journal,
        from_now=wanted.since is None,
    )


@router.get(
    "/sessions/{session_id}",
    response_model=WholeSession,
    responses=failures(HTTPStatus.NOT_FOUND),
    summary="Show one session: selections, TLS facts, transcript",
)
async def show_session(
    house: House, session_id: Annotated[str, Path(max_length=64, examples=["0123456789abcdef"])]
) -> Response:
    """The selections are the very ones that decided the session."""
    found = await house.journal.session(session_id.lower())
    if found is None:
        raise ProblemError(HTTPStatus.NOT_FOUND, "there is no such session")
    return answer(found)
