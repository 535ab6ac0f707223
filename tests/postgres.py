"""A PostgreSQL server of Debian's package on loopback, with a data folder of its own.

It refuses to run as root, so root runs it as Debian's user ``postgres``.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

USER, PASSWORD = "tester", "not-a-real-secret"
_ACCOUNT = "postgres"
_SECONDS = "60"

# Nothing but a power cut loses what has not been synced, and no test cuts power.
_SETTINGS = """\
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = '{base}'
fsync = off
shared_buffers = 32MB
max_connections = 100
"""


def program(name: str) -> str:
    """Return the path of a program of the newest PostgreSQL there is; the test fails where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    if not found:
        pytest.fail("PostgreSQL is not installed: run sudo ./.ci/packages", pytrace=False)
    return str(found[-1])


@dataclass
class Postgres:
    """The server, and its superuser's hand on it."""

    base: Path
    port: int
    account: str | None  # Who runs it; None: whoever runs the tests.
    names: Iterator[int]

    @property
    def data(self) -> Path:
        """Its data folder."""
        return self.base / "data"

    def url(self, database: str, *, user: str = USER, password: str = PASSWORD) -> str:
        """Return the URL of a database."""
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def create(self, options: str = "") -> str:
        """Make an empty database, and return its URL."""
        name = f"journal{next(self.names)}"
        self.sql(f"CREATE DATABASE {name} OWNER {USER} STRATEGY FILE_COPY {options}")
        return self.url(name)

    def sql(self, *statements: str, database: str = "postgres") -> str:
        """Run statements as the superuser, each in a transaction of its own, and return what psql prints."""
        commands = [word for statement in statements for word in ("-c", statement)]
        address = ("-h", str(self.base), "-p", str(self.port), "-U", "postgres", "-d", database)
        return self.run("psql", "-qAtX", "-v", "ON_ERROR_STOP=1", *address, *commands)

    def start(self) -> None:
        """Start it, and return when it answers."""
        self.run("pg_ctl", "start", "-w", "-t", _SECONDS, "-D", str(self.data), "-l", str(self.base / "log"))

    def stop(self, mode: str = "fast") -> None:
        """Stop it: ``fast`` closes connections, ``immediate`` is as if it had crashed."""
        self.run("pg_ctl", "stop", "-w", "-t", _SECONDS, "-m", mode, "-D", str(self.data))

    @contextmanager
    def stopped(self, mode: str = "fast") -> Iterator[None]:
        """Let it be away for a while."""
        self.stop(mode)
        try:
            yield
        finally:
            self.start()

    def run(self, name: str, *words: str) -> str:
        """Run one of its programs and return what it prints."""
        done = subprocess.run(
            [program(name), *words],
            user=self.account,
            group=self.account,
            extra_groups=None if self.account is None else [],
            cwd=self.base,
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            # The server that pg_ctl starts keeps what it inherits.
            stderr=subprocess.STDOUT if name != "pg_ctl" else subprocess.DEVNULL,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{name}: {done.stdout}"
        return done.stdout.strip()


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
    return port


@contextmanager
def running_postgres(settings: str = "") -> Iterator[Postgres]:
    """Run a server until the block ends, with lines for postgresql.conf that override its own."""
    # Not in pytest's folder, which the account that runs it cannot enter.
    base = Path(tempfile.mkdtemp(prefix="postgres-"))
    server = Postgres(base, _free_port(), _ACCOUNT if os.geteuid() == 0 else None, count(1))
    try:
        if server.account is not None:
            account = pwd.getpwnam(server.account)
            os.chown(base, account.pw_uid, account.pw_gid)
        server.run(
            "initdb", "-D", str(server.data), "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync",
            "--auth-local=trust", "--auth-host=scram-sha-256",
        )  # fmt: skip
        with (server.data / "postgresql.conf").open("a") as file:
            file.write(_SETTINGS.format(port=server.port, base=base) + settings)
        server.start()
        try:
            server.sql(f"CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}'")
            yield server
        finally:
            if (server.data / "postmaster.pid").exists():
                server.stop("immediate")
    finally:
        shutil.rmtree(base)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """Give a server that tests share; each makes databases of its own, and leaves the server running."""
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[Postgres]:
    """Give a server that the tests of a module may stop, as long as they start it again."""
    with running_postgres() as server:
        yield server
