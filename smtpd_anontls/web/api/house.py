"""What the routes ask: the running receiver, and who wakes those who follow it."""

import json
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from fastapi import Depends, Request
from starlette.responses import Response

from smtpd_anontls.receiver import Receiver
from smtpd_anontls.web.feed import Feed

Json = dict[str, Any]


def _receiver(request: Request) -> Receiver:
    receiver = request.app.state.receiver
    assert isinstance(receiver, Receiver)
    return receiver


def _feed(request: Request) -> Feed:
    feed = request.app.state.feed
    assert isinstance(feed, Feed)
    return feed


House = Annotated[Receiver, Depends(_receiver)]
Comings = Annotated[Feed, Depends(_feed)]


def answer(document: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return *document* as it is.

    Records are shown as they were written: pydantic describes them, and the tests hold them to it.
    """
    # ASCII only: whatever a peer has sent can be written so.
    return Response(json.dumps(document), status, dict(headers or {}), media_type="application/json")


def page(
    found: list[Json], limit: int, cursor_of: Callable[[Json], object] = lambda each: each["id"]
) -> Response:
    """Return a page of *found*, of which one more than *limit* was asked for."""
    items = found[:limit]
    more = len(found) > limit
    return answer({"items": items, "next": str(cursor_of(items[-1])) if more else None})
