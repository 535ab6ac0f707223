"""Reading a configuration: all of its mistakes at once, or frozen values."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING

from smtpd_anontls.notation import yaml12
from smtpd_anontls.settings.build import not_yet_honoured, settings_of
from smtpd_anontls.settings.document import ConfigError, Document
from smtpd_anontls.settings.overrides import overridden
from smtpd_anontls.settings.parsers import shown
from smtpd_anontls.settings.rules import broken_rules, mistakes_between, read_servers
from smtpd_anontls.settings.source import editable_config as _editable_config
from smtpd_anontls.settings.source import find, own_copy
from smtpd_anontls.settings.validate import validate
from smtpd_anontls.settings.values import Finding, Loaded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from smtpd_anontls.settings.source import Source

__all__ = ["ConfigError", "Finding", "Loaded", "editable_config", "load_config", "load_source"]


def load_config(
    path: Path | str | None = None,
    *,
    overrides: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
    machine_fqdn: str | None = None,
) -> Loaded:
    """Return the configuration at *path*, or the usual one; ConfigError has a line for each mistake.

    The environment (*environ*: this process's) goes before the file, *overrides* before both.
    Rules between properties that do not hold are findings as long as there is no other mistake.
    """
    environ = os.environ if environ is None else environ
    source = find(path, environ)
    loaded = load_source(source, overrides=overrides, environ=environ, machine_fqdn=machine_fqdn)
    again = partial(load_config, path, overrides=overrides, environ=environ, machine_fqdn=machine_fqdn)
    watched = source.path or own_copy(environ)
    return replace(loaded, watched=watched, octets=source.octets, again=again)


def editable_config(path: Path | None, environ: Mapping[str, str] | None = None) -> Path:
    """Return the file that an edit of the configuration changes; the built-in default is copied to one first."""
    return _editable_config(path, os.environ if environ is None else environ)


def load_source(
    source: Source,
    *,
    overrides: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
    machine_fqdn: str | None = None,
) -> Loaded:
    """Return the configuration in *source*; see load_config, but no environment is looked at unless given."""
    document, lines = overridden(_document(source), overrides, environ or {})
    if not isinstance(document.content, dict):
        raise ConfigError([*lines, document.line((), _not_a_configuration(document.content))])
    fqdn = machine_fqdn or this_machine()

    shape, mistakes = validate(document.content)
    servers = read_servers(document, mistakes, fqdn)
    mistakes += mistakes_between(document, servers, mistakes)
    findings = [
        Finding(document.line(broken.path, broken.violation.message), broken.violation, broken.server)
        for broken in broken_rules(servers)
    ]
    if shape is None or mistakes or lines:
        lines += document.lines(mistakes)
        raise ConfigError(dict.fromkeys([*lines, *(finding.line for finding in findings)]))
    warnings = (document.line(where, "accepted, but not yet honoured") for where in not_yet_honoured(shape))
    return Loaded(settings_of(document, shape, fqdn), tuple(findings), tuple(warnings))


@cache
def this_machine() -> str:
    """Return this machine's fully qualified domain name, asked for once."""
    return socket.getfqdn()


def _document(source: Source) -> Document:
    try:
        content = yaml12.load(source.text)
    except yaml12.YamlError as error:
        raise ConfigError([f"{source.name}: {error}"]) from None
    return Document(source.name, source.path, source.folder, content)


def _not_a_configuration(content: object) -> str:
    wanted = "it must begin with servers:"
    return f"is empty; {wanted}" if content is None else f"holds {shown(content)}, not a mapping; {wanted}"
