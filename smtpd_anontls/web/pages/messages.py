"""Messages: the list, one message, and what can be saved of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import quote

from fastapi import APIRouter, Request  # noqa: TC002 - FastAPI reads the annotations of the routes
from fastapi.responses import Response

from smtpd_anontls.web.api.house import Here, House, Shown  # noqa: TC001 - as above
from smtpd_anontls.web.pages import mail_html
from smtpd_anontls.web.pages.commands import Suggestions
from smtpd_anontls.web.pages.lists import (
    PAGE,
    Field,
    Narrowing,
    Slice,
    connectors,
    number,
    number_before,
    servers,
)
from smtpd_anontls.web.pages.mail import MAX_HTML, take_apart
from smtpd_anontls.web.pages.message_view import MessageRow, MessageView

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from smtpd_anontls.web.pages.rendering import Renderer

    T = TypeVar("T")

_DOWNLOAD_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "Cache-Control": "no-store",
}


class MessagePages:
    """The pages about the messages of a receiver."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer

    def add_to(self, router: APIRouter) -> None:
        """Add the routes."""
        for path, route in (
            ("/messages", self.list),
            ("/messages/{message_id}", self.show),
            ("/messages/{message_id}/html", self.html),
            ("/messages/{message_id}/download", self.download),
            ("/messages/{message_id}/parts/{part}", self.part),
        ):
            router.add_api_route(path, route, methods=["GET"], response_model=None)

    async def list(self, request: Request, house: House) -> Response:
        """Show the newest messages that the form asks for."""
        settings = house.settings
        fields = (
            Field("recipient", "To", example="*@contoso.test", hint="* stands for anything"),
            Field(
                "sender",
                "From",
                example="a@example.test",
                hint="* stands for anything, <> is the null sender",
            ),
            Field("subject", "Subject has", example="invoice"),
            Field("header", "Header", example="X-Mailer: swaks*"),
            Field("run", "Run", example="nightly-7"),
            Field("session", "Session", example="16 digits"),
            Field("since", "Since", example="2027-06-01", hint="a time, or the id of a message"),
            connectors(settings),
            servers(settings),
        )
        asked = Narrowing.of("/messages", fields, request.query_params)
        try:
            asked.wanted.since_number()
        except ValueError as mistake:
            asked = asked.mistaken(str(mistake))
        journal = house.journal
        found = await journal.messages(asked.wanted, limit=PAGE + 1, before=number_before(asked))
        page = Slice.of(found, asked, key=lambda each: each["id"])
        return self._renderer.page(
            "messages.html",
            asked=asked,
            page=page,
            rows=[MessageRow.of(each) for each in page.items],
            suggestions=Suggestions.of(house),
        )

    async def show(self, message_id: str, here: Here) -> Response:
        """Show one message."""
        raw = await _raw(here, message_id)
        found = None if raw is None else await here.receiver.journal.message(int(message_id))
        if raw is None or found is None:
            return self._missing(message_id)
        view = await _work(here, lambda: MessageView.of(found, raw))
        return self._renderer.page("message.html", message=view)

    async def html(self, message_id: str, here: Here) -> Response:
        """Return the HTML of a message, for the frame that nothing leaves."""
        raw = await _raw(here, message_id)
        if raw is None:
            return self._missing(message_id)

        def work() -> str:
            part = take_apart(raw).html
            return "" if part is None else mail_html.neutralised(part.text(MAX_HTML))

        content = (await _work(here, work)).encode("utf-8", "replace")
        return Response(content, media_type="text/html; charset=utf-8", headers=mail_html.HEADERS)

    async def download(self, message_id: str, here: Here) -> Response:
        """Return a message byte for byte as it was received."""
        raw = await _raw(here, message_id)
        if raw is None:
            return self._missing(message_id)
        return _saved(raw, f"message-{int(message_id)}.eml", "message/rfc822")

    async def part(self, message_id: str, part: str, here: Here) -> Response:
        """Return a part of a message, decoded, to be saved."""
        raw = await _raw(here, message_id)
        wanted = number(part)
        if raw is None or wanted is None:
            return self._missing(message_id)
        found = (await _work(here, lambda: take_apart(raw))).part(wanted)
        if found is None:
            return self._renderer.not_found(
                f"Message {message_id} has no part {wanted}.", f"/messages/{message_id}"
            )
        # Never by the type that the sender claims: a browser is to save it, not to show it.
        return _saved(found.octets, found.file_name, "application/octet-stream")

    def _missing(self, message_id: str) -> Response:
        return self._renderer.not_found(f"There is no message {message_id[:64]}.", "/messages")


async def _raw(here: Shown, message_id: str) -> bytes | None:
    wanted = number(message_id)
    return None if wanted is None else await here.receiver.journal.raw(wanted)


async def _work(here: Shown, work: Callable[[], T]) -> T:
    async with here.working:
        return await asyncio.to_thread(work)


def _saved(content: bytes, name: str, media_type: str) -> Response:
    """Return what a browser saves under *name* (RFC 6266)."""
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "._- ") else "_" for c in name)
    disposition = f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
    headers = {**_DOWNLOAD_HEADERS, "Content-Disposition": disposition}
    return Response(content, media_type=media_type, headers=headers)
