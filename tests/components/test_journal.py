"""The journal on a real SQLite file: what is kept, what is shown, and how opening fails."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
from typing import TYPE_CHECKING

import pytest

from smtpd_anontls.domain.filters import Filter
from smtpd_anontls.domain.records import TlsVerb
from smtpd_anontls.domain.retention import Retention
from smtpd_anontls.journal.journal import Journal, JournalError, JournalLike, JournalReader, MemoryJournal
from smtpd_anontls.journal.schema import SCHEMA_VERSION
from tests.components.journal_making import event, message, minutes, now, opened, session, session_id, url_in

if TYPE_CHECKING:
    from pathlib import Path


def journal_at(url: str) -> Journal:
    """Return a journal that nobody has opened."""
    return Journal(url, Retention(), clock=now, on_warning=lambda _text: None, patience=0.05)


def modes_in(folder: Path) -> dict[str, int]:
    """Return the permissions of everything in *folder* by name."""
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*")}


async def test_a_message_has_the_fields_of_the_contract(url: str) -> None:
    """The list shows the envelope and the index; one message shows its parameters and header too."""
    raw = b"Subject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\nX-Run: r1\r\n folded\r\n\r\nbody\r\n"
    record = message(
        raw=raw,
        message_id="<1@contoso.test>",
        run="r1",
        verb=TlsVerb.X_ANONYMOUSTLS,
        recipients=("b@contoso.test", "c@contoso.test"),
        mail_parameters={"SIZE": "100", "SMTPUTF8": None},
        recipient_parameters=({"NOTIFY": "NEVER"}, {}),
    )
    listed = {
        "id": 1,
        "time": "2026-11-22T12:00:00.000Z",
        "server": "MBX1",
        "connector": "Default Frontend MBX1",
        "session_id": session_id(1),
        "run": "r1",
        "sender": "a@contoso.test",
        "recipients": ["b@contoso.test", "c@contoso.test"],
        "subject": "grüße",
        "message_id": "<1@contoso.test>",
        "size": len(raw),
        "verb": "X-ANONYMOUSTLS",
    }

    async with opened(url) as journal:
        assert await journal.deliver(record, None) == 1
        assert await journal.messages() == [listed]
        assert await journal.message(1) == listed | {
            "mail_parameters": {"SIZE": "100", "SMTPUTF8": None},
            "recipient_parameters": [{"NOTIFY": "NEVER"}, {}],
            "headers": [
                {"name": "Subject", "value": "=?utf-8?q?gr=C3=BC=C3=9Fe?="},
                {"name": "X-Run", "value": "r1 folded"},
            ],
        }
        assert await journal.raw(1) == raw


async def test_a_session_knows_its_messages(url: str) -> None:
    """Its row comes with its first message; what is recorded later replaces it, transcript and all."""
    running = session(ended=None, outcome=None)
    ended = session(messages=(1, 2))

    async with opened(url) as journal:
        await journal.deliver(message(1), running)
        assert await journal.sessions() == [running.as_json() | {"messages": [1]}]
        await journal.deliver(message(2), None)
        journal.record_session(ended)
        assert await journal.sessions() == [ended.as_json()]
        assert await journal.session(ended.id) == ended.as_json(transcript=True)


async def test_the_newest_record_of_a_session_wins(url: str) -> None:
    """However records and deliveries of one session queue up, the last one is what is kept."""
    async with opened(url) as journal:
        journal.record_session(session(outcome_detail="first"))
        delivery = asyncio.ensure_future(journal.deliver(message(1), session(outcome_detail="second")))
        await asyncio.sleep(0)  # It is queued; the loop has not been given back to it yet.
        journal.record_session(session(outcome_detail="third"))
        await delivery

        found = await journal.session(session_id(1))
        assert found is not None
        assert found["outcome_detail"] == "third"


async def test_events_are_kept_as_they_are_written(url: str) -> None:
    """The event object is that of the event log."""
    async with opened(url) as journal:
        journal.record_event(event(7))

        assert await journal.events() == [event(7).as_json()]


async def test_what_there_is_not(url: str) -> None:
    """A message or session that is not there is None, a list of none is empty."""
    async with opened(url) as journal:
        assert await journal.message(1) is None
        assert await journal.raw(1) is None
        assert await journal.session(session_id(1)) is None
        assert await journal.messages() == await journal.sessions() == await journal.events() == []


RAW = {
    "NUL": b"Subject: a\x00b\r\n\r\n\x00\r\n",
    "lone CR and LF": b"Subject: a\rb\nX: y\n\n.\r.\n\r\n",
    "every octet": bytes(range(256)),
    "nothing": b"",
    "no line end": b"x",
    "two million octets": b"0123456789" * 200_000,
}


@pytest.mark.parametrize("name", RAW)
async def test_octets_are_kept(url: str, name: str) -> None:
    """What came is what is read, octet by octet, also by a reader that opens the file itself."""
    async with opened(url) as journal:
        number = await journal.deliver(message(raw=RAW[name]), None)

        assert await journal.raw(number) == RAW[name]
        assert JournalReader(url).raw(number) == RAW[name]
        assert await journal.message(number) is not None


TEXTS = {
    "unicode": "büro@löwe.example",
    "outside the BMP": "😀@contoso.test",
    "lone surrogate, as undecodable octets are": "a\udcff@contoso.test",
    "NUL": "a\x00@contoso.test",
    "wildcards of LIKE": "100%_/@contoso.test",
    "quotes": '"o\'b;--"@contoso.test',
}


@pytest.mark.parametrize("name", TEXTS)
async def test_any_text_is_kept_and_found(url: str, name: str) -> None:
    """An address, a subject or a parameter may hold any character; it is shown and found as it came."""
    text = TEXTS[name]
    odd = message(
        sender=text,
        recipients=(text,),
        subject=text,
        run=text,
        mail_parameters={text: text},
        headers=((text, text),),
    )

    async with opened(url) as journal:
        await journal.deliver(odd, session(authenticated_as=text))
        await journal.deliver(message(2), None)
        wanted = [
            Filter(sender=text),
            Filter(recipient=text.upper()),
            Filter(subject=text),
            Filter(run=text),
            Filter(header=f"{text}: {text}"),
            Filter(recipient=f"{text[:-3]}*"),
        ]
        for each in wanted:
            assert [found["id"] for found in await journal.messages(each)] == [1], each
        shown = await journal.message(1)
        assert shown is not None
        assert (shown["sender"], shown["subject"], shown["mail_parameters"]) == (text, text, {text: text})
        assert [found["authenticated_as"] for found in await journal.sessions()] == [text]


async def test_ids_go_on_after_a_restart(url: str) -> None:
    """The id of a message is never given twice."""
    async with opened(url) as journal:
        assert await journal.deliver(message(), None) == 1
    async with opened(url) as journal:
        assert await journal.deliver(message(), None) == 2


async def test_pages(url: str) -> None:
    """A page goes on behind the last item of the page before; newest first."""
    async with opened(url) as journal:
        for number in range(1, 6):
            await journal.deliver(message(number), session(number, started=minutes(number // 2)))
            journal.record_event(event(number))

        assert [item["id"] for item in await journal.messages(limit=2)] == [5, 4]
        assert [item["id"] for item in await journal.messages(limit=9, before=4)] == [3, 2, 1]
        assert [item["id"] for item in await journal.events(limit=2, before=4)] == [3, 2]
        ids = [item["id"] for item in await journal.sessions()]
        assert ids == [session_id(number) for number in (5, 4, 3, 2, 1)]
        assert [item["id"] for item in await journal.sessions(limit=2, before=ids[1])] == ids[2:4]
        assert await journal.sessions(before=session_id(99)) == []


async def test_many_sessions_on_one_page(url: str) -> None:
    """A page may be longer than what a database takes in one statement."""
    async with opened(url) as journal:
        for number in range(1200):
            journal.record_session(session(number))

        assert len(await journal.sessions(limit=5000)) == 1200


async def test_mail_is_private(tmp_path: Path) -> None:
    """Folders that are made are for their owner alone, and so are all files, whatever the umask."""
    before = os.umask(0)
    try:
        async with opened(tmp_path / "var" / "journal") as journal:
            await journal.deliver(message(), None)
            modes = modes_in(tmp_path)
    finally:
        os.umask(before)

    assert modes.pop("var") == modes.pop("journal") == 0o700
    assert set(modes) == {"capture.db", "capture.db-wal", "capture.db-shm"}
    assert set(modes.values()) == {0o600}


async def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    """The line names the path and what is wrong."""
    (tmp_path / "var").write_text("")

    with pytest.raises(JournalError, match=r"var/capture\.db: cannot be written: Not a directory"):
        await journal_at(url_in(tmp_path / "var")).open()


async def test_a_folder_that_takes_no_file() -> None:
    """The same where the system refuses to make a file."""
    with pytest.raises(JournalError, match=r"^/proc/1/capture\.db: cannot be written: "):
        await journal_at("sqlite:////proc/1/capture.db").open()


async def test_not_a_database(tmp_path: Path) -> None:
    """A file that is no database is left alone."""
    path = tmp_path / "capture.db"
    path.write_text("this is somebody's diary\n" * 100)

    with pytest.raises(JournalError, match="file is not a database; choose another path"):
        await journal_at(url_in(tmp_path)).open()
    with pytest.raises(JournalError, match="file is not a database"):
        JournalReader(url_in(tmp_path)).messages()
    assert path.read_text().startswith("this is somebody's diary")


async def test_the_database_of_another_program(tmp_path: Path) -> None:
    """A database that is not a journal is left alone."""
    with sqlite3.connect(tmp_path / "capture.db") as other:
        other.execute("CREATE TABLE diary (entry TEXT)")
    other.close()
    before = (tmp_path / "capture.db").read_bytes()

    with pytest.raises(JournalError, match="is the database of another program"):
        await journal_at(url_in(tmp_path)).open()
    assert (tmp_path / "capture.db").read_bytes() == before


async def test_a_newer_schema(tmp_path: Path) -> None:
    """Writer and reader refuse what they do not know."""
    async with opened(tmp_path):
        pass
    with sqlite3.connect(tmp_path / "capture.db") as newer:
        newer.execute("UPDATE journal_state SET schema_version = 99")
    newer.close()

    with pytest.raises(
        JournalError,
        match=rf"another version of smtpd-anontls \(schema 99, this one knows {SCHEMA_VERSION}\)",
    ):
        await journal_at(url_in(tmp_path)).open()
    with pytest.raises(JournalError, match="schema 99"):
        JournalReader(url_in(tmp_path)).sessions()


async def test_locked_at_start(tmp_path: Path) -> None:
    """A lock that another program holds is named as such."""
    async with opened(tmp_path):
        pass
    other = sqlite3.connect(tmp_path / "capture.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")

    try:
        with pytest.raises(JournalError, match="database is locked; another program holds its lock"):
            await journal_at(url_in(tmp_path)).open()
    finally:
        other.close()


URLS = {
    "mysql://tester:hunter2@db/mail": r"mysql://tester:\*\*\*@db/mail: no such kind of database; write sqlite:///path or",
    "postgresql://tester:hunter2": r"^the journal's URL is not a database URL of the form postgresql://user@host",
    "postgresql://tester:hunt/er2@db/mail": r"^the journal's URL is not a database URL of the form",
    "postgresql://tester:hunter%zz@db/mail": r"^postgresql://tester@db/mail: libpq cannot read the URL: a part of it is malf",
    "postgresql://tester:hunter2@db/mail?pass=hunter2": (
        r'^postgresql://tester@db/mail: libpq cannot read the URL: invalid URI query parameter: "pass"$'
    ),
    "sqlite://": "names no file",
    "sqlite:///:memory:": "names no file",
    "capture.db": "'capture.db' is not a database URL; write sqlite:///path",
}


@pytest.mark.parametrize("url", URLS, ids=range(len(URLS)))
def test_a_url_that_names_no_database(url: str) -> None:
    """The line says what would do, and shows no password."""
    with pytest.raises(JournalError, match=URLS[url]) as failed:
        JournalReader(url)
    assert "hunt" not in str(failed.value)


def test_no_journal_yet(tmp_path: Path) -> None:
    """Reading makes no file, and says what to run."""
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(JournalError, match=r"there is no journal yet; `smtpd-anontls serve` makes it"):
            JournalReader(url_in(folder)).messages()

    assert list(tmp_path.iterdir()) == []


def test_a_path_that_cannot_be_read(tmp_path: Path) -> None:
    """What the system says of a path is passed on."""
    with pytest.raises(JournalError, match=r"/capture\.db: cannot be read: File name too long$"):
        JournalReader(url_in(tmp_path / ("x" * 300))).messages()


def test_a_file_with_nothing_in_it(tmp_path: Path) -> None:
    """A file that a start has not got to fill is no journal yet either."""
    (tmp_path / "capture.db").touch()

    with pytest.raises(JournalError, match="there is no journal yet"):
        JournalReader(url_in(tmp_path)).events()


async def test_reading_after_the_receiver_has_ended(tmp_path: Path) -> None:
    """A path with characters that mean something in a URL is read, too, and is not changed."""
    folder = tmp_path / "a b?c#d%41"
    async with opened(folder) as journal:
        await journal.deliver(message(), session())
    before = (folder / "capture.db").read_bytes()

    reader = JournalReader(url_in(folder))

    assert [item["id"] for item in reader.messages()] == [1]
    assert reader.raw(1) == message().raw
    assert (folder / "capture.db").read_bytes() == before


async def test_a_journal_that_is_not_open(url: str) -> None:
    """Using it before or after is our own mistake; noting something is not, and closing twice neither."""
    journal = journal_at(url)

    with pytest.raises(RuntimeError, match="not open"):
        await journal.deliver(message(), None)
    with pytest.raises(RuntimeError, match="not open"):
        await journal.messages()
    journal.record_session(session())
    await journal.open()
    await journal.close()
    await journal.close()
    journal.record_session(session(2))
    with pytest.raises(RuntimeError, match="not open"):
        await journal.deliver(message(), None)
    assert [item["id"] for item in JournalReader(url).sessions()] == [session_id(1)]


async def test_memory_keeps_the_last_thousand() -> None:
    """Messages are counted and discarded; of sessions and events the last 1,000 are there."""
    journal: JournalLike = MemoryJournal()
    await journal.open()
    for number in range(1, 1102):
        mail = message(number, session_id=session_id(number))
        assert await journal.deliver(mail, session(number, started=minutes(number))) == number
        journal.record_event(event(number))

    assert await journal.messages() == []
    assert await journal.message(1101) is None
    assert await journal.raw(1101) is None
    sessions = await journal.sessions(limit=5000)
    assert [sessions[0]["id"], sessions[-1]["id"]] == [session_id(1101), session_id(102)]
    assert sessions[0]["messages"] == [1101]
    assert [item["id"] for item in await journal.events(limit=5000)] == list(range(1101, 101, -1))
    await journal.flush()
    await journal.close()


async def test_memory_shows_what_the_database_shows(url: str) -> None:
    """Sessions and events have the same shape, transcript and pages included."""
    memory = MemoryJournal()
    async with opened(url) as database:
        both: tuple[JournalLike, ...] = (memory, database)
        for journal in both:
            for number in range(1, 6):
                journal.record_session(session(number, started=minutes(number // 2)))
                journal.record_event(event(number, session_id=session_id(number)))
            await journal.deliver(message(session_id=session_id(3)), None)

        page = session_id(4)
        assert await memory.sessions() == await database.sessions()
        assert await memory.sessions(before=page, limit=2) == await database.sessions(before=page, limit=2)
        assert await memory.sessions(before="none") == await database.sessions(before="none") == []
        assert await memory.session(page) == await database.session(page)
        assert await memory.session("none") is None
        assert await memory.events(before=4, limit=2) == await database.events(before=4, limit=2)
