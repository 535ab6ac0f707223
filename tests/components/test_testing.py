"""Receivers for tests: what they tell, and what they leave behind.

The fixture ``receiver`` is the one that the package's pytest plugin has.
"""

from __future__ import annotations

import contextlib
import json
import signal
import smtplib
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from smtpd_anontls.testing import running_async_receiver, running_receiver
from tests.command import PROGRAM, ROOT, call, environment
from tests.lab import Belongings
from tests.peer import Peer, believing_context

if TYPE_CHECKING:
    from smtpd_anontls.testing import AsyncReceiver, BlockingReceiver

MAIL = "Subject: Hello\r\n\r\nBody\r\n"


def send(address: tuple[str, int], recipient: str = "b@contoso.test") -> None:
    """Send a message."""
    with smtplib.SMTP(*address, local_hostname="client.test") as client:
        client.sendmail("a@example.test", recipient, MAIL)


# -- what it tells


def test_messages_are_waited_for_and_listed(receiver: BlockingReceiver) -> None:
    """`wait` returns the newest, the list is the oldest first, and narrowed by the same terms."""
    assert not receiver.messages
    for name in ("one", "two", "three"):
        send(receiver.address(), f"{name}@contoso.test")
    newest = receiver.messages.wait(timeout=5)
    both = receiver.messages.wait_many(2, timeout=5)

    assert newest.recipients == ("three@contoso.test",)
    assert newest.raw == MAIL.encode()
    assert [each.id for each in both] == [3, 2]
    assert [each.id for each in receiver.messages] == [1, 2, 3]
    assert receiver.messages[0] == receiver.messages.matching(recipient="ONE@*")[0]
    assert len(receiver.messages[1:]) == 2


def test_a_wait_in_vain_tells_what_came(receiver: BlockingReceiver) -> None:
    """TimeoutError has the messages and sessions that there were."""
    send(receiver.address())
    with pytest.raises(TimeoutError, match=r"(?s)nobody@contoso\.test.*to b@contoso\.test.*completed"):
        receiver.messages.wait(recipient="nobody@contoso.test", timeout=0)


def test_sessions_are_told_as_they_are(receiver: BlockingReceiver) -> None:
    """A running one has no outcome yet; one that has ended has it at once, by QUIT or without, oldest first."""
    client = smtplib.SMTP(*receiver.address())
    client.ehlo()
    running = receiver.sessions
    client.quit()
    after_quit = receiver.sessions
    socket.create_connection(receiver.address()).close()
    end = time.monotonic() + 20
    # A connection that says nothing tells nobody when it has been noticed.
    while [each.outcome for each in receiver.sessions][1:] in ([], [None]) and time.monotonic() < end:
        time.sleep(0.01)

    assert [(each.outcome, each.ended) for each in running] == [(None, None)]
    assert [each.outcome for each in after_quit] == ["quit_without_mail"]
    assert [each.outcome for each in receiver.sessions] == ["quit_without_mail", "peer_disconnected"]
    assert "C: ehlo " in running[0].explanation()
    assert running[0].id == after_quit[0].id == after_quit[0].record["id"]


def test_a_session_says_why_it_was_not_as_expected(tmp_path: Path) -> None:
    """Each assertion fails with the steps of the selections and the transcript, escaped for a terminal."""
    with running_receiver(tmp_path, scenario="not-in-store") as receiver:
        with smtplib.SMTP(*receiver.address()) as client:
            client.docmd("NOOP", "\x1b[31m")
        (session,) = receiver.sessions
        session.assert_not_advertised("X-ANONYMOUSTLS")
        session.assert_advertised("starttls")
        session.assert_outcome("quit_without_mail")
        with pytest.raises(AssertionError, match="X-ANONYMOUSTLS was not advertised") as not_advertised:
            session.assert_advertised("X-ANONYMOUSTLS")
        with pytest.raises(AssertionError, match="STARTTLS was advertised"):
            session.assert_not_advertised("STARTTLS")
        with pytest.raises(AssertionError, match="the outcome is quit_without_mail, not completed"):
            session.assert_outcome("completed")
        with pytest.raises(AssertionError, match=r"no event 12015\n(?s:.*)event 12013 Error \(at start\)"):
            receiver.assert_event(12015)
        assert receiver.assert_event(12013).session_id == session.id

    text = str(not_advertised.value)
    assert "no   certificate_store" in text
    assert "C: NOOP \\x1b[31m" in text


