"""What goes wrong, as RFC 9457 problem documents; no text of an exception and no path reaches a client."""

import json
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"
# Under one name in every Python: later ones call them "content".
UNPROCESSABLE = HTTPStatus(422)
TOO_LARGE = HTTPStatus(413)
BROKEN = "an error of the receiver's own"


log = logging.getLogger("smtpd_anontls")


class Objection(BaseModel):
    """What is wrong with one part of a request."""

    model_config = ConfigDict(extra="forbid")

    place: str = Field(description="query, path, header or body.", examples=["query"], alias="in")
    name: str = Field(description="The parameter or property.", examples=["limit"])
    detail: str = Field(
        description="What is wrong, and what would do.",
        examples=["Input should be less than or equal to 1000"],
    )


class Problem(BaseModel):
    """A problem document (RFC 9457)."""

    model_config = ConfigDict(extra="forbid")

    type: str = Field(
        description="Always about:blank: the status says what kind it is.", examples=["about:blank"]
    )
    title: str = Field(description="The status in words.", examples=["Not Found"])
    status: int = Field(description="The status of the response.", examples=[404])
    detail: str = Field(description="One sentence for a person.", examples=["there is no message 7"])
    errors: list[Objection] | None = Field(default=None, description="With 422: each thing that is wrong.")
    items: list[dict[str, Any]] | None = Field(
        default=None, description="With 408 of messages/wait: the messages that there were."
    )
    reasons: list[str] | None = Field(
        default=None, description="With 503 of /readyz: each thing that is missing.", examples=[[]]
    )


class ProblemError(Exception):
    """A request ends with a problem document of *status*."""

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        **members: object,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers
        self.members = members

    def response(self) -> Response:
        """Return the document."""
        return problem(self.status, self.detail, headers=self.headers, **self.members)


def problem(
    status: HTTPStatus, detail: str, *, headers: Mapping[str, str] | None = None, **members: object
) -> Response:
    """Return a problem document; *members* extend it."""
    document = {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": detail,
        **members,
    }
    return Response(
        json.dumps(document), status.value, dict(headers) if headers else None, media_type=MEDIA_TYPE
    )


def not_acceptable(place: str, name: str, detail: str) -> ProblemError:
    """Return the problem of one parameter or property that is wrong."""
    errors = [{"in": place, "name": name, "detail": detail}]
    return ProblemError(UNPROCESSABLE, f"{name}: {detail}", errors=errors)


async def answer_problem(_request: Request, error: Exception) -> Response:
    """Answer what a route raised on purpose."""
    assert isinstance(error, ProblemError)
    return error.response()


async def answer_http(_request: Request, error: Exception) -> Response:
    """Answer what the framework refuses: a path that is not there, a method that it does not have."""
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    sentence = _SENTENCES.get(status, "the request cannot be answered")
    return problem(status, sentence, headers=error.headers)


async def answer_journal(_request: Request, error: Exception) -> Response:
    """Answer where the journal cannot be read; why is the operator's business."""
    log.warning("a request could not be answered: %s", error)
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, "the journal cannot be read now")


async def answer_fault(_request: Request, _error: Exception) -> Response:
    """Answer where something of ours is broken."""
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, BROKEN)


async def answer_validation(request: Request, error: Exception) -> Response:
    """Answer a request whose parameters or body have the wrong shape; the values are not repeated."""
    assert isinstance(error, RequestValidationError)
    says_json = "json" in request.headers.get("content-type", "").lower()
    errors = [_objection(each, says_json=says_json) for each in error.errors()]
    first = errors[0]
    return problem(UNPROCESSABLE, f"{first['name']}: {first['detail']}", errors=errors)


_SAY_JSON = "was not read as JSON; send it with the header Content-Type: application/json"
_SENTENCES = {
    HTTPStatus.NOT_FOUND: "there is nothing at this path",
    HTTPStatus.METHOD_NOT_ALLOWED: "this path does not have this method",
}


def _objection(found: Any, *, says_json: bool) -> dict[str, str]:
    place, *names = found["loc"]
    if place == "body" and found["type"] == "json_invalid":
        return _of_body(f"is no JSON: {found['ctx']['error']}, at character {names[0]}")
    if place == "body" and not names and found["type"] != "missing":
        return _of_body("must be a JSON object" if says_json else _SAY_JSON)
    name = ".".join(str(each) for each in names if not isinstance(each, int) or place == "body")
    unknown = found["type"] == "extra_forbidden"
    detail = "is not known here; the parameters are in /api/openapi.json" if unknown else str(found["msg"])
    return {"in": str(place), "name": name or str(place), "detail": detail}


def _of_body(detail: str) -> dict[str, str]:
    return {"in": "body", "name": "body", "detail": detail}


def failures(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """Return OpenAPI's description of the problems that a path may end with."""
    return {
        status.value: {
            "model": Problem,
            "description": status.phrase,
            "content": {
                MEDIA_TYPE: {
                    "schema": {"$ref": "#/components/schemas/Problem"},
                    "example": {
                        "type": "about:blank",
                        "title": status.phrase,
                        "status": status.value,
                        "detail": "one sentence that says what is wrong",
                    },
                }
            },
        }
        for status in statuses
    }
