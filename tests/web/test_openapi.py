"""The API as OpenAPI describes it, and whether it does what that says."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.web.visiting import deliver, visiting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab import Lab

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
PATHS = {
    "/api/v1/sessions": {"get"},
    "/api/v1/sessions/stream": {"get"},
    "/api/v1/sessions/{session_id}": {"get"},
    "/api/v1/messages": {"get", "delete"},
    "/api/v1/messages/wait": {"get"},
    "/api/v1/messages/{message_id}": {"get"},
    "/api/v1/messages/{message_id}/raw": {"get"},
    "/api/v1/messages/{message_id}/parts/{number}": {"get"},
    "/api/v1/events": {"get"},
    "/api/v1/events/stream": {"get"},
    "/api/v1/certificates": {"get"},
    "/api/v1/connectors": {"get"},
    "/api/v1/connectors/{server}/{name}": {"patch"},
    "/api/v1/explain": {"get"},
    "/healthz": {"get"},
    "/readyz": {"get"},
    "/metrics": {"get"},
}


async def test_every_path_and_every_field_is_described(lab: Lab) -> None:
    """Each path has a summary, each parameter and each field a sentence, each refusal its document."""
    async with visiting(lab) as visit:
        document = (await visit.client.get("/api/openapi.json")).json()
        docs = [await visit.client.get(path) for path in ("/docs", "/redoc")]

    for path, methods in PATHS.items():
        assert methods <= set(document["paths"][path]), path
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"], (method, path)
            assert operation["description"], (method, path)
            assert "application/problem+json" in operation["responses"]["422"]["content"], (method, path)
            undescribed = [each["name"] for each in operation.get("parameters", []) if not _described(each)]
            assert undescribed == [], (method, path)
    for name, schema in document["components"]["schemas"].items():
        undescribed = [
            field for field, about in schema.get("properties", {}).items() if not about.get("description")
        ]
        assert undescribed == [], name
    # Their pages would load scripts from other hosts.
    assert [each.status_code for each in docs] == [404, 404]


def _described(parameter: dict[str, Any]) -> bool:
    return bool(parameter.get("description")) or parameter["in"] == "path"


class _Outside:
    """A receiver with its page in a thread and loop of its own, for who blocks."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self.url = ""

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        async with visiting(self._lab) as visit:
            await deliver(visit.receiver)
            self.url = (visit.page.url or "").rstrip("/")
            self._ready.set()
            await self._stop.wait()

    def __enter__(self) -> str:
        self._thread.start()
        assert self._ready.wait(60)
        return self.url

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(60)


@pytest.fixture
def outside(lab: Lab) -> Iterator[str]:
    """Return the URL of a page that runs elsewhere."""
    with _Outside(lab) as url:
        yield url


@pytest.mark.slow
def test_it_does_what_it_says(outside: str) -> None:
    """Whatever is asked, valid or not, is answered as the description says, and never with a server error."""
    schema = schemathesis.openapi.from_url(f"{outside}/api/openapi.json")
    answered = set()
    for result in schema.exclude(path_regex="stream").get_all_operations():
        assert isinstance(result, Ok)
        operation = result.ok()

        @given(case=operation.as_strategy())
        @settings(
            max_examples=15,
            derandomize=True,
            deadline=None,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def ask(case: Any) -> None:
            if case.path.endswith("/wait"):
                case.query = {**(case.query or {}), "timeout": 0}
            response = case.call(base_url=outside)
            case.validate_response(response, checks=CHECKS)
            answered.add(case.operation.label)

        ask()

    assert len(answered) >= len(PATHS) - 2
