"""One connector of a running receiver changed, judged as the same change of the file would be."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from smtpd_anontls.settings.connector_shape import ConnectorShape
from smtpd_anontls.settings.rules import ReadConnector, ReadServer, broken_rules, shared_bindings
from smtpd_anontls.settings.validate import mistakes_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from smtpd_anontls.domain.connectors import ReceiveConnector
    from smtpd_anontls.settings.document import Keys
    from smtpd_anontls.settings.values import Settings


@dataclass(frozen=True, slots=True)
class Objection:
    """What is wrong with one property, and what would do."""

    property: str
    message: str


class AlterationError(Exception):
    """The connector cannot be changed so; nothing has changed."""

    def __init__(self, objections: Iterable[Objection]) -> None:
        self.objections = tuple(objections)
        super().__init__("; ".join(f"{each.property}: {each.message}" for each in self.objections))


def altered(settings: Settings, server: str, connector: str, changes: Mapping[str, Any]) -> Settings:
    """Return *settings* with properties of one connector changed.

    *changes* has values as the YAML has them.  KeyError where there is no such connector,
    AlterationError where a value or a rule is broken.
    """
    at, number, before = _found(settings, server, connector)
    after = _with(before, changes)
    own = settings.servers[at]
    connectors = (*own.server.connectors[:number], after, *own.server.connectors[number + 1 :])
    own = replace(own, server=replace(own.server, connectors=connectors))
    new = replace(settings, servers=(*settings.servers[:at], own, *settings.servers[at + 1 :]))
    if broken := list(dict.fromkeys(_broken(new, at))):
        raise AlterationError(broken)
    return new


def _found(settings: Settings, server: str, connector: str) -> tuple[int, int, ReceiveConnector]:
    for at, each in enumerate(settings.servers):
        for number, one in enumerate(each.server.connectors):
            if (each.server.name, one.name) == (server, connector):
                return at, number, one
    raise KeyError(connector)


def _with(before: ReceiveConnector, changes: Mapping[str, Any]) -> ReceiveConnector:
    if changes.get("name", before.name) != before.name:
        raise AlterationError([Objection("name", "a connector keeps its name while it runs; leave it out")])
    try:
        shape = ConnectorShape.model_validate({**changes, "name": before.name})
    except ValidationError as error:
        raise AlterationError(
            Objection(_written(each.path), each.message) for each in mistakes_of(error, ConnectorShape)
        ) from None
    return replace(before, **{name: getattr(shape, name) for name in changes})


def _written(path: Keys) -> str:
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path).removeprefix(".")


def _broken(settings: Settings, at: int) -> Iterable[Objection]:
    """Yield what does not hold on the server *at*."""
    read = [_as_read(number, settings) for number in range(len(settings.servers))]
    for broken in broken_rules([read[at]]):
        yield Objection(str(broken.path[-1]), broken.violation.message)
    for mistake in shared_bindings(read):
        yield Objection("bindings", mistake.message)


def _as_read(number: int, settings: Settings) -> ReadServer:
    server = settings.servers[number].server
    path: Keys = ("servers", number)
    connectors = tuple(
        ReadConnector((*path, "connectors", position), each, frozenset())
        for position, each in enumerate(server.connectors)
    )
    return ReadServer(path, replace(server, connectors=()), frozenset(), connectors)
