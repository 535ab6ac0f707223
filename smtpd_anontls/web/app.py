"""The FastAPI application: the paths of the API and of the health checks, behind one door."""

from functools import cache
from http import HTTPStatus
from importlib.metadata import version

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.responses import Response

from smtpd_anontls.journal.errors import JournalError
from smtpd_anontls.receiver import Receiver
from smtpd_anontls.settings.values import WebSettings
from smtpd_anontls.web import health
from smtpd_anontls.web.access import Access
from smtpd_anontls.web.api import certificates, connectors, events, faults, messages, sessions
from smtpd_anontls.web.api.house import Here, Shown
from smtpd_anontls.web.feed import Feed
from smtpd_anontls.web.metrics import Metrics
from smtpd_anontls.web.pages import pages_router
from smtpd_anontls.web.patience import Patience
from smtpd_anontls.web.problems import (
    UNPROCESSABLE,
    ProblemError,
    answer_fault,
    answer_http,
    answer_journal,
    answer_problem,
    answer_validation,
    failures,
)
from smtpd_anontls.web.security import Guard

metrics_router = APIRouter(tags=["health"])


@metrics_router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {
            "description": "Prometheus' text format.",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        }
    },
    summary="Metrics for Prometheus",
)
async def show_metrics(here: Here) -> Response:
    """Counted since the page was opened."""
    text = await here.metrics.exposition(here.receiver)
    return Response(text, headers={"content-type": CONTENT_TYPE_LATEST})


# A router for each kind of thing under /api/v1.
API = (sessions.router, messages.router, events.router, certificates.router, connectors.router, faults.router)
# What any path may end with.
_ANYWHERE = (UNPROCESSABLE, HTTPStatus.UNAUTHORIZED, HTTPStatus.MISDIRECTED_REQUEST)


def make_app(
    receiver: Receiver,
    settings: WebSettings,
    *,
    access: Access | None = None,
    feed: Feed | None = None,
    body_timeout: float = Patience().body,
) -> Guard:
    """Return the application that shows *receiver*; whoever closes it closes *feed* first.

    Without *access* everybody who can reach it may use it.
    """
    shown = Shown(receiver, Feed() if feed is None else feed, Metrics())
    receiver.observe(shown.feed.notice)
    receiver.journal.listen(shown.feed.committed)
    receiver.observe(shown.metrics.notice)
    return Guard(shown.behind(routes()), settings=settings, access=access, body_timeout=body_timeout)


@cache
def routes() -> FastAPI:
    """Return all paths; making them takes longer than a receiver's start."""
    app = FastAPI(
        title="smtpd-anontls",
        summary="What a Receive connector did, and why",
        version=version("smtpd-anontls"),
        openapi_url="/api/openapi.json",
        # They load their scripts from other hosts.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        # Requests are told to nobody else.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
        exception_handlers={
            ProblemError: answer_problem,
            HTTPException: answer_http,
            RequestValidationError: answer_validation,
            JournalError: answer_journal,
            # The door logs it.
            Exception: answer_fault,
        },
        responses=failures(*_ANYWHERE),
    )
    for router in API:
        app.include_router(router, prefix="/api/v1")
    for router in (health.router, metrics_router, pages_router()):
        app.include_router(router)
    return app
