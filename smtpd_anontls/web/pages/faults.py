"""Faults on demand: those that are wanted now, and a form that adds one."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from fastapi import APIRouter, Request  # noqa: TC002 - FastAPI reads the annotations of the routes
from fastapi.responses import RedirectResponse, Response

from smtpd_anontls.domain.faults import Kind, Point
from smtpd_anontls.settings.document import ConfigError
from smtpd_anontls.web.api.house import House  # noqa: TC001 - as above
from smtpd_anontls.web.pages.lists import Choice, Field, connectors, number
from smtpd_anontls.web.problems import UNPROCESSABLE

if TYPE_CHECKING:
    from smtpd_anontls.domain.faults import Numbered
    from smtpd_anontls.receiver import Receiver
    from smtpd_anontls.web.pages.rendering import Renderer

_WHOLE = {"code", "octets_per_second", "count"}
_PATH = "/faults"
_MOST = 1000  # Faults of one list, as the API has it.


@dataclass(frozen=True, slots=True)
class FaultRow:
    """A fault that is wanted."""

    position: int
    at: str
    detail: str
    conditions: tuple[tuple[str, str], ...]
    met: int
    fired: int

    @classmethod
    def of(cls, wanted: Numbered) -> FaultRow:
        """Return the line of a fault."""
        shown = wanted.fault.as_json()
        narrowing = ("probability", "count", "every", "recipient", "sender", "remote_ip_ranges")
        return cls(
            wanted.position,
            wanted.fault.at.value.replace("_", " "),
            wanted.fault.detail,
            tuple(
                (key.replace("_", " "), _written(shown[key]))
                for key in (*narrowing, "server", "connector", "verb")
                if key in shown
            ),
            wanted.met,
            wanted.fired,
        )


class FaultPages:
    """The page about the faults of a receiver."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer

    def add_to(self, router: APIRouter) -> None:
        """Add the routes; what changes something is guarded by the door against other sites."""
        router.add_api_route(_PATH, self.show, methods=["GET"], response_model=None)
        router.add_api_route(_PATH, self.add, methods=["POST"], response_model=None)
        router.add_api_route(f"{_PATH}/delete", self.delete, methods=["POST"], response_model=None)

    async def show(self, request: Request, house: House) -> Response:
        """Show the faults that are wanted."""
        return self._page(request, house, {})

    async def add(self, request: Request, house: House) -> Response:
        """Want one more fault in sessions that begin from now on."""
        text = (await request.body()).decode("utf-8", "replace")
        try:
            given = dict(parse_qsl(text, max_num_fields=20))
        except ValueError as mistake:
            return self._page(request, house, {}, [str(mistake)])
        known = {field.name for field in _fields(house, {})}
        given = {name: value.strip() for name, value in given.items() if name in known and value.strip()}
        wanted = [each.fault for each in house.faults.faults]
        if len(wanted) >= _MOST:
            return self._page(request, house, given, [f"there are {_MOST} faults already"])
        try:
            house.put_faults([*wanted, _typed(given)])
        except ConfigError as mistake:
            return self._page(request, house, given, mistake.lines)
        await house.applied()
        return RedirectResponse(_PATH, HTTPStatus.SEE_OTHER)

    async def delete(self, house: House) -> Response:
        """Want no fault any more."""
        house.delete_faults()
        await house.applied()
        return RedirectResponse(_PATH, HTTPStatus.SEE_OTHER)

    def _page(
        self,
        request: Request,
        house: Receiver,
        given: dict[str, str],
        mistakes: list[str] | tuple[str, ...] = (),
    ) -> Response:
        return self._renderer.page(
            "faults.html",
            status=UNPROCESSABLE if mistakes else HTTPStatus.OK,
            rows=[FaultRow.of(each) for each in house.faults.faults],
            fields=_fields(house, given),
            # The place in the list means nothing to who fills a form.
            mistakes=[line.rpartition("]")[2].lstrip(".: ") or line for line in mistakes],
            # The door has looked at the Host header.
            url=str(request.base_url),
        )


def _fields(house: Receiver, given: dict[str, str]) -> tuple[Field, ...]:
    fields = (
        Field("at", "At", choices=tuple(Choice(each.value, each.value) for each in Point), nothing="choose"),
        Field(
            "kind",
            "Kind",
            choices=tuple(Choice(each.value, each.value) for each in Kind),
            nothing="choose",
        ),
        Field("code", "Reply code", example="451"),
        Field("text", "Reply text", example="Try again later"),
        Field("seconds", "Seconds", example="5"),
        Field("octets_per_second", "Octets a second", example="10"),
        Field("count", "So many times", example="2"),
        Field("probability", "Probability", example="0.5"),
        Field("recipient", "Recipient", example="*@contoso.test"),
        connectors(house.settings),
    )
    return tuple(each.filled(given.get(each.name, "")) for each in fields)


def _typed(given: dict[str, str]) -> dict[str, Any]:
    """Return the fields as JSON would have them; what is no number stays as it is, and is a mistake."""
    typed: dict[str, Any] = dict(given)
    for name in _WHOLE & typed.keys():
        whole = number(typed[name])
        typed[name] = typed[name] if whole is None else whole
    for name in {"seconds", "probability"} & typed.keys():
        try:
            typed[name] = float(typed[name])
        except ValueError:
            continue
    return typed


def _written(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
