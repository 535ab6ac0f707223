"""The export of one server: what the dumps of a folder say of it together.

Where two of them speak of the same thing they have to agree; what none of them says is left open.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from smtpd_anontls.domain.certificate import Exported, PrivateKey
from smtpd_anontls.domain.directory_value import Named, Unreadable, ValueForm
from smtpd_anontls.domain.flags import ServerRole
from smtpd_anontls.domain.printable import printable
from smtpd_anontls.exchange_export.certificates import KIND as CERTIFICATE
from smtpd_anontls.exchange_export.certificates import ReadCertificate, pending
from smtpd_anontls.exchange_export.connectors import KIND as CONNECTOR
from smtpd_anontls.exchange_export.findings import Dropped
from smtpd_anontls.exchange_export.folder import Found, read_folder
from smtpd_anontls.exchange_export.names import is_same_server
from smtpd_anontls.exchange_export.servers import SERVER, TRANSPORT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from smtpd_anontls.domain.certificate import Certificate
    from smtpd_anontls.domain.connectors import ReceiveConnector
    from smtpd_anontls.domain.directory_value import Answer
    from smtpd_anontls.exchange_export.findings import Taken

_WHOLE = "(the object)"
_NOT_TOLD = "no dump tells the internal transport certificate"


class ExportError(Exception):
    """The folder cannot be imported; ``lines`` has one line for each reason."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.lines = tuple(dict.fromkeys(lines))
        super().__init__("\n".join(self.lines))


@dataclass(frozen=True, slots=True)
class InternalTransport:
    """What msExchServerInternalTLSCert held, as far as the export tells."""

    answer: Answer  # Unreadable: it does not.
    certificate: Certificate | None = None  # The value itself, where it was exported.
    source: str = ""

    @property
    def is_told(self) -> bool:
        """Whether the export says what the attribute held, if only that it is not set."""
        return not isinstance(self.answer, Unreadable)


@dataclass(frozen=True, slots=True)
class ServerExport:
    """One server, as its export says."""

    name: str
    fqdn: str
    fqdn_from: str  # A clause: where the name was read.
    role: ServerRole
    connectors: tuple[ReceiveConnector, ...]
    certificates: tuple[ReadCertificate, ...]
    internal: InternalTransport
    taken: tuple[Taken, ...]
    dropped: tuple[Dropped, ...]
    passed_over: tuple[tuple[str, str], ...]  # Files, and why.


def read_export(folder: Path, server: str | None = None) -> ServerExport:
    """Return the export of *server*, or of the only one in *folder*; ExportError has a line for each mistake."""
    found = read_folder(folder)
    if found.mistakes:
        raise ExportError(found.mistakes)
    return _Reading(found, _chosen(found, server, printable(str(folder)))).result()


def _chosen(found: Found, wanted: str | None, folder: str) -> str:
    names = {read.server.casefold(): read.server for read, _ in found.connectors}
    if not names:
        how = "Get-ReceiveConnector -Server NAME | Export-Clixml receive-connectors.xml"
        raise ExportError([f"{folder}: holds no dump of Get-ReceiveConnector; run: {how}"])
    known = ", ".join(sorted(names.values()))
    if wanted is not None:
        chosen = next((name for name in names.values() if is_same_server(name, wanted)), None)
        if chosen is None:
            raise ExportError([f"--server: {printable(repr(wanted))} is not one of {printable(known)}"])
        return chosen
    if len(names) > 1:
        files = ", ".join(dict.fromkeys(source for _, source in found.connectors))
        raise ExportError([printable(f"{files}: connectors of {known}; say --server with one of them")])
    return next(iter(names.values()))


