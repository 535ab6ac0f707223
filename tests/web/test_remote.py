"""The session, message and event commands with ``--url``: the same answers, over HTTP."""

from __future__ import annotations

import json
import signal
import smtplib
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import pytest

from smtpd_anontls.testing import running_receiver
from tests.command import PROGRAM, call, environment, serving
from tests.lab import SERVER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from smtpd_anontls.testing import BlockingReceiver
    from tests.lab import Lab

pytestmark = pytest.mark.slow

TOKEN = "s3cret"  # noqa: S105 - of a test
WEB = {"bind": "127.0.0.1:0", "auth": {"token_env": "PAGE_TOKEN"}}


def _send(address: tuple[str, int], recipient: str = "b@contoso.test") -> None:
    with smtplib.SMTP(*address) as client:
        client.sendmail("a@example.test", [recipient], "Subject: hello\r\n\r\nbody\r\n")


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[BlockingReceiver]:
    """Run a receiver with a page that asks for a token, with a message in it; the commands here have it."""
    monkeypatch.setenv("PAGE_TOKEN", TOKEN)
    with running_receiver(tmp_path, settings={"web": WEB}) as receiver:
        _send(receiver.address(), "b+ci-7@contoso.test")
        assert receiver.url is not None
        monkeypatch.setenv("SMTPD_ANONTLS_URL", receiver.url)
        monkeypatch.setenv("SMTPD_ANONTLS_TOKEN", TOKEN)
        yield receiver


def test_the_same_over_http(running: BlockingReceiver) -> None:
    """What the commands print of a running receiver is what they print of its journal."""
    waited = call("message", "wait", "--json", "--run", "ci-7", "--timeout", "60")
    session = waited.objects[0]["session_id"]
    commands = (
        ("session", "list"),
        ("session", "show", session),
        ("session", "show", "0123456789abcdef"),
        ("session", "list", "--outcome", "completed", "--since", "2000-01-01"),
        ("message", "list", "--run", "ci-7"),
        ("message", "list", "--recipient", "B+*", "--limit", "1"),
        ("message", "show", "1"),
        ("message", "show", "2"),
        ("message", "show", "1", "--raw"),
        ("event", "list"),
        ("message", "wait", "--count", "9", "--timeout", "0"),
    )
    for words in commands:
        here = call(*words, "--json", "--url", "", "--config", running.config)
        there = call(*words, "--json")
        assert (here.code, here.stdout) == (there.code, there.stdout), words


def test_removing_over_http(running: BlockingReceiver) -> None:
    """A purge removes what filters take; an age is the journal's own business."""
    _send(running.address())

    by_age = call("message", "purge", "--older-than", "1s")
    by_run = call("message", "purge", "--run", "ci-7", "--json")
    all_of_them = call("message", "purge", "--yes", "--json")

    assert (by_age.code, by_age.mistakes) == (
        2,
        ["--older-than does not go with --url; narrow it with a filter"],
    )
    assert (by_run.document, all_of_them.document) == ({"removed": 1}, {"removed": 1})


@pytest.mark.slow
def test_following_over_http(lab: Lab) -> None:
    """A tail shows a session as it ends, and ends with exit code 3 where the receiver does."""
    page = environment(SMTPD_ANONTLS__WEB__BIND="127.0.0.1:0", PAGE_TOKEN=TOKEN)
    with serving(lab.write(settings={"web": WEB}), env=page) as running:
        _send(running.address(SERVER))
        remote = environment(SMTPD_ANONTLS_URL=running.started["page"], SMTPD_ANONTLS_TOKEN=TOKEN)
        words = [*PROGRAM, "session", "tail", "--json", "--since", "2000-01-01"]
        tail = subprocess.Popen(words, env=remote, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert tail.stdout is not None
        first = json.loads(tail.stdout.readline())
        running.end(signal.SIGTERM)
        _, said = tail.communicate(timeout=60)

    assert first["messages"] == [1]
    assert tail.returncode == 3
    assert "the receiver has closed the connection" in said


def test_without_the_token(running: BlockingReceiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that asks who one is, is one sentence and exit code 3, whatever was given."""
    assert running.url is not None
    for given in ("", "wrong"):
        monkeypatch.setenv("SMTPD_ANONTLS_TOKEN", given)
        answer = call("message", "list")

        assert answer.code == 3
        assert answer.mistakes == [
            f"{running.url.rstrip('/')}: asks who you are; set SMTPD_ANONTLS_TOKEN to its token"
        ]


@pytest.mark.parametrize(
    ("url", "code", "sentence"),
    [
        ("http://127.0.0.1:1", 3, "http://127.0.0.1:1: cannot be reached (Connection refused)"),
        ("http://user:hidden@127.0.0.1:1/", 3, "http://127.0.0.1:1: cannot be reached (Connection refused)"),
        ("ftp://127.0.0.1", 2, "--url: is not a URL; write one such as http://127.0.0.1:8025"),
        ("localhost", 2, "--url: is not a URL; write one such as http://127.0.0.1:8025"),
    ],
)
def test_nobody_there(url: str, code: int, sentence: str) -> None:
    """A receiver that cannot be reached is exit code 3, and no URL is exit code 2."""
    answer = call("session", "list", "--url", url)

    assert (answer.code, answer.mistakes) == (code, [sentence])


class _Other(BaseHTTPRequestHandler):
    """Somebody else's server."""

    def do_GET(self) -> None:
        """Answer with a page, a redirect, or nothing."""
        status = {"limit=1": 302, "limit=2": 500}.get(self.path.partition("?")[2], 200)
        self.send_response(status)
        self.send_header("Location", "http://127.0.0.1:1/")
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<p>hello")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.mark.parametrize(
    ("limit", "sentence"),
    [
        ("1", "answered 302: Found"),
        ("2", "answered 500: Internal Server Error"),
        ("3", "this is no receiver's page: its answer is no JSON object"),
    ],
)
def test_somebody_else_is_there(limit: str, sentence: str) -> None:
    """What is no receiver's page is said in one sentence; a redirect is not followed."""
    server = HTTPServer(("127.0.0.1", 0), _Other)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        answer = call("session", "list", "--url", url, "--limit", limit)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

    assert (answer.code, answer.mistakes) == (3, [f"{url}: {sentence}"])


def test_more_than_can_be_waited_for() -> None:
    """A count that the API does not have is exit code 2, before anybody is asked."""
    answer = call("message", "wait", "--count", "1001", "--url", "http://127.0.0.1:1")

    assert answer.code == 2
    assert "at most 1000 can be waited for" in answer.stderr
