"""Fixtures of the golden sessions, and what ``--against`` leaves out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.lab import lab, pki
from tests.sessions.script import Script

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    """Leave out what cannot be played: octet by octet where it matters, and elsewhere what needs a lab."""
    elsewhere = config.getoption("--against") is not None
    kept, left_out, why = [], [], []
    for item in items:
        reason = _cannot_be_played(item, elsewhere=elsewhere)
        (kept if reason is None else left_out).append(item)
        if reason:
            why.append(f"{item.name}: {reason}")
    config.stash[LEFT_OUT] = why
    config.hook.pytest_deselected(items=left_out)
    items[:] = kept


def pytest_report_collectionfinish(config: pytest.Config) -> Sequence[str]:
    """Name what ``--against`` leaves out."""
    left_out = config.stash.get(LEFT_OUT, [])
    return ["left out, since they cannot be played elsewhere:", *left_out] if left_out else []


def _cannot_be_played(item: pytest.Item, *, elsewhere: bool) -> str | None:
    """Return why not, an empty text where that goes without saying, None where it can."""
    if not isinstance(item, pytest.Function) or item.originalname != "test_session":
        return None
    script = item.callspec.params["script"]
    assert isinstance(script, Script)
    if script.whole_only and item.callspec.params["manner"] != "whole":
        return ""
    if elsewhere and script.given:
        return "its given: is about a receiver of ours"
    return None
