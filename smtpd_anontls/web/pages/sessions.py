"""Sessions: the list, which follows what happens, and one session with what decided it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request  # noqa: TC002 - FastAPI reads the annotations of the routes
from fastapi.responses import RedirectResponse, Response

from smtpd_anontls.domain.filters import Filter
from smtpd_anontls.web.api.house import House  # noqa: TC001 - as above
from smtpd_anontls.web.pages.commands import Suggestions
from smtpd_anontls.web.pages.event_view import EventRow
from smtpd_anontls.web.pages.lists import (
    PAGE,
    Field,
    Narrowing,
    Slice,
    connectors,
    event_ids,
    outcomes,
    servers,
)
from smtpd_anontls.web.pages.message_view import MessageRow
from smtpd_anontls.web.pages.session_view import SessionRow, SessionView

if TYPE_CHECKING:
    from smtpd_anontls.web.pages.rendering import Renderer

_SESSION_ID = re.compile(r"[0-9a-f]{16}")


class SessionPages:
    """The pages about the sessions of a receiver."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer

    def add_to(self, router: APIRouter) -> None:
        """Add the routes."""
        router.add_api_route("/", self.start, methods=["GET"], response_model=None)
        router.add_api_route("/sessions", self.list, methods=["GET"], response_model=None)
        router.add_api_route("/sessions/{session_id}", self.show, methods=["GET"], response_model=None)

    async def start(self) -> Response:
        """Go to the sessions: they tell most."""
        return RedirectResponse("/sessions")

    async def list(self, request: Request, house: House) -> Response:
        """Show the newest sessions that the form asks for."""
        settings = house.settings
        fields = (
            outcomes(),
            connectors(settings),
            servers(settings),
            Field("remote", "Peer", example="192.0.2.*", hint="an address; * stands for anything"),
            event_ids(),
        )
        asked = Narrowing.of("/sessions", fields, request.query_params)
        before = asked.before if asked.before and _SESSION_ID.fullmatch(asked.before) else None
        found = await house.journal.sessions(asked.wanted, limit=PAGE + 1, before=before)
        page = Slice.of(found, asked, key=lambda each: each["id"])
        return self._renderer.page(
            "sessions.html",
            asked=asked,
            page=page,
            rows=[SessionRow.of(each) for each in page.items],
            suggestions=Suggestions.of(house),
        )

    async def show(self, session_id: str, house: House) -> Response:
        """Show one session."""
        journal = house.journal
        wanted = session_id.lower()
        found = await journal.session(wanted) if _SESSION_ID.fullmatch(wanted) else None
        if found is None:
            return self._renderer.not_found(f"There is no session {session_id[:64]}.", "/sessions")
        here = Filter(session=wanted)
        messages = await journal.messages(here, limit=PAGE)
        events = await journal.events(here, limit=PAGE)
        return self._renderer.page(
            "session.html",
            session=SessionView.of(found),
            messages=[MessageRow.of(each) for each in messages],
            events=[EventRow.of(each) for each in events],
        )
