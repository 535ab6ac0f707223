"""What the tests are made of: real certificates, and ports that answer from memory and note each question.

Certificates are signed once and kept, since the tables ask for the same ones again and again.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from smtpd_anontls.domain.certificate import Certificate, KeyState, StoreCertificate

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Sequence

    from smtpd_anontls.domain.connectors import ReceiveConnector, Server
    from smtpd_anontls.domain.directory_value import Answer
    from smtpd_anontls.selection.outcome import Directory, Selection, Store
    from smtpd_anontls.selection.validity import Moment

Result = TypeVar("Result")

NOW = datetime(2027, 6, 1, 12, 0, 0, tzinfo=UTC)
DAY = timedelta(days=1)
AUTHORITY = "Contoso Issuing CA"
SMTP = frozenset({"SMTP"})


@cache
def key(_owner: str) -> ec.EllipticCurvePrivateKey:
    """Return the private key of an owner, the same one each time."""
    return ec.generate_private_key(ec.SECP256R1())


def common_name(text: str) -> x509.Name:
    """Return the name that is this common name alone."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


@cache
def der(
    subject: x509.Name | str = "mbx1",
    *,
    issuer: x509.Name | str | None = None,
    names: tuple[str, ...] = ("mbx1", "mbx1.contoso.test"),
    not_before: datetime = NOW - 30 * DAY,
    not_after: datetime = NOW + 300 * DAY,
    serial: int = 0x5C7A,
    extensions: tuple[x509.ExtensionType, ...] = (),
) -> bytes:
    """Return a signed certificate; without *issuer* it signs itself."""
    subject = common_name(subject) if isinstance(subject, str) else subject
    issuer = common_name(issuer) if isinstance(issuer, str) else issuer
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer)
        .public_key(key("server").public_key())
        .serial_number(serial)
        .not_valid_before(not_before)
        .not_valid_after(not_after)
    )
    if names:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([_general_name(n) for n in names]), critical=False
        )
    for added in extensions:
        builder = builder.add_extension(added, critical=False)
    signer = key("server" if issuer is None else "authority")
    return builder.sign(signer, hashes.SHA256()).public_bytes(Encoding.DER)


def certificate(
    subject: x509.Name | str = "mbx1",
    *,
    issuer: x509.Name | str | None = None,
    names: tuple[str, ...] = ("mbx1", "mbx1.contoso.test"),
    not_before: datetime = NOW - 30 * DAY,
    not_after: datetime = NOW + 300 * DAY,
    serial: int = 0x5C7A,
) -> Certificate:
    """Return the certificate of ``der``, read."""
    return Certificate.from_der(
        der(subject, issuer=issuer, names=names, not_before=not_before, not_after=not_after, serial=serial),
    )


def stored(
    certificate: Certificate,
    file: str = "mbx1.pem",
    *,
    key: KeyState = KeyState.USABLE,
    services: frozenset[str] | None = SMTP,
) -> StoreCertificate:
    """Return *certificate* as the local computer store would hold it."""
    return StoreCertificate(certificate, key, services, file)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def element(tag: int, *contents: bytes) -> bytes:
    """Return a DER element."""
    content = b"".join(contents)
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets)]) + octets + content


def elements(content: bytes) -> list[bytes]:
    """Split the content of a DER element into the elements that it is made of."""
    found = []
    while content:
        header, size = _header(content)
        found.append(content[: header + size])
        content = content[header + size :]
    return found


def content_of(whole: bytes) -> bytes:
    """Return what a DER element holds."""
    header, size = _header(whole)
    return whole[header : header + size]


def version_1(whole: bytes) -> bytes:
    """Return *whole*, a certificate, as X.509 v1: no version, no extensions (the signature no longer holds)."""
    signed, *rest = elements(content_of(whole))
    # [0] is the version, [3] the extensions: RFC 5280 section 4.1.
    kept = [part for part in elements(content_of(signed)) if part[0] not in {0xA0, 0xA3}]
    return element(0x30, element(0x30, *kept), *rest)


def _header(whole: bytes) -> tuple[int, int]:
    first = whole[1]
    if first < 0x80:
        return 2, first
    more = first & 0x7F
    return 2 + more, int.from_bytes(whole[2 : 2 + more], "big")


def record(kind: int, content: bytes) -> bytes:
    """Return one property record of a Windows serialized certificate."""
    return struct.pack("<III", kind, 1, len(content)) + content


class Select(Protocol):
    """A selection: of the anonymous TLS or of the STARTTLS certificate."""

    def __call__(
        self,
        connector: ReceiveConnector,
        server: Server,
        *,
        directory: Directory,
        store: Store,
        moment: Moment,
    ) -> Coroutine[Any, Any, Selection]:
        """Select the certificate of *connector*."""
        ...


# What MemoryStore keeps for the moment.
EPHEMERAL = certificate("MBX1", names=("MBX1", "mbx1.contoso.test"), serial=0xE)


@dataclass
class MemoryDirectory:
    """A directory with one answer, and the questions that it was asked."""

    answer: Answer
    asked: list[str] = field(default_factory=list)

    async def internal_tls_certificate(self, server: str) -> Answer:
        """Return the answer, whichever the server."""
        self.asked.append(f"directory: {server}")
        return self.answer


@dataclass
class MemoryStore:
    """A local computer store in memory, and the questions that it was asked."""

    certificates: Sequence[StoreCertificate]
    asked: list[str] = field(default_factory=list)

    async def find(self, thumbprint: str) -> StoreCertificate | None:
        """Return the certificate with this thumbprint."""
        self.asked.append("store: find")
        return next((c for c in self.certificates if c.certificate.thumbprint == thumbprint), None)

    async def all(self) -> Sequence[StoreCertificate]:
        """Return every certificate."""
        self.asked.append("store: all")
        return self.certificates

    async def ephemeral(self, names: Sequence[str], now: datetime) -> Certificate:  # noqa: ARG002 - of the port
        """Return EPHEMERAL, whoever asks."""
        self.asked.append(f"store: ephemeral {', '.join(names)}")
        return EPHEMERAL


def result_of(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Run a selection to its end; it awaits nothing but its ports, and these answer at once."""
    try:
        coroutine.send(None)
    except StopIteration as ended:
        result: Result = ended.value
        return result
    coroutine.close()
    raise AssertionError("the selection waited for something other than its ports")


def decided(
    select: Select,
    connector: ReceiveConnector,
    server: Server,
    *,
    answer: Answer,
    store: Sequence[StoreCertificate],
    moment: Moment,
) -> tuple[Selection, tuple[str, ...]]:
    """Run a selection; return it, and the questions that its ports were asked, in order."""
    asked: list[str] = []
    selection = result_of(
        select(
            connector,
            server,
            directory=MemoryDirectory(answer, asked),
            store=MemoryStore(store, asked),
            moment=moment,
        )
    )
    return selection, tuple(asked)


def marks(steps: Iterable[tuple[str, bool]]) -> str:
    """Write steps and their answers in short: ``auth_mechanism+ suppression-``."""
    return " ".join(f"{step}{'+' if passed else '-'}" for step, passed in steps)
