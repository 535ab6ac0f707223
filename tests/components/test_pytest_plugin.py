"""The pytest plugin, as pytest runs it on test files of somebody else's."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

import pytest

from tests.command import ROOT, environment

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

pytest_plugins = ["pytester"]

BEGINNING = """
import smtplib
import pytest


def send(receiver, recipient="b@contoso.test"):
    with smtplib.SMTP(*receiver.address()) as client:
        client.sendmail("a@example.test", recipient, "Subject: Hello\\r\\n\\r\\nBody\\r\\n")

"""
STRICT = ("-W", "error", "--strict-markers", "--strict-config", "-p", "no:cacheprovider")
LOOP_SCOPE = ("-o", "asyncio_default_fixture_loop_scope=function")


def run(pytester: pytest.Pytester, text: str, *words: str) -> pytest.RunResult:
    """Run a test file in this process, warnings as errors."""
    pytester.makepyfile(BEGINNING + text)
    return pytester.runpytest_inprocess(*STRICT, *LOOP_SCOPE, *words)


def section(result: pytest.RunResult, title: str = "smtpd-anontls") -> list[str]:
    """Return the lines of a section in a failed test's report."""
    lines = result.outlines
    (start,) = [number for number, line in enumerate(lines) if line.strip("- ") == title]
    return [line for line in lines[start + 1 :] if not line.startswith("===")]


# -- the start


def test_pytest_finds_it_by_its_entry_point() -> None:
    """Who has installed the package has the fixtures, without a line in conftest.py."""
    (found,) = [each for each in entry_points(group="pytest11") if each.name == "smtpd_anontls"]

    assert found.value == "smtpd_anontls.pytest_plugin"


def test_importing_it_loads_nothing_but_pytest() -> None:
    """A start of pytest without a receiver pays for none: no third-party module, and none of the package's rooms."""
    code = (
        "import sys, pytest; before = set(sys.modules); import smtpd_anontls.pytest_plugin; "
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True
    )
    loaded = [name for name in done.stdout.split() if name.partition(".")[0] not in sys.stdlib_module_names]

    assert loaded == ["smtpd_anontls", "smtpd_anontls.pytest_plugin"]


@pytest.mark.slow
def test_a_run_without_a_receiver_loads_nothing(pytester: pytest.Pytester) -> None:
    """Neither its hooks nor its declarations need more."""
    pytester.makepyfile(
        "import sys\n"
        "def test_it():\n"
        "    assert sorted(m for m in sys.modules if m.startswith('smtpd_anontls')) == [\n"
        "        'smtpd_anontls', 'smtpd_anontls.pytest_plugin']\n"
    )

    assert pytester.runpytest_subprocess(*STRICT, *LOOP_SCOPE, "-p", "no:cov").ret == 0


def test_it_says_what_it_has(pytester: pytest.Pytester) -> None:
    """`--fixtures` and `--markers` name fixtures and marker."""
    fixtures = pytester.runpytest_inprocess("--fixtures", *LOOP_SCOPE)
    markers = pytester.runpytest_inprocess("--markers", *LOOP_SCOPE)

    fixtures.stdout.fnmatch_lines(
        ["*receiver*", "*Return a running receiver of the test's own, in a thread:*"]
    )
    fixtures.stdout.fnmatch_lines(
        ["*async_receiver*", "*Return a running receiver of the test's own, in its loop:*"]
    )
    markers.stdout.fnmatch_lines(["@pytest.mark.receiver(*scenario, connector, server, settings, users): *"])


# -- the fixtures


def test_each_test_has_a_receiver_of_its_own(pytester: pytest.Pytester) -> None:
    """Function scope: another port, and no mail of the test before; nothing is left behind."""
    result = run(
        pytester,
        """
ports = set()

@pytest.mark.parametrize("number", range(3))
def test_it(receiver, number):
    send(receiver)
    assert [each.id for each in receiver.messages] == [1]
    ports.add(receiver.address()[1])

def test_nothing_is_left():
    import threading
    assert not [each.name for each in threading.enumerate() if "smtpd-anontls" in each.name]
    assert len(ports) == 3
""",
    )

    result.assert_outcomes(passed=4)


