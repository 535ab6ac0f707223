"""The keys of a Receive connector: the fields of domain.connectors.ReceiveConnector, each with its parser."""

from __future__ import annotations

from dataclasses import MISSING, fields
from enum import Enum, Flag
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

from pydantic import Field, create_model

from smtpd_anontls.domain.certificate import CertificateName
from smtpd_anontls.domain.connectors import NOT_YET_HONOURED, Bytes, ReceiveConnector, Seconds
from smtpd_anontls.domain.endpoints import Binding, RemoteIPRange
from smtpd_anontls.settings.parsers import (
    ascii_text,
    boolean,
    byte_size,
    duration,
    enumeration,
    flags,
    free_text,
    from_text,
    host_name,
    limit,
    listed,
    optional,
    some_text,
    text,
    whole_number,
)
from smtpd_anontls.settings.shape import NotYetHonoured, Shape, read_by

if TYPE_CHECKING:
    from collections.abc import Callable

_PERCENT = whole_number(least=1, most=100)

# Where a property's type does not say all that its value must be.
_NARROWER: dict[str, Callable[[Any], Any]] = {
    "name": some_text,
    "comment": free_text,
    "fqdn": optional(host_name),
    "banner": optional(ascii_text),
    "tls_certificate_name": optional(from_text(lambda name: CertificateName.parse(name).text)),
    "max_message_size": byte_size(least=1),
    "max_header_size": byte_size(least=1),
    "max_recipients_per_message": whole_number(least=1),
    "max_inbound_connection_percentage_per_source": _PERCENT,
    "connection_timeout": duration(positive=True),
    "connection_inactivity_timeout": duration(positive=True),
}

_BY_TYPE: dict[Any, Callable[[Any], Any]] = {
    str: text,
    bool: boolean,
    int: whole_number(),
    int | None: limit(),
    str | None: optional(text),
    Bytes: byte_size(),
    Seconds: duration(),
    tuple[Binding, ...]: listed(from_text(Binding.parse)),
    tuple[RemoteIPRange, ...]: listed(from_text(RemoteIPRange.parse)),
}


def _parser_of(name: str, kind: Any) -> Callable[[Any], Any]:
    """Return what reads the connector property *name* of the type *kind*."""
    if name in _NARROWER:
        return _NARROWER[name]
    if isinstance(kind, type) and issubclass(kind, Flag):
        return flags(kind)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return enumeration(kind)
    return _BY_TYPE[kind]


def _connector_keys() -> dict[str, Any]:
    """Return the keys of a Receive connector for pydantic, each from the field that declares it."""
    kinds = get_type_hints(ReceiveConnector)
    keys: dict[str, Any] = {}
    for declared in fields(ReceiveConnector):
        default = ... if declared.default is MISSING else declared.default
        parser = _parser_of(declared.name, kinds[declared.name])
        later = NotYetHonoured(NOT_YET_HONOURED[declared.name]) if declared.name in NOT_YET_HONOURED else None
        keys[declared.name] = (
            Annotated[kinds[declared.name], read_by(parser), later],
            Field(default, description=declared.metadata["doc"]),
        )
    return keys


if TYPE_CHECKING:

    class ConnectorShape(Shape):
        """A Receive connector."""

else:
    ConnectorShape = create_model(
        "ConnectorShape", __base__=Shape, __doc__="A Receive connector.", **_connector_keys()
    )


def connector_of(shape: ConnectorShape) -> ReceiveConnector:
    """Return the value of a connector whose shape is right."""
    return ReceiveConnector(**{name: getattr(shape, name) for name in type(shape).model_fields})
