"""A Postfix of our own: a mail server that queues, delivers in parallel, and tries again.

It lives in a folder of its own with its own configuration, queue and log, takes mail on a port of
127.0.0.1, sends all of it to one receiver there, and asks no resolver.  What Debian installed is
neither used as a configuration nor changed.  Mail for CLEAR goes in clear, mail for SECURE under
STARTTLS or not at all.
"""

from __future__ import annotations

import os
import re
import shutil
import smtplib
import subprocess
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.peer import PATIENCE
from tests.slapd import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

CLEAR, SECURE = "clear.test", "secure.test"

# Daemons lie where an ordinary user's PATH does not look.
_PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
# Where a message is until it has been delivered, or returned.
_QUEUES = ("maildrop", "incoming", "active", "deferred", "hold")
_SENT = re.compile(r"status=sent \(250 2\.6\.0 .*\[InternalId=(\d+),")

_MAIN = """\
compatibility_level = 3.6
queue_directory = {base}/queue
data_directory = {base}/data
maillog_file_prefixes = {base}
maillog_file = {base}/queue/maillog
myhostname = edge.test
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.1/32
smtp_dns_support_level = disabled
smtp_host_lookup = native
relayhost = [127.0.0.1]:{relay}
transport_maps = inline:{{ {{{clear}=clear:[127.0.0.1]:{relay}}}, {{{secure}=secure:[127.0.0.1]:{relay}}} }}
in_flow_delay = 0
queue_run_delay = 1s
minimal_backoff_time = 1s
maximal_backoff_time = 2s
"""
# Of Debian's master.cf what delivers mail; nothing is in a chroot.
_MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
proxymap unix - - n - - proxymap
postlog unix-dgram n - n - 1 postlogd
smtp unix - - n - - smtp
clear unix - - n - - smtp -o smtp_tls_security_level=none
secure unix - - n - - smtp -o smtp_tls_security_level=encrypt
"""


@dataclass(frozen=True)
class Postfix:
    """A Postfix that runs."""

    base: Path
    port: int

    @contextmanager
    def connection(self) -> Iterator[smtplib.SMTP]:
        """Return a connection over which it takes mail."""
        with smtplib.SMTP("127.0.0.1", self.port, timeout=PATIENCE) as connection:
            yield connection

    def queued(self) -> int:
        """Return how many messages it still has."""
        return sum(len(files) for queue in _QUEUES for _, _, files in os.walk(self.base / "queue" / queue))

    @property
    def log(self) -> str:
        """What it has logged."""
        return (self.base / "queue" / "maillog").read_text()

    @property
    def acknowledged(self) -> set[int]:
        """The InternalIds of the messages that it was told were taken, and has given up for that."""
        return {int(number) for number in _SENT.findall(self.log)}


@contextmanager
def running(relay: int) -> Iterator[Postfix]:
    """Run a Postfix that sends all mail to the port *relay* of 127.0.0.1."""
    if missing := _missing():
        pytest.fail(missing, pytrace=False)
    # Not below a test's own folder: its daemons run as a user who may not look into that.
    base = Path(tempfile.mkdtemp(prefix="smtpd-anontls-postfix-"))
    postfix = Postfix(base, free_port())
    try:
        _lay_out(postfix, relay)
        process = subprocess.Popen(
            [_run("postconf", "-d", "-h", "daemon_directory").strip() + "/master", "-d", "-c", base / "etc"],
            stdin=subprocess.DEVNULL,
            # It ends its children as one process group.
            start_new_session=True,
        )
        try:
            _wait_for(postfix, process)
            yield postfix
        finally:
            process.terminate()
            process.wait(PATIENCE)
            _wait_for_the_end(process.pid)
    finally:
        shutil.rmtree(base)


def _lay_out(postfix: Postfix, relay: int) -> None:
    base = postfix.base
    base.chmod(0o755)
    for name in ("etc", "queue", "data"):
        (base / name).mkdir()
    shutil.chown(base / "data", "postfix")
    words = {"base": base, "port": postfix.port, "relay": relay, "clear": CLEAR, "secure": SECURE}
    (base / "etc" / "main.cf").write_text(_MAIN.format(**words))
    (base / "etc" / "master.cf").write_text(_MASTER.format(**words))
    # This makes the folders of the queue.
    _run("postfix", "-c", str(base / "etc"), "check")


def _wait_for(postfix: Postfix, process: subprocess.Popen[bytes]) -> None:
    last = time.monotonic() + PATIENCE
    while True:
        try:
            with postfix.connection():
                return
        except OSError as error:
            if process.poll() is not None or time.monotonic() > last:
                raise AssertionError(f"Postfix does not answer ({error}): {postfix.log}") from None
            time.sleep(0.01)


def _wait_for_the_end(group: int) -> None:
    last = time.monotonic() + PATIENCE
    while True:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        assert time.monotonic() < last, "a process of Postfix does not end"
        time.sleep(0.01)


def _run(*command: str) -> str:
    done = subprocess.run(
        command,
        env={**os.environ, "PATH": _PATH},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, f"{command[0]}: {done.stdout}{done.stderr}"
    return done.stdout


def _missing() -> str | None:
    """Return what keeps this machine from running Postfix, and what would do."""
    if shutil.which("postfix", path=_PATH) is None:
        return "Postfix is not installed: run sudo ./.ci/packages"
    if os.geteuid() != 0:
        return "Postfix starts as root alone: run sudo make test"
    return None
