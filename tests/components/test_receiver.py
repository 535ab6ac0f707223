"""The receiver as a whole: its start and its end, the events of both, and what it records of a session."""

from __future__ import annotations

import asyncio
import json
import socket
import sqlite3
import sys
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from smtpd_anontls.journal.journal import MemoryJournal
from smtpd_anontls.receiver import Receiver
from smtpd_anontls.settings.load import load_config
from tests.components.journal_making import eventually
from tests.lab import CONNECTOR, FQDN, SERVER, all_ended
from tests.peer import Peer
from tests.running import accepts, answered, connector, running, visit

if TYPE_CHECKING:
    from tests.lab import Lab

Json = dict[str, Any]
FRONT, HUB = "MSExchangeFrontEndTransport", "MSExchangeTransport"


async def send_mail(peer: Peer, body: str = "body") -> str:
    """Send a message behind EHLO, and return the reply to it."""
    for command in ("EHLO edge.test", "MAIL FROM:<a@edge.test>", "RCPT TO:<b@lab.test>", "DATA"):
        assert (await peer.ask(command))[-1][0] in "23", command
    return (await peer.ask(f"Subject: {body}\r\n\r\n{body}\r\n."))[0]


def placed(events: list[Json]) -> list[tuple[int, str, str, str | None]]:
    """Return id, source, server and connector of each event, sorted."""
    rows = [(each["event_id"], each["source"], each["server"], each["connector"]) for each in events]
    return sorted(rows, key=lambda row: tuple(map(str, row)))


def lines_of(lab: Lab) -> list[Json]:
    """Return the events of the JSON lines file, oldest first."""
    return [json.loads(line) for line in (lab.folder / "application.jsonl").read_text().splitlines()]


# -- the events of a start

FOUR = [
    connector("Front A", auth_mechanism=["ExchangeServer"]),
    connector("Front B", auth_mechanism=["ExchangeServer"]),
    connector("Hub A", "HubTransport", auth_mechanism=["ExchangeServer"]),
    connector("Hub B", "HubTransport", auth_mechanism=["ExchangeServer"]),
    connector("Hub without", "HubTransport", auth_mechanism=["Integrated"]),
    connector("Front disabled", auth_mechanism=["ExchangeServer", "Tls"], fqdn="mx1", enabled=False),
]


@pytest.mark.parametrize(
    ("directory", "condition", "at_start", "in_a_session"),
    [
        pytest.param("internal", "valid", None, None, id="all is well"),
        pytest.param(None, "valid", 12012, None, id="the attribute is not set"),
        pytest.param("unreadable", "valid", 12012, None, id="the attribute cannot be read"),
        pytest.param("missing-thumbprint", "valid", 12013, 12013, id="the store has no such certificate"),
        pytest.param("internal", "no-key", 12013, 12013, id="the certificate has no private key"),
        pytest.param("internal", "expired", 12015, 12015, id="it has expired"),
        pytest.param("internal", "soon", 12017, None, id="it expires soon"),
    ],
)
async def test_anonymous_tls_events_of_a_start_come_once_for_server_and_role(
    lab: Lab, directory: str | None, condition: str, at_start: int | None, in_a_session: int | None
) -> None:
    """12012, 12013, 12015 and 12017 name no connector at a start; a session writes its own, with connector and id."""
    async with lab.receiver(
        server={"connectors": FOUR}, directory=directory, store={"internal": condition}
    ) as receiver:
        begun = await receiver.journal.events()
        await visit(receiver, "Hub B")
        await visit(receiver, "Hub without")

    assert placed(begun) == (
        [] if at_start is None else [(at_start, FRONT, SERVER, None), (at_start, HUB, SERVER, None)]
    )
    assert all(event["session_id"] is None for event in begun)
    later = [event for event in lab.events if event not in begun]
    visited = next(session["id"] for session in lab.sessions if session["connector"] == "Hub B")
    assert [(e["event_id"], e["source"], e["connector"], e["session_id"]) for e in later] == (
        [] if in_a_session is None else [(in_a_session, HUB, "Hub B", visited)]
    )


