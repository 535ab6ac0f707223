"""What the commands share that read or write the directory, of either kind.

A write to Active Directory is never the first thing: what the attribute held is saved before, the
write happens only where it still holds that, and the command that puts it back is printed.
"""

from __future__ import annotations

import shlex
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from smtpd_anontls.cli.common import CommandError, ExitCode
from smtpd_anontls.cli.output import diagnose, say, say_verbatim
from smtpd_anontls.deciding import close_directory, directory_of
from smtpd_anontls.directory.backup import Backup
from smtpd_anontls.directory.file import ChangedInBetweenError, DirectoryError, FileDirectory
from smtpd_anontls.domain.directory_value import Named, decode
from smtpd_anontls.settings.values import LdapDirectorySettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from smtpd_anontls.cli.common import Common
    from smtpd_anontls.directory.active_directory import ActiveDirectory
    from smtpd_anontls.domain.certificate import Certificate
    from smtpd_anontls.settings.values import Settings


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[FileDirectory | ActiveDirectory]:
    """Return the directory of *settings* until the block ends."""
    directory = directory_of(settings.directory, on_warning=lambda text: diagnose(f"warning: {text}"))
    try:
        yield directory
    finally:
        await close_directory(directory)


@dataclass(frozen=True, slots=True)
class Saved:
    """What a write to Active Directory left behind: the object, and the file with its old value."""

    dn: str
    backup: Path

    def say_how_to_restore(self, common: Common) -> None:
        """Print the command that puts the old value back."""
        say("What it held before is saved. To put it back:")
        restoring = f"transport-service restore {shlex.quote(str(self.backup))}"
        say_verbatim(f"  {common.invocation(restoring)}")


async def name_certificate(
    settings: Settings, server: str, certificate: Certificate, *, before: bytes | None
) -> Saved | None:
    """Let the object of *server* name *certificate*; where it is in Active Directory, as DER in place of *before*.

    Where *before* names it already nothing is written.  DirectoryError says why it cannot be.
    """
    async with opened(settings) as directory:
        if isinstance(directory, FileDirectory):
            directory.set_internal_tls_certificate(server, certificate.thumbprint)
            return None
        if before is not None and _names(before, certificate):
            return None
        return await replace_value(directory, settings, server, certificate.der, expected=before)


async def object_of(directory: ActiveDirectory, server: str) -> str:
    """Return the DN of the object of *server*; DirectoryError where it is not found."""
    shown = await directory.show(server)
    if shown.source is None:
        raise DirectoryError(shown.reason)
    return shown.dn


async def replace_value(
    directory: ActiveDirectory,
    settings: Settings,
    server: str,
    new: bytes | None,
    *,
    expected: bytes | None,
) -> Saved:
    """Save *expected* and put *new* in its place, unless something else is there by now."""
    dn = await object_of(directory, server)
    backup = Backup(server, dn, datetime.now(UTC), expected, new)
    path = backup.save(settings.state_folder)
    try:
        await directory.replace(server, new, expected=expected)
    except ChangedInBetweenError:
        # Nothing was written, so there is nothing to go back from.
        path.unlink(missing_ok=True)
        raise
    except DirectoryError as error:
        raise DirectoryError(f"{error}; what it held before is saved in {path}") from error
    return Saved(dn, path)


def directory_error(error: DirectoryError) -> CommandError:
    """Return what a directory that cannot be read or written means for a command."""
    changed = isinstance(error, ChangedInBetweenError)
    return CommandError(str(error), ExitCode.NOT_AS_IT_SHOULD_BE if changed else ExitCode.UNREACHABLE)


def is_active_directory(settings: Settings) -> bool:
    """Whether the directory is Active Directory or AD LDS."""
    return isinstance(settings.directory, LdapDirectorySettings)


def _names(value: bytes, certificate: Certificate) -> bool:
    answer = decode(value)
    return isinstance(answer, Named) and answer.thumbprint == certificate.thumbprint
