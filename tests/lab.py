"""A receiver for tests: its configuration, store and directory in a folder of their own, on free ports.

A test asks for the fixture ``lab`` and enters a receiver; it says only what is not as usual::

    async with lab.receiver(connector={"banner": "hello"}) as receiver, await greeted(receiver) as peer:
        assert await peer.ask("NOOP") == ["250 2.0.0 OK"]
    assert lab.session()["outcome"] == "quit_without_mail"

As usual: server MX1 (mx1.lab.test) with one connector, CONNECTOR, on port 0 of 127.0.0.1, that
takes anonymous mail and offers both TLS verbs; a store with ``internal``, self-signed as Exchange's
own, which the directory names, and ``mx1.lab.test``, issued by an authority.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trustme
import yaml

from smtpd_anontls.authentication.credentials import NtHash, with_user, write_text
from smtpd_anontls.certificates.issue import KeyType, issue
from smtpd_anontls.domain.certificate import Certificate, thumbprint_of
from smtpd_anontls.receiver import Receiver
from smtpd_anontls.settings.load import load_config
from tests.peer import PATIENCE, Peer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

SERVER = "MX1"
FQDN = "mx1.lab.test"
CONNECTOR = "Default Frontend MX1"
ABSENT_THUMBPRINT = "AB" * 20

Json = dict[str, Any]

# What a certificate of the store can be like, with its days of validity from today.
CONDITIONS = {
    "valid": (-1, 800),
    "expired": (-400, -2),
    "soon": (-300, 5),
    "not-yet": (2, 800),
    "no-key": (-1, 800),
    "wrong-key": (-1, 800),
    "not-for-smtp": (-1, 800),
}
STORE = {"internal": "valid", FQDN: "valid"}


@dataclass(frozen=True)
class Credentials:
    """A certificate and its private key, as PEM."""

    chain: bytes
    key: bytes

    @property
    def certificate(self) -> Certificate:
        """The certificate itself."""
        return Certificate.from_der(ssl.PEM_cert_to_DER_cert(self.chain.decode()))


class Pki:
    """Certificates on P-256, each made once for all tests."""

    def __init__(self) -> None:
        self.authority = trustme.CA()
        self._today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        self._made: dict[tuple[str, str], Credentials] = {}

    def credentials(self, name: str, condition: str = "valid") -> Credentials:
        """Return the certificate *name*: ``internal`` signs itself, any other has the authority's signature."""
        wanted = (name, condition)
        if wanted not in self._made:
            first, last = (self._today + timedelta(days=days) for days in CONDITIONS[condition])
            make = self._self_signed if name == "internal" else self._issued
            self._made[wanted] = make(name, first, last)
        return self._made[wanted]

    def _self_signed(self, _name: str, first: datetime, last: datetime) -> Credentials:
        made = issue([SERVER, FQDN], now=first, valid_to=last, key_type=KeyType.EC)
        return Credentials(made.certificate_pem, made.key_pem)

    def _issued(self, name: str, first: datetime, last: datetime) -> Credentials:
        leaf = self.authority.issue_cert(name, not_before=first, not_after=last)
        return Credentials(
            b"".join(pem.bytes() for pem in leaf.cert_chain_pems), leaf.private_key_pem.bytes()
        )


