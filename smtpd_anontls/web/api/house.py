"""What the routes ask: the running receiver, and who wakes those who follow it.

The routes are made once for the process; what each request is about comes with it.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import Depends, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from smtpd_anontls.receiver import Receiver
from smtpd_anontls.web.feed import Feed
from smtpd_anontls.web.metrics import Metrics

Json = dict[str, Any]

# Messages that are taken apart at once: the work is Python's own, and mail is received beside it.
_AT_ONCE = 2
_KEY = "smtpd_anontls"


@dataclass(frozen=True)
class Shown:
    """What one page shows, and what its routes share."""

    receiver: Receiver
    feed: Feed
    metrics: Metrics
    working: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_AT_ONCE))

    def behind(self, routes: ASGIApp) -> ASGIApp:
        """Return *routes* about this."""

        async def about_this(scope: Scope, receive: Receive, send: Send) -> None:
            await routes({**scope, "state": {**scope.get("state", {}), _KEY: self}}, receive, send)

        return about_this


def _shown(request: Request) -> Shown:
    shown = request.scope["state"][_KEY]
    assert isinstance(shown, Shown)
    return shown


def _receiver(request: Request) -> Receiver:
    return _shown(request).receiver


def _feed(request: Request) -> Feed:
    return _shown(request).feed


Here = Annotated[Shown, Depends(_shown)]
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
