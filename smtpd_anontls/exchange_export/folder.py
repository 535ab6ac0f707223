"""A folder of dumps and certificates, whatever the files are called: what each of them holds.

A file is known by what is inside: XML is a dump and has to be one that is understood, a certificate is
one in DER or PEM, and what is neither is passed over and named.
"""

from __future__ import annotations

import codecs
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from smtpd_anontls.domain.printable import printable
from smtpd_anontls.exchange_export import certificates, connectors, servers
from smtpd_anontls.exchange_export.clixml import LARGEST, DumpError, read_clixml
from smtpd_anontls.exchange_export.findings import NotUnderstoodError
from smtpd_anontls.notation.snapshot import UnreadableFileError, reason_of, take

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from smtpd_anontls.domain.certificate import Certificate
    from smtpd_anontls.exchange_export.certificates import ReadCertificate
    from smtpd_anontls.exchange_export.connectors import ReadConnector
    from smtpd_anontls.exchange_export.dumped import Dumped
    from smtpd_anontls.exchange_export.servers import ReadServer, ReadTransport

MOST_FILES = 1000
DIRECTORY_VALUE = "X509Certificate2"  # Of its own, not from a store: the value read from the directory.
CMDLETS = (
    "Get-ReceiveConnector, Get-ExchangeCertificate, Get-TransportService, Get-ExchangeServer, "
    "and the X509Certificate2 of msExchServerInternalTLSCert"
)

_BYTE_ORDER_MARKS = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_CLIXML_NAMES = (".xml", ".clixml")
_CERTIFICATE_NAMES = (".cer", ".crt", ".der")
_ASN1_SEQUENCE = b"\x30"
_PEM = b"-----BEGIN CERTIFICATE-----"
_KEY = b"PRIVATE KEY-----"
_HEAD = 512


@dataclass(slots=True)
class Found:
    """What the files of a folder hold, each with the name of its file."""

    connectors: list[tuple[ReadConnector, str]] = field(default_factory=list)
    certificates: list[tuple[ReadCertificate, str]] = field(default_factory=list)
    servers: list[tuple[ReadServer, str]] = field(default_factory=list)
    transports: list[tuple[ReadTransport, str]] = field(default_factory=list)
    directory_values: list[tuple[Certificate, str]] = field(default_factory=list)
    plain: list[tuple[Certificate, str]] = field(default_factory=list)
    passed_over: list[tuple[str, str]] = field(default_factory=list)  # File, and why.
    mistakes: list[str] = field(default_factory=list)


def read_folder(folder: Path) -> Found:
    """Return what the files of *folder* hold; what is wrong with them is among its mistakes."""
    found = Found()
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if not entry.name.startswith("."))
    except OSError as error:
        found.mistakes.append(
            printable(f"{folder}: cannot be listed ({reason_of(error)}); name the folder with the dumps")
        )
        return found
    if len(names) > MOST_FILES:
        found.mistakes.append(
            printable(f"{folder}: holds more than {MOST_FILES} files; name one with the dumps alone")
        )
        return found
    for name in names:
        _read_file(folder / name, found)
    return found


def _read_file(path: Path, found: Found) -> None:
    name = printable(path.name)
    if path.is_dir():
        found.passed_over.append((name, "is a folder"))
        return
    try:
        octets = take(path, LARGEST).content
    except FileNotFoundError:
        found.mistakes.append(f"{name}: went away while the folder was read")
        return
    except UnreadableFileError as error:
        found.mistakes.append(f"{name}: {error}")
        return
    suffix = path.suffix.lower()
    if suffix in _CLIXML_NAMES or _looks_like_xml(octets):
        _read_dump(name, octets, found)
    elif _KEY in octets[: 16 * _HEAD] and _PEM not in octets:
        found.passed_over.append((name, "holds a private key; import takes public certificates alone"))
    elif suffix in _CERTIFICATE_NAMES or _PEM in octets:
        try:
            found.plain += ((each, name) for each in certificates.read_plain_certificates(octets))
        except ValueError as error:
            found.mistakes.append(f"{name}: {error}")
    else:
        found.passed_over.append((name, "is neither a dump nor a certificate"))


def _looks_like_xml(octets: bytes) -> bool:
    head = octets[:_HEAD]
    for mark in _BYTE_ORDER_MARKS:
        head = head.removeprefix(mark)
    # UTF-16 has a zero beside each of these characters.
    return head.replace(b"\0", b"").lstrip().startswith(b"<")


def _read_dump(name: str, octets: bytes, found: Found) -> None:
    try:
        objects = read_clixml(octets)
    except DumpError as error:
        found.mistakes.append(f"{name}: {error}")
        return
    if not objects:
        found.passed_over.append((name, "is a dump that holds no object"))
    strange: dict[str, int] = {}
    for each in objects:
        read = _READERS.get(each.kind)
        if read is None:
            shown = each.type_name or each.text or "nothing that has a type"
            strange[shown] = strange.get(shown, 0) + 1
            continue
        try:
            read(each, name, found)
        except NotUnderstoodError as error:
            found.mistakes += map(printable, error.lines)
    found.mistakes += (
        printable(
            f"{name}: holds {count} of {kind[:100]}, which import does not read; it takes dumps of {CMDLETS}"
        )
        for kind, count in strange.items()
    )


def _connector(exported: Dumped, name: str, found: Found) -> None:
    found.connectors.append((connectors.read_connector(exported, name), name))


def _certificate(exported: Dumped, name: str, found: Found) -> None:
    found.certificates.append((certificates.read_exchange_certificate(exported, name), name))


def _server(exported: Dumped, name: str, found: Found) -> None:
    found.servers.append((servers.read_server(exported, name), name))


def _transport(exported: Dumped, name: str, found: Found) -> None:
    found.transports.append((servers.read_transport(exported, name), name))


def _directory_value(exported: Dumped, name: str, found: Found) -> None:
    found.directory_values.append((certificates.certificate_of(exported, name), name))


_READERS: dict[str, Callable[[Dumped, str, Found], None]] = {
    connectors.KIND: _connector,
    certificates.KIND: _certificate,
    servers.SERVER: _server,
    servers.TRANSPORT: _transport,
    # What Get-TransportService is called in the documents.
    "TransportService": _transport,
    DIRECTORY_VALUE: _directory_value,
}
