"""A real Active Directory domain controller, Samba's, on an address of the loopback network that nobody else uses.

``deploy/ad`` says what the domain is.  It is made once (twenty seconds), kept in the folder for
temporary files under a name that its scripts determine, and copied for each process of a test run;
nothing outside these two folders is touched.  A test asks for the fixture ``domain_controller``,
which is up, and in which no server object has a value.

What a test arranges or looks at goes through OpenLDAP's and Samba's own tools, never through the
library that is tested.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import importlib.util
import os
import re
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from tests.peer import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator

Json = dict[str, Any]

AD = Path(__file__).parents[1] / "deploy" / "ad"
CONFIGURATION = "CN=Configuration,DC=contoso,DC=test"
SERVERS = (
    "CN=Servers,CN=Exchange Administrative Group (FYDIBOHF23SPDLT),CN=Administrative Groups,CN=Contoso,"
    f"CN=Microsoft Exchange,CN=Services,{CONFIGURATION}"
)
SERVER = "MBX1"  # One of those whose objects are there.
ATTRIBUTE = "msExchServerInternalTLSCert"
ADMINISTRATOR = "Administrator@contoso.test"
READER = "svc-reader@contoso.test"
PUBLISHER = "svc-publisher@contoso.test"  # May write the attribute beside.

# Seconds that making the domain may take on a machine that is busy.
_PROVISIONING = 300.0
_PORTS = (88, 389, 464, 636, 3268, 3269)


@dataclass
class DomainController:
    """A domain controller in a process of its own, and what an administrator does in the domain."""

    folder: Path
    address: str
    _process: subprocess.Popen[bytes] | None = None
    _hidden: set[tuple[str, str]] = field(default_factory=set)

    @property
    def url(self) -> str:
        """Where it takes LDAP over TLS."""
        return f"ldaps://{self.address}"

    @property
    def ca_file(self) -> Path:
        """The authority that signed its certificate."""
        return self.folder / "tls" / "ca.pem"

    @property
    def krb5_conf(self) -> Path:
        """The configuration with which Kerberos finds this domain."""
        return self.folder / "krb5.conf"

    def log_in(self, user: str) -> None:
        """Get *user* a ticket, into the credential cache that KRB5CCNAME names."""
        _run(["kinit", "-k", "-t", str(self.keytab(user)), user.partition("@")[0]])

    def keytab(self, user: str) -> Path:
        """Return the keytab of a service account or, with the key of its SMTPSVC, of a computer (``MBX1$``)."""
        return self.folder / "keytabs" / f"{user.partition('@')[0].rstrip('$')}.keytab"

    def password(self, user: str) -> str:
        """Return the password of *user*."""
        return self.password_file(user).read_text().strip()

    def password_file(self, user: str) -> Path:
        """Return the file that holds it."""
        return AD / "passwords" / user.partition("@")[0]

    def settings(self, **more: Any) -> Json:
        """Return the section ``directory`` that reads this domain as svc-reader, with *more*."""
        return {
            "type": "ldap",
            "urls": [self.url],
            "bind": {"method": "simple", "user": READER, "password_file": str(self.password_file(READER))},
            "ca_file": str(self.ca_file),
            **more,
        }

    # -- the process

    def start(self) -> None:
        """Start it, and return when it answers."""
        assert self._process is None
        with (self.folder / "samba.out").open("wb") as out:
            # It ends when its input does, and so with the tests, however they end.
            self._process = subprocess.Popen(
                [str(AD / "serve.sh"), str(self.folder), self.address],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        last = time.monotonic() + PATIENCE
        while not all(_accepts(self.address, port) for port in (88, 636)):
            if self._process.poll() is not None or time.monotonic() > last:
                self.stop()
                raise AssertionError((self.folder / "samba.out").read_text())
            time.sleep(0.01)

    def stop(self) -> None:
        """End it at once, as a power failure would."""
        if self._process is None:
            return
        self._process.kill()
        self._process.communicate()
        self._process = None

    def hang(self) -> None:
        """Let it take connections and answer nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    # -- the directory, as its administrator changes it and sees it

    def publish(self, value: bytes | None, server: str = SERVER) -> None:
        """Write what the object of *server* holds, None for nothing."""
        line = "" if value is None else f"{ATTRIBUTE}:: {base64.b64encode(value).decode()}\n"
        self.modify(f"dn: {dn_of(server)}\nchangetype: modify\nreplace: {ATTRIBUTE}\n{line}-\n")

    def published(self, server: str = SERVER, *, user: str = ADMINISTRATOR) -> bytes | None:
        """Return what ldapsearch shows *user* of the attribute."""
        found = self._tool(
            "ldapsearch",
            "-LLL",
            "-o",
            "ldif-wrap=no",
            "-s",
            "base",
            "-b",
            dn_of(server),
            ATTRIBUTE,
            user=user,
        )
        value = re.search(rf"(?m)^{ATTRIBUTE}:(:?) (.*)$", found)
        if value is None:
            return None
        # RFC 2849: two colons stand before base64, one before text.
        return base64.b64decode(value[2]) if value[1] else value[2].encode()

    def modify(self, ldif: str) -> None:
        """Make the changes of *ldif*."""
        self._tool("ldapmodify", said=ldif)

    def hide(self, server: str = SERVER, *, user: str = READER) -> None:
        """Deny *user* to read the attribute of *server*."""
        self._withhold(user, server)
        self._hidden.add((user, server))

    def unhide(self, server: str = SERVER, *, user: str = READER) -> None:
        """Take that denial back."""
        self._withhold(user, server, "--undo")
        self._hidden.discard((user, server))

    def as_new(self) -> None:
        """Let it be up, with no value and no denial."""
        if self._process is None:
            self.start()
        self.resume()
        for user, server in set(self._hidden):
            self.unhide(server, user=user)
        self.modify(
            "\n".join(
                f"dn: {dn_of(server)}\nchangetype: modify\nreplace: {ATTRIBUTE}\n-\n"
                for server in ("MBX1", "MBX2", "EDGE1")
            )
        )

    def name_address(self) -> None:
        """Give the service ldap a Kerberos name by its address: no resolver knows that of the domain controller."""
        self.modify(
            "dn: CN=DC1,OU=Domain Controllers,DC=contoso,DC=test\nchangetype: modify\n"
            f"add: servicePrincipalName\nservicePrincipalName: ldap/{self.address}\n-\n"
        )

    def _withhold(self, user: str, *words: str) -> None:
        files = (str(self.folder / "etc" / "smb.conf"), str(self.folder / "private" / "sam.ldb"))
        account = user.partition("@")[0]
        _run(["/usr/bin/python3", str(AD / "withhold.py"), *files, account, *words])

    def _tool(self, name: str, *words: str, user: str = ADMINISTRATOR, said: str = "") -> str:
        bind = ["-x", "-H", self.url, "-D", user, "-w", self.password(user)]
        return _run([name, *bind, *words], said=said, LDAPTLS_CACERT=str(self.ca_file))


