"""Events as syslog messages: RFC 5424 to the octet, servers that come and go, and what rsyslog makes of it."""

from __future__ import annotations

import json
import os
import queue
import re
import socket
import subprocess
import threading
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from smtpd_anontls.domain.events import CATALOGUE, EventDraft, EventId
from smtpd_anontls.domain.instants import rfc3339
from smtpd_anontls.domain.syslog_address import SyslogAddress
from smtpd_anontls.eventlog.log import EventLog
from smtpd_anontls.eventlog.rfc5424 import syslog_message
from smtpd_anontls.eventlog.syslog import Syslog
from tests.components.journal_making import event
from tests.lab import CONNECTOR, FQDN, Lab
from tests.peer import PATIENCE, Peer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from smtpd_anontls.domain.records import EventRecord

COMPUTER = "mbx1.contoso.test"
HOSTILE = '\x00\x1b[2J\n"quoted" [b] \\ Büro \U0001f4e7 \udcff\u202e'
HOSTILE_SHOWN = '\\x00\\x1b[2J\\x0a"quoted" [b] \\ Büro \U0001f4e7 \\udcff\\u202e'


def message(record: EventRecord, *, computer: str = COMPUTER, most: int = 2048) -> bytes:
    """Return an event as a syslog message of process 77."""
    return syslog_message(record, computer=computer, process_id=77, most=most)


def test_every_part_of_a_message() -> None:
    """Priority, time, host, source, process, event id, what is known of its place, and the text behind a BOM."""
    record = event(7, connector="Default Frontend MBX1", session_id="0123456789abcdef")

    assert message(record) == (
        b"<20>1 2026-11-22T12:00:00.000Z mbx1.contoso.test MSExchangeTransport 77 12015 "
        b'[event@32473 id="7" server="MBX1" connector="Default Frontend MBX1" session="0123456789abcdef" '
        b'thumbprint="' + b"CD" * 20 + b'"] \xef\xbb\xbf'
        b"An internal transport certificate expired. Thumbprint:" + b"CD" * 20
    )


@pytest.mark.parametrize(
    ("event_id", "priority"), [(EventId.NOT_IN_STORE, b"<19>1 "), (EventId.EXPIRED, b"<20>1 ")]
)
def test_priority(event_id: EventId, priority: bytes) -> None:
    """The facility is mail; an error has severity 3, a warning 4."""
    assert message(event(1, draft=EventDraft(event_id, ("x",)))).startswith(priority)


def test_what_is_not_known() -> None:
    """What an event does not have is left out; a host without a name is a hyphen."""
    record = event(1, draft=EventDraft(EventId.MISSING_IN_DIRECTORY), server=None)

    assert b' - MSExchangeTransport 77 12012 [event@32473 id="1"] \xef\xbb\xbf' in message(
        record, computer=""
    )


def test_hostile_texts() -> None:
    """Quotes, brackets, backslashes and controls stay within their value; the header has no spaces of theirs."""
    record = event(1, connector=HOSTILE, draft=EventDraft(EventId.EXPIRED, (HOSTILE,)))
    written = message(record, computer="a b\nü").decode()

    assert "\n" not in written
    assert " a?b?? MSExchangeTransport " in written
    assert r'connector="\\x00\\x1b[2J\\x0a\"quoted\" [b\] \\ Büro' in written
    assert written.endswith(HOSTILE_SHOWN)


@pytest.mark.parametrize("letter", ["a", "ü", "\U0001f4e7"])
@pytest.mark.parametrize("most", [2048, 2047, 2046, 2045, 8096])
def test_a_long_text_is_cut(letter: str, most: int) -> None:
    """No message is longer than allowed, whatever stands in it; the cut is between characters and shows."""
    long = letter * 9000
    record = event(
        1, server=long, connector="]" * 9000, source=long, draft=EventDraft(EventId.EXPIRED, (long,), long)
    )
    written = message(record, computer=long, most=most)

    assert most - 4 < len(written) <= most
    assert written.decode().endswith(f"{letter}…")
    assert re.fullmatch(
        rb"<20>1 \S+ \S{255} \S{48} 77 12015 \[event@32473 .*[^\\]\"\] \xef\xbb\xbf.*", written
    )


def log_to(address: str) -> tuple[EventLog, queue.Queue[str]]:
    """Return an open log with one syslog server, and where its warnings arrive."""
    warnings: queue.Queue[str] = queue.Queue()
    log = EventLog([Syslog(SyslogAddress.parse(address), lambda _: COMPUTER)], warnings.put)
    log.open()
    return log, warnings