@pytest.mark.parametrize(
    ("condition", "at_start", "in_a_session"),
    [
        pytest.param("valid", None, None, id="all is well"),
        pytest.param("no-key", 12014, 12014, id="none is eligible"),
        pytest.param("expired", 12016, 12016, id="it has expired"),
        pytest.param("soon", 12018, None, id="it expires soon"),
    ],
)
async def test_starttls_events_of_a_start_come_once_for_each_connector(
    lab: Lab, condition: str, at_start: int | None, in_a_session: int | None
) -> None:
    """12014, 12016 and 12018 name their connector; 12018 never comes with a session."""
    names = ("Front A", "Front B", "Hub A")
    connectors = [
        connector(
            name,
            f"{name.split()[0].replace('Front', 'Frontend')}Transport",
            auth_mechanism=["Tls"],
            fqdn="x.lab.test",
        )
        for name in names
    ]
    async with lab.receiver(server={"connectors": connectors}, store={"x.lab.test": condition}) as receiver:
        begun = await receiver.journal.events()
        await visit(receiver, "Front B")

    sources = dict(zip(names, (FRONT, FRONT, HUB), strict=True))
    expected = [] if at_start is None else [(at_start, sources[name], SERVER, name) for name in names]
    assert placed(begun) == expected
    assert all(event["session_id"] is None for event in begun)
    later = [(e["event_id"], e["connector"], e["session_id"]) for e in lab.events if e not in begun]
    assert later == ([] if in_a_session is None else [(in_a_session, "Front B", lab.session()["id"])])


def write_two_servers(lab: Lab) -> None:
    """Write a process that stands for MX1, whose certificate has expired, and MX2, which has none."""
    both = [
        connector("Front", auth_mechanism=["ExchangeServer"]),
        connector("Hub", "HubTransport", auth_mechanism=["ExchangeServer", "Tls"], fqdn=None),
    ]
    servers = [
        {
            "name": name,
            "fqdn": f"{name.lower()}.lab.test",
            "certificate_store": str(lab.store),
            "connectors": both,
        }
        for name in ("MX1", "MX2")
    ]
    lab.write(settings={"servers": servers}, store={"internal": "expired"})
    entries = {
        "MX1": {"msExchServerInternalTLSCert": lab.certificate("internal").thumbprint},
        "MX2": {"msExchServerInternalTLSCert": None},
    }
    (lab.config.parent / "directory.yaml").write_text(yaml.safe_dump(entries))


async def test_two_servers_with_both_roles_in_one_process(lab: Lab) -> None:
    """Each server and role has its own events; log and journal hold the same ones, with increasing ids."""
    write_two_servers(lab)
    async with running(lab) as receiver:
        await visit(receiver, "Hub", "MX1")
        await visit(receiver, "Hub", "MX2")
        begun = [event for event in await receiver.journal.events() if event["session_id"] is None]
        in_sessions = [event for event in await receiver.journal.events() if event["session_id"] is not None]
        everything = await receiver.journal.events()

    assert placed(begun) == [
        (12012, FRONT, "MX2", None),
        (12012, HUB, "MX2", None),
        (12014, HUB, "MX2", "Hub"),
        (12015, FRONT, "MX1", None),
        (12015, HUB, "MX1", None),
    ]
    assert placed(in_sessions) == [(12014, HUB, "MX2", "Hub"), (12015, HUB, "MX1", "Hub")]
    written = lines_of(lab)
    assert written == everything[::-1]
    ids = [event["id"] for event in written]
    assert ids == sorted(set(ids))


async def test_event_ids_increase_over_a_restart_with_the_clock_set_back(lab: Lab) -> None:
    """A start goes on behind the last event of the journal, whatever the clock says."""
    lab.write(directory="missing-thumbprint")
    now = datetime.now(UTC)
    async with running(lab, clock=lambda: now):
        pass
    async with running(lab, clock=lambda: now - timedelta(hours=1)) as receiver:
        events = await receiver.journal.events()

    assert len(events) == 2
    assert [event["id"] for event in lines_of(lab)] == [event["id"] for event in events[::-1]]
    assert events[0]["id"] > events[1]["id"]
    assert events[0]["time"] < events[1]["time"]


# -- once a day


@dataclass
class Clock:
    """A clock that a test sets."""

    time: datetime = field(default_factory=lambda: datetime.now(UTC))
    broken: bool = False  # The next question fails.

    def __call__(self) -> datetime:
        """Return the time."""
        if self.broken:
            self.broken = False
            raise RuntimeError("the clock is broken")
        return self.time


