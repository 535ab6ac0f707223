"""The FastAPI application: the paths of the API and of the health checks, behind one door."""

from http import HTTPStatus
from importlib.metadata import version
from typing import Any

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
from smtpd_anontls.web.feed import Feed
from smtpd_anontls.web.metrics import Metrics
from smtpd_anontls.web.pages import pages_router
from smtpd_anontls.web.patience import Patience
from smtpd_anontls.web.problems import (
    UNPROCESSABLE,
    ProblemError,
    answer_http,
    answer_journal,
    answer_problem,
    answer_validation,
    failures,
)
from smtpd_anontls.web.security import Guard

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
) -> FastAPI:
    """Return the application that shows *receiver*; whoever closes it closes *feed* first.

    Without *access* everybody who can reach it may use it.
    """
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
        },
        responses=failures(*_ANYWHERE),
    )
    app.state.receiver = receiver
    app.state.feed = feed = Feed() if feed is None else feed
    metrics = Metrics()
    receiver.observe(feed.notice)
    receiver.observe(metrics.notice)
    for router in API:
        app.include_router(router, prefix="/api/v1")
    app.include_router(health.router)
    app.include_router(_metrics_router(metrics, receiver))
    app.include_router(pages_router(receiver))
    app.add_middleware(Guard, settings=settings, access=access, body_timeout=body_timeout)
    return app


def _metrics_router(metrics: Metrics, receiver: Receiver) -> APIRouter:
    router = APIRouter(tags=["health"])
    responses: dict[int | str, dict[str, Any]] = {
        200: {
            "description": "Prometheus' text format.",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        }
    }

    @router.get("/metrics", response_class=Response, responses=responses, summary="Metrics for Prometheus")
    async def show_metrics() -> Response:
        """Counted since the page was opened."""
        text = await metrics.exposition(receiver)
        return Response(text, headers={"content-type": CONTENT_TYPE_LATEST})

    return router