class _Reading:
    """Puts together what concerns one server."""

    def __init__(self, found: Found, name: str) -> None:
        self._found = found
        self._name = name
        self._dropped: list[Dropped] = []
        self._taken: list[Taken] = []
        self._mistakes: list[str] = []

    def result(self) -> ServerExport:
        connectors = self._connectors()
        fqdn, fqdn_from, role = self._server(connectors)
        certificates = self._certificates()
        internal = self._internal()
        if self._mistakes:
            raise ExportError(map(printable, self._mistakes))
        return ServerExport(
            name=self._name,
            fqdn=fqdn,
            fqdn_from=fqdn_from,
            role=role,
            connectors=connectors,
            certificates=certificates,
            internal=internal,
            taken=tuple(self._taken),
            dropped=tuple(dict.fromkeys(self._dropped)),
            passed_over=tuple(self._found.passed_over),
        )

    def _connectors(self) -> tuple[ReceiveConnector, ...]:
        kept: dict[str, tuple[ReceiveConnector, str]] = {}
        for read, source in self._found.connectors:
            connector = read.connector
            if not is_same_server(read.server, self._name):
                self._leave_out(CONNECTOR, connector.name, f"a connector of {read.server}")
                continue
            first = kept.setdefault(connector.name.casefold(), (connector, source))
            if first[0] is connector:
                self._note(read.taken, read.dropped)
            elif first[0] != connector:
                self._mistakes.append(
                    f"{source}: {connector.name!r} is in {first[1]} too, with other properties; keep one of the dumps"
                )
        return tuple(connector for connector, _ in kept.values())

    def _server(self, connectors: Sequence[ReceiveConnector]) -> tuple[str, str, ServerRole]:
        fqdns: dict[str, str] = {}
        role = ServerRole.Mailbox
        for read, source in self._found.servers:
            if not is_same_server(read.name, self._name):
                self._leave_out(SERVER, read.name, "another server")
                continue
            self._note(read.taken, read.dropped)
            role = read.role
            if read.fqdn is not None:
                fqdns[read.fqdn.casefold()] = read.fqdn
                fqdn_from = f"Get-ExchangeServer in {source} says so"
        if len(fqdns) > 1:
            self._mistakes.append(f"the dumps have two FQDNs of {self._name}: {', '.join(fqdns.values())}")
        if fqdns:
            return next(iter(fqdns.values())), fqdn_from, role
        # The default connectors have the server's own.
        prefix = f"{self._name}.".casefold()
        own = [each.fqdn for each in connectors if each.fqdn and each.fqdn.casefold().startswith(prefix)]
        if own:
            return own[0], "its connectors have it; a dump of Get-ExchangeServer would say it itself", role
        return self._name, "no dump says it; add one of Get-ExchangeServer, or correct it in the file", role

    def _certificates(self) -> tuple[ReadCertificate, ...]:
        kept: dict[str, ReadCertificate] = {}
        for read, source in self._found.certificates:
            thumbprint = read.certificate.thumbprint
            if read.server is not None and not is_same_server(read.server, self._name):
                self._leave_out(CERTIFICATE, thumbprint, f"in the store of {read.server}")
                continue
            if why := list(pending(read)):
                self._dropped += why
                continue
            first = kept.setdefault(thumbprint, read)
            if first is read:
                self._note(read.taken, read.dropped)
            elif (first.services, first.exported) != (read.services, read.exported):
                self._mistakes.append(
                    f"{source}: {thumbprint} is in the dumps twice, with other services or status"
                )
        for certificate, source in self._found.plain:
            if certificate.thumbprint in kept:
                self._found.passed_over.append((source, "holds a certificate that the dump has too"))
                continue
            untold = Exported(PrivateKey.UNTOLD, None)
            kept[certificate.thumbprint] = ReadCertificate(certificate, None, None, untold)
        if not kept and not self._mistakes:
            self._mistakes.append(
                f"no dump has the certificates of {self._name}; run: "
                f"Get-ExchangeCertificate -Server {self._name} | Export-Clixml certificates.xml"
            )
        return tuple(kept.values())

    def _internal(self) -> InternalTransport:
        told = list(self._told())
        for one in told[1:]:
            if _named(one.answer) != _named(told[0].answer):
                self._mistakes.append(
                    f"{one.source}: the internal transport certificate is {_named(one.answer) or 'not set'}, and in "
                    f"{told[0].source} it is {_named(told[0].answer) or 'not set'}; export both again"
                )
        # The certificate itself says more than its thumbprint.
        told.sort(key=lambda one: one.certificate is None)
        return told[0] if told else InternalTransport(Unreadable(_NOT_TOLD))

    def _told(self) -> Iterator[InternalTransport]:
        for certificate, source in self._found.directory_values:
            yield InternalTransport(Named(certificate.thumbprint, ValueForm.DER), certificate, source)
        for read, source in self._found.transports:
            if not is_same_server(read.name, self._name):
                self._leave_out(TRANSPORT, read.name, "another server")
                continue
            self._note(read.taken, read.dropped)
            if read.internal is not None:
                yield InternalTransport(read.internal, None, source)

    def _note(self, taken: Iterable[Taken], dropped: Iterable[Dropped]) -> None:
        self._taken += taken
        self._dropped += dropped

    def _leave_out(self, kind: str, owner: str, why: str) -> None:
        self._dropped.append(Dropped(kind, owner, _WHOLE, "", f"{why}, not of {self._name}"))


def _named(answer: Answer) -> str | None:
    return answer.thumbprint if isinstance(answer, Named) else None
