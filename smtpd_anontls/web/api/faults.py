"""Faults on demand: those that are wanted now, and how often each has fired.

What is put holds in sessions that begin from then on, at every receiver on the journal, until it is put or
deleted again, the faults of the configuration file of one change or, with a journal in a file, the receiver
ends; the file itself is never written.  Each receiver counts for itself.
"""

from enum import Enum
from http import HTTPStatus
from typing import Annotated, Any, Literal, get_args

from fastapi import APIRouter, Body
from pydantic import Field, create_model
from starlette.responses import Response

from smtpd_anontls.domain.faults import Kind, Point
from smtpd_anontls.settings.document import ConfigError
from smtpd_anontls.settings.fault_shape import FaultShape
from smtpd_anontls.web.api.house import House, answer
from smtpd_anontls.web.api.selections import Thing
from smtpd_anontls.web.problems import UNPROCESSABLE, ProblemError, failures

router = APIRouter(tags=["faults"])

_MOST = 1000  # Faults of one list.
_REQUIRED = ("at", "kind")
_EXAMPLE = {
    "at": "mail",
    "kind": "reply",
    "code": 451,
    "enhanced": "4.7.0",
    "text": "Try again later",
    "count": 2,
}


def _shown_as(kind: Any) -> Any:
    """Return the type of a key in JSON."""
    inner = next((each for each in get_args(kind) if each is not type(None)), kind)
    inner = getattr(inner, "__supertype__", inner)
    if isinstance(inner, type) and issubclass(inner, Enum):
        return Literal[tuple(str(each.value) for each in inner)]
    return inner if inner in {int, float, str} else list[str]


def _keys() -> dict[str, Any]:
    # A key that has its default is left out.
    return {
        name: (
            _shown_as(declared.annotation) if name in _REQUIRED else _shown_as(declared.annotation) | None,
            Field(
                ... if name in _REQUIRED else None,
                description=declared.description,
                examples=[_EXAMPLE[name]] if name in _EXAMPLE else None,
            ),
        )
        for name, declared in FaultShape.model_fields.items()
    }


Fault: Any = create_model(
    "Fault", __base__=Thing, __doc__="A fault, with the keys of the configuration.", **_keys()
)


class CountedFault(Thing):
    """A fault that is wanted, and what came of it so far."""

    fault: Fault = Field(description="As it was written, without keys that have their default.")
    met: int = Field(description="How often its point, verb and addresses were met.", examples=[3])
    fired: int = Field(description="How often it has happened.", examples=[2])


class CountedFaults(Thing):
    """The faults that are wanted now."""

    version: int = Field(description="Grows with each list that is put.", examples=[1])
    items: list[CountedFault] = Field(description="In the order in which they are looked at.")
    next: None = Field(description="Always null: the list is whole.")


class FiredFault(Thing):
    """A fault that has happened in a session."""

    fault: int = Field(description="Its position in the list of that time, from 0.", examples=[0])
    at: Point = Field(description="Where.", examples=["mail"])
    kind: Kind = Field(description="How.", examples=["reply"])
    detail: str = Field(description="What it did.", examples=["reply 451 4.7.0 Try again later"])


class WantedFaults(Thing):
    """A list of faults."""

    # Read by the parsers of the configuration, whose sentences say what would do.
    faults: list[Any] = Field(
        description="The faults, in the order in which they are looked at.",
        max_length=_MOST,
        json_schema_extra={"items": {"$ref": "#/components/schemas/Fault"}},
    )


_BODY = Body(description="With values as the YAML has them.", examples=[{"faults": [_EXAMPLE]}])


@router.get("/faults", response_model=CountedFaults, summary="List the faults that are wanted")
async def list_faults(house: House) -> Response:
    """With how often each was met and has happened since the list was put."""
    await house.refresh()
    return _shown(house)


@router.put(
    "/faults",
    response_model=CountedFaults,
    responses=failures(HTTPStatus.FORBIDDEN),
    summary="Want exactly these faults",
)
async def put_faults(house: House, wanted: Annotated[WantedFaults, _BODY]) -> Response:
    """In sessions that begin from now on; a fault that makes no sense is a 422, and nothing changes."""
    await house.refresh()
    try:
        house.put_faults(wanted.faults)
    except ConfigError as error:
        raise _not_taken(error) from None
    await house.applied()
    return _shown(house)


@router.delete(
    "/faults",
    response_model=CountedFaults,
    responses=failures(HTTPStatus.FORBIDDEN),
    summary="Want no faults",
)
async def delete_faults(house: House) -> Response:
    """Those of the configuration included."""
    await house.refresh()
    house.delete_faults()
    await house.applied()
    return _shown(house)


def _shown(house: House) -> Response:
    return answer({**house.faults.as_json(), "next": None})


def _not_taken(error: ConfigError) -> ProblemError:
    errors = []
    for line in error.lines:
        _, _, objection = line.partition(": ")
        name, _, detail = objection.partition(": ")
        errors.append({"in": "body", "name": name, "detail": detail})
    first = errors[0]
    return ProblemError(UNPROCESSABLE, f"{first['name']}: {first['detail']}", errors=errors)
