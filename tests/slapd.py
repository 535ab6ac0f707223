"""An OpenLDAP server on loopback that holds the configuration partition of an Exchange organization.

The class and attribute names are Exchange's; OIDs that no public source names are of RFC 5612's
documentation arc.  What it cannot be: access control by SDDL, change notification, UPN binds.
"""

from __future__ import annotations

import base64
import os
import signal
import socket
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import trustme

from smtpd_anontls.domain.ldap_access import BindMethod, LdapAccess, LdapBind

if TYPE_CHECKING:
    from collections.abc import Iterator

SUFFIX = "DC=contoso,DC=test"
CONFIGURATION = f"CN=Configuration,{SUFFIX}"
EDGE_CONFIGURATION = "CN=Configuration,CN={6D5E3F1C-9B0A-4C57-8E2D-1F0A3B5C7D9E}"  # As AD LDS names it.
EXCHANGE = f"CN=Microsoft Exchange,CN=Services,{CONFIGURATION}"
ORGANIZATION = f"CN=Contoso,{EXCHANGE}"
GROUPS = f"CN=Administrative Groups,{ORGANIZATION}"
GROUP = f"CN=Exchange Administrative Group (FYDIBOHF23SPDLT),{GROUPS}"
SERVERS = f"CN=Servers,{GROUP}"
ADMINISTRATOR, ADMINISTRATOR_PASSWORD = f"cn=admin,{SUFFIX}", "not-a-real-secret"
READER, READER_PASSWORD = f"cn=svc-reader,{SUFFIX}", "reader-password"
BLIND, BLIND_PASSWORD = f"cn=svc-blind,{SUFFIX}", "blind-password"

_READY_SECONDS = 20.0
_ARC = "1.3.6.1.4.1.32473.1"
_CLASSES = "1.2.840.113556.1.5.7000.62"
_SCHEMA = f"""\
attributetype ( {_ARC}.1.1 NAME 'msExchServerInternalTLSCert' EQUALITY octetStringMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.40 SINGLE-VALUE )
objectclass ( 1.2.840.113556.1.3.23 NAME 'container' SUP top STRUCTURAL MUST cn )
objectclass ( 1.2.840.113556.1.5.176 NAME 'msExchConfigurationContainer' SUP container STRUCTURAL )
objectclass ( {_CLASSES}.50020 NAME 'msExchOrganizationContainer' SUP container STRUCTURAL )
objectclass ( {_CLASSES}.50019 NAME 'msExchAdminGroupContainer' SUP container STRUCTURAL )
objectclass ( {_CLASSES}.50011 NAME 'msExchAdminGroup' SUP top STRUCTURAL MUST cn )
objectclass ( {_CLASSES}.50013 NAME 'msExchServersContainer' SUP container STRUCTURAL )
objectclass ( 1.2.840.113556.1.5.17 NAME 'server' SUP top STRUCTURAL MUST cn )
objectclass ( {_CLASSES}.50009 NAME 'msExchExchangeServer' SUP server STRUCTURAL MAY msExchServerInternalTLSCert )
"""
_CONFIGURATION = """\
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include {base}/exchange.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {base}/slapd.pid
TLSCertificateFile {base}/certificate.pem
TLSCertificateKeyFile {base}/key.pem
sizelimit unlimited
sockbuf_max_incoming_auth 16777216
access to dn.base="" by * read
database mdb
suffix "{configuration}"
directory {base}/configuration
maxsize 67108864
dbnosync
rootdn "{administrator}"
access to attrs=msExchServerInternalTLSCert by dn.exact="{reader}" read by * none
access to * by users read by * none
database mdb
suffix "{suffix}"
directory {base}/users
maxsize 67108864
dbnosync
rootdn "{administrator}"
rootpw {password}
access to attrs=userPassword by anonymous auth by * none
access to * by * none
"""


def _entry(dn: str, *classes: str, **attributes: str) -> str:
    values = [*(("objectClass", each) for each in classes), *attributes.items()]
    if dn.upper().startswith("CN="):
        values.append(("cn", dn.partition(",")[0][3:]))
    return "\n".join([f"dn: {dn}", *(f"{name}: {value}" for name, value in values)]) + "\n"


