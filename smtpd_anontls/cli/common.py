"""What every command shares: its options, its exit codes, and how mistakes are told."""

from __future__ import annotations

import contextlib
import functools
import os
import shlex
import shutil
import sys
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from smtpd_anontls.cli.groups import COMMON, Option
from smtpd_anontls.cli.output import diagnose
from smtpd_anontls.domain.instants import parse_instant
from smtpd_anontls.settings.load import ConfigError, load_config
from smtpd_anontls.settings.source import find

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpd_anontls.certificates.store import StoreError
    from smtpd_anontls.domain.connectors import ReceiveConnector, Server
    from smtpd_anontls.settings.values import Loaded

R = TypeVar("R")

_NAME = "smtpd-anontls"


class ExitCode(IntEnum):
    """What a command tells its caller."""

    FINE = 0
    NOT_AS_IT_SHOULD_BE = 1
    BAD_USAGE = 2
    UNREACHABLE = 3


class CommandError(click.ClickException):
    """A command cannot go on: lines for stderr and an exit code."""

    def __init__(self, message: str, exit_code: ExitCode) -> None:
        super().__init__(message)
        # Declared as a class variable, but click reads it from the instance.
        self.exit_code = exit_code  # type: ignore[misc]

    def show(self, file: object = None) -> None:  # noqa: ARG002 - click's signature
        """Print the lines."""
        for line in self.message.split("\n"):
            diagnose(line)


@dataclass(frozen=True, slots=True)
class Common:
    """The options that every command takes."""

    config: Path | None
    overrides: tuple[str, ...]
    as_json: bool
    url: str | None = None  # Of a running receiver that is asked instead of the journal.
    ca_file: Path | None = None  # Whom to believe there; None: whom the system believes.

    def load(self, *, findings_stop: bool = False, findings_told: bool = True) -> Loaded:
        """Read the configuration; mistakes end the command with exit code 2.

        Broken rules between properties are mistakes where *findings_stop*, else they are told at most.
        """
        try:
            loaded = load_config(self.config, overrides=self.overrides)
        except ConfigError as error:
            raise CommandError("\n".join(error.lines), ExitCode.BAD_USAGE) from error
        for warning in loaded.warnings:
            diagnose(f"warning: {warning}")
        if findings_stop and loaded.findings:
            raise CommandError("\n".join(finding.line for finding in loaded.findings), ExitCode.BAD_USAGE)
        if findings_told:
            for finding in loaded.findings:
                diagnose(f"finding: {finding.line}")
        return loaded

    def invocation(self, command: str) -> str:
        """Return *command* of this program as it can be typed here, for the same configuration."""
        return f"{program()} {command}{self._config_option()}"

    def _config_option(self) -> str:
        if self.config is None:
            return ""
        with contextlib.suppress(ConfigError, OSError):
            usual = find(None, os.environ).path
            if usual is not None and usual.samefile(self.config):
                return ""
        return f" --config {shlex.quote(str(self.config))}"


def program() -> str:
    """Return how this program was called: by its name where the shell finds it, else by its path."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return f"{shlex.quote(sys.executable)} -m smtpd_anontls"
    found = shutil.which(_NAME)
    if called.name != _NAME or (found is not None and called.exists() and Path(found).samefile(called)):
        return _NAME
    return shlex.quote(sys.argv[0])


def common_options(command: Callable[..., R]) -> Callable[..., R]:
    """Give a command ``--config``, ``--set`` and ``--json``; it receives a Common first."""

    @click.option(
        "--config",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Configuration file. Default: $SMTPD_ANONTLS_CONFIG, else config/receive.yaml, else the built-in default.",
        cls=Option,
        heading=COMMON,
    )
    @click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        help="Change one key for this run, such as servers[0].fqdn=mx.test. May be repeated.",
        cls=Option,
        heading=COMMON,
    )
    @click.option(
        "--json",
        "as_json",
        is_flag=True,
        help="Print JSON and nothing else on stdout.",
        cls=Option,
        heading=COMMON,
    )
    @functools.wraps(command)
    def wrapped(config: Path | None, overrides: tuple[str, ...], *, as_json: bool, **options: object) -> R:
        return command(Common(config, overrides, as_json), **options)

    return wrapped


class Instant(click.ParamType[datetime]):
    """A date or a time of ISO 8601."""

    name = "time"

    def convert(
        self,
        value: object,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> datetime:
        """Return the instant in UTC."""
        try:
            return parse_instant(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


def choose_server(loaded: Loaded, name: str | None) -> Server:
    """Return the server that is meant: *name*, or the only one there is."""
    servers = {each.server.name.casefold(): each.server for each in loaded.settings.servers}
    if name is None:
        if len(servers) == 1:
            return next(iter(servers.values()))
        names = ", ".join(server.name for server in servers.values())
        raise CommandError(f"which server? Say --server with one of {names}", ExitCode.BAD_USAGE)
    if name.casefold() not in servers:
        names = ", ".join(server.name for server in servers.values())
        raise CommandError(f"--server: {name!r} is not one of {names}", ExitCode.BAD_USAGE)
    return servers[name.casefold()]


def choose_connectors(
    loaded: Loaded,
    server: str | None,
    connector: str | None,
) -> list[tuple[Server, ReceiveConnector]]:
    """Return the connectors that are meant: all, or those of *server*, or those called *connector*."""
    servers = [each.server for each in loaded.settings.servers]
    if server is not None:
        servers = [choose_server(loaded, server)]
    every = [(owner, each) for owner in servers for each in owner.connectors]
    if connector is None:
        return every
    chosen = [(owner, each) for owner, each in every if each.name.casefold() == connector.casefold()]
    if not chosen:
        names = ", ".join(repr(each.name) for _, each in every)
        raise CommandError(f"no connector is called {connector!r}; there are {names}", ExitCode.BAD_USAGE)
    return chosen


def store_error(error: StoreError) -> CommandError:
    """Return what a store that cannot be used means for a command."""
    return CommandError(str(error), ExitCode.UNREACHABLE)
