"""What follows a journal, waits for mail and removes it, while a receiver writes."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from smtpd_anontls.domain.filters import EVERYTHING, Filter
from smtpd_anontls.domain.records import Outcome
from smtpd_anontls.domain.retention import Retention
from smtpd_anontls.journal import following
from smtpd_anontls.journal import purge as removing
from smtpd_anontls.journal.errors import JournalError, MissingJournalError
from smtpd_anontls.journal.pace import TURN, Pace
from smtpd_anontls.journal.purge import purge
from smtpd_anontls.journal.reader import JournalReader
from tests.command import PROGRAM, call, environment, on_terminal, run, serving
from tests.components.journal_making import (
    event,
    looking_into,
    message,
    minutes,
    opened,
    session,
    session_id,
    url_in,
)
from tests.lab import CONNECTOR, SERVER, Lab
from tests.peer import PATIENCE, Peer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from smtpd_anontls.journal.journal import Journal
    from smtpd_anontls.receiver import Receiver

pytestmark = pytest.mark.slow

Json = dict[str, Any]
BIG = b"Subject: big\r\n\r\n" + 3_000_000 * b"x"


async def soon(items: Iterator[Json], count: int) -> list[Any]:
    """Return the ids of the next *count* items, in order."""

    def take() -> list[Any]:
        return [next(items)["id"] for _ in range(count)]

    async with asyncio.timeout(PATIENCE):
        return await asyncio.to_thread(take)


# -- following


async def test_sessions_in_the_order_in_which_they_end(url: str) -> None:
    """One that is still running is not shown; what ended before is not either."""
    reader = JournalReader(url)
    async with opened(url) as journal:
        journal.record_session(session(1))
        await journal.flush()
        items = following.finished_sessions(reader, EVERYTHING)
        await journal.deliver(message(session_id=session_id(2)), session(2, ended=None, outcome=None))
        journal.record_session(session(3, outcome=Outcome.HANDSHAKE_FAILED, started=minutes(-5)))
        await journal.flush()
        journal.record_session(session(2, started=minutes(-9)))
        await journal.flush()

        assert await soon(items, 2) == [session_id(3), session_id(2)]


async def test_sessions_that_a_filter_takes(url: str) -> None:
    """The filter holds for what comes; with since, what was before is shown first."""
    reader = JournalReader(url)
    async with opened(url) as journal:
        for number in range(1, 250):
            journal.record_session(session(number, started=minutes(number), server=f"MBX{number % 2}"))
        await journal.flush()
        items = following.finished_sessions(reader, Filter(server="MBX1", since=minutes(100)))
        before = await soon(items, 75)
        journal.record_session(session(300, server="MBX0", started=minutes(300)))
        journal.record_session(session(301, server="MBX1", started=minutes(301)))
        await journal.flush()

        assert before == [session_id(number) for number in range(101, 250, 2)]
        assert await soon(items, 1) == [session_id(301)]


async def test_events_as_they_come(url: str) -> None:
    """From now on, or from where since says."""
    reader = JournalReader(url)
    async with opened(url) as journal:
        journal.record_event(event(1))
        journal.record_event(event(2))
        await journal.flush()
        from_now = following.events(reader, EVERYTHING)
        from_before = following.events(reader, Filter(since=1))
        journal.record_event(event(3, server="MBX2"))
        journal.record_event(event(4))
        await journal.flush()

        assert await soon(from_now, 2) == [3, 4]
        assert await soon(from_before, 3) == [2, 3, 4]


def remove_all_in(folder: Path) -> None:
    """Remove the journal that nobody has open."""
    for path in folder.iterdir():
        path.unlink()


async def test_a_journal_that_is_made_later_and_again(tmp_path: Path) -> None:
    """Who follows may be first; a journal that was removed is followed from its new beginning."""
    items = following.finished_sessions(JournalReader(url_in(tmp_path)), EVERYTHING)
    waiting = asyncio.create_task(soon(items, 3))
    async with opened(tmp_path) as journal:
        for number in (1, 2, 3):
            journal.record_session(session(number))
    first = await waiting
    remove_all_in(tmp_path)
    async with opened(tmp_path) as journal:
        journal.record_session(session(4))
        await journal.flush()
        second = await soon(items, 1)

    assert first == [session_id(number) for number in (1, 2, 3)]
    assert second == [session_id(4)]


# -- waiting, from another process


async def test_messages_that_come_while_it_waits(url: str) -> None:
    """It returns as soon as there are enough; those that another filter would take do not count."""
    reader = JournalReader(url)
    wanted = Filter(recipient="*@contoso.test")
    async with opened(url) as journal:
        await journal.deliver(message(1), None)
        waiting = asyncio.create_task(
            asyncio.to_thread(
                following.wait_for_messages, reader, wanted, count=2, limit=50, timeout=PATIENCE
            )
        )
        await journal.deliver(message(2, recipients=("b@fabrikam.test",)), None)
        await journal.deliver(message(3), None)
        found = await waiting

    assert [each["id"] for each in found] == [3, 1]


async def test_messages_that_do_not_come(url: str) -> None:
    """At the time-out it returns those that there are; of a journal that there is none of, it says so."""
    reader = JournalReader(url)
    with pytest.raises(MissingJournalError, match="there is no journal yet"):
        following.wait_for_messages(reader, EVERYTHING, count=1, limit=50, timeout=0)
    async with opened(url) as journal:
        await journal.deliver(message(1), None)
    found = following.wait_for_messages(reader, EVERYTHING, count=2, limit=50, timeout=0)

    assert [each["id"] for each in found] == [1]


# -- removing


def counted(url: str) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return number and size of the messages as the journal has counted them, and as they are."""
    with looking_into(url) as connection:
        ask = connection.exec_driver_sql
        kept = ask("SELECT message_count, message_octets FROM journal_state").one()
        real = ask("SELECT count(*), coalesce(sum(length(raw)), 0) FROM message_bodies").one()
        for table in ("message_recipients", "message_headers"):
            lost = f"SELECT count(*) FROM {table} WHERE message_id NOT IN (SELECT id FROM messages)"  # noqa: S608
            assert ask(lost).scalar_one() == 0
    return (kept[0], kept[1]), (real[0], real[1])


