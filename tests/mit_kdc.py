"""A real key distribution centre, MIT Kerberos's, on a free port of loopback: the realm CONTOSO.TEST without a directory.

It does what a domain controller does not let a test do: tickets that last a second, keys of any age.
Everything is in one folder, the database with its master key among it; it starts in a tenth of a second.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import struct
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.peer import PATIENCE
from tests.samba import go_without
from tests.slapd import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REALM = "CONTOSO.TEST"
CLIENT = "MBX2$"
SERVICE = "SMTPSVC/mbx1.contoso.test"
OTHER_SERVICE = "SMTPSVC/mbx2.contoso.test"

_PROGRAMS = ("kdb5_util", "kadmin.local", "krb5kdc", "kinit", "ktutil")
_CLIENTS = """\
[libdefaults]
default_realm = CONTOSO.TEST
dns_lookup_realm = false
dns_lookup_kdc = false
dns_canonicalize_hostname = false
rdns = false
udp_preference_limit = 1
{more}
[realms]
CONTOSO.TEST = {{
    kdc = 127.0.0.1:{port}
}}
[domain_realm]
.contoso.test = CONTOSO.TEST
"""
_SERVER = """\
[kdcdefaults]
kdc_listen = ""
kdc_tcp_listen = 127.0.0.1:{port}
[realms]
CONTOSO.TEST = {{
    database_name = {folder}/principal
    key_stash_file = {folder}/stash
    acl_file = {folder}/acl
}}
[logging]
kdc = FILE:{folder}/log
"""


@dataclass
class MitKdc:
    """The centre in a process of its own, and what its administrator and its clients do."""

    folder: Path
    port: int
    _process: subprocess.Popen[bytes] | None = None

    @property
    def krb5_conf(self) -> Path:
        """The configuration with which Kerberos finds this realm."""
        return self.folder / "krb5.conf"

    @property
    def keytab(self) -> Path:
        """The key of SERVICE."""
        return self.folder / "mbx1.keytab"

    @property
    def other_keytab(self) -> Path:
        """The key of OTHER_SERVICE."""
        return self.folder / "mbx2.keytab"

    @property
    def client_keytab(self) -> Path:
        """The key of CLIENT."""
        return self.folder / "client.keytab"

    # -- its administrator

    def add(self, principal: str, keytab: Path) -> Path:
        """Add a principal with a random key, and return the keytab that holds it."""
        self._administer(f"addprinc -randkey {principal}")
        self.renew(principal, keytab)
        return keytab

    def renew(self, principal: str, keytab: Path) -> None:
        """Give a principal another key, which *keytab* takes; its tickets are made with that from now on."""
        self._administer(f"ktadd -k {keytab} {principal}")

    def forge_key(self, principal: str, key_version: int, keytab: Path) -> Path:
        """Write a keytab whose entry of *principal* is nobody's key."""
        entry = f"addent -password -p {principal}@{REALM} -k {key_version} -e aes256-cts-hmac-sha1-96"
        self._run("ktutil", said=f"{entry}\nnot the key\nwkt {keytab}\nq\n")
        return keytab

    def configure(self, name: str, **settings: str) -> Path:
        """Write a configuration of this realm with more *settings* in libdefaults."""
        more = "\n".join(f"{key} = {value}" for key, value in settings.items())
        path = self.folder / name
        path.write_text(_CLIENTS.format(port=self.port, more=more))
        return path

    # -- its clients

    def ticket(self, cache: Path, *words: str, service: str = SERVICE) -> Path:
        """Get CLIENT a ticket for *service*, and return the credential cache with it."""
        self._run(
            "kinit", "-k", "-t", str(self.client_keytab), "-S", service, "-c", f"FILE:{cache}", *words, CLIENT
        )
        return cache

    def holds_valid_ticket(self, cache: Path) -> bool:
        """Whether klist finds a ticket in *cache* that has not expired."""
        asked = subprocess.run(["klist", "-s", "-c", f"FILE:{cache}"], env=self._environment, check=False)
        return asked.returncode == 0

    # -- the process

    def start(self) -> None:
        """Start it, and return when it answers."""
        with (self.folder / "out").open("wb") as out:
            self._process = subprocess.Popen(
                [_found("krb5kdc"), "-n"], env=self._environment, stdout=out, stderr=subprocess.STDOUT
            )
        last = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                assert self._process.poll() is None, (self.folder / "log").read_text()
                assert time.monotonic() < last, "krb5kdc does not listen"
                time.sleep(0.01)
            else:
                return

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(PATIENCE)
            self._process = None

    def make(self) -> None:
        """Make the realm, with its two services and the client."""
        self.configure("krb5.conf")
        (self.folder / "kdc.conf").write_text(_SERVER.format(folder=self.folder, port=self.port))
        self._run("kdb5_util", "create", "-s", "-r", REALM, "-P", "the master password")
        self.add(CLIENT, self.client_keytab)
        self.add(SERVICE, self.keytab)
        self.add(OTHER_SERVICE, self.other_keytab)

    @property
    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "KRB5_CONFIG": str(self.krb5_conf),
            "KRB5_KDC_PROFILE": str(self.folder / "kdc.conf"),
        }

    def _administer(self, command: str) -> None:
        done = self._run("kadmin.local", "-r", REALM, "-q", command)
        assert "kadmin.local: " not in done.replace("kadmin.local:  ", ""), done

    def _run(self, name: str, *words: str, said: str = "") -> str:
        done = subprocess.run(
            [_found(name), *words],
            input=said,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, f"{name}: {done.stdout}"
        return done.stdout


@contextmanager
def running(folder: Path) -> Iterator[MitKdc]:
    """Run a centre that keeps everything in *folder*."""
    if importlib.util.find_spec("gssapi") is None:
        go_without("the Python package gssapi is not installed: run ./.ci/kerberos .venv/bin/python")
    if missing := [name for name in _PROGRAMS if _found(name) == name]:
        go_without(f"{' and '.join(missing)} are not installed: run sudo ./.ci/packages")
    kdc = MitKdc(folder, free_port())
    kdc.make()
    kdc.start()
    try:
        yield kdc
    finally:
        kdc.stop()


@pytest.fixture(scope="session")
def kdc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MitKdc]:
    """Return the centre of this process; a test wants ``realm``."""
    with running(tmp_path_factory.mktemp("kdc")) as one:
        yield one