@pytest.mark.slow
async def test_the_daily_check_warns_once_and_outlives_a_fault(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    """12017 and 12018 come again after a day by the clock of the world, once, also behind a fault of ours."""
    names = {"internal": "soon", FQDN: "soon"}
    clock = Clock()
    lab.write(store=names)
    async with running(lab, clock=clock) as receiver:

        async def has_warned(count: int) -> bool:
            events = await receiver.journal.events()
            return [event["event_id"] for event in events].count(12017) == count

        assert await has_warned(1)
        clock.broken = True
        await eventually(lambda: answered(not clock.broken))
        clock.time += timedelta(days=1, minutes=1)
        await eventually(lambda: has_warned(2))
        # Looks go on; the next day is a day away.
        clock.time += timedelta(hours=23)
        await asyncio.sleep(1.1)
        await visit(receiver)
        events = await receiver.journal.events()

    assert "the daily check of the certificates failed" in caplog.text
    assert placed(events) == [
        *[(12017, FRONT, SERVER, None)] * 2,
        *[(12018, FRONT, SERVER, CONNECTOR)] * 2,
    ]


# -- listening


async def test_a_disabled_connector_does_not_listen(lab: Lab) -> None:
    """A disabled connector has no socket and no address; one that nobody knows has none either."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
    connectors = [
        connector("on", auth_mechanism=["Tls"]),
        connector("off", auth_mechanism=["Tls"], bindings=[f"127.0.0.1:{port}"], enabled=False),
    ]
    async with lab.receiver(server={"connectors": connectors}) as receiver:
        assert [bound.connector.name for bound in receiver.bound] == ["on"]
        with pytest.raises(KeyError, match="no connector 'off' listens"):
            receiver.address("off")
        with pytest.raises(KeyError, match="no connector 'nobody' listens"):
            receiver.address("nobody")
        with pytest.raises(KeyError, match="no connector 'on' listens"):
            receiver.address("on", "another server")
        assert not accepts(("127.0.0.1", port))


# -- what may fail while it runs


@pytest.mark.parametrize("obstacle", ["removed", "a folder", "a folder above it removed"])
async def test_a_broken_event_log_never_holds_up_mail(lab: Lab, obstacle: str) -> None:
    """Mail is taken while the event log cannot be written; the journal has the events all the same."""
    log = lab.folder / "log" / "application.jsonl"
    overlay: Json = {
        "directory": "missing-thumbprint",
        "settings": {"event_log": {"format": "jsonl", "path": str(log)}},
    }
    async with lab.receiver(**overlay) as receiver:
        await eventually(lambda: answered(log.read_text() != ""))
        log.unlink()
        if obstacle == "a folder":
            log.mkdir()
        elif obstacle != "removed":
            log.parent.rmdir()
        async with await Peer.connect(receiver.address(CONNECTOR)) as peer:
            await peer.reply()
            reply = await send_mail(peer)
            await peer.ask("QUIT")
        await all_ended(receiver)

    assert reply.startswith("250 2.6.0 ")
    assert [event["event_id"] for event in lab.events if event["session_id"] is not None] == [12013]
    complaints = [warning for warning in lab.warnings if "cannot be written, events are dropped" in warning]
    assert len(complaints) == (1 if obstacle == "a folder" else 0)
    assert log.is_dir() or len(log.read_text().splitlines()) == 1


async def test_without_capture_mail_is_taken_and_discarded(lab: Lab) -> None:
    """capture.url null: a message is answered and gone, its session and events are remembered."""
    overlay: Json = {"settings": {"capture": {"url": None}}, "directory": "missing-thumbprint"}
    async with lab.receiver(**overlay) as receiver:
        assert isinstance(receiver.journal, MemoryJournal)
        async with await Peer.connect(receiver.address(CONNECTOR)) as peer:
            await peer.reply()
            replies = [await send_mail(peer), await send_mail(peer)]
            await peer.ask("QUIT")
        await all_ended(receiver)

    assert [reply.partition("InternalId=")[2].partition(",")[0] for reply in replies] == ["1", "2"]
    assert lab.messages == []
    assert (lab.session()["outcome"], lab.session()["messages"]) == ("completed", [1, 2])
    assert [event["event_id"] for event in lab.events] == [12013, 12013]
    assert not lab.database.exists()


# -- the end


async def test_it_runs_again_on_the_same_configuration(lab: Lab) -> None:
    """A second receiver in the same process finds what the first one took, and goes on counting."""
    loaded = load_config(lab.write(), environ={}, machine_fqdn=FQDN)
    replies = []
    for _ in range(2):
        async with Receiver(loaded, on_warning=lab.warnings.append) as receiver:
            async with await Peer.connect(receiver.address(CONNECTOR)) as peer:
                await peer.reply()
                replies.append(await send_mail(peer))
            await all_ended(receiver)
            messages = await receiver.journal.messages()

    assert [message["id"] for message in messages] == [2, 1]
    assert ["InternalId=1," in replies[0], "InternalId=2," in replies[1]] == [True, True]
    assert lab.warnings == []


async def test_the_end_lets_an_open_transaction_finish(lab: Lab) -> None:
    """A message under way when it stops is taken and durable; idle sessions are told 421, in TLS too."""
    lab.write()
    async with running(lab) as receiver:
        address = receiver.address(CONNECTOR)
        idle, secure, busy = [await Peer.connect(address) for _ in range(3)]
        for peer in (idle, secure, busy):
            await peer.reply()
        await secure.ask("EHLO edge.test")
        await secure.ask("X-ANONYMOUSTLS")
        await secure.upgrade()
        for command in ("EHLO edge.test", "MAIL FROM:<a@edge.test>", "RCPT TO:<b@lab.test>", "DATA"):
            await busy.ask(command)
        ending = asyncio.create_task(receiver.__aexit__(None, None, None))
        farewells = [await peer.rest() for peer in (idle, secure)]
        assert not accepts(address)
        await busy.send(b"Subject: late\r\n\r\nbody\r\n.\r\n")
        taken = await busy.rest()
        await ending
        for peer in (idle, secure, busy):
            peer.socket.close()

    assert farewells == [["421 4.3.2 Service not active"]] * 2
    assert taken[0].startswith("250 2.6.0 ")
    assert taken[1:] == ["421 4.3.2 Service not active"]


# -- what a session leaves behind


async def explained(lab: Lab) -> list[Json]:
    """Return what the command ``explain`` says of the only connector, without what it measured."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "smtpd_anontls", "explain", "--json", "--config", str(lab.config)),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    return [without_duration(selection) for selection in json.loads(output)]


def without_duration(selection: Json) -> Json:
    """Return a selection without the time that it took."""
    return {key: value for key, value in selection.items() if key != "duration_ms"}


@pytest.mark.slow
@pytest.mark.parametrize("condition", ["valid", "expired", "no-key"])
async def test_a_session_records_the_selections_that_explain_shows(lab: Lab, condition: str) -> None:
    """Both selections of a session's record are those of the command, step by step."""
    async with lab.receiver(store={"internal": condition, FQDN: condition}) as receiver:
        await visit(receiver)
        shown = await explained(lab)

    recorded = lab.session()["selections"]
    assert [without_duration(selection) for selection in recorded] == shown
    assert [selection["verb"] for selection in recorded] == ["X-ANONYMOUSTLS", "STARTTLS"]
    assert all(selection["duration_ms"] > 0 for selection in recorded)
    assert lab.session()["event_ids"] == [event for selection in recorded for event in selection["event_ids"]]


async def test_a_session_records_tls_messages_and_dialogue(lab: Lab) -> None:
    """The record of an upgraded session has the handshake, its messages, and all that was said."""
    async with lab.receiver() as receiver:
        async with await Peer.connect(receiver.address(CONNECTOR)) as peer:
            remote = peer.remote
            await peer.reply()
            await peer.ask("EHLO before.test")
            await peer.ask("X-ANONYMOUSTLS")
            await peer.upgrade()
            first, second = await send_mail(peer, "one"), await send_mail(peer, "two")
            await peer.ask("QUIT")
            assert peer.tls is not None
            cipher = peer.tls.cipher()
        await all_ended(receiver)

    session = lab.session()
    assert (session["server"], session["connector"], session["remote"]) == (SERVER, CONNECTOR, remote)
    assert (session["verb"], session["outcome"]) == ("X-ANONYMOUSTLS", "completed")
    tls = session["tls"]
    assert (tls["thumbprint"], tls["version"]) == (lab.certificate("internal").thumbprint, "TLSv1.2")
    assert cipher is not None
    assert (tls["cipher"], tls["bits"], tls["failure"]) == (cipher[0], cipher[2], None)
    assert tls["offered"]["server_name"] == FQDN
    assert session["messages"] == sorted(message["id"] for message in lab.messages)
    assert [
        f"InternalId={number}," in reply
        for number, reply in zip(session["messages"], (first, second), strict=True)
    ]
    assert {message["verb"] for message in lab.messages} == {"X-ANONYMOUSTLS"}
    said = [(row["mark"], row["text"]) for row in session["transcript"]]
    assert (
        said.index(("C", "EHLO before.test"))
        < said.index(("C", "X-ANONYMOUSTLS"))
        < said.index(("C", "EHLO edge.test"))
    )
    assert said[-2] == ("C", "QUIT")
    assert [row["offset_ms"] for row in session["transcript"]] == sorted(
        r["offset_ms"] for r in session["transcript"]
    )


async def test_a_messages_session_is_there_with_it(lab: Lab) -> None:
    """Between 250 and QUIT another program already finds the session of the message, not ended yet."""
    async with lab.receiver() as receiver:
        async with await Peer.connect(receiver.address(CONNECTOR)) as peer:
            await peer.reply()
            await send_mail(peer)
            with closing(sqlite3.connect(lab.database)) as database:
                found = database.execute(
                    "SELECT sessions.id, sessions.outcome FROM messages JOIN sessions ON sessions.id = messages.session_id"
                ).fetchall()
            await peer.ask("QUIT")
        await all_ended(receiver)

    assert found == [(lab.session()["id"], None)]
    assert lab.session()["outcome"] == "completed"