async def ids_in(journal: Journal) -> list[int]:
    """Return the ids of all messages, the oldest first."""
    return [each["id"] for each in reversed(await journal.messages(limit=100_000))]


@pytest.mark.parametrize(
    ("wanted", "until", "left"),
    [
        (EVERYTHING, None, []),
        (EVERYTHING, minutes(3), [3, 4, 5, 6]),
        (Filter(recipient="b@CONTOSO.test"), None, [2, 4, 6]),
        (Filter(recipient="*@contoso.test", since=2), minutes(4), [1, 2, 4, 5, 6]),
        (Filter(run="nobody's"), None, [1, 2, 3, 4, 5, 6]),
        (Filter(outcome=Outcome.HANDSHAKE_FAILED), None, [1, 3, 4, 5, 6]),
    ],
)
async def test_what_is_removed(url: str, wanted: Filter, until: Any, left: list[int]) -> None:
    """Those that the filter takes, before an instant where one is given; the counters go with them."""
    async with opened(url) as journal:
        for number in range(1, 7):
            who = "b@contoso.test" if number % 2 else "b@fabrikam.test"
            outcome = Outcome.HANDSHAKE_FAILED if number == 2 else Outcome.COMPLETED
            await journal.deliver(
                message(number, recipients=(who,), time=minutes(number), session_id=session_id(number)),
                session(number, outcome=outcome),
            )
        removed = await asyncio.to_thread(purge, url, wanted, until=until)

        assert await ids_in(journal) == left
        assert removed == 6 - len(left)
        assert [each["messages"] for each in reversed(await journal.sessions())] == [
            [number] if number in left else [] for number in range(1, 7)
        ]
    kept, real = counted(url)
    assert kept == real