def dn_of(server: str) -> str:
    """Return the distinguished name of a server object."""
    return f"CN={server},{SERVERS}"


def _run(command: list[str], *, said: str = "", patience: float = PATIENCE, **environment: str) -> str:
    done = subprocess.run(
        command,
        input=said,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=patience,
        check=False,
    )
    assert done.returncode == 0, f"{shlex.join(command[:2])}: {done.stdout}"
    return done.stdout


def _accepts(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=1).close()
    except OSError:
        return False
    return True


def _free_address() -> str:
    """Return an address of the loopback network on which all ports of a domain controller are free."""
    while True:
        address = (
            f"127.{secrets.randbelow(254) + 1}.{secrets.randbelow(254) + 1}.{secrets.randbelow(254) + 1}"
        )
        try:
            for port in _PORTS:
                with socket.socket() as probe:
                    probe.bind((address, port))
        except OSError:
            continue
        return address


def _made_once() -> Path:
    """Return the folder with the domain that ``deploy/ad`` makes, as nobody serves it."""
    sources = [
        *(AD / name for name in ("provision.sh", "seed.py", "schema.ldif")),
        *(AD / "passwords").iterdir(),
    ]
    scripts = b"".join(path.read_bytes() for path in sorted(sources))
    version = _run(["samba", "--version"]).encode()
    home = Path(tempfile.gettempdir()) / f"smtpd-anontls-ad-{os.geteuid()}"
    home.mkdir(mode=0o700, exist_ok=True)
    assert home.stat().st_uid == os.geteuid(), f"{home} is somebody else's"
    made = home / hashlib.sha256(scripts + version).hexdigest()[:16]
    with (home / "lock").open("w") as lock:
        # Other processes of this run wait here for the first.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            making = made.with_suffix(".making")
            shutil.rmtree(making, ignore_errors=True)
            _run([str(AD / "provision.sh"), str(making)], patience=_PROVISIONING)
            making.rename(made)
    return made


def go_without(missing: str) -> NoReturn:
    """End the test: it fails, unless whoever runs it has said that they do without."""
    if "samba" in re.split(r"[\s,]+", os.environ.get("ALLOW_MISSING", "")):
        pytest.skip(f"{missing} (ALLOW_MISSING names samba)")
    pytest.fail(f"{missing}; or go without these tests: ALLOW_MISSING=samba make test", pytrace=False)


def _missing() -> str | None:
    """Return what keeps this machine from running a domain controller, and what would do."""
    if missing := [name for name in ("samba", "ldapmodify", "kinit") if shutil.which(name) is None]:
        return f"{' and '.join(missing)} are not installed: run sudo ./.ci/packages"
    if os.geteuid() != 0:
        return "Samba makes a domain as root alone: run sudo make test"
    return None


@pytest.fixture(scope="session")
def running_domain_controller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DomainController]:
    """Return the domain controller of this process; a test wants ``domain_controller``."""
    if missing := _missing():
        go_without(missing)
    folder = tmp_path_factory.mktemp("ad") / "dc1"
    shutil.copytree(_made_once(), folder, symlinks=True)
    controller = DomainController(folder, _free_address())
    try:
        controller.start()
        controller.name_address()
        yield controller
    finally:
        controller.stop()


@pytest.fixture
def domain_controller(running_domain_controller: DomainController) -> DomainController:
    """Return a domain controller that is up, and in which no server object has a value."""
    running_domain_controller.as_new()
    return running_domain_controller


@pytest.fixture
def kerberos(
    domain_controller: DomainController, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> DomainController:
    """Return the domain controller in whose realm this process is; it has no ticket yet."""
    if importlib.util.find_spec("gssapi") is None:
        go_without("the Python package gssapi is not installed: run ./.ci/kerberos .venv/bin/python")
    monkeypatch.setenv("KRB5_CONFIG", str(domain_controller.krb5_conf))
    monkeypatch.setenv("KRB5CCNAME", f"FILE:{tmp_path}/tickets")
    monkeypatch.delenv("KRB5_CLIENT_KTNAME", raising=False)
    return domain_controller
