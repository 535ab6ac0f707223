"""Certificates: the stores, the internal transport certificates, and what would be selected on a day."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request  # noqa: TC002 - FastAPI reads the annotations of the routes
from fastapi.responses import Response  # noqa: TC002

from smtpd_anontls.domain.instants import parse_instant
from smtpd_anontls.domain.records import TlsVerb
from smtpd_anontls.selection.validity import Moment
from smtpd_anontls.web.api.house import House  # noqa: TC001 - as above
from smtpd_anontls.web.pages.certificate_view import date_of, store_view
from smtpd_anontls.web.pages.flow import Chart
from smtpd_anontls.web.pages.timeline import TimeLine

if TYPE_CHECKING:
    from datetime import datetime

    from smtpd_anontls.domain.connectors import Server
    from smtpd_anontls.receiver import Receiver
    from smtpd_anontls.web.pages.rendering import Renderer


class CertificatePages:
    """The page about the certificates of a receiver."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer

    def add_to(self, router: APIRouter) -> None:
        """Add the route."""
        router.add_api_route("/certificates", self.show, methods=["GET"], response_model=None)

    async def show(self, request: Request, house: House) -> Response:
        """Show each store, at the moment that is asked for."""
        await house.refresh()
        now = house.now()
        text = request.query_params.get("at", "").strip()
        moment, error = now, None
        try:
            moment = parse_instant(text) if text else now
        except ValueError as mistake:
            error = str(mistake)
        surroundings = house.surroundings
        servers = [each.server for each in house.settings.servers]
        # Side by side: a directory that hangs costs its time-out once.
        held, named, charts = await asyncio.gather(
            asyncio.gather(*(surroundings.stores[each.name].all() for each in servers)),
            asyncio.gather(*(surroundings.directory.show(each.name) for each in servers)),
            asyncio.gather(*(_charts(house, each, moment) for each in servers)),
        )
        stretches = [(one.certificate.not_before, one.certificate.not_after) for each in held for one in each]
        line = TimeLine.around(moment, now, stretches)
        stores = [
            store_view(
                server,
                number + 1,
                named=named[number],
                held=held[number],
                charts=charts[number],
                line=line,
            )
            for number, server in enumerate(servers)
        ]
        return self._renderer.page(
            "certificates.html",
            stores=stores,
            line=line,
            at=date_of(moment) if text and error is None else "",
            day=date_of(moment),
            today=date_of(now),
            error=error,
        )


async def _charts(house: Receiver, server: Server, moment: datetime) -> list[Chart]:
    selections = await asyncio.gather(
        *(
            house.surroundings.select(connector, server, verb, Moment(moment))
            for connector in server.connectors
            if connector.enabled
            for verb in TlsVerb
        )
    )
    return [Chart.of(each.as_json()) for each in selections]
