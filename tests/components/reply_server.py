"""A scripted SMTP peer on a real socket with real TLS, for tests of the client.

A script is a tuple of steps, played for one connection: what to say, what must be heard, when
TLS starts, how it ends.  What was heard is kept; a script that did not go as written fails the
test when the server's context is left.
"""

from __future__ import annotations

import os
import select
import socket
import ssl
import struct
import subprocess
import threading
import warnings
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from smtpd_anontls.client.target import Target
from smtpd_anontls.domain.certificate import thumbprint_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import TracebackType

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
_PATIENCE = 20.0  # Seconds until a step counts as hung; no test waits for it.


@dataclass(frozen=True)
class Say:
    """Send these octets as they are."""

    octets: bytes


@dataclass(frozen=True)
class Hear:
    """Take one line, which must begin so."""

    start: str


@dataclass(frozen=True)
class HearMessage:
    """Take the lines of a message, its final dot included."""


@dataclass(frozen=True)
class HearChunk:
    """Take BDAT with its octets, into ``received``."""


@dataclass(frozen=True)
class Converse:
    """Answer each line with what this returns, until that is no 334."""

    answer: Callable[[str], bytes]


@dataclass(frozen=True)
class Upgrade:
    """Run the server's side of a handshake; it may be meant to fail."""

    context: ssl.SSLContext
    fails: bool = False


@dataclass(frozen=True)
class Reset:
    """Break the connection off with a TCP reset."""


@dataclass(frozen=True)
class Silence:
    """Say nothing until the client goes away."""


@dataclass(frozen=True)
class Drip:
    """Say this again and again, a little at a time, until the client goes away."""

    octets: bytes


@dataclass(frozen=True)
class Echo:
    """Send back all that comes until the client ends, then end too."""


@dataclass(frozen=True)
class Garble:
    """Write these octets past TLS, onto the bare socket."""

    octets: bytes


@dataclass(frozen=True)
class Take:
    """Take whatever octets come next, text or not."""


@dataclass(frozen=True)
class Forward:
    """Join the client to another server of this machine, until either ends."""

    port: int


@dataclass(frozen=True)
class Flood:
    """Send this much at once while the same amount is read from the client."""

    octets: int


Step = (
    Say
    | Hear
    | HearMessage
    | HearChunk
    | Converse
    | Upgrade
    | Reset
    | Silence
    | Drip
    | Echo
    | Flood
    | Take
    | Forward
    | Garble
)


@dataclass
class Identity:
    """A certificate with its key, and contexts that present it."""

    pem: Path
    thumbprint: str

    def context(
        self,
        minimum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2,
        maximum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2,
    ) -> ssl.SSLContext:
        """Return a server context for these versions."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version, context.maximum_version = minimum, maximum
        context.load_cert_chain(self.pem)
        return context


def make_identity(
    folder: Path,
    name: str = "mbx1.contoso.test",
    *,
    not_before: datetime = NOW - timedelta(days=30),
    not_after: datetime = NOW + timedelta(days=365),
    issuer: str | None = None,
) -> Identity:
    """Make a certificate for *name*, self-signed unless *issuer* names somebody else."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer or name)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("mbx1.contoso.test")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = folder / f"{x509.random_serial_number():x}.pem"
    pem.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        + certificate.public_bytes(Encoding.PEM)
    )
    return Identity(pem, thumbprint_of(certificate.public_bytes(Encoding.DER)))


