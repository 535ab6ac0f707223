"""From the export of a server to a folder that the other commands take: configuration, store, directory.

The folder appears whole or not at all: it is written beside its place, read back by the loader, and only then
put there.
"""

from __future__ import annotations

import errno
import re
import secrets
import shutil
from dataclasses import dataclass, fields, replace
from enum import Enum
from typing import TYPE_CHECKING, Any

from smtpd_anontls.certificates.exported import EXPORTED_FILE, exported_text
from smtpd_anontls.certificates.pem import pem_of
from smtpd_anontls.certificates.services import NONE, SERVICES, SERVICES_FILE
from smtpd_anontls.directory.file import ATTRIBUTE
from smtpd_anontls.domain.directory_value import Named, Unset
from smtpd_anontls.domain.endpoints import HIGHEST_PORT, Binding
from smtpd_anontls.domain.flags import ExchangeFlag
from smtpd_anontls.domain.printable import printable
from smtpd_anontls.notation.snapshot import reason_of
from smtpd_anontls.notation.write import one_line
from smtpd_anontls.settings.document import ConfigError
from smtpd_anontls.settings.load import load_source
from smtpd_anontls.settings.source import read_source

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from smtpd_anontls.domain.certificate import Certificate
    from smtpd_anontls.domain.connectors import ReceiveConnector
    from smtpd_anontls.exchange_export.export import ServerExport
    from smtpd_anontls.settings.values import Loaded

CONFIG_FILE = "receive.yaml"
STORE_FOLDER = "certs"
DIRECTORY_FILE = "directory.yaml"
INTERNAL_FILE = "internal-transport.cer"

_OUTSIDE_FILE_NAMES = re.compile(r"[^A-Za-z0-9_-]+")
_LONGEST_STEM = 40


