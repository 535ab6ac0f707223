"""The local computer stores of all servers, and which certificate the directory names for each."""

from http import HTTPStatus
from typing import assert_never

from fastapi import APIRouter
from starlette.responses import Response

from smtpd_anontls.certificates.store import StoreError
from smtpd_anontls.domain.directory_value import Answer, Named, Unreadable, Unset
from smtpd_anontls.selection.outcome import stored_certificate_json
from smtpd_anontls.web.api.house import House, Json, answer
from smtpd_anontls.web.api.selections import Certificates
from smtpd_anontls.web.problems import ProblemError, failures

router = APIRouter(tags=["certificates"])


@router.get(
    "/certificates",
    response_model=Certificates,
    responses=failures(HTTPStatus.SERVICE_UNAVAILABLE),
    summary="List the certificates of all servers",
)
async def list_certificates(house: House) -> Response:
    """Asks the directory which one of each server's is its internal transport certificate."""
    await house.refresh()
    surroundings = house.surroundings
    items, said = [], []
    for server, store in surroundings.stores.items():
        named = await surroundings.directory.internal_tls_certificate(server)
        said.append(_said(server, named))
        try:
            held = await store.all()
        except StoreError:
            raise ProblemError(
                HTTPStatus.SERVICE_UNAVAILABLE, f"the store of {server} cannot be read now"
            ) from None
        thumbprint = named.thumbprint if isinstance(named, Named) else None
        items += [
            stored_certificate_json(one, server, internal_transport=one.certificate.thumbprint == thumbprint)
            for one in sorted(held, key=lambda one: one.file)
        ]
    return answer({"items": items, "next": None, "directory": said})


def _said(server: str, named: Answer) -> Json:
    said: Json = {"server": server, "thumbprint": None}
    match named:
        case Named():
            return {**said, "state": "named", "thumbprint": named.thumbprint, "detail": None}
        case Unset():
            return {**said, "state": "unset", "detail": named.note or None}
        case Unreadable():
            return {**said, "state": "unreadable", "detail": named.reason}
    assert_never(named)