def number_of(datagram: bytes) -> int:
    """Return the id of the event in a message."""
    found = re.search(rb' id="(\d+)"', datagram)
    assert found
    return int(found[1])


def udp_server(where: tuple[str, int] = ("127.0.0.1", 0)) -> socket.socket:
    """Return a socket that datagrams can be sent to."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.settimeout(PATIENCE)
    server.bind(where)
    return server


def unix_server(path: Path) -> socket.socket:
    """Return a datagram socket of this machine."""
    server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    server.settimeout(PATIENCE)
    server.bind(str(path))
    return server


def tcp_server(where: tuple[str, int] = ("127.0.0.1", 0)) -> socket.socket:
    """Return a socket that can be connected to."""
    server = socket.create_server(where)
    server.settimeout(PATIENCE)
    return server


def frames(connection: socket.socket, count: int) -> list[bytes]:
    """Return so many messages of a stream, each behind its length (RFC 6587 section 3.4.1)."""
    connection.settimeout(PATIENCE)
    found = []
    with connection.makefile("rb") as stream:
        for _ in range(count):
            length = b""
            while (digit := stream.read(1)) != b" ":
                assert digit.isdigit()
                length += digit
            found.append(stream.read(int(length)))
    return found


def test_udp() -> None:
    """A datagram for each event."""
    with udp_server() as server:
        log, warnings = log_to(f"udp://127.0.0.1:{server.getsockname()[1]}")
        log.write(event(1))
        log.write(event(2))
        found = [server.recv(65536) for _ in range(2)]
        log.close()

    assert [number_of(datagram) for datagram in found] == [1, 2]
    assert warnings.empty()


def test_tcp() -> None:
    """One connection for all events, each behind its length in octets."""
    with tcp_server() as server:
        log, warnings = log_to(f"tcp://127.0.0.1:{server.getsockname()[1]}")
        log.write(event(1, draft=EventDraft(EventId.EXPIRED, ("Büro",))))
        log.write(event(2))
        with server.accept()[0] as connection:
            found = frames(connection, 2)
            log.close()
            rest = connection.recv(100)

    assert [number_of(frame) for frame in found] == [1, 2]
    assert found[0].endswith("Büro".encode())
    assert rest == b""
    assert warnings.empty()


def test_a_socket_of_this_machine(tmp_path: Path) -> None:
    """A datagram for each event, to a path."""
    with unix_server(tmp_path / "log") as server:
        log, warnings = log_to(f"unix://{tmp_path}/log")
        log.write(event(1))
        found = server.recv(65536)
        log.close()

    assert number_of(found) == 1
    assert warnings.empty()


def test_no_server_at_start(tmp_path: Path) -> None:
    """The log opens all the same, nobody waits, and at the end one line says what was lost."""
    log, warnings = log_to(f"unix://{tmp_path}/log")
    for number in range(100):
        log.write(event(number))
    log.close()

    assert warnings.get_nowait() == (
        f"event log unix://{tmp_path}/log: cannot be reached, events wait: No such file or directory"
    )
    assert warnings.get_nowait() == (
        f"event log unix://{tmp_path}/log: was not reached before the end; events lost: 100"
    )
    assert warnings.empty()


def free_port(kind: socket.SocketKind) -> int:
    """Return a port on which nobody listens."""
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["udp", "tcp", "unix"])
def test_a_server_that_starts_later(tmp_path: Path, transport: str) -> None:
    """Events wait for it in their order, and none is lost; one warning at either end."""
    path = tmp_path / "log"
    port = free_port(socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM)
    address = f"unix://{path}" if transport == "unix" else f"{transport}://127.0.0.1:{port}"
    log, warnings = log_to(address)
    log.write(event(1))
    log.write(event(2))
    refused = warnings.get(timeout=PATIENCE)
    start: dict[str, Callable[[], socket.socket]] = {
        "udp": lambda: udp_server(("127.0.0.1", port)),
        "tcp": lambda: tcp_server(("127.0.0.1", port)),
        "unix": lambda: unix_server(path),
    }
    with start[transport]() as server:
        if transport == "tcp":
            with server.accept()[0] as connection:
                found = frames(connection, 2)
        else:
            found = [server.recv(65536) for _ in range(2)]
        back = warnings.get(timeout=PATIENCE)
        log.close()

    assert "cannot be reached, events wait: " in refused
    assert back == f"event log {address}: is written again; events dropped: 0"
    assert [number_of(datagram) for datagram in found] == [1, 2]
    assert warnings.empty()


def test_a_server_that_closes_the_connection() -> None:
    """The next event goes over a new connection, and does not vanish in the one that nobody reads."""
    with tcp_server() as server:
        log, warnings = log_to(f"tcp://127.0.0.1:{server.getsockname()[1]}")
        log.write(event(1))
        connection, _ = server.accept()
        first = frames(connection, 1)
        connection.close()
        log.write(event(2))
        with server.accept()[0] as connection:
            second = frames(connection, 1)
        log.close()

    assert [number_of(frame) for frame in (*first, *second)] == [1, 2]
    assert warnings.empty()


def test_a_server_that_nobody_hears_of() -> None:
    """While a connection is being refused the log takes events at once, more than it can hold with one warning."""
    log, warnings = log_to(f"tcp://127.0.0.1:{free_port(socket.SOCK_STREAM)}")
    log.write(event(0))
    assert "Connection refused" in warnings.get(timeout=PATIENCE)
    for number in range(1, 11_000):
        log.write(event(number))

    assert warnings.get_nowait().endswith("takes no more; events are dropped while 10000 wait")
    closing_thread = threading.Thread(target=log.close)
    closing_thread.start()
    closing_thread.join(PATIENCE)
    assert not closing_thread.is_alive()
    assert warnings.get_nowait().endswith("was not reached before the end; events lost: 10001")


async def test_a_receiver_with_every_sink(lab: Lab) -> None:
    """Each sink gets the events of the receiver, and mail is taken while one of them has no server."""
    dead = f"tcp://127.0.0.1:{free_port(socket.SOCK_STREAM)}"
    with unix_server(lab.folder / "log") as server:
        sinks = [
            {"format": "jsonl", "path": "../application.jsonl"},
            {"format": "windows-xml", "path": "../application.xml"},
            {"format": "syslog", "address": f"unix://{lab.folder}/log"},
            {"format": "syslog", "address": dead},
        ]
        async with (
            lab.receiver(store={"internal": "expired"}, settings={"event_log": sinks}) as receiver,
            await Peer.connect(receiver.address(CONNECTOR)) as peer,
        ):
            await peer.reply()
            for command in (
                "EHLO sender.test",
                "MAIL FROM:<a@example.test>",
                "RCPT TO:<b@contoso.test>",
                "DATA",
            ):
                await peer.ask(command)
            await peer.send(b"Subject: Hello\r\n\r\nBody.\r\n.\r\n")
            accepted = await peer.reply()
            await peer.ask("QUIT")
        found = [server.recv(65536) for _ in lab.events]
    ids = [each["id"] for each in reversed(lab.events)]
    written = (lab.folder / "application.xml").read_text("ascii")

    assert accepted[0].startswith("250 2.6.0")
    assert len(ids) == 2
    assert [number_of(datagram) for datagram in found] == ids
    assert all(f" {FQDN} MSExchangeFrontEndTransport ".encode() in datagram for datagram in found)
    assert re.findall(r"<EventRecordID>(\d+)<", written) == [str(number) for number in ids]
    assert re.findall(r"<Computer>([^<]*)<", written) == [FQDN] * 2
    assert [warning for warning in lab.warnings if "event log" in warning] == [
        f"event log {dead}: cannot be reached, events wait: Connection refused",
        f"event log {dead}: was not reached before the end; events lost: 2",
    ]


CONFIGURATION = """
global(workDirectory="{folder}" net.enableDNS="off" parser.escapeControlCharactersOnReceive="off")
module(load="imudp")
module(load="imtcp")
module(load="imuxsock" SysSock.Use="off")
template(name="parsed" type="list" option.jsonf="on") {{
  property(outname="priority" name="pri" format="jsonf")
  property(outname="facility" name="syslogfacility-text" format="jsonf")
  property(outname="severity" name="syslogseverity-text" format="jsonf")
  property(outname="version" name="protocol-version" format="jsonf")
  property(outname="time" name="timereported" dateFormat="rfc3339" format="jsonf")
  property(outname="host" name="hostname" format="jsonf")
  property(outname="source" name="app-name" format="jsonf")
  property(outname="process" name="procid" format="jsonf")
  property(outname="event_id" name="msgid" format="jsonf")
  property(outname="data" name="structured-data" format="jsonf")
  property(outname="message" name="msg" format="jsonf")
}}
input(type="imudp" address="127.0.0.1" port="{port}")
input(type="imtcp" address="127.0.0.1" port="0" listenPortFileName="{folder}/tcp.port")
input(type="imuxsock" Socket="{folder}/log" UseSpecialParser="off" ParseHostname="on" IgnoreTimestamp="off")
action(type="omfile" file="{folder}/parsed.jsonl" template="parsed")
"""


class Rsyslog:
    """Debian's rsyslogd with a configuration of its own, on loopback alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port(socket.SOCK_DGRAM)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run it until the block ends."""
        config = self.folder / "rsyslog.conf"
        config.write_text(CONFIGURATION.format(folder=self.folder, port=self.port))
        process = subprocess.Popen(
            ["rsyslogd", "-n", "-f", str(config), "-i", str(self.folder / "pid")],
            env={**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"},
        )
        try:
            self.wait_for(lambda: all(map(os.path.exists, (self.folder / "log", self.folder / "tcp.port"))))
            yield
        finally:
            process.terminate()
            process.wait(PATIENCE)

    def address(self, transport: str) -> str:
        """Return the address under which it listens."""
        if transport == "unix":
            return f"unix://{self.folder}/log"
        port = self.port if transport == "udp" else int((self.folder / "tcp.port").read_text())
        return f"{transport}://127.0.0.1:{port}"

    def parsed(self, count: int) -> list[dict[str, Any]]:
        """Return what it understood, once there is so much of it."""
        path = self.folder / "parsed.jsonl"
        self.wait_for(lambda: path.exists() and path.read_text().count("\n") >= count)
        return [json.loads(line) for line in path.read_text().splitlines()]

    def wait_for(self, there: Callable[[], bool]) -> None:
        """Ask until the answer is yes."""
        end = time.monotonic() + PATIENCE
        while not there():
            assert time.monotonic() < end, "rsyslogd does not get on"
            time.sleep(0.02)


def parameters_of(data: str) -> dict[str, str]:
    """Return the parameters of structured data without their escapes (RFC 5424 section 6.3.3)."""
    found = re.findall(r' ([a-z]+)="((?:[^"\\\]]|\\.)*)"', data)
    return {name: re.sub(r'\\(["\\\]])', r"\1", value) for name, value in found}


def events_of_every_kind() -> list[EventRecord]:
    """Return an event of each kind, and one with hostile texts."""
    drafts = [EventDraft(kind.event_id, tuple("abcd"[: kind.insert_count])) for kind in CATALOGUE.values()]
    hostile = event(
        99,
        connector=HOSTILE,
        session_id="0123456789abcdef",
        draft=EventDraft(EventId.EXPIRED, (HOSTILE,), "AB" * 20),
    )
    return [*(event(number, draft=draft) for number, draft in enumerate(drafts)), hostile]


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["udp", "tcp", "unix"])
def test_rsyslog_understands_every_event(tmp_path: Path, transport: str) -> None:
    """It takes each message apart into the very values that the event has."""
    records = events_of_every_kind()
    server = Rsyslog(tmp_path)
    with server.running():
        log, warnings = log_to(server.address(transport))
        for record in records:
            log.write(record)
        found = server.parsed(len(records))
        log.close()

    assert warnings.empty()
    assert len(found) == len(records)
    for record, parsed in zip(records, found, strict=True):
        shown = record.as_json()
        level = {"Error": ("err", 19), "Warning": ("warning", 20), "Information": ("info", 22)}[
            shown["level"]
        ]
        assert (parsed["facility"], parsed["severity"], parsed["priority"]) == (
            "mail",
            level[0],
            str(level[1]),
        )
        assert (parsed["version"], parsed["time"]) == ("1", rfc3339(record.time))
        assert (parsed["host"], parsed["source"]) == (COMPUTER, record.source)
        assert (parsed["process"], parsed["event_id"]) == (str(os.getpid()), str(shown["event_id"]))
        expected = {
            "id": str(record.id),
            "server": "MBX1",
            "connector": None if record.connector is None else HOSTILE_SHOWN,
            "session": record.session_id,
            "thumbprint": record.draft.thumbprint,
        }
        assert parameters_of(parsed["data"]) == {name: text for name, text in expected.items() if text}
        assert parsed["message"] == "\ufeff" + shown["message"].replace(HOSTILE, HOSTILE_SHOWN)


@pytest.mark.slow
def test_rsyslog_that_restarts(tmp_path: Path) -> None:
    """Over TCP no event is lost while it is away."""
    server = Rsyslog(tmp_path)
    with server.running():
        address = server.address("tcp")
        log, warnings = log_to(address)
        log.write(event(1))
        server.parsed(1)
    log.write(event(2))
    assert "cannot be reached, events wait" in warnings.get(timeout=PATIENCE)
    with closing(tcp_server(("127.0.0.1", SyslogAddress.parse(address).port))) as another:
        with another.accept()[0] as connection:
            found = frames(connection, 1)
        log.close()

    assert number_of(found[0]) == 2