async def test_a_new_message_after_all_were_removed(url: str) -> None:
    """No id is given twice, and the message counts."""
    async with opened(url) as journal:
        await journal.deliver(message(1), None)
        assert await asyncio.to_thread(purge, url, EVERYTHING) == 1
        assert await journal.deliver(message(2), None) == 2
    kept, real = counted(url)

    assert kept == real
    assert kept[0] == 1


async def test_in_many_turns(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However few are looked for, and removed, at a time, all that the filter takes go, and no others."""
    monkeypatch.setattr(removing, "_LOOKED_FOR", 5)
    monkeypatch.setattr(removing, "_FEWEST", 2)
    monkeypatch.setattr(removing, "_MOST", 2)
    async with opened(url) as journal:
        for number in range(1, 31):
            who = "b@contoso.test" if number % 3 else "b@fabrikam.test"
            await journal.deliver(message(number, recipients=(who,)), None)
        removed = await asyncio.to_thread(purge, url, Filter(recipient="*@contoso.test"))

        assert removed == 20
        assert await ids_in(journal) == list(range(3, 31, 3))
    kept, real = counted(url)
    assert kept == real


def test_the_pace_of_a_purge() -> None:
    """What one transaction takes on follows what those before have taken: it falls at once, and rises by steps."""
    pace = Pace(50, 500)
    sizes = [pace.size]
    for seconds in (0.0, 0.0, 0.0, 0.0, 0.1, 60.0, TURN / 2):
        pace.took(pace.size, seconds)
        sizes.append(pace.size)

    assert sizes == [50, 100, 200, 400, 500, 100, 50, 100]


def test_nothing_to_remove_from(tmp_path: Path) -> None:
    """Where there is no journal none is made, and one line says so."""
    with pytest.raises(JournalError, match="there is no journal yet"):
        purge(url_in(tmp_path), EVERYTHING)

    assert list(tmp_path.iterdir()) == []


async def test_a_journal_that_somebody_holds(tmp_path: Path) -> None:
    """A lock that does not go away is told in one line."""
    async with opened(tmp_path) as journal:
        await journal.deliver(message(1), None)
    holder = sqlite3.connect(tmp_path / "capture.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(JournalError, match="database is locked; another program holds its lock"):
            await asyncio.to_thread(purge, url_in(tmp_path), EVERYTHING, patience=0.05)
    finally:
        holder.close()


@pytest.mark.slow
async def test_removing_while_mail_comes_and_retention_works(url: str, tmp_path: Path) -> None:
    """From another process, again and again: no delivery fails, and the counters are right at the end."""
    config = tmp_path / "config.yaml"
    config.write_text(f"servers: [{{name: A}}]\ncapture: {{url: '{url}'}}\n")
    command = [*PROGRAM, "message", "purge", "--yes", "--json", "--config", str(config)]
    removed = 0
    async with opened(url, Retention(messages=500)) as journal:
        for round_ in range(4):
            deliveries = [
                asyncio.ensure_future(
                    journal.deliver(message(number, raw=BIG if number % 100 == 0 else None), None)
                )
                for number in range(800)
            ]
            await deliveries[round_ * 100]
            purging = await asyncio.create_subprocess_exec(
                *command, stdout=subprocess.PIPE, env=environment()
            )
            said, _ = await purging.communicate()
            removed += json.loads(said)["removed"]
            ids = await asyncio.gather(*deliveries)
            assert ids == list(range(round_ * 800 + 1, round_ * 800 + 801))
            assert purging.returncode == 0
        left = await ids_in(journal)
    kept, real = counted(url)

    assert kept == real
    assert kept[0] == len(left)
    assert removed > 0


# -- waiting, inside the receiver's own process


async def deliver(receiver: Receiver, *recipients: str, subject: str = "Hello") -> None:
    """Send a message in clear."""
    async with await Peer.connect(receiver.address(CONNECTOR)) as peer:
        await peer.reply()
        await peer.ask("EHLO sender.test")
        await peer.ask("MAIL FROM:<a@example.test>")
        for recipient in recipients:
            await peer.ask(f"RCPT TO:<{recipient}>")
        await peer.ask("DATA")
        await peer.send(f"Subject: {subject}\r\nX-Test: yes\r\n\r\nBody.\r\n.\r\n".encode())
        assert (await peer.reply())[0].startswith("250 2.6.0")
        await peer.ask("QUIT")


async def test_a_message_that_comes(lab: Lab) -> None:
    """Who waits gets the message that meets all terms, with its bytes; others do not wake him."""
    async with lab.receiver() as receiver:
        waiting = asyncio.create_task(
            receiver.messages.wait(
                recipient="b@contoso.test", subject="second", header="x-test: yes", timeout=PATIENCE
            )
        )
        await deliver(receiver, "b@contoso.test", subject="The first")
        await deliver(receiver, "c@contoso.test", subject="The second")
        assert not waiting.done()
        await deliver(receiver, "c@contoso.test", "B@contoso.test", subject="Second")
        found = await waiting

    assert found.recipients == ("c@contoso.test", "B@contoso.test")
    assert (found.sender, found.subject, found.verb) == ("a@example.test", "Second", None)
    assert (found.server, found.connector) == (SERVER, CONNECTOR)
    assert found.raw == lab.raw[found.id]
    assert found.size == len(found.raw)
    assert b"Body." in found.raw
    assert "Body." not in repr(found)


async def test_messages_that_are_there_already(lab: Lab) -> None:
    """They count, the newest first; since leaves them out."""
    async with lab.receiver() as receiver:
        await deliver(receiver, "b@contoso.test", subject="one")
        await deliver(receiver, "b@contoso.test", subject="two")
        newest = await receiver.messages.wait(recipient="b@contoso.test")
        both = await receiver.messages.wait_many(2)
        with pytest.raises(TimeoutError):
            await receiver.messages.wait(since=newest.id, timeout=0)

    assert newest.subject == "two"
    assert [each.subject for each in both] == ["two", "one"]


async def test_many_wait_at_once(lab: Lab) -> None:
    """Each gets its own, and who gave up is forgotten."""
    async with lab.receiver() as receiver:
        waiting = [
            asyncio.create_task(receiver.messages.wait(recipient=f"{name}@contoso.test", timeout=PATIENCE))
            for name in "abc"
        ]
        given_up = asyncio.create_task(receiver.messages.wait(recipient="d@contoso.test", timeout=PATIENCE))
        await deliver(receiver, "a@contoso.test", subject="for a")
        given_up.cancel()
        await deliver(receiver, "b@contoso.test", "c@contoso.test", subject="for b and c")
        found = await asyncio.gather(*waiting)
        await asyncio.wait([given_up])

    assert [each.subject for each in found] == ["for a", "for b and c", "for b and c"]
    assert receiver.messages._waiting == set()


async def test_a_message_that_does_not_come(lab: Lab) -> None:
    """The error tells what came instead, how the sessions went, and why a verb was not advertised."""
    async with lab.receiver(directory=None) as receiver:
        await deliver(receiver, "c@contoso.test", subject="\x1b[2Jodd")
        with pytest.raises(TimeoutError) as failed:
            await receiver.messages.wait(recipient="b@contoso.test", timeout=0)
    first, *others = str(failed.value).splitlines()

    assert first == "0 of 1 messages with recipient 'b@contoso.test' within 0 seconds"
    assert others[0] == "messages, the newest first:"
    assert "  1: from <a@example.test> to c@contoso.test, subject " in others[1]
    assert others[2] == "sessions, the newest first:"
    assert CONNECTOR in others[3]
    assert others[4].startswith("    X-ANONYMOUSTLS not advertised: ")
    assert "\x1b" not in str(failed.value)


async def test_nothing_came_at_all(lab: Lab) -> None:
    """The error says that too."""
    async with lab.receiver() as receiver:
        with pytest.raises(TimeoutError) as failed:
            await receiver.messages.wait(timeout=0)

    assert str(failed.value).splitlines() == [
        "0 of 1 messages with any terms within 0 seconds",
        "no message at all",
        "no session at all",
    ]


async def test_a_receiver_that_keeps_nothing(lab: Lab) -> None:
    """Without a journal nobody waits in vain: the error says why."""
    async with lab.receiver(settings={"capture": {"url": None}}) as receiver:
        with pytest.raises(JournalError, match=r"capture\.url is null"):
            await receiver.messages.wait()


# -- the commands


@pytest.fixture
async def mail(lab: Lab) -> Path:
    """Let a receiver take two messages, and return its configuration."""
    async with lab.receiver() as receiver:
        await deliver(receiver, "b@contoso.test", subject="one")
        await deliver(receiver, "c@contoso.test", subject="two")
    return lab.config


def test_wait_for_what_is_there(mail: Path) -> None:
    """It prints what ``message list`` would, for people and for programs."""
    found = call("message", "wait", "--count", "2", "--config", mail, "--json")
    one = call("message", "wait", "--recipient", "b@*", "--config", mail)

    assert (found.code, found.stderr) == (0, "")
    assert [each["subject"] for each in found.objects] == ["two", "one"]
    assert one.code == 0
    assert one.stdout == call("message", "list", "--recipient", "b@*", "--config", mail).stdout


def test_wait_in_vain(mail: Path) -> None:
    """Exit code 1 behind those that there were; since excludes what was there."""
    few = call("message", "wait", "--count", "3", "--timeout", "0", "--config", mail, "--json")
    none = call("message", "wait", "--since", "2", "--timeout", "0", "--config", mail)

    assert (few.code, few.stderr) == (1, "2 of 3 messages within 0 seconds\n")
    assert [each["subject"] for each in few.objects] == ["two", "one"]
    assert (none.code, none.stdout, none.stderr) == (1, "", "0 of 1 messages within 0 seconds\n")


@pytest.mark.parametrize(
    "words",
    [
        ("message", "wait", "--timeout", "0"),
        ("message", "purge", "--yes"),
    ],
)
def test_no_journal(lab: Lab, words: tuple[str, ...]) -> None:
    """Exit code 3 and one line, where no receiver has ever run."""
    answer = call(*words, "--config", lab.write())

    assert (answer.code, answer.stdout) == (3, "")
    assert len(answer.mistakes) == 1
    assert "there is no journal yet" in answer.mistakes[0]


@pytest.mark.parametrize(
    ("words", "mistake"),
    [
        (("wait", "--count", "0"), "0 is not in the range"),
        (("wait", "--timeout", "-1"), "-1.0 is not in the range"),
        (("wait", "--timeout", "soon"), "'soon' is not a valid number"),
        (("wait", "--since", "yesterday"), "--since: 'yesterday' is neither a time nor an id"),
        (("purge", "--older-than", "old"), "'old' is not a duration"),
        (("purge", "--older-than", "-1"), "-1.0 is out of range"),
        (("purge", "--older-than", "nan"), "nan is out of range"),
        (("purge", "--older-than", "1e300"), "nothing is that old"),
        (("purge", "--older-than", "999999999d"), "nothing is that old"),
        (("purge",), "this would remove all messages; say --yes"),
    ],
)
def test_wrong_use(mail: Path, words: tuple[str, ...], mistake: str) -> None:
    """Exit code 2, and nothing is removed."""
    answer = call("message", *words, "--config", mail)

    assert answer.code == 2
    assert mistake in answer.stderr
    assert len(call("message", "list", "--config", mail, "--json").objects) == 2


@pytest.mark.parametrize(
    ("words", "removed", "left"),
    [
        (("--yes",), 2, []),
        (("--recipient", "b@contoso.test"), 1, ["two"]),
        (("--older-than", "7d"), 0, ["two", "one"]),
        (("--older-than", "36500d"), 0, ["two", "one"]),
        (("--older-than", "0.001"), 2, []),
    ],
)
def test_purge(mail: Path, words: tuple[str, ...], removed: int, left: list[str]) -> None:
    """It removes what the filters take, unasked where there is one, and says how many."""
    answer = call("message", "purge", *words, "--config", mail, "--json")

    assert (answer.code, answer.document, answer.stderr) == (0, {"removed": removed}, "")
    assert [each["subject"] for each in call("message", "list", "--config", mail, "--json").objects] == left


def test_purge_for_people(mail: Path) -> None:
    """One sentence."""
    assert call("message", "purge", "--subject", "one", "--config", mail).stdout == "1 message removed.\n"
    assert call("message", "purge", "--yes", "--config", mail).stdout == "1 message removed.\n"
    assert call("message", "purge", "--yes", "--config", mail).stdout == "0 messages removed.\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answer", "code", "left", "last"),
    [("y\n", 0, 0, "2 messages removed."), ("n\n", 1, 2, "nothing was removed")],
)
def test_purge_asks_on_a_terminal(mail: Path, answer: str, code: int, left: int, last: str) -> None:
    """All messages go only after a yes."""
    ended, shown = on_terminal(
        "message", "purge", "--config", str(mail), question="Remove all messages?", answer=answer
    )

    assert (ended, shown[-1]) == (code, last)
    assert len(call("message", "list", "--config", mail, "--json").objects) == left


@contextmanager
def tail(*words: str) -> Iterator[subprocess.Popen[str]]:
    """Run a command that follows, in a process of its own, from when it has begun."""
    process = subprocess.Popen(
        [*PROGRAM, *words],
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        assert process.stderr.readline() == "following; Ctrl-C ends it\n"
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_tail_of_a_running_receiver(lab: Lab) -> None:
    """Sessions and events appear as they happen, a line at once; Ctrl-C ends with 0 and no other word."""
    config = str(lab.write(store={"internal": "expired"}))
    with (
        serving(lab.config) as receiver,
        tail("session", "tail", "--json", "--config", config) as sessions,
        tail("event", "tail", "--config", config, "--event-id", "12015") as events,
        tail("session", "tail", "--config", config) as people,
    ):
        assert run("probe", receiver.target(SERVER)).code == 1
        assert sessions.stdout is not None
        assert events.stdout is not None
        assert people.stdout is not None
        ended = json.loads(sessions.stdout.readline())
        told = [events.stdout.readline(), events.stdout.readline()]
        shown = people.stdout.readline()
        for process in (sessions, events, people):
            process.send_signal(signal.SIGINT)
        rest = [process.communicate(timeout=PATIENCE) for process in (sessions, events, people)]
        codes = [process.returncode for process in (sessions, events, people)]

    assert (ended["verb"], ended["outcome"]) == ("X-ANONYMOUSTLS", "quit_without_mail")
    assert "Warning  12015" in told[0]
    assert ended["id"] in told[0]
    assert told[1].startswith("  An internal transport certificate expired. Thumbprint:")
    assert ended["id"] in shown
    assert "X-ANONYMOUSTLS TLSv1.2" in shown
    assert rest == [("", "")] * 3
    assert codes == [0, 0, 0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "completed"),
    [
        (["ses"], "session"),
        (["message", ""], "list show wait purge"),
        (["session", "t"], "tail"),
        (["event", "tail", "--ev"], "--event-id"),
    ],
)
def test_the_shell_completes(words: list[str], completed: str) -> None:
    """What click answers bash with: the commands, and their options."""
    asked = {"COMP_WORDS": " ".join(["smtpd-anontls", *words]), "COMP_CWORD": str(len(words))}
    answer = run(env=environment(_SMTPD_ANONTLS_COMPLETE="bash_complete", **asked))

    assert [line.removeprefix("plain,") for line in answer.stdout.splitlines()] == completed.split()
