"""``Get-ExchangeServer`` and ``Get-TransportService``: what they say of the server itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from smtpd_anontls.domain.certificate import normalized_thumbprint
from smtpd_anontls.domain.directory_value import Named, Unset, ValueForm
from smtpd_anontls.domain.flags import ServerRole
from smtpd_anontls.exchange_export.dumped import shown, text_of, words
from smtpd_anontls.exchange_export.findings import Dropped, NotUnderstoodError, Taken
from smtpd_anontls.exchange_export.names import POWERSHELL, POWERSHELL_OWN, host_label

if TYPE_CHECKING:
    from collections.abc import Iterable

    from smtpd_anontls.exchange_export.dumped import Dumped

SERVER = "ExchangeServer"
TRANSPORT = "TransportServer"
THUMBPRINT = "InternalTransportCertificateThumbprint"


@dataclass(frozen=True, slots=True)
class ReadServer:
    """A server of Get-ExchangeServer."""

    name: str
    fqdn: str | None
    role: ServerRole
    taken: tuple[Taken, ...]
    dropped: tuple[Dropped, ...]


@dataclass(frozen=True, slots=True)
class ReadTransport:
    """A server of Get-TransportService."""

    name: str
    internal: Named | Unset | None  # None: the dump lacks the property.
    taken: tuple[Taken, ...]
    dropped: tuple[Dropped, ...]


def read_server(exported: Dumped, source: str) -> ReadServer:
    """Return what Get-ExchangeServer says; NotUnderstoodError where it has no name."""
    name = _name(exported, SERVER, source)
    # "Edge" is a role of its own, "Mailbox, ClientAccess" a Mailbox server's.
    is_edge = "edge" in {word.casefold() for word in words(exported.get("ServerRole"))}
    keys = {"Name": "servers.name", "Fqdn": "servers.fqdn", "ServerRole": "servers.role"}
    return ReadServer(
        name,
        text_of(exported.get("Fqdn")),
        ServerRole.Edge if is_edge else ServerRole.Mailbox,
        _taken(exported, SERVER, name, keys),
        _dropped(exported, SERVER, name, keys),
    )


def read_transport(exported: Dumped, source: str) -> ReadTransport:
    """Return what Get-TransportService says; NotUnderstoodError where it has no name, or no thumbprint for one."""
    name = _name(exported, TRANSPORT, source)
    keys = {"Name": "servers.name", THUMBPRINT: "directory.yaml"}
    internal: Named | Unset | None = None
    if THUMBPRINT in exported.properties:
        written = text_of(exported.get(THUMBPRINT))
        try:
            internal = (
                Unset() if written is None else Named(normalized_thumbprint(written), ValueForm.THUMBPRINT)
            )
        except ValueError as error:
            raise NotUnderstoodError([f"{source}: {name}: {THUMBPRINT}: {error}"]) from None
    return ReadTransport(
        name,
        internal,
        _taken(exported, TRANSPORT, name, keys),
        _dropped(exported, TRANSPORT, name, keys),
    )


def _name(exported: Dumped, kind: str, source: str) -> str:
    name = text_of(exported.get("Name")) or text_of(exported.get("Identity"))
    if name is None:
        raise NotUnderstoodError([f"{source}: a {kind} has no Name; export whole objects"])
    return host_label(name)


def _taken(exported: Dumped, kind: str, owner: str, keys: dict[str, str]) -> tuple[Taken, ...]:
    return tuple(
        Taken(kind, owner, name, shown(value), keys[name])
        for name, value in exported.properties.items()
        if name in keys
    )


def _dropped(exported: Dumped, kind: str, owner: str, keys: Iterable[str]) -> tuple[Dropped, ...]:
    return tuple(
        Dropped(
            kind,
            owner,
            name,
            shown(value),
            POWERSHELL_OWN if name in POWERSHELL else "plays no part in receiving SMTP here",
        )
        for name, value in exported.properties.items()
        if name not in set(keys)
    )
