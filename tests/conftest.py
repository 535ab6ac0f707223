"""Options of the test suite."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--against``; pytest asks for options in the topmost folder of the tests."""
    parser.addoption(
        "--against",
        metavar="HOST:PORT",
        help="play the golden sessions at this server, comparing reply codes, EHLO keywords and TLS only",
    )
