"""Options of the test suite, and how hard Hypothesis tries in `make check`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import settings

if TYPE_CHECKING:
    import pytest

# A quarter of the usual; `make test` tries all of them.
settings.register_profile("quick", max_examples=25)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--against``; pytest asks for options in the topmost folder of the tests."""
    parser.addoption(
        "--against",
        metavar="HOST:PORT",
        help="play the golden sessions at this server, comparing reply codes, EHLO keywords and TLS only",
    )
