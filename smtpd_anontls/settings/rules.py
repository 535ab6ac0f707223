"""What must hold between keys, judged on all that could be read, also where other keys could not.

Exchange's own rules are in domain.connector_rules; those that come from one process standing for
several servers are here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

from smtpd_anontls.domain.connector_rules import connector_violations, server_violations
from smtpd_anontls.settings.connector_shape import ConnectorShape, connector_of
from smtpd_anontls.settings.directory_shape import DirectoryShape, DirectoryType
from smtpd_anontls.settings.parsers import Mistake, shown
from smtpd_anontls.settings.shapes import ServerShape, TlsShape, WebShape, server_of
from smtpd_anontls.settings.validate import misspelt

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from smtpd_anontls.domain.connector_rules import Violation
    from smtpd_anontls.domain.connectors import ReceiveConnector, Server
    from smtpd_anontls.domain.endpoints import Binding
    from smtpd_anontls.settings.document import Document, Keys
    from smtpd_anontls.settings.shape import Shape, ShapeType


@dataclass(frozen=True, slots=True)
class ReadConnector:
    """A connector as far as it could be read; the keys in *failed* only have their defaults."""

    path: Keys
    connector: ReceiveConnector
    failed: frozenset[str]


@dataclass(frozen=True, slots=True)
class ReadServer:
    """A server as far as it could be read; *server* has no connectors, they are beside it."""

    path: Keys
    server: Server
    failed: frozenset[str]
    connectors: tuple[ReadConnector, ...]


@dataclass(frozen=True, slots=True)
class Broken:
    """A rule of domain.connector_rules that does not hold, and the key to point at."""

    path: Keys
    violation: Violation
    server: str


def read_servers(document: Document, mistakes: Sequence[Mistake], machine_fqdn: str) -> list[ReadServer]:
    """Return every server of *document* that is a mapping, without the keys that *mistakes* are about."""
    servers = []
    for path, content in _mappings(("servers",), document.content.get("servers")):
        failed = _failed(path, mistakes, ServerShape)
        shape = _salvaged(ServerShape, content, failed | {"connectors"})
        server = server_of(shape, machine_fqdn)
        connectors = []
        for inner, each in _mappings((*path, "connectors"), content.get("connectors")):
            wrong = _failed(inner, mistakes, ConnectorShape)
            connectors.append(
                ReadConnector(inner, connector_of(_salvaged(ConnectorShape, each, wrong)), wrong)
            )
        servers.append(ReadServer(path, server, failed, tuple(connectors)))
    return servers


def _mappings(path: Keys, entries: Any) -> Iterator[tuple[Keys, dict[Any, Any]]]:
    """Yield the entries of a list that are mappings, each with its path."""
    if isinstance(entries, list):
        for position, entry in enumerate(entries):
            if isinstance(entry, dict):
                yield (*path, position), entry


def _failed(path: Keys, mistakes: Sequence[Mistake], model: type[Shape]) -> frozenset[str]:
    """Return the keys of the mapping at *path* that could not be read, also because they are misspelt."""
    known = list(model.model_fields)
    depth = len(path)
    wrong = [
        str(each.path[depth]) for each in mistakes if each.path[:depth] == path and len(each.path) > depth
    ]
    return frozenset(key if key in known else misspelt(key, known) or key for key in wrong)


def _salvaged(model: type[ShapeType], content: dict[Any, Any], failed: frozenset[str]) -> ShapeType:
    """Return the model of what is right in *content*; the keys in *failed* have their defaults."""
    known = {key: value for key, value in content.items() if key in model.model_fields and key not in failed}
    if "name" in failed:
        known["name"] = "unnamed"
    return model.model_validate(known)


def broken_rules(servers: Sequence[ReadServer]) -> Iterator[Broken]:
    """Yield Exchange's rules that do not hold; one that speaks of a key that could not be read is left out."""
    for each in servers:
        for read in each.connectors:
            unknown = read.failed | ({"fqdn"} if each.failed & {"name", "fqdn"} else set())
            for violation in connector_violations(read.connector, each.server):
                if unknown.isdisjoint(violation.properties):
                    yield Broken((*read.path, violation.properties[0]), violation, each.server.name)
        # Two at a time, so that a violation belongs to the second also where both have one name.
        for first, second in combinations(each.connectors, 2):
            unknown = first.failed | second.failed
            pair = replace(each.server, connectors=(first.connector, second.connector))
            for violation in server_violations(pair):
                if unknown.isdisjoint((*violation.properties, "enabled")):
                    yield Broken((*second.path, violation.properties[0]), violation, each.server.name)


def mistakes_between(
    document: Document, servers: Sequence[ReadServer], found: Sequence[Mistake]
) -> Iterator[Mistake]:
    """Yield what is wrong between keys, Exchange's own rules aside."""
    yield from _server_names(servers)
    yield from shared_bindings(servers)
    yield from _tls_range(document, found)
    yield from _provisioning(document, found)
    yield from _web(document, found)
    yield from _server_of_page(document, servers)
    yield from _places_of_faults(document, servers)


