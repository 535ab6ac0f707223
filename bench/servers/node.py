"""The peers that come from the npm registry: smtp-server, maildev and Haraka, each in a version that is named here.

They are installed into the user's cache folder, once.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.servers.server import LOOPBACK, Key, SetupError, program

if TYPE_CHECKING:
    from bench.load.work import TlsVerb
    from bench.servers.server import Place

_NO_VERBS: frozenset[TlsVerb] = frozenset()
_LINES_OF_A_FAILURE = 3
# Haraka stops where a plugin that it is told to load does not; this one takes every message, and keeps none.
_ACCEPT_ALL = """\
exports.hook_rcpt = (next) => next(OK);
exports.hook_queue = (next) => next(OK);
"""


@dataclass(frozen=True)
class Package:
    """A package of the npm registry, and all it needs, as both were on a day."""

    name: str
    version: str
    before: str  # No newer version of what it needs is taken.

    @property
    def folder(self) -> Path:
        """Where it is installed."""
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        return cache / "smtpd-anontls" / "bench" / f"{self.name}-{self.version}"

    @property
    def modules(self) -> Path:
        """Where its modules are."""
        return self.folder / "node_modules"

    def install(self) -> None:
        """Install it unless it is there; SetupError says why not, and what would help."""
        program("node", "nodejs")
        npm = program("npm", "npm")
        if self.modules.is_dir():
            return
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.folder.parent) as name:
            done = subprocess.run(  # noqa: S603 - the words are ours
                [
                    *(npm, "install", "--prefix", name, "--before", self.before),
                    *("--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"),
                    f"{self.name}@{self.version}",
                ],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                said = " / ".join(done.stderr.strip().splitlines()[:_LINES_OF_A_FAILURE])
                raise SetupError(f"npm does not install {self.name}@{self.version}: {said}")
            # What is half installed never has the name that is looked for.
            shutil.move(name, self.folder)
            Path(name).mkdir()


@dataclass(frozen=True)
class Node:
    """A peer that runs under Node.js; V8 compiles what it has seen often, so it is warmed up longer than others."""

    name: str
    package: Package
    verbs: frozenset[TlsVerb] = frozenset({"STARTTLS"})
    keys: frozenset[Key] = frozenset(Key)
    takes_bdat: bool = False
    warm_up: int = 10_000

    @property
    def title(self) -> str:
        """What it is called in a table."""
        return f"{self.package.name} {self.package.version}"

    def install(self) -> None:
        """Install its package."""
        self.package.install()


@dataclass(frozen=True)
class SmtpServer(Node):
    """nodemailer's smtp-server, throwing mail away."""

    def command(self, place: Place) -> list[str]:
        """Return the script with its endpoints."""
        script = Path(__file__).with_name("smtp-server.js")
        module = self.package.modules / "smtp-server"
        return [program("node", "nodejs"), str(script), str(module), place.as_argument()]


@dataclass(frozen=True)
class Maildev(Node):
    """maildev, which parses mail and keeps it in memory and in files: it does more than the others.

    Its STARTTLS is not advertised.
    """

    verbs: frozenset[TlsVerb] = _NO_VERBS

    def command(self, place: Place) -> list[str]:
        """Return the program, without its page."""
        return [
            *(program("node", "nodejs"), str(self.package.modules / "maildev" / "bin" / "maildev")),
            *("--ip", LOOPBACK, "--smtp", str(place.ports[Key.RSA]), "--disable-web", "--silent"),
            *("--mail-directory", str(place.folder / "mail")),
        ]


@dataclass(frozen=True)
class Haraka(Node):
    """Haraka with its plugin for STARTTLS and one that takes everything; it has one certificate."""

    keys: frozenset[Key] = frozenset({Key.RSA})

    def command(self, place: Place) -> list[str]:
        """Write its configuration, and return the program."""
        pair = place.keys[Key.RSA]
        files = {
            "config/smtp.ini": f"listen={LOOPBACK}:{place.ports[Key.RSA]}\n",
            "config/plugins": "tls\naccept_all\n",
            "config/tls.ini": f"key={pair.key}\ncert={pair.certificate}\n",
            "config/me": "peer.contoso.test\n",
            "config/loglevel": "LOGCRIT\n",
            "plugins/accept_all.js": _ACCEPT_ALL,
        }
        for name, text in files.items():
            path = place.folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        haraka = self.package.modules / "Haraka"
        # It has no defaults of its own for what is said there.
        shutil.copy(haraka / "config" / "connection.ini", place.folder / "config")
        return [program("node", "nodejs"), str(haraka / "bin" / "haraka"), "-c", str(place.folder)]


_DAY = "2026-11-20"
PEERS = (
    SmtpServer("smtp-server", Package("smtp-server", "3.21.6", _DAY)),
    Haraka("haraka", Package("Haraka", "3.3.4", "2026-10-01")),
    Maildev("maildev", Package("maildev", "2.2.1", _DAY)),
)
