"""``credential``: the users of NTLM and LOGIN, in the file that ``authentication.credentials`` names."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from smtpd_anontls.authentication.credentials import (
    NtHash,
    UserFileError,
    account_name,
    read_text,
    understand,
    with_user,
    without_user,
    write_text,
)
from smtpd_anontls.certificates.passwords import PasswordInEnvironment, PasswordInFile
from smtpd_anontls.cli.common import CommandError, Common, ExitCode, common_options
from smtpd_anontls.cli.groups import Command, CommandGroup
from smtpd_anontls.cli.output import Column, diagnose, say, say_json, say_json_lines, say_verbatim, table

if TYPE_CHECKING:
    from smtpd_anontls.authentication.credentials import UserList
    from smtpd_anontls.domain.account_names import AccountName

_OTHERS = 0o077
_KEY = "authentication.credentials"


@click.group(cls=CommandGroup, short_help="The users of NTLM and LOGIN.")
def credential() -> None:
    r"""Work with the users of NTLM and LOGIN.

    A user is written alice, 'CONTOSO\alice' (in quotes: the shell would take the backslash) or
    alice@contoso.test.
    """


@credential.command("add", cls=Command, short_help="Add a user, or give one another password.")
@click.argument("user")
@click.option("--password-env", metavar="NAME", help="The environment variable with the password.")
@click.option(
    "--password-file", type=click.Path(path_type=Path), metavar="PATH", help="The file with the password."
)
@common_options
def add(common: Common, *, user: str, password_env: str | None, password_file: Path | None) -> None:
    """Add a user, or give one that is there another password; a running receiver knows it at once.

    Without --password-env and --password-file the password is asked for.  Its NT hash is kept, which
    in NTLM is as good as the password, so the file is its owner's alone.
    """
    path = _path(common)
    name = _name(user)
    text = _read(path)
    password = _given(password_env, password_file)
    if password is None:
        password = _asked(name)
    is_new = understand(text.encode(), path.name).named(name) is None
    _write(path, with_user(text, user, NtHash.of(password)))
    if common.as_json:
        say_json({"user": str(name), "file": str(path), "added": is_new})
        return
    say(f"Added {name} to {path.name}." if is_new else f"{name} in {path.name} has another password now.")


@credential.command("list", cls=Command)
@common_options
def list_users(common: Common) -> None:
    """List the users, without what would prove who they are."""
    path = _path(common)
    found = _understood(path, _read(path))
    if common.as_json:
        say_json_lines(
            {"user": str(user.name), "written": user.written, "line": user.line} for user in found.users
        )
        return
    if not found.users:
        say("There are no users yet. To add one:")
        say_verbatim(f"  {common.invocation('credential add USER')}")
        return
    columns = (Column("User"), Column("Written as", leaves=1), Column("Line", leaves=2))
    table(columns, [(str(user.name), user.written, str(user.line)) for user in found.users])


@credential.command("remove", cls=Command)
@click.argument("user")
@common_options
def remove(common: Common, *, user: str) -> None:
    """Remove a user; a running receiver refuses it at once."""
    path = _path(common)
    name = _name(user)
    text = _read(path)
    rest = without_user(text, name)
    if rest is None:
        others = understand(text.encode(), path.name).of_other_domains(name)
        hint = f"; it has {', '.join(others)}" if others else ""
        raise CommandError(f"{path}: has no entry for {name}{hint}", ExitCode.NOT_AS_IT_SHOULD_BE)
    _write(path, rest)
    if common.as_json:
        say_json({"user": str(name), "file": str(path), "removed": True})
        return
    say(f"Removed {name} from {path.name}.")


def _path(common: Common) -> Path:
    """Return the file of users; where none is configured the command ends."""
    settings = common.load().settings
    path = settings.authentication.credentials
    if path is None:
        raise CommandError(
            f"{settings.text_name}: {_KEY}: is null, so there is no file of users; "
            "write one such as authentication: {credentials: users.txt}",
            ExitCode.BAD_USAGE,
        )
    return path


def _name(user: str) -> AccountName:
    try:
        return account_name(user)
    except ValueError as error:
        raise CommandError(str(error), ExitCode.BAD_USAGE) from error


def _read(path: Path) -> str:
    try:
        return read_text(path)
    except UserFileError as error:
        raise CommandError(str(error), ExitCode.UNREACHABLE) from error


def _understood(path: Path, text: str) -> UserList:
    """Return what *text* says, its mistakes told; and whether others may read it."""
    found = understand(text.encode(), path.name)
    for warning in found.warnings:
        diagnose(f"warning: {warning}")
    if path.exists() and path.stat().st_mode & _OTHERS:
        diagnose(f"warning: {path.name}: others than its owner may read or change it; chmod 600 mends that")
    return found


def _write(path: Path, text: str) -> None:
    try:
        write_text(path, text)
    except UserFileError as error:
        raise CommandError(str(error), ExitCode.UNREACHABLE) from error
    _understood(path, text)


def _given(name: str | None, path: Path | None) -> str | None:
    """Return the password from where the command line says it is; None where it says nothing."""
    if name is not None and path is not None:
        raise CommandError(
            "--password-env and --password-file exclude each other; say one of them", ExitCode.BAD_USAGE
        )
    if name is not None:
        found = PasswordInEnvironment(name).read().password
    elif path is not None:
        found = PasswordInFile(path).read().password
    else:
        return None
    if found.octets is None:
        raise CommandError(found.problem, ExitCode.BAD_USAGE)
    if not found.octets:
        raise CommandError(f"{found.place} is empty; write the password", ExitCode.BAD_USAGE)
    return found.octets.decode()


def _asked(name: AccountName) -> str:
    """Ask for a password, twice; without a terminal the question cannot be put."""
    if not sys.stdin.isatty():
        raise CommandError(
            f"{name}: say --password-env or --password-file where nobody can be asked for the password",
            ExitCode.BAD_USAGE,
        )
    password: str = click.prompt(f"Password of {name}", hide_input=True, confirmation_prompt=True, err=True)
    return password