def test_a_report_has_its_bounds(receiver: BlockingReceiver) -> None:
    """Of many sessions and long transcripts the newest part is told, and how much was before it."""
    with smtplib.SMTP(*receiver.address()) as client:
        for _ in range(150):
            client.noop()
    for _ in range(11):
        socket.create_connection(receiver.address()).close()

    first = receiver.sessions[0]
    assert first.explanation().count("\n") < 230
    assert "lines before these" in first.explanation()
    assert "… 2 sessions before these" in receiver.report()
    assert first.id not in receiver.report()


def test_addresses(receiver: BlockingReceiver) -> None:
    """The first connector, or one by name; KeyError for another."""
    assert receiver.address("Default Frontend MBX1") == receiver.address() == receiver.address(server="MBX1")
    assert receiver.address()[1] != 0
    for wrong in ({"connector": "Other"}, {"server": "MBX2"}):
        with pytest.raises(KeyError, match="listens"):
            receiver.address(**wrong)


def test_the_command_line_reads_its_configuration(receiver: BlockingReceiver) -> None:
    """`--config` takes it, and a remedy that is typed while it runs holds for the next session."""
    send(receiver.address())
    sessions = call("session", "list", "--json", "--config", receiver.config)
    mended = call(
        "connector", "set", "Default Frontend MBX1", "--auth-mechanism", "Tls", "--config", receiver.config
    )
    send(receiver.address())

    assert [each["id"] for each in sessions.objects] == [receiver.sessions[0].id]
    assert mended.code == 0, mended.stderr
    assert [each.advertised for each in receiver.sessions] == [{"X-ANONYMOUSTLS", "STARTTLS"}, {"STARTTLS"}]


def test_everything_is_written_into_its_folder(receiver: BlockingReceiver, tmp_path: Path) -> None:
    """Certificates, directory, journal and events lie in one folder below tmp_path; no log is kept."""
    send(receiver.address())

    (folder,) = tmp_path.iterdir()
    assert folder == receiver.config.parent
    assert {path.name for path in folder.iterdir()} >= {
        "receive.yaml",
        "directory.yaml",
        "certs",
        "capture.db",
    }
    assert "protocol-log" not in {path.name for path in folder.iterdir()}
    assert receiver.warnings == []


@pytest.mark.receiver(settings={"web": {"bind": "127.0.0.1:0"}})
def test_its_page_is_open_where_settings_say_so(receiver: BlockingReceiver) -> None:
    """The HTTP API answers, at a port of its own."""
    send(receiver.address())
    assert receiver.url is not None
    with urllib.request.urlopen(f"{receiver.url}api/v1/sessions") as answer:  # noqa: S310 - our own
        (session,) = json.load(answer)["items"]

    assert session["id"] == receiver.sessions[0].id


def test_its_page_is_closed_otherwise(receiver: BlockingReceiver) -> None:
    """As usual a test has no use for it."""
    assert receiver.url is None


def test_a_wait_can_be_broken_off(receiver: BlockingReceiver) -> None:
    """Ctrl-C, or a time-out of the test by signal, ends it at once; the receiver goes on."""

    class BrokenOffError(Exception):
        """What the signal raises."""

    def break_off(_number: int, _frame: object) -> None:
        raise BrokenOffError

    before = signal.signal(signal.SIGALRM, break_off)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(BrokenOffError):
            receiver.messages.wait(timeout=600)
    finally:
        signal.signal(signal.SIGALRM, before)

    send(receiver.address())
    assert len(receiver.messages) == 1


# -- its end


def sockets() -> set[str]:
    """Return the sockets that this process has, by their names in /proc."""
    names = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            names.add(str(descriptor.readlink()))
    return {name for name in names if name.startswith("socket:")}


