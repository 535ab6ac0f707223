"""Fixtures of the golden sessions, and what ``--against`` leaves out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.lab import lab, pki
from tests.sessions.script import Script

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["against", "lab", "pki"]

LEFT_OUT = pytest.StashKey[list[str]]()


@pytest.fixture
def against(request: pytest.FixtureRequest) -> tuple[str, int] | None:
    """Return the server that the sessions are played at; None for a receiver of our own."""
    given = request.config.getoption("--against")
    if given is None:
        return None
    host, _, port = str(given).rpartition(":")
    return host.strip("[]"), int(port)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With ``--against``, leave out the sessions that need a receiver of ours."""
    if config.getoption("--against") is None:
        return
    left_out = [item for item in _sessions(items) if _script_of(item).given]
    config.stash[LEFT_OUT] = sorted({_script_of(item).path.name for item in left_out})
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def pytest_report_collectionfinish(config: pytest.Config) -> Sequence[str]:
    """Name what ``--against`` leaves out."""
    left_out = config.stash.get(LEFT_OUT, [])
    return ["left out, since their given: is about a receiver of ours:", *left_out] if left_out else []


def _sessions(items: Sequence[pytest.Item]) -> Iterator[pytest.Function]:
    for item in items:
        if isinstance(item, pytest.Function) and item.originalname == "test_session":
            yield item


def _script_of(item: pytest.Function) -> Script:
    script = item.callspec.params["script"]
    assert isinstance(script, Script)
    return script