@pytest.mark.slow
def test_nothing_is_written_outside_tmp_path(
    pytester: pytest.Pytester, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the home folder nor the working directory nor the configuration of the environment is touched."""
    home, away = tmp_path / "home", tmp_path / "away"
    for folder in (home, away):
        folder.mkdir()
    for name in ("HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(home))
    monkeypatch.setenv("SMTPD_ANONTLS_CONFIG", "/nowhere")
    monkeypatch.setenv("SMTPD_ANONTLS__SERVERS__0__NAME", "OTHER")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    path = pytester.makepyfile(BEGINNING + "def test_it(receiver, tmp_path):\n    send(receiver)\n")
    monkeypatch.chdir(away)
    base = tmp_path / "base"
    result = pytester.runpytest_subprocess(
        *STRICT, *LOOP_SCOPE, f"--basetemp={base}", f"--rootdir={away}", path
    )

    result.assert_outcomes(passed=1)
    assert (list(home.iterdir()), list(away.iterdir())) == ([], [])
    assert (base / "test_it0" / "smtpd-anontls" / "capture.db").exists()


MODES = {
    "auto": ("-o", "asyncio_mode=auto"),
    "strict": ("-o", "asyncio_mode=strict"),
}


@pytest.mark.parametrize("mode", MODES)
def test_asynchronous_tests(pytester: pytest.Pytester, mode: str) -> None:
    """With pytest-asyncio in either mode the receiver is in the test's loop, beside one in a thread."""
    result = run(
        pytester,
        """
import asyncio

pytestmark = pytest.mark.asyncio

@pytest.mark.receiver(scenario="expired")
async def test_it(async_receiver, receiver):
    for each in (async_receiver, receiver):
        await asyncio.to_thread(send, each)
    message = await async_receiver.messages.wait(recipient="b@contoso.test", timeout=5)
    assert message.subject == receiver.messages.wait(timeout=5).subject == "Hello"
    assert (await async_receiver.assert_event(12015)).event_id == receiver.assert_event(12015).event_id
    assert async_receiver.address() != receiver.address()

async def test_nothing_is_left(tmp_path):
    assert asyncio.all_tasks() == {asyncio.current_task()}
""",
        *MODES[mode],
    )

    result.assert_outcomes(passed=2)


def test_without_pytest_asyncio(pytester: pytest.Pytester) -> None:
    """The fixture of a thread works; the other says in one sentence what is missing."""
    pytester.makepyfile(
        BEGINNING
        + "def test_thread(receiver):\n    send(receiver)\n\ndef test_loop(async_receiver):\n    pass\n"
    )
    result = pytester.runpytest_inprocess(*STRICT, "-p", "no:asyncio")

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        ["async_receiver needs pytest-asyncio, which is not there: pip install pytest-asyncio"]
    )
    assert "Traceback" not in result.stdout.str()


@pytest.mark.parametrize("test", ["async def test_it", "def test_it"])
def test_in_another_loop(pytester: pytest.Pytester, test: str) -> None:
    """Where its loop does not run, the fixture says so at once, instead of not answering."""
    result = run(
        pytester,
        f"@pytest.mark.asyncio(loop_scope='module')\n{test}(async_receiver):\n    send(async_receiver)\n"
        if test.startswith("async")
        else f"{test}(async_receiver):\n    send(async_receiver)\n",
        *MODES["auto"],
    )

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*RuntimeError: the event loop of async_receiver does not run here: *"])


# -- the marker


def test_markers_add_up(pytester: pytest.Pytester) -> None:
    """An inner marker goes before an outer one, key by key; a parameter can carry one."""
    result = run(
        pytester,
        """
pytestmark = pytest.mark.receiver(scenario="suppressed", connector={"banner": "220 outer"})

class TestIt:
    def test_outer(self, receiver):
        send(receiver)
        assert receiver.sessions[-1].advertised == {"STARTTLS"}

    @pytest.mark.parametrize(
        "offered", [pytest.param(set(), marks=pytest.mark.receiver(scenario="no-tls", server={"name": "MBX9"}))]
    )
    def test_inner(self, receiver, offered):
        send(receiver)
        (session,) = receiver.sessions
        assert (session.advertised, session.server, session.transcript[0]) == (offered, "MBX9", "S: 220 outer")
""",
    )

    result.assert_outcomes(passed=2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param("scenario='expird'", "scenario: 'expird' is not one of healthy, *", id="scenario"),
        pytest.param("scenarios=''", "'scenarios' is nothing to ask for; there are scenario, *", id="key"),
        pytest.param("'expired'", "its arguments have names; write scenario='expired'*", id="no name"),
        pytest.param("connector={'baner': ''}", "*baner: unknown key; did you mean banner?", id="property"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("fixture", ["receiver", "async_receiver"])
def test_a_mistake_of_the_marker(
    pytester: pytest.Pytester, fixture: str, arguments: str, message: str
) -> None:
    """It is a UsageError that says what there is."""
    result = run(
        pytester,
        f"@pytest.mark.receiver({arguments})\nasync def test_it({fixture}): pass\n",
        *MODES["auto"],
    )

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"E*UsageError: @pytest.mark.receiver: {message}"])


# -- the report


