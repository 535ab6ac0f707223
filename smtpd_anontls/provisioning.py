"""Making the certificates that a first start, or a scenario of the gallery, needs.

A server with ``default_certificate`` gets what Exchange's setup makes, once: where its store
holds no certificate and the directory has no entry for it.  A server with a ``scenario`` gets a
certificate whenever none in its store shows the scenario any longer, and its directory entry with
it.  What a person has put there otherwise is never touched.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from smtpd_anontls.certificates.issue import KeyType, issue
from smtpd_anontls.certificates.store import StoreError
from smtpd_anontls.certificates.writing import write_certificate, write_public_certificate
from smtpd_anontls.deciding import store_of
from smtpd_anontls.directory.file import ATTRIBUTE, DirectoryError, FileDirectory
from smtpd_anontls.domain.certificate import KeyState
from smtpd_anontls.domain.scenarios import RECIPES, DirectoryEntry, Recipe
from smtpd_anontls.settings.values import FileDirectorySettings

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from smtpd_anontls.certificates.issue import Issued
    from smtpd_anontls.domain.connectors import Server
    from smtpd_anontls.settings.values import ServerSettings, Settings

# Exchange enables its default certificate for these (New-ExchangeCertificate).
DEFAULT_SERVICES = ("IMAP", "POP", "SMTP")


class ProvisioningError(Exception):
    """A certificate or its directory entry could not be made; the text says which and why."""


async def provision(
    settings: Settings, *, now: datetime, on_made: Callable[[str], None], key_type: KeyType = KeyType.RSA
) -> None:
    """Make what the servers of *settings* need; *on_made* is told of each certificate that was made."""
    asking = [each for each in settings.servers if each.scenario is not None or each.default_certificate]
    # With Active Directory no server asks for it: that is a mistake of the configuration.
    if not asking or not isinstance(settings.directory, FileDirectorySettings):
        return
    directory = FileDirectory(settings.directory.path)
    for each in asking:
        try:
            recipe = await _needed(each, directory, now)
            if recipe is not None:
                thumbprint = await asyncio.to_thread(_make, each, directory, recipe, now, key_type)
                on_made(
                    f"{each.server.name}: made certificate {thumbprint}; the directory {recipe.entry.value}"
                )
        except (StoreError, DirectoryError) as error:
            raise ProvisioningError(f"{each.server.name}: no certificate could be made: {error}") from error


async def _needed(each: ServerSettings, directory: FileDirectory, now: datetime) -> Recipe | None:
    """Return the recipe of the certificate that is missing; None where none is."""
    held = await store_of(each).all()
    known = directory.has_entry(each.server.name)
    if each.scenario is None:
        return None if held or known else Recipe()
    recipe = RECIPES[each.scenario]
    shown = any(
        recipe.is_shown_by(one.certificate, has_key=one.key is KeyState.USABLE, now=now) for one in held
    )
    return None if shown and known else recipe


def _make(
    each: ServerSettings, directory: FileDirectory, recipe: Recipe, now: datetime, key_type: KeyType
) -> str:
    """Make a certificate in the store and the directory entry that goes with it; return its thumbprint."""
    server = each.server
    if directory.path.exists():
        # Broken, it would take no entry: better known before there is a certificate.
        directory.load()
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    issued = issue(
        names_of(server),
        now=now,
        valid_from=today + recipe.valid_from,
        valid_to=today + recipe.valid_to,
        key_type=key_type,
    )
    if recipe.private_key:
        path = write_certificate(each.certificate_store, server.name, issued, services=DEFAULT_SERVICES)
    else:
        path = write_public_certificate(each.certificate_store, server.name, issued)
    try:
        _write_entry(server, directory, recipe, issued, now=now, key_type=key_type)
    except DirectoryError:
        # Half of it in the store would keep the next start from making the whole.
        path.unlink()
        raise
    return issued.certificate.thumbprint


def _write_entry(
    server: Server,
    directory: FileDirectory,
    recipe: Recipe,
    issued: Issued,
    *,
    now: datetime,
    key_type: KeyType,
) -> None:
    match recipe.entry:
        case DirectoryEntry.NAMES_IT:
            directory.set_internal_tls_certificate(server.name, issued.certificate.thumbprint)
        case DirectoryEntry.NAMES_ANOTHER:
            # A real certificate that nobody keeps: its thumbprint is in no store.
            absent = issue(names_of(server), now=now, key_type=key_type)
            directory.set_internal_tls_certificate(server.name, absent.certificate.thumbprint)
        case DirectoryEntry.NOT_SET:
            directory.write_entry(server.name, {ATTRIBUTE: None})
        case DirectoryEntry.UNREADABLE:
            directory.write_entry(server.name, {"readable": False})


def names_of(server: Server) -> list[str]:
    """Return the names of a server's own certificate: NetBIOS name first, then the FQDN."""
    return list(server.own_names)