@dataclass
class Lab:
    """The files of one receiver; ``receiver`` writes them and runs it."""

    folder: Path
    pki: Pki
    warnings: list[str] = field(default_factory=list)  # What the receiver said to its operator.
    sessions: list[Json] = field(
        default_factory=list
    )  # All that it recorded, newest first; known when it has ended.
    events: list[Json] = field(default_factory=list)
    messages: list[Json] = field(default_factory=list)
    raw: dict[int, bytes] = field(default_factory=dict)  # The messages as they were received, by id.
    _certificates: dict[str, Certificate] = field(default_factory=dict)

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.folder / "config" / "lab.yaml"

    @property
    def store(self) -> Path:
        """The folder of the local computer store."""
        return self.folder / "certs"

    @property
    def users(self) -> Path:
        """The users of NTLM and LOGIN, where there are any."""
        return self.config.parent / "users.txt"

    @property
    def database(self) -> Path:
        """The journal."""
        return self.folder / "capture.db"

    def certificate(self, name: str) -> Certificate:
        """Return a certificate of the store."""
        return self._certificates[name]

    def name_of(self, der: bytes | None) -> str:
        """Return the name in the store of a certificate that was presented, or its thumbprint."""
        thumbprint = thumbprint_of(der or b"")
        names = [name for name, held in self._certificates.items() if held.thumbprint == thumbprint]
        return names[0] if names else thumbprint

    def write(
        self,
        *,
        connector: Mapping[str, Any] | None = None,
        server: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
        store: Mapping[str, str | None] | None = None,
        directory: str | Mapping[str, Any] | None = "internal",
        neighbours: Mapping[str, Mapping[str, Any]] | None = None,
        users: Mapping[str, str] | None = None,
    ) -> Path:
        """Write all files and return the configuration's path; every argument overlays what is usual.

        *store* gives certificates a condition of CONDITIONS, None leaves one out.  *directory* is the
        name of a certificate, ``missing-thumbprint``, ``unreadable``, None where nothing is set, or the
        server's whole entry; *neighbours* are the entries of other servers.  *users* of NTLM and LOGIN have
        passwords; without any there is no file of users.
        """
        self._write_store({**STORE, **(store or {})})
        entry: Mapping[str, Any]
        match directory:
            case "unreadable":
                entry = {"readable": False}
            case None | str():
                named = None if directory is None else self._thumbprint(directory)
                entry = {"msExchServerInternalTLSCert": named}
            case _:
                entry = directory
        content = {
            "servers": [
                {
                    "name": SERVER,
                    "fqdn": FQDN,
                    "certificate_store": str(self.store),
                    "connectors": [{**USUAL_CONNECTOR, **(connector or {})}],
                    **(server or {}),
                }
            ],
            "directory": {"type": "file", "path": "directory.yaml"},
            "event_log": {"format": "jsonl", "path": "../application.jsonl"},
            "capture": {"url": f"sqlite:///{self.database}"},
            **(settings or {}),
        }
        self.config.parent.mkdir(exist_ok=True)
        if users is not None:
            self._write_users(users)
            content["authentication"] = {"credentials": "users.txt", **content.get("authentication", {})}
        entries = {SERVER: dict(entry), **{name: dict(each) for name, each in (neighbours or {}).items()}}
        (self.config.parent / "directory.yaml").write_text(_yaml(entries))
        self.config.write_text(_yaml(content))
        return self.config

    @asynccontextmanager
    async def receiver(self, **overlay: Any) -> AsyncIterator[Receiver]:
        """Write the files (see ``write``), run a receiver, and keep what it recorded."""
        loaded = load_config(self.write(**overlay), environ={}, machine_fqdn=FQDN)
        assert not loaded.findings, loaded.findings
        receiver = Receiver(loaded, on_warning=self.warnings.append)
        async with receiver:
            yield receiver
            # A test closes its peers first; sessions then end by themselves.
            await all_ended(receiver)
            await self._keep(receiver)

    def session(self) -> Json:
        """Return the newest session, with its transcript."""
        return self.sessions[0]

    async def _keep(self, receiver: Receiver) -> None:
        journal = receiver.journal
        for row in await journal.sessions(limit=1000):
            whole = await journal.session(row["id"])
            assert whole is not None
            self.sessions.append(whole)
        self.events = await journal.events(limit=1000)
        self.messages = await journal.messages(limit=1000)
        for message in self.messages:
            self.raw[message["id"]] = await journal.raw(message["id"]) or b""

    def _thumbprint(self, name: str) -> str:
        return ABSENT_THUMBPRINT if name == "missing-thumbprint" else self.certificate(name).thumbprint

    def _write_users(self, users: Mapping[str, str]) -> None:
        text = ""
        for name, password in users.items():
            text = with_user(text, name, NtHash.of(password))
        write_text(self.users, text)

    def _write_store(self, wanted: Mapping[str, str | None]) -> None:
        self.store.mkdir(exist_ok=True)
        services: dict[str, list[str]] = {}
        for name, condition in wanted.items():
            if condition is None:
                continue
            made = self.pki.credentials(name, condition)
            certificate = self._certificates[name] = made.certificate
            key = b"" if condition == "no-key" else made.key
            if condition == "wrong-key":
                key = self.pki.credentials("somebody-else.lab.test").key
            (self.store / f"{name}.pem").write_bytes(made.chain + key)
            services[certificate.thumbprint] = ["None"] if condition == "not-for-smtp" else ["SMTP"]
        (self.store / "services.yaml").write_text(_yaml(services))