def test_a_failed_test_tells_what_the_receiver_saw(pytester: pytest.Pytester) -> None:
    """In a section of its own: where it listened, selections with their steps, transcript, events."""
    result = run(
        pytester,
        """
@pytest.mark.receiver(scenario="not-in-store")
def test_it(receiver):
    send(receiver)
    assert False
""",
    )
    text = "\n".join(section(result))

    result.assert_outcomes(failed=1)
    for told in (
        "MBX1: Default Frontend MBX1 on 127.0.0.1:",
        ": completed: 1 message taken",
        "  X-ANONYMOUSTLS: not advertised",
        "    no   certificate_store ",
        "    S: 250 2.1.5 Recipient OK",
        "event 12013 Error (at start)",
    ):
        assert told in text


@pytest.mark.parametrize(
    ("failing", "shown"),
    [
        pytest.param("receiver.messages.wait(recipient='x@y.test', timeout=0)", "TimeoutError: 0 of 1", id="wait"),
        pytest.param("receiver.assert_event(12012)", "AssertionError: no event 12012", id="event"),
        pytest.param(
            "receiver.sessions[-1].assert_outcome('timeout')",
            "AssertionError: the outcome is completed, not timeout",
            id="outcome",
        ),
    ],
)  # fmt: skip
def test_a_failed_assertion_is_told_without_our_own_code(
    pytester: pytest.Pytester, failing: str, shown: str
) -> None:
    """The traceback ends in the test; what went wrong stands behind it."""
    result = run(pytester, f"def test_it(receiver):\n    send(receiver)\n    {failing}\n")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f">       {failing.replace('[', '[[]')}", f"E       {shown}*"])
    assert "smtpd_anontls/testing" not in result.stdout.str()
    assert "concurrent" not in result.stdout.str()


def test_an_asynchronous_test_is_told_of_too(pytester: pytest.Pytester) -> None:
    """Though its loop stands still by then."""
    result = run(
        pytester,
        "import asyncio\nasync def test_it(async_receiver):\n"
        "    await asyncio.to_thread(send, async_receiver)\n    assert False\n",
        *MODES["auto"],
    )

    result.assert_outcomes(failed=1)
    assert any(": completed: 1 message taken" in line for line in section(result))


def test_a_receiver_that_cannot_tell_hides_no_failure(pytester: pytest.Pytester) -> None:
    """The test's own failure is told all the same."""
    result = run(
        pytester,
        """
def test_it(receiver):
    database = receiver.config.with_name("capture.db")
    database.unlink()
    database.mkdir()
    assert 1 == 2
""",
    )

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["E       assert 1 == 2", "nothing can be told of the receiver: JournalError*"]
    )


def test_a_test_that_passes_tells_nothing(pytester: pytest.Pytester) -> None:
    """Nor does one that fails without a receiver."""
    result = run(
        pytester, "def test_good(receiver):\n    send(receiver)\n\ndef test_bad():\n    assert False\n", "-rA"
    )

    result.assert_outcomes(passed=1, failed=1)
    assert "smtpd-anontls -" not in result.stdout.str()


# -- many


@pytest.mark.slow
def test_fifty_tests_side_by_side(pytester: pytest.Pytester) -> None:
    """With pytest-xdist in two processes: no port, no file and no thread is in another's way."""
    pytester.makepyfile(
        BEGINNING
        + """
@pytest.mark.parametrize("number", range(25))
def test_mail(receiver, number):
    send(receiver, f"{number}@contoso.test")
    assert receiver.messages.wait(timeout=20).recipients == (f"{number}@contoso.test",)
    assert receiver.sessions[-1].outcome == "completed"

@pytest.mark.parametrize("number", range(15))
@pytest.mark.receiver(scenario="expired")
def test_scenario(receiver, number):
    send(receiver)
    assert receiver.assert_event(12015).session_id == receiver.sessions[-1].id

@pytest.mark.parametrize("number", range(10))
async def test_loop(async_receiver, number):
    import asyncio
    await asyncio.to_thread(send, async_receiver)
    assert (await async_receiver.messages.wait(timeout=20)).id == 1
"""
    )
    result = pytester.runpytest_subprocess(*STRICT, *LOOP_SCOPE, *MODES["auto"], "-n", "2")

    result.assert_outcomes(passed=50)


@pytest.mark.slow
def test_the_example(pytester: pytest.Pytester) -> None:
    """The file in examples/pytest is what it says."""
    pytester.makepyfile(test_mail=(ROOT / "examples" / "pytest" / "test_mail.py").read_text())
    result = pytester.runpytest_subprocess(*STRICT, *LOOP_SCOPE)

    result.assert_outcomes(passed=5)