def _provisioning(document: Document, found: Sequence[Mistake]) -> Iterator[Mistake]:
    """Yield what would have to be written to a directory that nothing but a command writes to."""
    directory = document.content.get("directory")
    if not isinstance(directory, dict) or "type" in _failed(("directory",), found, DirectoryShape):
        return
    kind = directory.get("type")
    if not isinstance(kind, str) or kind.casefold() != DirectoryType.LDAP.value:
        return
    for path, content in _mappings(("servers",), document.content.get("servers")):
        for key, nothing in (("scenario", "null"), ("default_certificate", "false")):
            if content.get(key):
                yield Mistake(
                    (*path, key),
                    "makes a directory entry at start, and with directory.type ldap nothing is written by "
                    f"itself; write {nothing}, and use certificate new and certificate enable",
                )


def _web(document: Document, found: Sequence[Mistake]) -> Iterator[Mistake]:
    """Yield what would show the mail to whoever reaches the page."""
    content = document.content.get("web", {})
    failed = _failed(("web",), found, WebShape)
    if not isinstance(content, dict) or "auth" in failed:
        return
    web = _salvaged(WebShape, content, failed)
    if web.auth is not None and web.auth.users_file is None and web.auth.token_env is None:
        yield Mistake(("web", "auth"), "names neither users_file nor token_env; write at least one of them")
    elif web.auth is None and "bind" not in failed and web.bind and not web.bind.address.is_loopback:
        yield Mistake(
            ("web", "bind"),
            f"{web.bind} is not loopback, so whoever reaches it could read all mail; "
            "write web.auth, or bind it to 127.0.0.1",
        )


def _server_of_page(document: Document, servers: Sequence[ReadServer]) -> Iterator[Mistake]:
    """Yield the server that the page's certificate is to come from, where it is not there."""
    web = document.content.get("web")
    tls = web.get("tls") if isinstance(web, dict) else None
    if isinstance(tls, dict):
        names = [each.server.name for each in servers]
        yield from _no_such(("web", "tls", "server"), tls.get("server"), names)


def _places_of_faults(document: Document, servers: Sequence[ReadServer]) -> Iterator[Mistake]:
    """Yield the servers and connectors that faults name and that are not there."""
    known = {
        "server": [each.server.name for each in servers],
        "connector": [read.connector.name for each in servers for read in each.connectors],
    }
    for path, content in _mappings(("faults",), document.content.get("faults")):
        for key, names in known.items():
            yield from _no_such((*path, key), content.get(key), names)


def _no_such(path: Keys, name: Any, names: Sequence[str]) -> Iterator[Mistake]:
    """Yield that *name* is none of *names*, of the kind that the last key says; what is no text has been told."""
    if isinstance(name, str) and name.strip() and name not in names:
        there_are = ", ".join(dict.fromkeys(names)) or "none"
        yield Mistake(path, f"{shown(name)} is no {path[-1]}; there are {there_are}")


def _server_names(servers: Sequence[ReadServer]) -> Iterator[Mistake]:
    seen: dict[str, ReadServer] = {}
    for each in servers:
        if "name" in each.failed:
            continue
        name = each.server.name
        if name.casefold() in seen:
            first = seen[name.casefold()]
            yield Mistake(
                (*each.path, "name"),
                f"{name!r} is also the name of servers[{first.path[-1]}]; choose another",
            )
        else:
            seen[name.casefold()] = each


def shared_bindings(servers: Sequence[ReadServer]) -> Iterator[Mistake]:
    """Yield the bindings that two servers have."""
    # The local address decides which server a peer reaches, so no two can have the same one.
    taken: dict[Binding, ReadServer] = {}
    for each in servers:
        for read in each.connectors:
            if not read.connector.enabled or not read.failed.isdisjoint({"bindings", "enabled"}):
                continue
            for position, binding in enumerate(read.connector.bindings):
                # Port 0 gives everybody a port of its own.
                owner = taken.setdefault(binding, each) if binding.port else each
                if owner is not each:
                    yield Mistake(
                        (*read.path, "bindings", position),
                        f"{binding} is also a binding of the server {owner.server.name!r}; choose another",
                    )


def _tls_range(document: Document, found: Sequence[Mistake]) -> Iterator[Mistake]:
    content = document.content.get("tls", {})
    failed = _failed(("tls",), found, TlsShape)
    if not isinstance(content, dict) or not failed.isdisjoint({"minimum", "maximum"}):
        return
    tls = _salvaged(TlsShape, content, failed)
    if tls.minimum.rank <= tls.maximum.rank:
        return
    if "minimum" in content:
        yield Mistake(
            ("tls", "minimum"), f"{tls.minimum} is above tls.maximum, {tls.maximum}; raise that too"
        )
    else:
        yield Mistake(
            ("tls", "maximum"), f"{tls.maximum} is below tls.minimum, {tls.minimum}; lower that too"
        )
