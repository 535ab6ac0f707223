"""``serve --log-format json``: every line on stderr is an object, and a session's lines have its id."""

from __future__ import annotations

import json
import logging
import signal
from base64 import b64encode
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from smtpd_anontls.cli.logs import LogFormat, log_record, logging_to_stderr
from tests.command import call, run
from tests.lab import CONNECTOR, SERVER, greeted, secured
from tests.peer import Peer
from tests.serving import served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from smtpd_anontls.receiver import Receiver
    from tests.lab import Lab

Json = dict[str, Any]

# Puts the option behind the words that ``served`` runs.
WITH_JSON = ("sh", "-c", 'exec "$@" --log-format json', "sh")


def objects(lines: Iterable[str]) -> list[Json]:
    """Return what the lines are: each an object with the keys that all have."""
    found: list[Json] = [json.loads(line) for line in lines]
    for each in found:
        assert {"time", "level", "message", "session_id", "server", "connector"} <= each.keys()
        assert each["time"].endswith("Z")
        assert len(each["time"]) == len("2026-11-22T12:00:00.123Z")
        assert datetime.fromisoformat(each["time"]).tzinfo is not None
        assert each["level"] in {"info", "warning", "error"}
    return found


@pytest.mark.slow
async def test_a_session_and_its_events(lab: Lab) -> None:
    """Both have the id that the journal knows the session by; what belongs to no session has null."""
    config = lab.write(directory="missing-thumbprint")
    async with served(config, before=WITH_JSON) as running:
        async with await Peer.connect(running.address) as peer:
            await peer.reply()
            await peer.ask("EHLO edge.lab.test")
            await peer.ask("MAIL FROM:<a@example.test>")
            await peer.ask("RCPT TO:<b@contoso.test>")
            await peer.ask("DATA")
            await peer.send(b"Subject: x\r\n\r\n.\r\n")
            assert (await peer.reply())[0].startswith("250 ")
            await peer.ask("QUIT")
        await running.says("session ended")
    lines = objects(running.stderr)
    (ended,) = [each for each in lines if "outcome" in each]
    (listed,) = call("session", "list", "--config", config, "--json").objects
    assert ended["session_id"] == listed["id"]
    assert (ended["server"], ended["connector"], ended["peer"]) == (SERVER, CONNECTOR, listed["remote"])
    assert (ended["outcome"], ended["verb"], ended["messages"]) == ("completed", None, 1)
    assert ended["level"] == "info"
    events = [each for each in lines if "event_id" in each]
    assert [(each["event_id"], each["level"], each["session_id"]) for each in events] == [
        (12013, "error", None),  # At the start.
        (12013, "error", listed["id"]),
    ]
    assert [each["message"] for each in lines[-2:]] == [
        "stopping: open transactions get to finish",
        "stopped",
    ]


@asynccontextmanager
async def logging_receiver(lab: Lab, **overlay: Any) -> AsyncIterator[Receiver]:
    """Run a receiver that logs as ``serve --log-format json`` does."""
    with logging_to_stderr(LogFormat.json):
        async with lab.receiver(**overlay) as receiver:
            receiver.observe(log_record)
            yield receiver


async def test_two_sessions(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """Each has a line of its own, with its own peer and its own verb."""
    async with (
        logging_receiver(lab) as receiver,
        await greeted(receiver) as clear,
        await secured(receiver) as secure,
    ):
        await secure.ask("QUIT")
        await clear.ask("QUIT")
        remotes = {clear.remote: None, secure.remote: "X-ANONYMOUSTLS"}
    ended = [each for each in objects(capsys.readouterr().err.splitlines()) if "outcome" in each]

    assert {each["peer"]: each["verb"] for each in ended} == remotes
    assert len({each["session_id"] for each in ended}) == 2


async def test_a_logon_that_fails(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """Its event has the session's id; no line has the password, or the name with what would drive a terminal."""
    name, password = b"ann\x1b[2J\xe2\x80\xae", b"correct horse battery staple"
    connector = {"auth_mechanism": ["BasicAuth"], "max_logon_failures": 1}
    async with (
        logging_receiver(lab, connector=connector, users={"ann": "another"}) as receiver,
        await greeted(receiver) as peer,
    ):
        assert await peer.ask("AUTH LOGIN") == ["334 VXNlcm5hbWU6"]
        assert await peer.ask(b64encode(name).decode()) == ["334 UGFzc3dvcmQ6"]
        assert (await peer.ask(b64encode(password).decode()))[0].startswith("535 ")
    lines = objects(capsys.readouterr().err.splitlines())

    (failed,) = [each for each in lines if each.get("event_id") == 1035]
    (ended,) = [each for each in lines if "outcome" in each]
    assert failed["session_id"] == ended["session_id"]
    told = "".join(str(value) for each in lines for value in each.values())
    assert told.isprintable()
    for secret in (password, b64encode(password)):
        assert secret.decode() not in told


@pytest.mark.slow
async def test_a_configuration_that_cannot_be_taken(lab: Lab) -> None:
    """A warning while it runs is an object, too."""
    config = lab.write()
    async with served(config, before=WITH_JSON) as running:
        config.write_text(config.read_text() + "hello: 1\n")
        running.process.send_signal(signal.SIGHUP)
        await running.says('"level": "warning"')
    lines = objects(running.stderr)

    (warning,) = [each for each in lines if each["level"] == "warning"]
    assert "hello" in warning["message"]
    assert warning["session_id"] is None


@pytest.mark.slow
def test_a_start_that_fails(lab: Lab) -> None:
    """It says why in objects, with the exit code that it has without them."""
    config = lab.write(connector={"bindings": ["192.0.2.1:2525"]})
    plain = run("serve", "--config", config)
    answer = run("serve", "--config", config, "--log-format", "json")

    (line,) = objects(answer.mistakes)
    assert (line["level"], [line["message"]]) == ("error", plain.mistakes)
    assert answer.code == plain.code == 3


@pytest.mark.slow
def test_a_mistake_in_the_configuration(lab: Lab) -> None:
    """One object for each line that there would be."""
    config = lab.write(connector={"banner": "\r\n", "auth": []})
    plain = run("serve", "--config", config)
    answer = run("serve", "--config", config, "--log-format", "json")

    assert [each["message"] for each in objects(answer.mistakes)] == plain.mistakes
    assert answer.code == plain.code == 2


@pytest.mark.slow
async def test_text_stays_as_it_is(lab: Lab) -> None:
    """Without the option no line is said for a session."""
    async with served(lab.write()) as running, await Peer.connect(running.address) as peer:
        await peer.reply()
        await peer.ask("QUIT")

    assert running.stderr == ["stopping: open transactions get to finish", "stopped"]


def test_hostile_text_and_a_fault_of_ours(capsys: pytest.CaptureFixture[str]) -> None:
    """No control character comes through, and a fault has its session and its traceback."""
    log = logging.getLogger("smtpd_anontls")
    with logging_to_stderr(LogFormat.json):
        log.warning("%s", "hello\x1b[2J\u202e\r\n{}")
        log.error(
            "session %s: internal error",
            "5b870a8aec30dc7d",
            exc_info=ValueError("a fault"),
            extra={"session_id": "5b870a8aec30dc7d"},
        )
    hostile, fault = objects(capsys.readouterr().err.splitlines())

    assert hostile["message"] == r"hello\x1b[2J\u202e\x0d\x0a{}"
    assert (fault["level"], fault["session_id"]) == ("error", "5b870a8aec30dc7d")
    assert fault["traceback"].endswith("ValueError: a fault")
