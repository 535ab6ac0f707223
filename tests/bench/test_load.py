"""The load generator: what it puts on the wire, and that a real receiver has what it says it sent."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

import pytest

from bench.keys import make_keys
from bench.load.generator import LoadError, LoadGenerator, parts_of
from bench.load.work import (
    Active,
    Crowd,
    Flow,
    Leave,
    Session,
    Tally,
    TlsVerb,
    flights_of,
    message_of,
    shared_out,
    stuffed,
)
from bench.processes import cpu_seconds, resident_bytes
from bench.servers.receiver import DURABLE
from bench.servers.server import Key, Running, free_port, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ADDRESS = ("127.0.0.1", 25)


@pytest.mark.parametrize("size", [200, 1024, 51_200, 5 * 1024**2])
def test_a_message_has_its_size(size: int) -> None:
    """It is as long as it was asked for, less one octet at most, in lines that end with CRLF."""
    message = message_of(size)

    assert size - 1 <= len(message) <= size
    assert message.endswith(b"\r\n")
    assert max(map(len, message.split(b"\r\n"))) <= 76


def test_a_line_that_begins_with_a_dot_is_stuffed() -> None:
    """Every server has to undo it: a message of more than a few lines holds one."""
    message = message_of(1024)

    assert message.count(b"\r\n.") == 1
    assert stuffed(message).count(b"\r\n..") == 1
    assert stuffed(message).endswith(b"\r\n.\r\n")
    assert stuffed(b".\r\n") == b"..\r\n.\r\n"


def test_a_message_is_a_flight_for_each_command_or_pipelined() -> None:
    """As many replies are awaited as commands were sent."""
    message = message_of(300)
    alone = [flight.octets for flight in flights_of(Session(size=300))]
    together = flights_of(Session(size=300, pipelining=True))
    chunk = flights_of(Session(size=300, pipelining=True, bdat=True))

    assert alone[2:] == [b"DATA\r\n", stuffed(message)]
    assert [flight.replies for flight in together] == [3, 1]
    assert b"".join(flight.octets for flight in together) == b"".join(alone)
    assert [flight.replies for flight in chunk] == [3]
    assert chunk[0].octets.endswith(b"BDAT %d LAST\r\n" % len(message) + message)


def test_an_order_is_shared_out_whole() -> None:
    """What the parts do adds up, however it divides."""
    flow = Flow(ADDRESS, Session(), sessions=7, at_once=5)
    parts = [part for part in parts_of(flow, 3) if isinstance(part, Flow)]

    assert [part.sessions for part in parts] == [3, 2, 2]
    assert [part.at_once for part in parts] == [2, 2, 1]
    assert shared_out(1, 3) == [1, 0, 0]
    assert parts_of(Leave(), 2) == [Leave(), Leave()]


def test_tallies_add_up() -> None:
    """The time is from the first begin to the last end; the share of the CPU is that of one process."""
    one = Tally(began=10, ended=14, cpu=4, sessions=1, messages=2, latencies=[1.0])
    both = one + Tally(began=9, ended=13, cpu=1, sessions=3, messages=5, latencies=[2.0])

    assert (both.wall, both.sessions, both.messages, both.latencies) == (5, 4, 7, [1.0, 2.0])
    assert both.busy == pytest.approx(0.5)


def test_only_loopback_is_a_target(generator: LoadGenerator) -> None:
    """Nothing is sent anywhere else."""
    with pytest.raises(ValueError, match="not a loopback address"):
        generator.do(Flow(("192.0.2.1", 25), Session(), 1, 1))


def test_a_session_that_fails_is_said(generator: LoadGenerator) -> None:
    """There is no figure where a connection is refused."""
    with pytest.raises(LoadError, match=r"^3 sessions failed: 3 times .*refused"):
        generator.do(Flow(("127.0.0.1", free_port()), Session(), 3, 2))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where the receiver of this module is."""
    return tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="module")
def receiver(folder: Path) -> Iterator[Running]:
    """Run the receiver as it is measured, with its durable journal."""
    with running(DURABLE, folder / "receiver", make_keys(folder / "keys")) as started:
        yield started


@pytest.fixture(scope="module")
def generator() -> Iterator[LoadGenerator]:
    """Run two processes of senders."""
    with LoadGenerator(2) as started:
        yield started


def kept(folder: Path) -> int:
    """Return how many messages the receiver's journal holds."""
    journal = folder / "receiver" / "capture.db"
    with contextlib.closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True)) as connection:
        (count,) = connection.execute("SELECT count(*) FROM messages").fetchone()
    return int(count)


@pytest.mark.slow
@pytest.mark.parametrize("bdat", [False, True], ids=["data", "bdat"])
@pytest.mark.parametrize("tls", [None, "STARTTLS", "X-ANONYMOUSTLS"])
@pytest.mark.parametrize("key", Key)
def test_what_is_counted_is_in_the_journal(
    receiver: Running, generator: LoadGenerator, folder: Path, key: Key, tls: TlsVerb | None, *, bdat: bool
) -> None:
    """Every message that the tally counts is kept, under the security that was asked for; the server's work is seen."""
    before, used = kept(folder), cpu_seconds(receiver.process)
    tally = generator.do(Flow(receiver.address(key), Session(3, 2000, tls, bdat), 4, 2))

    assert (tally.sessions, tally.messages, len(tally.latencies)) == (4, 12, 12)
    assert kept(folder) - before == 12
    assert (tally.tls is None) == (tls is None)
    assert tls is None or ("ECDSA" if key is Key.EC else "RSA") in str(tally.tls)
    assert cpu_seconds(receiver.process) > used


@pytest.mark.slow
def test_sessions_are_held_and_some_of_them_send(
    receiver: Running, generator: LoadGenerator, folder: Path
) -> None:
    """A crowd stays open from one order to the next."""
    before = kept(folder)
    opened = generator.do(Crowd(receiver.address(), Session(2, tls="STARTTLS"), 6))
    sent = generator.do(Active(3))
    left = generator.do(Leave())

    assert (opened.messages, sent.messages, left.sessions) == (0, 6, 6)
    assert kept(folder) - before == 6
    assert resident_bytes(receiver.process) > 1024**2