@pytest.fixture
def realm(kdc: MitKdc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MitKdc:
    """Return the centre in whose realm this process is, as a server that has seen no token yet."""
    monkeypatch.setenv("KRB5_CONFIG", str(kdc.krb5_conf))
    keep_replays(tmp_path, monkeypatch)
    return kdc


def keep_replays(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what this process's servers have seen in *folder*, and name it no key and no ticket of its own."""
    monkeypatch.setenv("KRB5RCACHENAME", f"file2:{folder / 'replays'}")
    for name in ("KRB5_KTNAME", "KRB5_CLIENT_KTNAME", "KRB5CCNAME"):
        monkeypatch.setenv(name, f"FILE:{folder / 'none'}")


def set_clock(cache: Path, seconds: int) -> Path:
    """Let whoever uses *cache* take its clock to be *seconds* ahead, as a KDC with another time would have."""
    octets = cache.read_bytes()
    # Format 4: version, length of the header, and in it the field 1, which is the offset to the KDC's time.
    (length,) = struct.unpack_from(">H", octets, 2)
    header = struct.pack(">HHii", 1, 8, seconds, 0)
    cache.write_bytes(octets[:2] + struct.pack(">H", len(header)) + header + octets[4 + length :])
    return cache


def _found(name: str) -> str:
    """Return where a program is: daemons lie where an ordinary user's PATH does not look."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") or name
