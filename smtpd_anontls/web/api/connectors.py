"""Receive connectors as they hold now, changed while they run, and what they would decide.

A change holds from the next session on, at every receiver on the journal, until the configuration file of one
changes or SIGHUP reads it again, or, with a journal in a file, the receiver ends; the file itself is never written.
"""

from dataclasses import fields
from http import HTTPStatus
from typing import Annotated, Any, get_origin, get_type_hints

from fastapi import APIRouter, Body, Path, Query
from pydantic import Field, create_model
from starlette.responses import Response

from smtpd_anontls.domain.connectors import ReceiveConnector, Server, connector_json
from smtpd_anontls.domain.flags import ExchangeFlag
from smtpd_anontls.domain.instants import parse_instant
from smtpd_anontls.domain.records import TlsVerb
from smtpd_anontls.receiver import BindingError
from smtpd_anontls.selection.validity import Moment
from smtpd_anontls.settings.alteration import AlterationError
from smtpd_anontls.web.api.house import House, answer
from smtpd_anontls.web.api.selections import Selections, Thing
from smtpd_anontls.web.problems import UNPROCESSABLE, ProblemError, failures, not_acceptable

router = APIRouter(tags=["connectors"])

_KINDS = get_type_hints(ReceiveConnector)
_PLAIN_KINDS: tuple[Any, ...] = (bool, int, float, str, int | None, str | None)
_EXAMPLES: dict[str, Any] = {
    "name": "Default Frontend MBX1",
    "auth_mechanism": ["Tls", "ExchangeServer"],
    "bindings": ["127.0.0.1:2525"],
}


def _shown_as(kind: Any) -> Any:
    """Return the type of a property in JSON; see connector_json."""
    kind = getattr(kind, "__supertype__", kind)
    if kind in _PLAIN_KINDS:
        return kind
    is_list = get_origin(kind) is tuple or issubclass(kind, ExchangeFlag)
    return list[str] if is_list else str


def _properties() -> dict[str, Any]:
    return {
        each.name: (
            _shown_as(_KINDS[each.name]),
            Field(
                description=each.metadata["doc"],
                examples=[_EXAMPLES[each.name]] if each.name in _EXAMPLES else None,
            ),
        )
        for each in fields(ReceiveConnector)
    }


Connector: Any = create_model(
    "Connector",
    __base__=Thing,
    __doc__="A Receive connector, as it holds for the next session.",
    server=(str, Field(description="Its server.", examples=["MBX1"])),
    **_properties(),
)


class Connectors(Thing):
    """The Receive connectors of all servers."""

    items: list[Connector] = Field(description="In the order of the configuration.")
    next: None = Field(description="Always null: the list is whole.")


class Questions(Thing):
    """Which selections are asked for, and when."""

    server: str | None = Field(default=None, description="Only of this server.", examples=["MBX1"])
    connector: str | None = Field(default=None, description="Only this connector.")
    verb: TlsVerb | None = Field(default=None, description="Only this verb.")
    at: str | None = Field(
        default=None, description="As if it were this time.", examples=["2027-06-01T12:00:00Z"], max_length=64
    )


_CHANGES = Body(
    description="Properties to change, with values as the YAML has them.",
    examples=[{"auth_mechanism": ["Tls"], "max_message_size": "10MB"}],
    json_schema_extra={
        "minProperties": 1,
        "properties": {
            each.name: {"description": each.metadata["doc"]}
            for each in fields(ReceiveConnector)
            if each.name != "name"
        },
        "additionalProperties": False,
    },
)
Name = Annotated[str, Path(max_length=256)]


@router.get("/connectors", response_model=Connectors, summary="List the Receive connectors")
async def list_connectors(house: House) -> Response:
    """As they hold for the next session."""
    await house.refresh()
    items = [connector_json(server.name, each) for server, each in _all(house)]
    return answer({"items": items, "next": None})


@router.patch(
    "/connectors/{server}/{name}",
    response_model=Connector,
    responses=failures(HTTPStatus.NOT_FOUND, HTTPStatus.FORBIDDEN, HTTPStatus.CONFLICT),
    summary="Change a connector of the running receiver",
)
async def change_connector(
    house: House, server: Name, name: Name, changes: Annotated[dict[str, Any], _CHANGES]
) -> Response:
    """Holds from the next session on, until the file changes, SIGHUP or the end; the file is not written.

    Receivers that share a journal in PostgreSQL have it within a second, and keep it when one starts anew.

    A value or a rule that does not hold is a 422 with the sentence of the configuration check.
    """
    await house.refresh()
    if not changes:
        raise not_acceptable("body", "body", "names no property; name one that is to change")
    try:
        await house.alter(server, name, changes)
    except KeyError:
        raise ProblemError(HTTPStatus.NOT_FOUND, "there is no such connector") from None
    except AlterationError as error:
        raise ProblemError(
            UNPROCESSABLE,
            str(error),
            errors=[
                {"in": "body", "name": each.property, "detail": each.message} for each in error.objections
            ],
        ) from None
    except BindingError:
        raise ProblemError(
            HTTPStatus.CONFLICT, "bindings: not all of them can be listened on, so nothing has changed"
        ) from None
    await house.applied()
    connector = next(each for owner, each in _all(house) if (owner.name, each.name) == (server, name))
    return answer(connector_json(server, connector))


@router.get(
    "/explain",
    response_model=Selections,
    responses=failures(HTTPStatus.NOT_FOUND),
    summary="Show step by step which certificate a session would get, and why",
)
async def explain(house: House, query: Annotated[Questions, Query()]) -> Response:
    """Runs the selections as a session would, now or at another time; writes no event."""
    await house.refresh()
    try:
        moment = Moment(house.now() if query.at is None else parse_instant(query.at))
    except ValueError as error:
        raise not_acceptable("query", "at", str(error)) from None
    surroundings = house.surroundings
    chosen = [
        (owner, each)
        for owner, each in _all(house)
        if query.server in {None, owner.name} and query.connector in {None, each.name}
    ]
    if not chosen:
        raise ProblemError(HTTPStatus.NOT_FOUND, "there is no such connector")
    verbs = list(TlsVerb) if query.verb is None else [query.verb]
    items = [
        (await surroundings.select(each, owner, which, moment)).as_json()
        for owner, each in chosen
        for which in verbs
    ]
    return answer({"items": items, "next": None})


def _all(house: House) -> list[tuple[Server, ReceiveConnector]]:
    return [(each.server, one) for each in house.settings.servers for one in each.server.connectors]
