"""Servers in alternation: real ones, with work that is small."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from bench import floor
from bench.holding import memory
from bench.keys import make_keys
from bench.load.generator import LoadGenerator
from bench.measuring import Bench, installed
from bench.rounds import Rounds
from bench.selecting import selection_us
from bench.servers.peers import Aiosmtpd, SmtpSink
from bench.servers.receiver import CAPTURE_OFF
from bench.servers.server import SetupError, program, running
from bench.works import works

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.servers.server import Place

WORKS = ("connect/plain", "1kb-1/plain/data", "1kb-1/plain/bdat", "resumed/starttls-p256")


@dataclass(frozen=True)
class Broken(Aiosmtpd):
    """A server that cannot start."""

    name: str = "broken"

    def command(self, place: Place) -> list[str]:
        """Return a program that says why."""
        assert place.ports
        return ["sh", "-c", "echo no room at all; exit 1"]


@dataclass(frozen=True)
class Absent(Aiosmtpd):
    """A server that cannot be had."""

    name: str = "absent"

    def install(self) -> None:
        """Look for a program that nobody has."""
        program("no-such-program", "no-such-package")


@pytest.fixture
def said() -> list[str]:
    """Return what the bench says of how far it is."""
    return []


@pytest.fixture
def bench(tmp_path: Path, said: list[str]) -> Iterator[Bench]:
    """Return a bench on any CPU."""
    with LoadGenerator() as generator:
        yield Bench(tmp_path / "servers", make_keys(tmp_path / "keys"), generator, None, said.append)


@pytest.mark.slow
def test_each_server_does_what_it_can_in_each_round(bench: Bench, said: list[str]) -> None:
    """A figure a round in each cell; handshakes stand beside those of OpenSSL alone."""
    some = [replace(each, sessions=6, at_once=3) for each in works() if each.name in WORKS]
    cells = bench.alternate([CAPTURE_OFF, Aiosmtpd(), SmtpSink()], some, Rounds(2, math.inf))

    assert {name: set(found) for name, found in cells.items()} == {
        "connect/plain": {"receiver", "stock", "smtp-sink"},
        "1kb-1/plain/data": {"receiver", "stock", "smtp-sink"},
        "1kb-1/plain/bdat": {"receiver"},
        "resumed/starttls-p256": {"receiver", "stock", floor.NAME},
    }
    for found in cells.values():
        for cell in found.values():
            assert len(cell.cpu_us) == len(cell.per_second) == 2
            assert min(cell.cpu_us) > 0
    assert cells["resumed/starttls-p256"]["stock"].resumed == [5 / 6, 5 / 6]
    assert len(said) == 2 * len(some)


@pytest.mark.slow
def test_sessions_that_are_held_take_memory(bench: Bench) -> None:
    """A thousand at a server that is measured that far, in clear and under TLS."""
    (clear, secure), failed = memory(bench, [Aiosmtpd()], [], 1024)

    assert failed == {}
    assert (clear.tls, secure.tls) == (None, "STARTTLS")
    assert 0 < clear.mib_per_thousand < secure.mib_per_thousand


def test_rounds_end_in_time() -> None:
    """The first is whole, however late it is; the others are not begun where they would end too late."""
    assert list(Rounds(3, math.inf)) == [1, 2, 3]
    assert list(Rounds(3, 0)) == [1]


def test_selections_have_a_cost(tmp_path: Path) -> None:
    """One figure a round, of the selections alone, recalled and run anew."""
    recalled, anew = selection_us(tmp_path / "selection", make_keys(tmp_path / "keys"), 2)

    assert len(recalled) == len(anew) == 2
    assert min(*recalled, *anew) > 0


def test_a_server_that_does_not_start_is_heard(tmp_path: Path) -> None:
    """The error holds what it said."""
    with (
        pytest.raises(SetupError, match=r"does not answer on port .*: no room at all"),
        running(Broken(), tmp_path / "broken", {}),
    ):
        pytest.fail("it cannot have started")


def test_a_server_that_is_missing_is_named() -> None:
    """With the command that helps; the others are measured."""
    had, missing = installed([Aiosmtpd(), Absent()])

    assert [each.name for each in had] == ["stock"]
    assert missing == {
        "absent": "no-such-program is not installed; run: sudo apt-get install no-such-package"
    }
