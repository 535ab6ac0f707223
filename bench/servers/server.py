"""A server to measure: what it is, how it is started, and what it can do."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from bench.keys import KeyPair
    from bench.load.work import Address, TlsVerb

LOOPBACK = "127.0.0.1"
_PATIENCE = 30.0  # Seconds that a server has to answer, and to end.
_LINES_OF_A_FAILURE = 10
# Debian keeps some daemons where an ordinary user's PATH does not look.
_DAEMONS = "/usr/sbin:/sbin"


class SetupError(Exception):
    """A server cannot be had here; the text says why, and what would help."""


class Key(StrEnum):
    """The key of the certificate that an endpoint shows."""

    RSA = "rsa"  # 2048 bits.
    EC = "p256"


@dataclass(frozen=True, slots=True)
class Place:
    """What a server is given to be started with."""

    folder: Path  # Of its own, empty.
    keys: Mapping[Key, KeyPair]
    ports: Mapping[Key, int]  # Free ones; a server without TLS uses the first alone.

    def as_argument(self) -> str:
        """Return where to listen and what to show there, as JSON: the argument of the scripts beside this file."""
        return json.dumps(
            {
                "host": LOOPBACK,
                "endpoints": [
                    {"port": self.ports[key], "certificate": str(pair.certificate), "key": str(pair.key)}
                    for key, pair in self.keys.items()
                ],
            }
        )


class Server(Protocol):
    """A kind of server."""

    @property
    def name(self) -> str:
        """What it is called on the command line."""

    @property
    def title(self) -> str:
        """What it is called in a table, with its version once it is installed."""

    @property
    def verbs(self) -> frozenset[TlsVerb]:
        """The TLS verbs it knows."""

    @property
    def keys(self) -> frozenset[Key]:
        """Which certificates it can show."""

    @property
    def takes_bdat(self) -> bool:
        """Whether it knows CHUNKING (RFC 3030)."""

    @property
    def warm_up(self) -> int:
        """Messages after which it is as fast as it becomes."""

    def install(self) -> None:
        """Fetch what it needs; SetupError where that cannot be had."""

    def command(self, place: Place) -> list[str]:
        """Write what it reads into its folder, and return the words that start it in the foreground."""


@dataclass(frozen=True, slots=True)
class Running:
    """A server that answers."""

    server: Server
    process: int
    ports: Mapping[Key, int]

    def address(self, key: Key = Key.RSA) -> Address:
        """Return where it shows the certificate with *key*."""
        return LOOPBACK, self.ports[key]


@contextmanager
def running(
    server: Server, folder: Path, keys: Mapping[Key, KeyPair], cpu: int | None = None
) -> Iterator[Running]:
    """Run a server until the block ends, on *cpu* alone where one is named; SetupError holds what it said instead."""
    folder.mkdir(parents=True)
    place = Place(folder, keys, {key: free_port() for key in Key})
    words = ([program("taskset", "util-linux"), "-c", str(cpu)] if cpu is not None else []) + server.command(
        place
    )
    log = folder / "output"
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - the words are ours
            words, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        for key in server.keys if server.verbs else [Key.RSA]:
            _await_banner(place.ports[key], process, server, log)
        yield Running(server, process.pid, place.ports)
    finally:
        process.terminate()
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await_banner(port: int, process: subprocess.Popen[bytes], server: Server, log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError), socket.create_connection((LOOPBACK, port), timeout=_PATIENCE) as connection:
            if connection.recv(3) == b"220":
                connection.sendall(b"QUIT\r\n")
                return
        time.sleep(0.05)
    said = log.read_text(errors="backslashreplace").splitlines()[-_LINES_OF_A_FAILURE:]
    raise SetupError(
        f"{server.title} does not answer on port {port}: {' / '.join(said) or 'it said nothing'}"
    )


def free_port() -> int:
    """Return a port of the loopback address that nobody has."""
    with socket.create_server((LOOPBACK, 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def program(name: str, package: str) -> str:
    """Return the path of a program; SetupError names the Debian package that has it."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:{_DAEMONS}")
    if found is None:
        raise SetupError(f"{name} is not installed; run: sudo apt-get install {package}")
    return found
