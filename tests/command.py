"""The command ``smtpd-anontls`` for tests: in this process, as a program, and as one that serves."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
from contextlib import contextmanager
from dataclasses import dataclass, field
from fcntl import ioctl
from pathlib import Path
from typing import TYPE_CHECKING, Any

from click.testing import CliRunner

from smtpd_anontls.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

Json = dict[str, Any]

ROOT = Path(__file__).parents[1]
PROGRAM = (sys.executable, "-m", "smtpd_anontls")
# Seconds until a program that does not answer fails its test; thirteen RSA keys take some.
PATIENCE = 120.0

# Receivers that serve at the same time would want the same port for it.
WITHOUT_A_PAGE = {"SMTPD_ANONTLS__WEB__BIND": "null"}

_STYLE = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Answer:
    """What a command said, and its exit code."""

    code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout."""
        assert self.stdout.count("\n") == 1, self.stdout
        return json.loads(self.stdout)

    @property
    def objects(self) -> list[Json]:
        """The JSON objects on stdout, one a line."""
        return [json.loads(line) for line in self.stdout.splitlines()]

    @property
    def mistakes(self) -> list[str]:
        """The lines on stderr."""
        return self.stderr.splitlines()


def call(*words: str | Path, said: str | None = None) -> Answer:
    """Run the command in this process."""
    result = CliRunner().invoke(main, [str(word) for word in words], input=said, prog_name="smtpd-anontls")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Answer(result.exit_code, result.stdout, result.stderr)


def environment(**more: str) -> dict[str, str]:
    """Return this process's environment without settings of its own, and with *more*."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("SMTPD_ANONTLS", "COLUMNS"))
    }
    return {**kept, "PYTHONPATH": str(ROOT), **WITHOUT_A_PAGE, **more}


def run(*words: str | Path, cwd: Path = ROOT, env: Mapping[str, str] | None = None) -> Answer:
    """Run the command as a program of its own, with nobody to ask."""
    done = subprocess.run(
        [*PROGRAM, *map(str, words)],
        cwd=cwd,
        env=env or environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return Answer(done.returncode, done.stdout, done.stderr)


def on_terminal(
    *words: str | Path,
    columns: int = 80,
    question: str = "",
    answer: str | Callable[[], str] = "",
    cwd: Path = ROOT,
) -> tuple[int, list[str]]:
    """Run the command on a terminal of so many columns; return its exit code and the lines that it showed.

    *answer*, or what it returns, is typed once it has asked its *question*.
    """
    ours, theirs = pty.openpty()
    try:
        ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
        child = subprocess.Popen(
            [*PROGRAM, *map(str, words)],
            cwd=cwd,
            env=environment(TERM="xterm"),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        shown = _until_closed(ours, question.encode(), answer)
    finally:
        os.close(ours)
    code = child.wait(PATIENCE)
    return code, _STYLE.sub("", shown).replace("\r\n", "\n").splitlines()


def _until_closed(terminal: int, question: bytes, answer: str | Callable[[], str]) -> str:
    shown = b""
    while True:
        readable, _, _ = select.select([terminal], [], [], PATIENCE)
        assert readable, f"the command went silent after {shown!r}"
        try:
            octets = os.read(terminal, 65536)
        except OSError:  # EIO: the other side has been closed.
            return shown.decode()
        if not octets:
            return shown.decode()
        shown += octets
        if question and question in shown:
            os.write(terminal, (answer if isinstance(answer, str) else answer()).encode())
            question = b""


@dataclass
class Serving:
    """A receiver in a process of its own."""

    process: subprocess.Popen[str]
    started: Json  # What it said when it listened.
    stderr: str = field(default="")  # Known when it has ended.

    def address(self, server: str) -> tuple[str, int]:
        """Return where the first connector of *server* listens."""
        bound = next(each for each in self.started["listening"] if each["server"] == server)
        return bound["address"], bound["port"]

    def target(self, server: str) -> str:
        """Return the same as a command takes it."""
        host, port = self.address(server)
        return f"{host}:{port}"

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Stop it and return its exit code."""
        self.process.send_signal(number)
        _, self.stderr = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode


@contextmanager
def serving(config: Path, *more: str, env: Mapping[str, str] | None = None) -> Iterator[Serving]:
    """Run a receiver until the block ends."""
    words: Sequence[str] = ("serve", "--json", "--config", str(config), *more)
    process = subprocess.Popen(
        [*PROGRAM, *words],
        env=env or environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise AssertionError(process.communicate()[1])
        receiver = Serving(process, json.loads(line))
        yield receiver
        if process.poll() is None:
            assert receiver.end() == 0
        assert "Traceback" not in receiver.stderr
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def on_free_ports(folder: Path, name: str) -> Path:
    """Copy a shipped configuration into *folder*, with free ports instead of its own, and return its path."""
    text = (ROOT / "config" / name).read_text()
    text = re.sub(r"127\.0\.0\.1:2(525|6\d\d)\b", "127.0.0.1:0", text).replace("[::1]:2525", "[::1]:0")
    text = text.replace("127.0.0.1:8025", "127.0.0.1:0")
    config = folder / "config" / name
    config.parent.mkdir(exist_ok=True)
    config.write_text(text)
    return config
