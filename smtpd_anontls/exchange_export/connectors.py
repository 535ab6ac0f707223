"""``Get-ReceiveConnector``: each object as the value that the receiver knows, and what became of every property."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, get_type_hints

from smtpd_anontls.domain.connectors import NOT_YET_HONOURED, Bytes, ReceiveConnector, Seconds
from smtpd_anontls.domain.endpoints import Binding, RemoteIPRange
from smtpd_anontls.domain.flags import ExchangeFlag, enum_from_name, flag_from_names, flag_from_number
from smtpd_anontls.exchange_export.dumped import (
    Dumped,
    boolean,
    limit,
    listed,
    seconds,
    shown,
    size,
    text_of,
    whole_number,
    words,
)
from smtpd_anontls.exchange_export.findings import Dropped, NotUnderstoodError, Taken
from smtpd_anontls.exchange_export.names import POWERSHELL, POWERSHELL_OWN, server_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from smtpd_anontls.exchange_export.dumped import Value

KIND = "ReceiveConnector"

# Properties of our own, which no Exchange server has.
_OUR_OWN = frozenset(
    {
        "starttls_certificate",
        "unknown_mail_parameters",
        "request_client_certificate",
        "proxy_protocol",
        "trusted_proxies",
    }
)
# What every version has, and no default could stand for: a selection would be a guess.
_NEEDED = ("AuthMechanism", "Bindings", "Fqdn", "PermissionGroups", "RemoteIPRanges")
_OF_THE_OBJECT = "describes the object in the directory, not what the connector does"
_OBJECT = frozenset(
    {
        "AdminDisplayName", "ExchangeVersion", "DistinguishedName", "Identity", "Guid", "ObjectCategory",
        "ObjectClass", "WhenChanged", "WhenCreated", "WhenChangedUTC", "WhenCreatedUTC", "OrganizationId",
        "OrganizationalUnitRoot", "Id", "OriginatingServer", "IsValid", "ObjectState",
    }
)  # fmt: skip
_ANY_RECIPIENT = "recipients are taken whatever their domain is"
_REASONS: Mapping[str, str] = MappingProxyType(
    {
        "DefaultDomain": "no domain is added to an address without one",
        "ServiceDiscoveryFqdn": "names the server to discovery, not to SMTP clients",
        "ProxyEnabled": "mail is kept here, not passed on to another transport service",
        "AdvertiseClientSettings": "nothing is advertised to mail clients",
        "LiveCredentialEnabled": "there are no Live ID credentials here",
        "TlsDomainCapabilities": "what partner domains may do over TLS is not looked at",
        "RejectReservedTopLevelRecipientDomains": _ANY_RECIPIENT,
        "RejectReservedSecondLevelRecipientDomains": _ANY_RECIPIENT,
        "RejectSingleLabelRecipientDomains": _ANY_RECIPIENT,
        "AcceptConsumerMail": _ANY_RECIPIENT,
        "MaxAcknowledgementDelay": "acknowledgements wait for the journal alone, there is no shadow redundancy",
    }
)


@dataclass(frozen=True, slots=True)
class ReadConnector:
    """A connector of a dump."""

    server: str
    connector: ReceiveConnector
    taken: tuple[Taken, ...]
    dropped: tuple[Dropped, ...]


def read_connector(exported: Dumped, source: str) -> ReadConnector:
    """Return the connector; NotUnderstoodError has a line for each property that is not what the cmdlet writes."""
    name = text_of(exported.get("Name"))
    server = server_of(exported)
    missing = [each for each in _NEEDED if each not in exported.properties]
    if name is None or server is None:
        missing.insert(0, "Name" if name is None else "Server")
    if name is None or server is None or missing:
        who = f"a {KIND}" if name is None else repr(name)
        raise NotUnderstoodError(
            [f"{source}: {who} has no {missing[0]}; export whole objects, without Select-Object"]
        )
    values: dict[str, Any] = {"name": name}
    mistakes = []
    for key, property_name in _known(exported):
        try:
            values[key] = _read(key, exported.get(property_name))
        except ValueError as error:
            mistakes.append(f"{source}: {name!r}: {property_name}: {error}")
    if mistakes:
        raise NotUnderstoodError(mistakes)
    taken = [
        Taken(KIND, name, property_name, shown(exported.get(property_name)), key)
        for key, property_name in _known(exported)
    ]
    if "Server" in exported.properties:
        taken.append(Taken(KIND, name, "Server", server, "servers.name"))
    connector = ReceiveConnector(**values)
    return ReadConnector(server, connector, tuple(taken), tuple(_dropped(exported, connector, taken)))


def _known(exported: Dumped) -> Iterator[tuple[str, str]]:
    """Yield each key of ours with the name of its property, where the dump has it."""
    by_folded_name = {name.casefold(): name for name in exported.properties}
    for declared in fields(ReceiveConnector):
        name = by_folded_name.get(declared.name.replace("_", ""))
        if name is not None and declared.name not in _OUR_OWN:
            yield declared.name, name


def _dropped(exported: Dumped, connector: ReceiveConnector, taken: list[Taken]) -> Iterator[Dropped]:
    used = {each.name for each in taken}
    for name, value in exported.properties.items():
        if name not in used:
            reason = _reason(name)
            matters = reason not in (POWERSHELL_OWN, _OF_THE_OBJECT) and shown(value) not in ("", "false")
            yield Dropped(KIND, connector.name, name, shown(value), reason, matters)
    for each in taken:
        harmless = NOT_YET_HONOURED.get(each.key, MISSING)
        if harmless is not MISSING and getattr(connector, each.key) != harmless:
            yield Dropped(
                KIND,
                connector.name,
                each.name,
                each.value,
                "kept in the configuration, but the receiver does not act on it yet",
                matters=True,
            )
    absent = [
        declared.name
        for declared in fields(ReceiveConnector)
        if declared.name not in _OUR_OWN and declared.name not in {each.key for each in taken}
    ]
    for key in absent:
        yield Dropped(KIND, connector.name, key, "", "not in the dump: Exchange's default stands for it")


def _reason(name: str) -> str:
    if name in POWERSHELL:
        return POWERSHELL_OWN
    if name in _OBJECT:
        return _OF_THE_OBJECT
    return _REASONS.get(name, "the receiver has no such property")


def _read(key: str, value: Value) -> Any:
    """Return the value of the connector property *key*; ValueError says what is wrong."""
    return _reader(key, _KINDS[key])(value)


def _reader(key: str, kind: Any) -> Callable[[Value], Any]:
    if key in _NARROWER:
        return _NARROWER[key]
    if isinstance(kind, type) and issubclass(kind, ExchangeFlag):
        return lambda value: _flag(kind, value)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return lambda value: enum_from_name(kind, text_of(value) or "")
    return _BY_TYPE[kind]


def _flag(kind: type[ExchangeFlag], value: Value) -> ExchangeFlag:
    # The names say it in any version; a number alone is what a script leaves.
    if isinstance(value, Dumped) and value.number is not None and not words(value):
        return flag_from_number(kind, value.number)
    names = words(value)
    if not names:
        raise ValueError("is empty; a connector has at least None")
    if len(names) == 1 and names[0].isdecimal():
        return flag_from_number(kind, int(names[0]))
    return flag_from_names(kind, names)


def _binding(value: Value) -> Binding:
    return Binding.parse(text_of(value) or "")


def _range(value: Value) -> RemoteIPRange:
    written = text_of(value) or ""
    try:
        return RemoteIPRange.parse(written)
    except ValueError:
        # A network with its mask, which Exchange writes with both ends beside it.
        low, high = (text_of(value.get(end)) if isinstance(value, Dumped) else None for end in _ENDS)
        if low is None or high is None:
            raise
        return RemoteIPRange.parse(f"{low}-{high}")


_ENDS = ("LowerBound", "UpperBound")
_KINDS = get_type_hints(ReceiveConnector)
_NARROWER: Mapping[str, Callable[[Value], Any]] = MappingProxyType(
    {"comment": lambda value: text_of(value) or "", "name": text_of}
)
_BY_TYPE: Mapping[Any, Callable[[Value], Any]] = MappingProxyType(
    {
        str: lambda value: text_of(value) or "",
        str | None: text_of,
        bool: boolean,
        int: whole_number,
        int | None: limit,
        Bytes: lambda value: Bytes(size(value)),
        Seconds: lambda value: Seconds(seconds(value)),
        tuple[Binding, ...]: lambda value: tuple(_binding(item) for item in listed(value)),
        tuple[RemoteIPRange, ...]: lambda value: tuple(_range(item) for item in listed(value)),
    }
)
