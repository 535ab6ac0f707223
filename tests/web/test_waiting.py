"""Waiting for messages over HTTP, and the races in it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.lab import eventually
from tests.peer import PATIENCE
from tests.web.visiting import Client, deliver, visiting

if TYPE_CHECKING:
    from tests.lab import Lab
    from tests.web.visiting import Visit


def _waiting(visit: Visit) -> int:
    return len(visit.receiver.messages._waiting)


async def test_what_is_there_counts(lab: Lab) -> None:
    """A message that is there already is an answer at once."""
    async with visiting(lab) as visit:
        number = await deliver(visit.receiver, "b+ci-7@contoso.test")
        found = await visit.get("messages/wait", run="ci-7")

    assert [each["id"] for each in found["items"]] == [number]


async def test_what_comes_meanwhile(lab: Lab) -> None:
    """The answer comes with the message that is waited for, and with no other."""
    async with visiting(lab) as visit:
        waited = asyncio.create_task(visit.get("messages/wait", recipient="c@*", count=2, timeout=PATIENCE))
        await eventually(lambda: _waiting(visit) == 1)
        await deliver(visit.receiver, "c@contoso.test")
        await deliver(visit.receiver, "b@contoso.test")
        assert not waited.done()
        await deliver(visit.receiver, "C@contoso.test")
        found = await waited

    assert [each["id"] for each in found["items"]] == [3, 1]


async def test_many_wait_for_many(lab: Lab) -> None:
    """Each of many who wait gets the message of its run, none gets another's."""
    async with visiting(lab) as visit:
        waited = [
            asyncio.create_task(visit.get("messages/wait", run=f"run-{n}", timeout=PATIENCE))
            for n in range(20)
        ]
        await asyncio.gather(*(deliver(visit.receiver, f"b+run-{n}@contoso.test") for n in range(20)))
        found = await asyncio.gather(*waited)

    assert [each["items"][0]["run"] for each in found] == [f"run-{n}" for n in range(20)]


async def test_the_time_is_over(lab: Lab) -> None:
    """408 is a problem document with the items there were; since leaves out what was there."""
    async with visiting(lab) as visit:
        number = await deliver(visit.receiver)
        late = await visit.problem(408, "GET", "messages/wait", params={"count": 2, "timeout": 0})
        none = await visit.problem(408, "GET", "messages/wait", params={"since": number, "timeout": "0.01"})

    assert [each["id"] for each in late["items"]] == [number]
    assert late["detail"] == "1 of 2 messages within 0 seconds"
    assert none["items"] == []


async def test_who_leaves_waits_no_more(lab: Lab) -> None:
    """A client that closes its connection leaves nobody waiting behind."""
    async with visiting(lab) as visit:
        async with Client(base_url=visit.client.base_url, trust_env=False) as impatient:
            waited = asyncio.create_task(impatient.get("messages/wait", params={"timeout": 600}))
            await eventually(lambda: _waiting(visit) == 1)
            waited.cancel()
            await asyncio.wait([waited])
        await eventually(lambda: _waiting(visit) == 0)


async def test_the_page_closes_under_who_waits(lab: Lab) -> None:
    """Who waits is told that the receiver stops, and does not hold it up."""
    async with visiting(lab) as visit:
        waited = asyncio.create_task(visit.problem(503, "GET", "messages/wait", params={"timeout": 600}))
        await eventually(lambda: _waiting(visit) == 1)
        await visit.page.close()
        refused = await waited

    assert refused["detail"] == "the receiver stops"


async def test_answers_under_load(lab: Lab) -> None:
    """While mail pours in every list answers, and all of the mail is there in the end."""
    async with visiting(lab) as visit:
        pouring = [
            asyncio.create_task(deliver(visit.receiver, f"b+run-{n % 4}@contoso.test")) for n in range(100)
        ]
        waited = asyncio.create_task(visit.get("messages/wait", count=100, timeout=PATIENCE))
        for path in ("messages", "sessions", "events", "connectors", "certificates", "explain"):
            await visit.get(path)
        numbers = await asyncio.gather(*pouring)
        found = await waited
        of_one_run = await visit.get("messages", run="run-1", limit=1000)

    assert sorted(numbers) == list(range(1, 101))
    assert len(found["items"]) == 100
    assert len(of_one_run["items"]) == 25
