"""``connector set``: properties of one Receive connector changed in the file, and nothing else of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, get_origin, get_type_hints

from smtpd_anontls.domain.connectors import ReceiveConnector
from smtpd_anontls.domain.flags import ExchangeFlag
from smtpd_anontls.notation import yaml12
from smtpd_anontls.notation.edit import EditError, value_text, with_value, write_atomically
from smtpd_anontls.notation.snapshot import reason_of
from smtpd_anontls.settings.document import ConfigError
from smtpd_anontls.settings.load import load_source
from smtpd_anontls.settings.parsers import Mistakes, flags
from smtpd_anontls.settings.source import read_source

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from smtpd_anontls.settings.document import Keys
    from smtpd_anontls.settings.values import Loaded

_KINDS = get_type_hints(ReceiveConnector)


@dataclass(frozen=True, slots=True)
class PropertyChange:
    """A property as the file had it and has it now."""

    name: str
    before: str | None  # As it was written; None: it was not there.
    after: str


@dataclass(frozen=True, slots=True)
class ConnectorEdit:
    """What an edit did, and the configuration that the file holds now."""

    server: str
    connector: str
    changes: tuple[PropertyChange, ...]
    loaded: Loaded


@dataclass(frozen=True, slots=True)
class _Found:
    server: str
    connector: str
    path: Keys


def set_connector_properties(
    path: Path, server: str | None, connector: str, changes: Mapping[str, object]
) -> ConnectorEdit:
    """Change properties of *connector* in the file at *path*; ConfigError, and nothing written, where that is wrong.

    Text in *changes* is read as a person types it on a command line: ``Tls,ExchangeServer``,
    ``36MB``, ``true``, ``null``.  The whole new file must be without mistakes and broken rules.
    """
    source = read_source(path)
    found = _find(source.name, _load(source.name, source.text), server, connector)
    text = source.text
    try:
        for name, value in changes.items():
            text = with_value(text, (*found.path, name), _to_write(name, value))
        done = tuple(
            PropertyChange(
                name,
                value_text(source.text, (*found.path, name)),
                value_text(text, (*found.path, name)) or "",
            )
            for name in changes
        )
    except EditError as error:
        raise ConfigError([f"{source.name}: {error}"]) from None
    loaded = load_source(replace(source, text=text))
    if loaded.findings:
        raise ConfigError(finding.line for finding in loaded.findings)
    if text != source.text:
        try:
            write_atomically(path, text)
        except OSError as error:
            raise ConfigError([f"{source.name}: cannot be written ({reason_of(error)})"]) from error
    return ConnectorEdit(found.server, found.connector, done, loaded)


def _load(name: str, text: str) -> Any:
    try:
        return yaml12.load(text)
    except yaml12.YamlError as error:
        raise ConfigError([f"{name}: {error}"]) from None


def _find(file: str, document: Any, server: str | None, connector: str) -> _Found:
    """Return where the one connector stands that is meant."""
    every = list(_connectors(document))
    there = [each for each in every if server is None or each.server.casefold() == server.casefold()]
    meant = [each for each in there if each.connector.casefold() == connector.casefold()]
    if len(meant) == 1:
        return meant[0]
    if not there and every:
        servers = ", ".join(dict.fromkeys(each.server for each in every))
        raise ConfigError([f"{file}: no server {server!r} has a connector; there are {servers}"])
    if not meant:
        names = ", ".join(dict.fromkeys(each.connector for each in there)) or "none"
        raise ConfigError([f"{file}: there is no connector {connector!r}; there are: {names}"])
    servers = ", ".join(dict.fromkeys(each.server for each in meant))
    if servers == meant[0].server:
        raise ConfigError([f"{file}: {servers} has several connectors {connector!r}; rename all but one"])
    raise ConfigError(
        [f"{file}: several servers have a connector {connector!r}: {servers}; choose one with --server"]
    )


def _connectors(document: Any) -> Iterator[_Found]:
    """Yield every connector that has a name, whatever else may be wrong with the file."""
    for i, server in _entries(document, "servers"):
        for j, connector in _entries(server, "connectors"):
            yield _Found(str(server.get("name")), str(connector.get("name")), ("servers", i, "connectors", j))


def _entries(parent: Any, key: str) -> list[tuple[int, dict[Any, Any]]]:
    entries = parent.get(key) if isinstance(parent, dict) else None
    if not isinstance(entries, list):
        return []
    return [(position, entry) for position, entry in enumerate(entries) if isinstance(entry, dict)]


def _to_write(name: str, value: object) -> object:
    """Return *value* as a person would write it into the file; what makes no sense stays for the loader to name."""
    if isinstance(value, ExchangeFlag):
        return value.names or "None"
    kind = _KINDS.get(name)
    if isinstance(kind, type) and issubclass(kind, ExchangeFlag):
        try:
            return flags(kind)(value).names or "None"
        except (ValueError, Mistakes):
            return value
    if not isinstance(value, str):
        return value
    if get_origin(kind) is tuple:
        return [item.strip() for item in value.split(",")] if value.strip() else []
    if kind is str:
        return value
    if kind == (str | None):
        return None if value in ("", "null") else value
    try:
        return yaml12.load(value)
    except yaml12.YamlError:
        return value
