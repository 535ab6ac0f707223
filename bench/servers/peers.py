"""The peers that come with Python or with Debian: stock aiosmtpd and Postfix's smtp-sink."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from bench.servers.server import LOOPBACK, Key, program

if TYPE_CHECKING:
    from bench.load.work import TlsVerb
    from bench.servers.server import Place

_BACKLOG = 4096
_SESSIONS = 20_000  # smtp-sink's own limit is 256.


@dataclass(frozen=True)
class Aiosmtpd:
    """aiosmtpd as it is, with the handler that keeps nothing."""

    name: str = "stock"
    verbs: frozenset[TlsVerb] = frozenset({"STARTTLS"})
    keys: frozenset[Key] = frozenset(Key)
    takes_bdat: bool = False
    warm_up: int = 1_000

    @property
    def title(self) -> str:
        """What it is called in a table."""
        return f"aiosmtpd {version('aiosmtpd')}, null handler"

    def install(self) -> None:
        """Do nothing: the receiver stands on it."""

    def command(self, place: Place) -> list[str]:
        """Return the script with its endpoints."""
        return [sys.executable, str(Path(__file__).with_name("aiosmtpd_null.py")), place.as_argument()]


@dataclass(frozen=True)
class SmtpSink:
    """Postfix's smtp-sink, a program in C that throws mail away; it knows no TLS."""

    name: str = "smtp-sink"
    verbs: frozenset[TlsVerb] = frozenset()
    keys: frozenset[Key] = frozenset(Key)
    takes_bdat: bool = False
    warm_up: int = 1_000

    @property
    def title(self) -> str:
        """What it is called in a table."""
        return f"Postfix smtp-sink {_postfix_version()}".rstrip()

    def install(self) -> None:
        """Look for it; it comes with Postfix."""
        program("smtp-sink", "postfix")

    def command(self, place: Place) -> list[str]:
        """Return the program with its one endpoint."""
        address = f"{LOOPBACK}:{place.ports[Key.RSA]}"
        # As root it runs only for somebody else.
        somebody = ["-u", "nobody"] if os.geteuid() == 0 else []
        return [program("smtp-sink", "postfix"), *somebody, "-m", str(_SESSIONS), address, str(_BACKLOG)]


def _postfix_version() -> str:
    done = subprocess.run(  # noqa: S603 - the words are ours
        [program("postconf", "postfix"), "-d", "-h", "mail_version"],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip()
