"""Receive connectors: what each is like, and which one would take a peer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request  # noqa: TC002 - FastAPI reads the annotations of the routes
from fastapi.responses import Response  # noqa: TC002

from smtpd_anontls.domain.endpoints import parse_address
from smtpd_anontls.domain.records import TlsVerb
from smtpd_anontls.selection.validity import Moment
from smtpd_anontls.web.api.house import House  # noqa: TC001 - as above
from smtpd_anontls.web.pages.connector_view import ConnectorView, Taking, takings
from smtpd_anontls.web.pages.flow import Chart
from smtpd_anontls.web.pages.lists import number

if TYPE_CHECKING:
    from smtpd_anontls.domain.connectors import ReceiveConnector, Server
    from smtpd_anontls.receiver import Receiver
    from smtpd_anontls.web.pages.rendering import Renderer


class ConnectorPages:
    """The page about the Receive connectors of a receiver."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer

    def add_to(self, router: APIRouter) -> None:
        """Add the route."""
        router.add_api_route("/connectors", self.show, methods=["GET"], response_model=None)

    async def show(self, request: Request, house: House) -> Response:
        """Show all connectors, and what would become of the peer that is asked for."""
        await house.refresh()
        each_place = [
            (each.server, connector)
            for each in house.settings.servers
            for connector in each.server.connectors
        ]
        charts = await asyncio.gather(*(_charts(house, *place) for place in each_place))
        views = [
            ConnectorView.of(at, server, connector, house.bound, charts[at - 1])
            for at, (server, connector) in enumerate(each_place, 1)
        ]
        remote = request.query_params.get("remote", "").strip()
        port = request.query_params.get("port", "").strip()
        answers, error = _answers(house, remote, port, views) if remote or port else (None, None)
        return self._renderer.page(
            "connectors.html",
            connectors=views,
            remote=remote,
            port=port,
            takings=answers,
            error=error,
            ports=sorted({each.binding.port for each in house.bound}),
        )


async def _charts(house: Receiver, server: Server, connector: ReceiveConnector) -> list[Chart]:
    moment = Moment(house.now())
    surroundings = house.surroundings
    selections = [await surroundings.select(connector, server, verb, moment) for verb in TlsVerb]
    return [Chart.of(each.as_json()) for each in selections]


def _answers(
    house: Receiver, remote: str, port: str, views: list[ConnectorView]
) -> tuple[tuple[Taking, ...] | None, str | None]:
    """Return who would take the peer on each local address with that port, or what is wrong."""
    try:
        address = parse_address(remote)
    except ValueError:
        return None, f"Peer address: {remote!r} is not an IP address; write 192.0.2.7 or 2001:db8::7."
    wanted = number(port) if port else None
    if port and wanted is None:
        return None, f"Local port: {port!r} is not a port number."
    bound = house.bound
    endpoints = dict.fromkeys(
        each.binding
        for each in bound
        if each.binding.address.version == address.version and wanted in {None, each.binding.port}
    )
    slugs = {(view.server, view.name): view.slug for view in views}
    return takings(bound, endpoints, address, slugs), None