class ImportFailedError(Exception):
    """Nothing was written; ``lines`` has one line for each reason."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.lines = tuple(lines)
        super().__init__("\n".join(self.lines))


@dataclass(frozen=True, slots=True)
class Imported:
    """What was written."""

    config: Path
    loaded: Loaded  # With the rules that the server breaks as findings.
    files: dict[str, str]  # The certificates' files by thumbprint, relative to the store.


def write_import(export: ServerExport, output: Path, *, port_offset: int = 0) -> Imported:
    """Write the configuration of *export* into the folder *output*, which is not there yet or empty.

    *port_offset* is added to each port.  ImportFailedError says why nothing was written.
    """
    connectors = [_moved(each, port_offset) for each in export.connectors]
    try:
        _refuse_what_is_there(output)
        output.parent.mkdir(parents=True, exist_ok=True)
        temporary = output.parent / f".{output.name}.{secrets.token_hex(4)}"
        temporary.mkdir()
    except OSError as error:
        raise _cannot_be_written(output, error) from error
    try:
        files = _write(temporary, export, connectors, port_offset)
        _load(temporary, output)
        temporary.rename(output)
    except OSError as error:
        raise _cannot_be_written(output, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Imported(output / CONFIG_FILE, _load(output, output), files)


def _refuse_what_is_there(output: Path) -> None:
    try:
        occupied = next(output.iterdir(), None) is not None
    except FileNotFoundError:
        return
    except NotADirectoryError:
        occupied = True
    if occupied:
        raise ImportFailedError(
            [printable(f"{output}: is not an empty folder; name one that is, or a new one")]
        )


def _cannot_be_written(output: Path, error: OSError) -> ImportFailedError:
    if error.errno == errno.ENOTEMPTY:
        return ImportFailedError([printable(f"{output}: is no longer empty; name a new folder")])
    return ImportFailedError(
        [
            printable(
                f"{output}: cannot be written ({reason_of(error)}); name a folder that this user may make"
            )
        ]
    )


def _load(folder: Path, output: Path) -> Loaded:
    """Read the configuration back, as the other commands will."""
    source = replace(read_source(folder / CONFIG_FILE), name=printable(str(output / CONFIG_FILE)))
    try:
        return load_source(source)
    except ConfigError as error:
        raise ImportFailedError(
            [
                f"{line} (as the export has it; the receiver cannot stand for such a server)"
                for line in error.lines
            ]
        ) from error


def _moved(connector: ReceiveConnector, offset: int) -> ReceiveConnector:
    moved = []
    for binding in connector.bindings:
        port = binding.port + offset
        if not 0 < port <= HIGHEST_PORT:
            raise ImportFailedError(
                [
                    f"--port-offset: {binding.port} of {printable(repr(connector.name))} would become {port}, which is no port"
                ]
            )
        moved.append(Binding(binding.address, port))
    return replace(connector, bindings=tuple(moved))


def _write(
    folder: Path, export: ServerExport, connectors: list[ReceiveConnector], port_offset: int
) -> dict[str, str]:
    (folder / CONFIG_FILE).write_text(_configuration(export, connectors, port_offset), encoding="utf-8")
    (folder / DIRECTORY_FILE).write_text(_directory(export), encoding="utf-8")
    if export.internal.certificate is not None:
        (folder / INTERNAL_FILE).write_bytes(export.internal.certificate.der)
    store = folder / STORE_FOLDER
    store.mkdir()
    files = {}
    for read in export.certificates:
        name = _file_name(read.certificate)
        (store / name).write_bytes(pem_of(read.certificate.der))
        files[read.certificate.thumbprint] = name
    told = {each.certificate.thumbprint: each.exported for each in export.certificates}
    (store / EXPORTED_FILE).write_text(exported_text(told), encoding="utf-8")
    services = {each.certificate.thumbprint: each.services for each in export.certificates}
    (store / SERVICES_FILE).write_text(_services(services), encoding="utf-8")
    return files


def _file_name(certificate: Certificate) -> str:
    named = (*certificate.common_names, "certificate")[0]
    stem = _OUTSIDE_FILE_NAMES.sub("-", named)[:_LONGEST_STEM].strip("-") or "certificate"
    return f"{stem}-{certificate.thumbprint[:8]}.cer"


def _services(services: dict[str, frozenset[str] | None]) -> str:
    lines = [
        "# For which services each certificate was enabled on the server. One that is not listed counts as SMTP.\n"
    ]
    for thumbprint, each in services.items():
        if each is not None:
            value = [service for service in SERVICES if service in each] or [NONE]
            lines.append(f"{thumbprint}: {one_line(value)}\n")
    return "".join(lines)


def _directory(export: ServerExport) -> str:
    internal = export.internal
    entry: dict[str, object]
    match internal.answer:
        case Named(thumbprint):
            value: object = thumbprint if internal.certificate is None else {"file": INTERNAL_FILE}
            entry, said = {ATTRIBUTE: value}, f"from {internal.source}"
        case Unset():
            entry, said = {ATTRIBUTE: None}, f"from {internal.source}"
        case _:
            entry, said = {"readable": False}, "no dump tells what the attribute held, so nobody knows"
    return f"# {ATTRIBUTE} of the server: {printable(said)}.\n{one_line(export.name)}: {one_line(entry)}\n"


_HEAD = """\
# {name}, imported from its Export-Clixml dumps; `smtpd-anontls import` says what of them is not here.
# Its certificates are in {store}/ without their private keys: `explain`, `check` and `advise` answer for the real
# server, `serve --stand-in-keys` replays it with look-alikes.{ports}
servers:
  - name: {name_written}
    fqdn: {fqdn}  # {fqdn_from}
    role: {role}
    certificate_store: {store}
    connectors:
"""
_TAIL = """\
directory: {{type: file, path: {directory}}}
event_log: {{format: jsonl, path: var/application.jsonl}}
protocol_log: {{path: var/protocol-log}}
capture: {{url: "sqlite:///var/capture.db"}}
"""


def _configuration(export: ServerExport, connectors: list[ReceiveConnector], port_offset: int) -> str:
    ports = f"\n# Each port is the server's own plus {port_offset}." if port_offset else ""
    text = _HEAD.format(
        name=printable(export.name),
        name_written=one_line(export.name),
        fqdn=one_line(export.fqdn),
        fqdn_from=printable(export.fqdn_from),
        role=export.role.value,
        store=STORE_FOLDER,
        ports=ports,
    )
    taken = {(each.owner, each.key) for each in export.taken}
    for connector in connectors:
        mark = "-"
        for declared in fields(connector):
            if (connector.name, declared.name) in taken:
                value = _plain(getattr(connector, declared.name), str(declared.type))
                text += f"      {mark} {declared.name}: {one_line(value)}\n"
                mark = " "
    return text + _TAIL.format(directory=DIRECTORY_FILE)


def _plain(value: Any, kind: str) -> Any:
    """Return a property as the configuration has it."""
    match value:
        case None:
            return "unlimited" if kind == "Limit" else None
        case ExchangeFlag():
            return value.names or "None"
        case Enum():
            return value.value
        case tuple():
            return [str(item) for item in value]
        case float() if value.is_integer():
            return int(value)
    return value