def _configuration_partition(configuration: str) -> str:
    """Return the entries of an organization with two servers."""
    names = (EXCHANGE, ORGANIZATION, GROUPS, GROUP, SERVERS, f"CN=MBX1,{SERVERS}", f"CN=MBX2,{SERVERS}")
    classes = (
        "msExchConfigurationContainer",
        "msExchOrganizationContainer",
        "msExchAdminGroupContainer",
        "msExchAdminGroup",
        "msExchServersContainer",
        "msExchExchangeServer",
        "msExchExchangeServer",
    )
    top = (_entry(CONFIGURATION, "container"), _entry(f"CN=Services,{CONFIGURATION}", "container"))
    exchange = (_entry(name, each) for name, each in zip(names, classes, strict=True))
    return "\n".join((*top, *exchange)).replace(CONFIGURATION, configuration)


_USERS = "\n".join(
    [
        _entry(SUFFIX, "dcObject", "organization", dc="contoso", o="Contoso"),
        _entry(READER, "person", sn="reader", userPassword=READER_PASSWORD),
        _entry(BLIND, "person", sn="blind", userPassword=BLIND_PASSWORD),
    ]
)


@dataclass
class Slapd:
    """The server, and the administrator's hand on it."""

    base: Path
    port: int
    tls_port: int
    authority: trustme.CA
    configuration: str = CONFIGURATION
    process: subprocess.Popen[bytes] | None = None
    environment: dict[str, str] = field(default_factory=lambda: {**os.environ, "LDAPNOINIT": "1"})

    @property
    def url(self) -> str:
        """Its LDAPS URL; the certificate holds the name and the address."""
        return f"ldaps://127.0.0.1:{self.tls_port}"

    @property
    def plain_url(self) -> str:
        """Its LDAP URL, for StartTLS and for clear text."""
        return f"ldap://127.0.0.1:{self.port}"

    @property
    def ca_file(self) -> str:
        """The authority that issued its certificate."""
        return str(self.base / "authority.pem")

    def dn(self, server: str) -> str:
        """Return the DN of a server's object."""
        return f"CN={server},{SERVERS}".replace(CONFIGURATION, self.configuration)

    def access(self, *urls: str, **changes: object) -> LdapAccess:
        """Return how the reader asks it, with *changes* to the fields of LdapAccess."""
        settings: dict[str, object] = {
            "bind": bind(),
            "ca_file": self.ca_file,
            "configuration_dn": self.configuration,
            **changes,
        }
        return LdapAccess(urls=urls or (self.url,), **settings)  # type: ignore[arg-type]

    def start(self) -> None:
        """Start it, and wait until it answers."""
        listen = f"ldap://127.0.0.1:{self.port} ldaps://127.0.0.1:{self.tls_port}"
        with (self.base / "output").open("ab") as output:
            self.process = subprocess.Popen(
                ["/usr/sbin/slapd", "-d", "0", "-f", self.base / "slapd.conf", "-h", listen],
                stdout=output,
                stderr=output,
            )
        until = time.monotonic() + _READY_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.tls_port), 1).close()
            except OSError:
                said = (self.base / "output").read_text()
                assert self.process.poll() is None, f"slapd ended: {said}"
                assert time.monotonic() < until, f"slapd is not ready: {said}"
                time.sleep(0.01)
            else:
                return

    def stop(self) -> None:
        """End it, whatever it does."""
        if self.process is not None:
            self.resume()
            self.process.terminate()
            self.process.wait(20)
            self.process = None

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Let it take connections and answer nothing, for a while."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        # One of its threads may answer a moment longer.
        threads = Path(f"/proc/{self.process.pid}/task")
        end = time.monotonic() + 20
        while any("\nState:\tT" not in (each / "status").read_text() for each in threads.iterdir()):
            assert time.monotonic() < end, "slapd does not stop"
            time.sleep(0.001)
        try:
            yield
        finally:
            self.resume()

    def resume(self) -> None:
        """Let it go on."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)

    def set(self, value: bytes | None, server: str = "MBX1") -> None:
        """Let the attribute of *server* hold *value*; None clears it."""
        change = f"dn: {self.dn(server)}\nchangetype: modify\nreplace: msExchServerInternalTLSCert\n"
        if value is not None:
            change += f"msExchServerInternalTLSCert:: {base64.b64encode(value).decode()}\n"
        self._ldap("ldapmodify", text=change)

    def add(self, dn: str, *classes: str) -> None:
        """Add an entry."""
        self._ldap("ldapadd", text=_entry(dn, *classes))

    def delete(self, dn: str) -> None:
        """Delete an entry."""
        self._ldap("ldapdelete", dn)

    def rename(self, dn: str, to: str) -> None:
        """Give an entry another relative name."""
        self._ldap("ldapmodrdn", "-r", dn, to)

    def value(self, server: str = "MBX1") -> bytes | None:
        """Return what ldapsearch, which shares nothing with our client, reads."""
        printed = self._ldap(
            "ldapsearch", "-LLL", "-o", "ldif-wrap=no", "-s", "base",
            "-b", self.dn(server), "msExchServerInternalTLSCert",
        )  # fmt: skip
        for line in printed.splitlines():
            name, _, text = line.partition(":: ")
            if name == "msExchServerInternalTLSCert":
                return base64.b64decode(text)
            if line.startswith("msExchServerInternalTLSCert: "):
                return line.partition(": ")[2].encode()
        return None

    def _ldap(self, command: str, *arguments: str, text: str = "") -> str:
        who = ["-x", "-D", ADMINISTRATOR, "-w", ADMINISTRATOR_PASSWORD]
        done = subprocess.run(
            [command, "-H", f"ldap://127.0.0.1:{self.port}", *who, *arguments],
            input=text, capture_output=True, text=True, check=False, timeout=30, env=self.environment,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout


def bind(user: str = READER, password: str = READER_PASSWORD, *, allow_clear: bool = False) -> LdapBind:
    """Return a simple bind."""
    return LdapBind(BindMethod.SIMPLE, user, lambda: password, allow_clear=allow_clear)


@contextmanager
def running(
    base: Path,
    *,
    authority: trustme.CA | None = None,
    names: tuple[str, ...] = ("localhost", "127.0.0.1"),
    configuration: str = CONFIGURATION,
) -> Iterator[Slapd]:
    """Run a server that keeps its data in *base*, with a certificate for *names*."""
    missing = [each for each in ("/usr/sbin/slapd", "/usr/bin/ldapsearch") if not Path(each).exists()]
    assert not missing, f"{missing[0]} is missing; run: sudo .ci/packages"
    authority = authority or trustme.CA()
    for each in ("configuration", "users"):
        (base / each).mkdir(parents=True)
    authority.cert_pem.write_to_path(base / "authority.pem")
    certificate = authority.issue_cert(*names)
    certificate.private_key_pem.write_to_path(base / "key.pem")
    for index, link in enumerate(certificate.cert_chain_pems):
        link.write_to_path(base / "certificate.pem", append=index > 0)
    (base / "exchange.schema").write_text(_SCHEMA)
    (base / "slapd.conf").write_text(
        _CONFIGURATION.format(
            base=base,
            suffix=SUFFIX,
            configuration=configuration,
            administrator=ADMINISTRATOR,
            password=ADMINISTRATOR_PASSWORD,
            reader=READER,
        )
    )
    for suffix, entries in ((configuration, _configuration_partition(configuration)), (SUFFIX, _USERS)):
        added = subprocess.run(
            ["/usr/sbin/slapadd", "-q", "-f", base / "slapd.conf", "-b", suffix],
            input=entries, capture_output=True, text=True, check=False, timeout=30,
        )  # fmt: skip
        assert added.returncode == 0, added.stderr
    server = Slapd(base, free_port(), free_port(), authority, configuration)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def free_port() -> int:
    """Return a port that nothing listens on, for a server that takes a number alone and comes back to it."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])