def test_it_leaves_nothing_behind(tmp_path: Path) -> None:
    """Clients that are still there, in the middle of mail or of TLS, hold up neither its end nor a socket."""
    threads, before = threading.enumerate(), sockets()
    with running_receiver(tmp_path) as receiver:
        address = receiver.address()
        in_mail, in_tls, gone = (smtplib.SMTP(*address) for _ in range(3))
        in_mail.ehlo()
        in_mail.mail("a@example.test")
        for client in (in_tls, gone):
            client.starttls(context=believing_context())
        gone.docmd("QUIT")
        shaking_hands = socket.create_connection(address)
        shaking_hands.sendall(b"EHLO client.test\r\nSTARTTLS\r\n")
        assert len([each for each in receiver.sessions if each.outcome is None]) == 3

    assert threading.enumerate() == threads
    for client in (in_mail, in_tls, gone):
        client.close()
    shaking_hands.close()
    assert sockets() <= before
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)
    with pytest.raises(RuntimeError, match="the receiver has ended"):
        receiver.address()


async def test_an_asynchronous_one_leaves_nothing_behind(tmp_path: Path) -> None:
    """No task and no socket of it is left in the test's loop, whatever its peers were doing."""
    before = Belongings.now()
    async with running_async_receiver(tmp_path) as receiver:
        peers = [await Peer.connect(receiver.address()) for _ in range(3)]
        for peer in peers:
            await peer.reply()
            await peer.ask("EHLO client.test")
        await peers[0].ask("MAIL FROM:<a@example.test>")
        for peer in peers[1:]:
            await peer.ask("STARTTLS")
        await peers[1].upgrade()
        assert [each.outcome for each in await receiver.sessions()] == [None] * 3
        assert await receiver.events() == []
    for peer in peers:
        peer.socket.close()

    after = Belongings.now()
    assert after.tasks == before.tasks
    assert after.sockets <= before.sockets


# -- programs


@pytest.mark.slow
def test_swaks_may_block(receiver: BlockingReceiver) -> None:
    """By STARTTLS and through the tunnel; the sessions tell which verb it was."""
    host, port = receiver.address()
    mail = ["swaks", "--from", "a@example.test", "--to", "b@contoso.test"]
    tunnel = " ".join([*PROGRAM, "tunnel", f"{host}:{port}"])
    for words in (["--server", f"{host}:{port}", "--tls"], ["--pipe", tunnel]):
        subprocess.run([*mail, *words], check=True, capture_output=True, env=environment())

    assert [each.verb for each in receiver.messages.wait_many(2, timeout=5)] == ["X-ANONYMOUSTLS", "STARTTLS"]
    assert [each.outcome for each in receiver.sessions] == ["completed", "completed"]


@pytest.mark.slow
def test_the_api_is_typed() -> None:
    """The type checker agrees with tests/typing/api.py on every type, and on what is a mistake."""
    done = subprocess.run(
        [sys.executable, "-m", "mypy", str(ROOT / "tests" / "typing" / "api.py")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout


async def test_the_asynchronous_fixture(async_receiver: AsyncReceiver) -> None:
    """It lives in the test's own loop: a peer in the same loop sends, and waiting is awaited."""
    async with await Peer.connect(async_receiver.address("Default Frontend MBX1")) as peer:
        await peer.reply()
        for command in ("EHLO client.test", "MAIL FROM:<a@example.test>", "RCPT TO:<b@contoso.test>", "DATA"):
            await peer.ask(command)
        await peer.ask(f"{MAIL}.")
        message = await async_receiver.messages.wait(recipient="b@contoso.test", timeout=5)
        await peer.ask("QUIT")

    (session,) = await async_receiver.sessions()
    assert message.session_id == session.id
    assert session.outcome == "completed"
    assert await async_receiver.messages.matching(sender="a@*") == [message]
    assert await async_receiver.messages.wait_many(1) == [message]
    with pytest.raises(AssertionError, match="no event 12012"):
        await async_receiver.assert_event(12012)
