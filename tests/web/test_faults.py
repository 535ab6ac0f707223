"""PUT, GET and DELETE of faults on demand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from smtpd_anontls.settings.fault_shape import FaultShape
from smtpd_anontls.web.api.faults import CountedFaults, Fault
from smtpd_anontls.web.api.records import WholeSession
from tests.lab import all_ended, greeted
from tests.web.fault_list import BUSY, EVERYTHING
from tests.web.visiting import visiting

if TYPE_CHECKING:
    from tests.lab import Lab


async def test_faults_are_put_met_shown_and_deleted(lab: Lab) -> None:
    """The next session meets what was put; the counts and the session's record show it."""
    async with visiting(lab) as visit:
        assert await visit.get("faults") == {"version": 0, "items": [], "next": None}
        put = await visit.client.put("faults", json={"faults": [BUSY]})
        async with await greeted(visit.receiver) as peer:
            assert await peer.ask("MAIL FROM:<a@lab.test>") == ["451 Try again later"]
            assert await peer.ask("MAIL FROM:<a@lab.test>") == ["250 2.1.0 Sender OK"]
            await peer.ask("QUIT")
        await all_ended(visit.receiver)
        shown = await visit.get("faults")
        listed = await visit.get("sessions")
        session = await visit.get(f"sessions/{listed['items'][0]['id']}")
        deleted = await visit.client.delete("faults")

    assert put.status_code == deleted.status_code == 200
    assert put.json()["version"] == 1
    assert shown["items"] == [{"fault": BUSY, "met": 2, "fired": 1}]
    CountedFaults.model_validate(shown)
    WholeSession.model_validate(session)
    assert session["faults"] == [
        {"fault": 0, "at": "mail", "kind": "reply", "detail": "reply 451 Try again later"}
    ]
    assert deleted.json() == {"version": 2, "items": [], "next": None}


async def test_every_key_goes_in_and_comes_out(lab: Lab) -> None:
    """What is shown is what was put, and the description knows every key."""
    async with visiting(lab) as visit:
        await visit.client.put("faults", json={"faults": EVERYTHING})
        shown = await visit.get("faults")

    CountedFaults.model_validate(shown)
    assert [each["fault"] for each in shown["items"]] == EVERYTHING
    assert (
        {key for each in EVERYTHING for key in each}
        == set(FaultShape.model_fields)
        == set(Fault.model_fields)
    )


async def test_faults_of_the_configuration(lab: Lab) -> None:
    """They are shown like others, and deleted like others."""
    async with visiting(lab, settings={"faults": [BUSY]}) as visit:
        assert [each["fault"] for each in (await visit.get("faults"))["items"]] == [BUSY]
        await visit.client.delete("faults")
        async with await greeted(visit.receiver) as peer:
            assert await peer.ask("MAIL FROM:<a@lab.test>") == ["250 2.1.0 Sender OK"]


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        pytest.param(
            {"faults": [BUSY, {"at": "mail", "kind": "alert"}, 7]},
            {
                "faults[1].kind": "alert cannot happen at mail; choose one of reply, delay, throttle, drop, reset",
                "faults[2]": "must be a mapping, not a number; write its keys below it, or leave it out",
            },
            id="faults that make no sense",
        ),
        pytest.param({"faults": 7}, {"faults": "Input should be a valid list"}, id="no list"),
        pytest.param({}, {"faults": "Field required"}, id="nothing"),
    ],
)
async def test_what_is_not_taken(lab: Lab, body: Any, errors: dict[str, str]) -> None:
    """Each mistake is named as in a configuration, and what was wanted still is."""
    async with visiting(lab, settings={"faults": [BUSY]}) as visit:
        problem = await visit.problem(422, "PUT", "faults", json=body)
        shown = await visit.get("faults")

    assert {each["name"]: each["detail"] for each in problem["errors"]} == errors
    assert shown["version"] == 0
    assert [each["fault"] for each in shown["items"]] == [BUSY]


@pytest.mark.parametrize(
    ("content_type", "content", "detail"),
    [
        ("application/x-www-form-urlencoded", '{"faults": []}', "header Content-Type: application/json"),
        ("application/json", '{"faults": [', "is no JSON: Expecting value, at character 12"),
        ("application/json", "[]", "must be a JSON object"),
        ("application/json", "", "Field required"),
    ],
)
async def test_a_body_that_is_none(lab: Lab, content_type: str, content: str, detail: str) -> None:
    """What people forget with curl is told in words that help."""
    async with visiting(lab) as visit:
        headers = {"Content-Type": content_type}
        problem = await visit.problem(422, "PUT", "faults", content=content, headers=headers)

    assert problem["detail"].startswith("body: ")
    assert problem["detail"].endswith(detail)
