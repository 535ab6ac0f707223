"""Faults on demand: those that are wanted now, and a form that adds one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from fastapi import APIRouter, Request  # noqa: TC002 - FastAPI reads the annotations of the routes
from fastapi.responses import RedirectResponse, Response

from smtpd_anontls.settings.document import ConfigError
from smtpd_anontls.web.api.house import House  # noqa: TC001 - as above
from smtpd_anontls.web.pages.fault_form import Group, filled_groups, labels, typed
from smtpd_anontls.web.pages.rendering import words
from smtpd_anontls.web.problems import UNPROCESSABLE

if TYPE_CHECKING:
    from smtpd_anontls.domain.faults import Numbered
    from smtpd_anontls.receiver import Receiver
    from smtpd_anontls.web.pages.rendering import Renderer

_PATH = "/faults"
_MOST = 1000  # Faults of one list, as the API has it.
_MOST_FIELDS = 50
# What a line of the settings begins with: where it stands in the list means nothing to who fills a form.
_PLACE = re.compile(r"[^:]*: faults\[\d+\]\.?(?P<key>[a-z_]*)(?:\[\d+\])?: ")
_CHANGED = "the list has changed since this page was fetched; nothing was removed"


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
        named = labels()
        return cls(
            wanted.position,
            words(wanted.fault.at.value),
            wanted.fault.detail,
            tuple(
                (named[key], _written(shown[key]))
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
        router.add_api_route(f"{_PATH}/remove", self.remove, methods=["POST"], response_model=None)
        router.add_api_route(f"{_PATH}/delete", self.delete, methods=["POST"], response_model=None)

    async def show(self, request: Request, house: House) -> Response:
        """Show the faults that are wanted."""
        await house.refresh()
        return self._page(request, house)

    async def add(self, request: Request, house: House) -> Response:
        """Want one more fault in sessions that begin from now on."""
        await house.refresh()
        try:
            given = await _form(request)
        except ValueError as mistake:
            return self._page(request, house, mistakes=[str(mistake)])
        given = {name: text for name, text in given.items() if name in labels() and text}
        wanted = [each.fault for each in house.faults.faults]
        if len(wanted) >= _MOST:
            return self._page(request, house, given, [f"there are {_MOST} faults already"])
        try:
            house.put_faults([*wanted, typed(given)])
        except ConfigError as mistake:
            return self._page(request, house, given, mistake.lines)
        await house.applied()
        return RedirectResponse(_PATH, HTTPStatus.SEE_OTHER)

    async def remove(self, request: Request, house: House) -> Response:
        """Want one fault no more; of a list that has changed meanwhile none is removed."""
        await house.refresh()
        try:
            given = await _form(request)
        except ValueError as mistake:
            return self._page(request, house, mistakes=[str(mistake)])
        wanted = house.faults.faults
        kept = [each.fault for each in wanted if str(each.position) != given.get("position")]
        if given.get("version") != str(house.faults.version) or len(kept) == len(wanted):
            return self._page(request, house, mistakes=[_CHANGED])
        house.put_faults(kept)
        await house.applied()
        return RedirectResponse(_PATH, HTTPStatus.SEE_OTHER)

    async def delete(self, house: House) -> Response:
        """Want no fault any more."""
        await house.refresh()
        house.delete_faults()
        await house.applied()
        return RedirectResponse(_PATH, HTTPStatus.SEE_OTHER)

    def _page(
        self,
        request: Request,
        house: Receiver,
        given: dict[str, str] | None = None,
        mistakes: list[str] | tuple[str, ...] = (),
    ) -> Response:
        groups: tuple[Group, ...] = filled_groups(house.settings, given or {})
        return self._renderer.page(
            "faults.html",
            status=UNPROCESSABLE if mistakes else HTTPStatus.OK,
            rows=[FaultRow.of(each) for each in house.faults.faults],
            list_version=house.faults.version,
            groups=groups,
            mistakes=[_told(line) for line in mistakes],
            # The door has looked at the Host header.
            url=str(request.base_url),
        )


async def _form(request: Request) -> dict[str, str]:
    text = (await request.body()).decode("utf-8", "replace")
    return {name: value.strip() for name, value in parse_qsl(text, max_num_fields=_MOST_FIELDS)}


def _told(line: str) -> str:
    """Return a mistake with the label of its field, where it has one."""
    found = _PLACE.match(line)
    if found is None:
        return line
    label = labels().get(found["key"])
    return f"{label}: {line[found.end() :]}" if label else line[found.end() :]


def _written(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value) or "<>"
