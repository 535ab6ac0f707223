"""Events: the Application log as Event Viewer shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Request  # noqa: TC002 - FastAPI reads the annotations of the routes
from fastapi.responses import Response  # noqa: TC002

from smtpd_anontls.domain.filters import Filter
from smtpd_anontls.web.api.house import House  # noqa: TC001 - as above
from smtpd_anontls.web.pages.event_view import EventRow, EventView
from smtpd_anontls.web.pages.lists import (
    PAGE,
    Field,
    Narrowing,
    Slice,
    connectors,
    event_ids,
    number,
    number_before,
    servers,
)

if TYPE_CHECKING:
    from smtpd_anontls.receiver import Receiver
    from smtpd_anontls.web.pages.rendering import Renderer


class EventPages:
    """The pages about the events of a receiver."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer

    def add_to(self, router: APIRouter) -> None:
        """Add the routes."""
        router.add_api_route("/events", self.list, methods=["GET"], response_model=None)
        router.add_api_route("/events/{record_id}", self.show, methods=["GET"], response_model=None)

    async def list(self, request: Request, house: House) -> Response:
        """Show the newest events that the form asks for."""
        settings = house.settings
        fields = (
            event_ids(),
            connectors(settings),
            servers(settings),
            Field("session", "Session", example="16 digits"),
            Field("since", "Since", example="2027-06-01"),
        )
        asked = Narrowing.of("/events", fields, request.query_params)
        try:
            asked.wanted.since_number()
        except ValueError as mistake:
            asked = asked.mistaken(str(mistake))
        found = await house.journal.events(asked.wanted, limit=PAGE + 1, before=number_before(asked))
        page = Slice.of(found, asked, key=lambda each: each["id"])
        rows = [EventRow.of(each) for each in page.items]
        return self._renderer.page("events.html", asked=asked, page=page, rows=rows)

    async def show(self, record_id: str, house: House) -> Response:
        """Show one event."""
        wanted = number(record_id)
        found = None if wanted is None else await _event(house, wanted)
        if found is None:
            return self._renderer.not_found(f"There is no event {record_id[:64]}.", "/events")
        return self._renderer.page(
            "event.html", event=EventView.of(found, lambda server: _computer_of(house, server))
        )


async def _event(house: Receiver, wanted: int) -> dict[str, object] | None:
    # The one between its neighbours: lists are asked for by what lies before and behind.
    found = await house.journal.events(Filter(since=wanted - 1), limit=1, before=wanted + 1)
    return found[0] if found else None


def _computer_of(house: Receiver, server: str | None) -> str:
    servers = [each.server for each in house.settings.servers]
    return next((each.fqdn for each in servers if each.name == server), servers[0].fqdn)
