"""The pages: a receiver in a browser, rendered here, readable without JavaScript.

Each page has a module with its routes and one with its view models: small frozen values made from the
journal's JSON, which the templates only lay out.
"""

from __future__ import annotations

from fastapi import APIRouter

from smtpd_anontls.web.pages.certificates import CertificatePages
from smtpd_anontls.web.pages.connectors import ConnectorPages
from smtpd_anontls.web.pages.events import EventPages
from smtpd_anontls.web.pages.faults import FaultPages
from smtpd_anontls.web.pages.messages import MessagePages
from smtpd_anontls.web.pages.rendering import Renderer
from smtpd_anontls.web.pages.sessions import SessionPages
from smtpd_anontls.web.pages.static import StaticFiles

__all__ = ["pages_router"]


def pages_router() -> APIRouter:
    """Return the routes of all pages, and of the files that they need."""
    router = APIRouter(include_in_schema=False)
    static = StaticFiles.read()
    renderer = Renderer(static)
    static.add_to(router)
    for pages in (SessionPages, MessagePages, EventPages, CertificatePages, ConnectorPages, FaultPages):
        pages(renderer).add_to(router)
    return router