@dataclass
class ReplyServer:
    """Plays its script for the first connection; ``heard`` has the lines that the client said."""

    script: tuple[Step, ...]
    host: str = "127.0.0.1"
    heard: list[str] = field(default_factory=list)
    received: bytearray = field(default_factory=bytearray)
    client_certificate: bytes | None = None  # What the client presented, as DER.
    _failure: BaseException | None = None

    def __enter__(self) -> Self:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self._listener = socket.create_server((self.host, 0), family=family)
        self._listener.settimeout(_PATIENCE)
        self._pace = threading.Event()
        self._thread = threading.Thread(target=self._play, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._thread.join(_PATIENCE)
        self._listener.close()
        if kind is None:
            assert not self._thread.is_alive(), "the script is still waiting for the client"
            if self._failure is not None:
                raise self._failure

    @property
    def target(self) -> Target:
        """Where it listens."""
        return Target(self.host, self._listener.getsockname()[1])

    def _play(self) -> None:
        self._buffer = b""
        try:
            connection, _ = self._listener.accept()
            connection.settimeout(_PATIENCE)
            try:
                for step in self.script:
                    connection = self._do(step, connection)
            finally:
                connection.close()
        except BaseException as failure:  # noqa: BLE001 - it is raised again in the test's own thread.
            self._failure = failure

    def _do(self, step: Step, connection: socket.socket) -> socket.socket:
        match step:
            case Say(octets):
                connection.sendall(octets)
            case Hear(start):
                line = self._line(connection)
                self.heard.append(line)
                assert line.startswith(start), f"heard {line!r} instead of {start!r}"
            case HearMessage():
                while (line := self._line(connection)) != ".":
                    self.heard.append(line)
            case HearChunk():
                self._hear_chunk(connection)
            case Converse(answer):
                self._converse(answer, connection)
            case Upgrade(context, fails):
                return self._upgrade(context, connection, fails=fails)
            case _:
                self._do_at_length(step, connection)
        return connection

    def _do_at_length(  # noqa: C901 - one case a step.
        self, step: Reset | Silence | Drip | Echo | Flood | Take | Forward | Garble, connection: socket.socket
    ) -> None:
        match step:
            case Reset():
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.close()
            case Garble(octets):
                os.write(connection.fileno(), octets)
            case Take():
                connection.recv(65536)
            case Silence():
                with suppress(OSError):
                    while connection.recv(65536):
                        pass
            case Echo():
                while octets := connection.recv(65536):
                    connection.sendall(octets)
            case Drip(octets):
                with suppress(OSError):
                    while True:
                        connection.sendall(octets)
                        self._pace.wait(0.02)
            case Forward(port):
                with socket.create_connection(("127.0.0.1", port), _PATIENCE) as other:
                    _join(connection, other)
            case Flood(amount):
                self._flood(amount, connection)

    def _upgrade(self, context: ssl.SSLContext, connection: socket.socket, *, fails: bool) -> socket.socket:
        try:
            # A client that ends without close_notify is not what is tested here.
            secured = context.wrap_socket(connection, server_side=True, suppress_ragged_eofs=True)
        except OSError:
            assert fails, "the handshake failed"
            return connection
        assert not fails, "the handshake was to fail"
        self.client_certificate = secured.getpeercert(binary_form=True)
        return secured

    def _hear_chunk(self, connection: socket.socket) -> None:
        self.heard.append(self._line(connection))
        verb, size, last = self.heard[-1].split()
        assert (verb, last) == ("BDAT", "LAST")
        while len(self._buffer) < int(size):
            octets = connection.recv(65536)
            assert octets, "the client left within its chunk"
            self._buffer += octets
        self.received += self._buffer[: int(size)]
        self._buffer = self._buffer[int(size) :]

    def _converse(self, answer: Callable[[str], bytes], connection: socket.socket) -> None:
        said = b"334"
        while said.startswith(b"334"):
            self.heard.append(self._line(connection))
            said = answer(self.heard[-1])
            connection.sendall(said)

    def _line(self, connection: socket.socket) -> str:
        while b"\n" not in self._buffer:
            octets = connection.recv(65536)
            assert octets, f"the client left after {self.heard}"
            self._buffer += octets
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode().rstrip("\r")

    def _flood(self, amount: int, connection: socket.socket) -> None:
        """Write and read at once, with small turns, as a client that does the same expects."""
        self.received += self._buffer
        outgoing = memoryview(bytes(range(256)) * (amount // 256))
        connection.settimeout(0)
        not_now = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
        while outgoing or len(self.received) < amount:
            with suppress(*not_now):
                outgoing = outgoing[connection.send(outgoing[:16384]) :]
            with suppress(*not_now):
                self.received += connection.recv(16384)
        connection.settimeout(_PATIENCE)


def _join(first: socket.socket, second: socket.socket) -> None:
    """Carry octets both ways until one side ends."""
    while True:
        ready, _, _ = select.select([first, second], [], [], _PATIENCE)
        assert ready, "neither side said anything"
        for source, sink in ((first, second), (second, first)):
            if source in ready:
                octets = source.recv(65536)
                if not octets:
                    return
                sink.sendall(octets)


class OpensslServer:
    """A running ``openssl s_server``, whose standard input is what it says inside TLS."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._stdin, self._stdout = process.stdin, process.stdout
        self.port = int(self.printed(b"ACCEPT").rsplit(b":", 1)[1])

    def say(self, octets: bytes) -> None:
        """Send these octets; a single letter in a line is a command to openssl itself."""
        self._stdin.write(octets)
        self._stdin.flush()

    def printed(self, part: bytes) -> bytes:
        """Return the next line of its output that has *part* in it."""
        found = next((line for line in self._stdout if part in line), None)
        assert found is not None, f"openssl s_server ended without {part!r}"
        return found


@contextmanager
def openssl_server(identity: Identity, *flags: str) -> Iterator[OpensslServer]:
    """Run ``openssl s_server`` with *flags* for one connection, on a port of its own choice."""
    command = ["openssl", "s_server", "-accept", "127.0.0.1:0", "-naccept", "1", "-cert", str(identity.pem)]
    with subprocess.Popen(
        [*command, *flags], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        try:
            yield OpensslServer(process)
        finally:
            process.kill()
            process.communicate()
