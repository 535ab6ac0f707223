"""The pytest plugin: the fixtures ``receiver`` and ``async_receiver``, and the marker that arranges them.

It is imported at every start of pytest, wherever this package is installed: so it imports nothing
but pytest, and what the fixtures need when they need it.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator, Iterator
    from pathlib import Path

    from smtpd_anontls.testing import Arrangement, AsyncReceiver, BlockingReceiver

NAME = "smtpd-anontls"  # Of the folder in tmp_path, and of the section in the report of a failed test.
_MARKER = (
    "receiver(*, scenario, connector, server, settings, users): what the fixtures receiver and async_receiver are to "
    "be like: a scenario of the gallery, properties of the Receive connector, keys of its server, sections of the "
    "configuration, the users of NTLM and LOGIN with their passwords. An inner marker goes before an outer one."
)
_NO_ASYNCIO = "async_receiver needs pytest-asyncio, which is not there: pip install pytest-asyncio"
# What tells of the receivers of a test while they run.
_REPORTS = pytest.StashKey[list["Callable[[], str]"]]()


@pytest.fixture
def receiver(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BlockingReceiver]:
    """Return a running receiver of the test's own, in a thread: address(), messages.wait(), sessions, events.

    The marker `receiver` says what it is to be like.
    """
    from smtpd_anontls.testing.blocking import arranged_blocking_receiver  # noqa: PLC0415 - see above

    with (
        _saying_what_there_is(),
        arranged_blocking_receiver(_arrangement(request), tmp_path / NAME) as running,
        _reporting(request, running.report),
    ):
        yield running


def _with_asyncio() -> object:
    """Return the fixture for tests of pytest-asyncio, whichever mode that is in."""
    # It has been imported already, as a plugin; nobody is asked to have it.
    import pytest_asyncio  # noqa: PLC0415 - see above

    class WithAsyncio:
        # The loop of a function: another scope would leave sockets open between tests.
        @pytest_asyncio.fixture(loop_scope="function")
        async def async_receiver(
            self, request: pytest.FixtureRequest, tmp_path: Path
        ) -> AsyncIterator[AsyncReceiver]:
            """Return a running receiver of the test's own, in its loop: address(), await messages.wait(), sessions().

            The marker `receiver` says what it is to be like.
            """
            import asyncio  # noqa: PLC0415 - see above

            from smtpd_anontls.testing.asynchronous import arranged_async_receiver  # noqa: PLC0415

            loop = asyncio.get_running_loop()
            with _saying_what_there_is():
                async with arranged_async_receiver(
                    _arrangement(request), tmp_path / f"{NAME}-async"
                ) as running:
                    # pytest asks between the test and the end of its fixtures, while the loop stands still.
                    with _reporting(request, lambda: loop.run_until_complete(running.report())):
                        yield running

    return WithAsyncio()


class _WithoutAsyncio:
    """The fixture where pytest-asyncio is not installed, or is turned off."""

    @pytest.fixture
    def async_receiver(self) -> None:
        """Fail: there is no pytest-asyncio."""
        pytest.fail(_NO_ASYNCIO, pytrace=False)


def _arrangement(request: pytest.FixtureRequest) -> Arrangement:
    from smtpd_anontls.testing.arrangement import Arrangement, ArrangementError  # noqa: PLC0415 - see above

    markers = list(request.node.iter_markers("receiver"))
    if any(marker.args for marker in markers):
        raise ArrangementError("its arguments have names; write scenario='expired' or the like")
    return Arrangement.read(*(marker.kwargs for marker in reversed(markers)))


@contextmanager
def _saying_what_there_is() -> Iterator[None]:
    """Turn a mistake of the marker into an error of its user's."""
    from smtpd_anontls.testing.arrangement import ArrangementError  # noqa: PLC0415 - see above

    try:
        yield
    except ArrangementError as error:
        raise pytest.UsageError(f"@pytest.mark.receiver: {error}") from None


@contextmanager
def _reporting(request: pytest.FixtureRequest, report: Callable[[], str]) -> Iterator[None]:
    """Let *report* tell of the receiver where the test fails while it runs."""
    reports = request.node.stash.setdefault(_REPORTS, [])
    reports.append(report)
    try:
        yield
    finally:
        reports.remove(report)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Tell of the receivers of a test that has failed."""
    result = yield
    if result.failed:
        for report in item.stash.get(_REPORTS, []):
            try:
                text = report()
            except Exception as error:  # noqa: BLE001 - the edge: what failed is the test, and its own failure is told
                text = f"nothing can be told of the receiver: {error!r}"
            result.sections.append((NAME, text))
    return result


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker, and the fixture that depends on another plugin."""
    config.addinivalue_line("markers", _MARKER)
    with_asyncio = config.pluginmanager.hasplugin("asyncio")
    config.pluginmanager.register(_with_asyncio() if with_asyncio else _WithoutAsyncio(), f"{NAME} asyncio")