def _yaml(content: object) -> str:
    # libyaml's, where it was compiled in: each receiver has three such files.
    written: str = yaml.dump(content, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper), sort_keys=False)
    return written


async def all_ended(receiver: Receiver) -> None:
    """Wait until no session runs; AssertionError where one does not end."""
    await eventually(lambda: not receiver.listener.sessions)


async def eventually(holds: Callable[[], bool]) -> None:
    """Wait until *holds* is true; TimeoutError where it does not become so."""
    async with asyncio.timeout(PATIENCE):
        while not holds():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.001)


async def greeted(receiver: Receiver, *, receive_buffer: int | None = None) -> Peer:
    """Return a peer of the receiver's connector that has said EHLO."""
    peer = await Peer.connect(receiver.address(CONNECTOR), receive_buffer=receive_buffer)
    assert (await peer.reply())[0].startswith("220 ")
    assert (await peer.ask("EHLO edge.lab.test"))[0].startswith("250-")
    return peer


async def secured(receiver: Receiver, *, receive_buffer: int | None = None) -> Peer:
    """Return a peer of the receiver's connector that has said X-ANONYMOUSTLS, and EHLO again."""
    peer = await greeted(receiver, receive_buffer=receive_buffer)
    assert await peer.ask("X-ANONYMOUSTLS") == ["220 2.0.0 SMTP server ready"]
    await peer.upgrade()
    assert (await peer.ask("EHLO edge.lab.test"))[0].startswith("250-")
    return peer


@dataclass(frozen=True)
class Belongings:
    """What a process holds: its tasks, and its sockets by their names in /proc."""

    tasks: frozenset[asyncio.Task[Any]]
    sockets: frozenset[str]

    @classmethod
    def now(cls) -> Belongings:
        """Look."""
        sockets = set()
        for descriptor in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                name = str(descriptor.readlink())
                if name.startswith("socket:"):
                    sockets.add(name)
        return cls(frozenset(asyncio.all_tasks()), frozenset(sockets))


USUAL_CONNECTOR = {
    "name": CONNECTOR,
    "bindings": ["127.0.0.1:0"],
    "auth_mechanism": ["Tls", "Integrated", "BasicAuth", "BasicAuthRequireTLS", "ExchangeServer"],
    "permission_groups": ["AnonymousUsers", "ExchangeServers"],
    "max_inbound_connection_per_source": "unlimited",
    "max_inbound_connection_percentage_per_source": 100,
    "tarpit_interval": 0,
    "auth_tarpit_interval": 0,
    "max_protocol_errors": "unlimited",
}


@pytest.fixture(scope="session")
def pki() -> Pki:
    """Return the certificates of the tests."""
    return Pki()


@pytest.fixture
def lab(tmp_path: Path, pki: Pki) -> Lab:
    """Return the files of a receiver, which are not written yet."""
    return Lab(tmp_path, pki)
