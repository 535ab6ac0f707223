"""/healthz and /readyz: does it live, and can it do what it is for."""

import asyncio
from http import HTTPStatus
from typing import Literal

from fastapi import APIRouter
from pydantic import Field
from starlette.responses import Response

from smtpd_anontls.directory.file import DirectoryError, FileDirectory
from smtpd_anontls.domain.directory_value import Unreadable
from smtpd_anontls.domain.flags import AuthMechanism, StartTlsCertificate
from smtpd_anontls.receiver import Receiver
from smtpd_anontls.web.api.house import House, answer
from smtpd_anontls.web.api.selections import Thing
from smtpd_anontls.web.problems import ProblemError, failures

router = APIRouter(tags=["health"])


class Health(Thing):
    """That somebody answers."""

    status: Literal["ok"] = Field(description="Always ok.")


class Readiness(Thing):
    """That mail would be taken, and the directory could be asked."""

    ready: Literal[True] = Field(description="Always true; if not, the answer is 503 with `reasons`.")


@router.get("/healthz", response_model=Health, summary="Whether the process lives; open to all")
async def healthz() -> Response:
    """Asks nothing of anybody."""
    return answer({"status": "ok"})


@router.get(
    "/readyz",
    response_model=Readiness,
    responses=failures(HTTPStatus.SERVICE_UNAVAILABLE),
    summary="Whether mail would be taken and the directory answers",
)
async def readyz(house: House) -> Response:
    """503 with `reasons` while the journal cannot be written, or the directory that is needed is unusable."""
    reasons = await reasons_against(house)
    if reasons:
        raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, "; ".join(reasons), reasons=reasons)
    return answer({"ready": True})


async def reasons_against(house: Receiver) -> list[str]:
    """Return a sentence for each thing that is missing."""
    reasons = []
    if not house.bound:
        reasons.append("no connector listens")
    if (ailment := await house.journal.ailment()) is not None:
        reasons.append(ailment)
    reasons += house.ailments()
    asking = [each.server.name for each in house.settings.servers if _asks(house, each.server.name)]
    if asking and not await _is_usable(house, asking[0]):
        reasons.append("the directory cannot be read")
    return reasons


def _asks(house: Receiver, server: str) -> bool:
    return any(
        AuthMechanism.ExchangeServer in bound.connector.auth_mechanism
        or bound.connector.starttls_certificate is StartTlsCertificate.internal_transport
        for bound in house.bound
        if bound.server.name == server
    )


async def _is_usable(house: Receiver, server: str) -> bool:
    directory = house.surroundings.directory
    if isinstance(directory, FileDirectory):
        # An entry that says it cannot be read is what the test is about; the file itself is not.
        try:
            await asyncio.to_thread(directory.load)
        except DirectoryError:
            return False
        return True
    return not isinstance(await directory.internal_tls_certificate(server), Unreadable)
