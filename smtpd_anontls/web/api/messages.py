"""Messages: looked at, waited for, removed."""

import asyncio
import hashlib
from collections.abc import Coroutine
from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Header, Path, Query, Request
from starlette.responses import Response

from smtpd_anontls.domain.filters import EVERYTHING
from smtpd_anontls.journal.journal import MemoryJournal
from smtpd_anontls.web.api.filters import MessagePage, RemovalTerms, WaitTerms, number_before
from smtpd_anontls.web.api.house import Comings, House, Json, answer, page
from smtpd_anontls.web.api.records import Messages, Removed, WholeMessage
from smtpd_anontls.web.feed import Feed, TooManyReadersError
from smtpd_anontls.web.parts import parts_of
from smtpd_anontls.web.problems import ProblemError, failures, not_acceptable

router = APIRouter(tags=["messages"])

MessageId = Annotated[int, Path(ge=0, le=2**63 - 1, description="The InternalId of its 250.", examples=[1])]

# What a browser may show by itself; anything else it saves.
_SHOWN = frozenset({"text/plain", "image/png", "image/jpeg", "image/gif", "image/webp"})
# Whatever is in it runs nothing and reaches nothing.
_SANDBOX = {"content-security-policy": "sandbox; default-src 'none'; frame-ancestors 'none'"}


def _octets(media_type: str, description: str) -> dict[int | str, dict[str, Any]]:
    return {
        200: {
            "description": description,
            "content": {media_type: {"schema": {"type": "string", "format": "binary"}}},
        }
    }


@router.get("/messages", response_model=Messages, summary="List messages, the newest first")
async def list_messages(house: House, query: Annotated[MessagePage, Query()]) -> Response:
    """The pages stay what they are while mail comes in."""
    before = number_before(query.cursor)
    found = await house.journal.messages(query.filter(), limit=query.limit + 1, before=before)
    return page(found, query.limit)


@router.delete(
    "/messages",
    response_model=Removed,
    responses=failures(HTTPStatus.FORBIDDEN),
    summary="Remove messages",
)
async def remove_messages(house: House, query: Annotated[RemovalTerms, Query()]) -> Response:
    """Removes those that are there now and that the filters take; without a filter only with `all=true`."""
    wanted = query.filter()
    if wanted == EVERYTHING and not query.all:
        raise not_acceptable("query", "all", "this would remove all messages; say all=true, or narrow it")
    return answer({"removed": await house.journal.purge(wanted)})


@router.get(
    "/messages/wait",
    response_model=Messages,
    responses=failures(HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.SERVICE_UNAVAILABLE),
    summary="Wait until there are so many messages",
)
async def wait_for_messages(
    request: Request, house: House, comings: Comings, query: Annotated[WaitTerms, Query()]
) -> Response:
    """Answers as soon as they are durable, or with 408 and the `items` there were.

    Messages that are there already count, unless `since` or `run` leaves them out.
    """
    wanted = query.filter()
    if isinstance(house.journal, MemoryJournal):
        raise ProblemError(
            HTTPStatus.CONFLICT, "capture.url is null: messages are discarded, so none will be there"
        )
    waited = house.messages.shown(wanted, query.count, query.timeout)
    found = await _unless_over(waited, request, comings)
    if len(found) < query.count:
        raise ProblemError(
            HTTPStatus.REQUEST_TIMEOUT,
            f"{len(found)} of {query.count} messages within {query.timeout:g} seconds",
            items=found,
        )
    return answer({"items": found, "next": None})


async def _unless_over(
    waited: Coroutine[Any, Any, list[Json]], request: Request, comings: Feed
) -> list[Json]:
    """Return what *waited* comes to, unless the client has gone or the page closes before."""
    waiting = asyncio.ensure_future(waited)
    gone = asyncio.ensure_future(_gone(request))
    try:
        with comings.reader(None) as closed:
            closing = asyncio.ensure_future(closed.wait())
            try:
                await asyncio.wait([waiting, gone, closing], return_when=asyncio.FIRST_COMPLETED)
            finally:
                closing.cancel()
        if not waiting.done():
            raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, "the receiver stops")
        return waiting.result()
    except TooManyReadersError:
        raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, "too many wait already; try again later") from None
    finally:
        waiting.cancel()
        gone.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


