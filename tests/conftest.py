"""Options of the test suite, how hard Hypothesis tries in `make check`, and the event loops of the tests."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import uvloop
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pytest

    Loops = Mapping[str, Callable[[], asyncio.AbstractEventLoop]]

# A quarter of the usual; `make test` tries all of them.
settings.register_profile("quick", max_examples=25)

_ASYNCIO: Loops = {"asyncio": asyncio.SelectorEventLoop}
_BOTH: Loops = {**_ASYNCIO, "uvloop": uvloop.new_event_loop}
# What speaks to the wire, and so to the transports of the loop, in this process; what the tests run by
# ``serve``, as test_floods does, is on uvloop anyway.
_ON_BOTH = {
    "test_bodies",
    "test_direct_trust",
    "test_door",
    "test_fairness",
    "test_faults_on_demand",
    "test_limits",
    "test_listener",
    "test_proxy",
    "test_session",
    "test_sessions",
    "test_streams",
    "test_tls",
    "test_upgrade",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--against``; pytest asks for options in the topmost folder of the tests."""
    parser.addoption(
        "--against",
        metavar="HOST:PORT",
        help="play the golden sessions at this server, comparing reply codes, EHLO keywords and TLS only",
    )


def pytest_asyncio_loop_factories(item: pytest.Item) -> Loops:
    """Run the tests of the wire on both loops, and the others, and all of `make check`, on asyncio's own."""
    is_quick = item.config.getoption("markexpr") == "not slow"
    return _BOTH if item.path.stem in _ON_BOTH and not is_quick else _ASYNCIO