@router.get(
    "/messages/{message_id}",
    response_model=WholeMessage,
    responses=failures(HTTPStatus.NOT_FOUND),
    summary="Show one message: envelope, parameters, header, parts",
)
async def show_message(house: House, message_id: MessageId) -> Response:
    """The content is at `raw` and at `parts`."""
    found = await house.journal.message(message_id)
    raw = await _raw(house, message_id)
    if found is None:
        raise _missing()
    parts = await asyncio.to_thread(parts_of, raw)
    return answer({**found, "parts": None if parts is None else [each.as_json() for each in parts]})


@router.get(
    "/messages/{message_id}/raw",
    response_class=Response,
    responses={
        **_octets("message/rfc822", "Byte for byte as it was received."),
        304: {"description": "The content is the one of If-None-Match."},
        **failures(HTTPStatus.NOT_FOUND),
    },
    summary="The message as it was received",
)
async def raw_message(
    house: House,
    message_id: MessageId,
    if_none_match: Annotated[
        str | None, Header(max_length=1024, description="ETags that the client has.")
    ] = None,
) -> Response:
    """A file to save, never something that a browser shows."""
    raw = await _raw(house, message_id)
    digest = await asyncio.to_thread(lambda: hashlib.sha256(raw).hexdigest())
    headers = {**_SANDBOX, "etag": f'"{digest}"', "cache-control": "private, no-cache"}
    if if_none_match is not None and _names(if_none_match, headers["etag"]):
        return Response(None, HTTPStatus.NOT_MODIFIED, headers)
    headers["content-disposition"] = f'attachment; filename="{message_id}.eml"'
    return Response(raw, headers=headers, media_type="message/rfc822")


@router.get(
    "/messages/{message_id}/parts/{number}",
    response_class=Response,
    responses={
        **_octets("application/octet-stream", "The decoded part; text/plain and images as what they are."),
        **failures(HTTPStatus.NOT_FOUND),
    },
    summary="One part of a message, decoded",
)
async def part_of_message(
    house: House,
    message_id: MessageId,
    number: Annotated[int, Path(ge=1, le=1000, description="Its number.")],
) -> Response:
    """Only plain text and images come as what they are; anything else is a file to save."""
    parts = await asyncio.to_thread(parts_of, await _raw(house, message_id)) or []
    if number > len(parts):
        raise ProblemError(HTTPStatus.NOT_FOUND, "the message has no such part")
    part = parts[number - 1]
    is_shown = part.content_type in _SHOWN
    disposition = "inline" if is_shown else "attachment"
    name = quote(part.filename or f"{message_id}-{number}", safe="")
    headers = {**_SANDBOX, "content-disposition": f"{disposition}; filename*=UTF-8''{name}"}
    kind = part.content_type if is_shown else "application/octet-stream"
    if kind == "text/plain":
        charset = part.charset or "utf-8"
        kind += f"; charset={charset}" if charset.replace("-", "").replace("_", "").isalnum() else ""
    # Not media_type, which would say utf-8 of any text.
    headers["content-type"] = kind if kind.isascii() else "application/octet-stream"
    return Response(part.content, headers=headers)


async def _raw(house: House, message_id: int) -> bytes:
    raw = await house.journal.raw(message_id)
    if raw is None:
        raise _missing()
    return raw


def _missing() -> ProblemError:
    return ProblemError(HTTPStatus.NOT_FOUND, "there is no such message")


def _names(if_none_match: str, etag: str) -> bool:
    """Whether an If-None-Match header names *etag* (RFC 9110 section 13.1.2)."""
    named = [each.strip().removeprefix("W/") for each in if_none_match.split(",")]
    return "*" in named or etag in named
