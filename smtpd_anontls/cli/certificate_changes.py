"""``certificate import``, ``renew`` and ``remove``: what comes into a store and what leaves it."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from smtpd_anontls.certificates.importing import NotImportableError, read_certificate
from smtpd_anontls.certificates.issue import succeed
from smtpd_anontls.certificates.passwords import PasswordInEnvironment, PasswordInFile
from smtpd_anontls.certificates.removing import removal_of
from smtpd_anontls.certificates.store import StoreError
from smtpd_anontls.certificates.writing import write_certificate
from smtpd_anontls.cli.common import (
    CommandError,
    ExitCode,
    choose_server,
    common_options,
    store_error,
)
from smtpd_anontls.cli.directories import opened
from smtpd_anontls.cli.groups import Command
from smtpd_anontls.cli.output import diagnose, say, say_json, say_verbatim
from smtpd_anontls.cli.stores import Place, document, server_option, services_of
from smtpd_anontls.domain.certificate import KeyState, normalized_thumbprint
from smtpd_anontls.domain.directory_value import Named, Unreadable
from smtpd_anontls.domain.instants import rfc3339_seconds

if TYPE_CHECKING:
    from smtpd_anontls.certificates.issue import Issued
    from smtpd_anontls.certificates.passwords import PasswordSource
    from smtpd_anontls.certificates.removing import Removal
    from smtpd_anontls.cli.common import Common
    from smtpd_anontls.domain.certificate import StoreCertificate

# Remove-ExchangeCertificate's own reasoning.
_CANNOT_BE_REMOVED = (
    "The internal transport certificate cannot be removed because that would cause the Microsoft Exchange "
    "Transport service to stop. To replace the internal transport certificate, create a new certificate. "
    "The new certificate will automatically become the internal transport certificate. You can then remove "
    "the existing certificate."
)


@click.command("import", cls=Command, short_help="Take a PEM, DER or PFX file into the store.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--key", type=click.Path(path_type=Path), metavar="FILE", help="The private key, where FILE lacks it."
)
@click.option("--password-env", metavar="NAME", help="The environment variable with the password.")
@click.option(
    "--password-file", type=click.Path(path_type=Path), metavar="PATH", help="The file with the password."
)
@click.option(
    "--services",
    default="",
    metavar="SMTP[,IIS…]",
    help="Services to enable it for. Default: none, as in Exchange.",
)
@server_option
@common_options
def import_certificate(
    common: Common,
    *,
    file: Path,
    key: Path | None,
    password_env: str | None,
    password_file: Path | None,
    services: str,
    server: str | None,
) -> None:
    """Take a certificate with its private key and chain into the store (Import-ExchangeCertificate).

    FILE is PEM, DER or PFX.  The store gets one PEM file that its owner alone can read, with the
    key in it decrypted.  To keep a PFX as it is, put it into the store's folder yourself and name
    its password in certificate_passwords.
    """
    loaded = common.load()
    place = Place.of(loaded, choose_server(loaded, server))
    try:
        wanted = services_of(services)
        password = _password(password_env, password_file)
        taken = read_certificate(file, key=key, password=password)
    except (NotImportableError, ValueError) as error:
        raise CommandError(str(error), ExitCode.BAD_USAGE) from error
    thumbprint = taken.certificate.thumbprint
    held = asyncio.run(_held(place, thumbprint))
    if held is not None and held.key is KeyState.USABLE:
        raise CommandError(
            f"{place.server.name}: the local computer store holds {thumbprint} already, in {held.file}",
            ExitCode.NOT_AS_IT_SHOULD_BE,
        )
    _write(place, taken, wanted)
    one, is_named = asyncio.run(_written(place, common, thumbprint))
    if common.as_json:
        say_json(document(one, place.server, internal_transport=is_named))
        return
    say(
        f"Imported {thumbprint} into {one.file}: {one.certificate.subject}, issued by {one.certificate.issuer}"
    )
    say("Its private key stands there without a password; only the owner of the file can read it.")
    _say_what_remains(place, common, one, is_named=is_named)


@click.command("renew", cls=Command, short_help="Make the successor of a self-signed certificate.")
@click.argument("thumbprint")
@server_option
@common_options
def renew_certificate(common: Common, *, thumbprint: str, server: str | None) -> None:
    """Make the successor of a self-signed certificate; the old one stays (New-ExchangeCertificate).

    Same subject and alternative names, same type and size of key, same services; five years.
    """
    loaded = common.load()
    place = Place.of(loaded, choose_server(loaded, server))
    old = asyncio.run(place.found(common, _plain(thumbprint)))
    if not old.certificate.self_signed:
        raise CommandError(
            f"{old.certificate.thumbprint} was issued by {old.certificate.issuer}: a successor made here would be "
            "self-signed. Ask that authority for a new one, as New-ExchangeCertificate -GenerateRequest does, and "
            f"take it in with `{place.invocation(common, 'certificate import FILE')}`",
            ExitCode.NOT_AS_IT_SHOULD_BE,
        )
    try:
        made = succeed(old.certificate, now=datetime.now(UTC))
    except ValueError as error:
        raise CommandError(f"{old.certificate.thumbprint}: {error}", ExitCode.NOT_AS_IT_SHOULD_BE) from error
    _write(place, made, old.services)
    one, is_named = asyncio.run(_written(place, common, made.certificate.thumbprint))
    if common.as_json:
        shown = document(one, place.server, internal_transport=is_named)
        say_json({**shown, "renews": old.certificate.thumbprint})
        return
    say(
        f"Made {one.certificate.thumbprint} in {one.file}: {one.certificate.subject}, "
        f"valid until {rfc3339_seconds(one.certificate.not_after)}"
    )
    say(f"It succeeds {old.certificate.thumbprint} in {old.file}, which stays.")
    _say_what_remains(place, common, one, is_named=is_named)
    say("When it is no longer needed, remove the old one:")
    say_verbatim(f"  {place.invocation(common, f'certificate remove {old.certificate.thumbprint}')}")


@click.command("remove", cls=Command, short_help="Remove a certificate and its key from the store.")
@click.argument("thumbprint")
@click.option("--force", is_flag=True, help="Remove it without asking.")
@server_option
@common_options
def remove_certificate(common: Common, *, thumbprint: str, force: bool, server: str | None) -> None:
    """Remove a certificate, its key and its chain from the store (Remove-ExchangeCertificate).

    What else its file holds stays.  A PFX file is moved aside, to NAME.removed.  The internal
    transport certificate cannot be removed.
    """
    loaded = common.load()
    place = Place.of(loaded, choose_server(loaded, server))
    plain = _plain(thumbprint)
    found = asyncio.run(_removable(place, common, plain, force=force))
    passwords = place.store.passwords
    try:
        removal = removal_of(place.folder, plain, passwords)
        if not (force or _confirm(found, removal)):
            say("Nothing was removed.")
            return
        removal.carry_out()
    except StoreError as error:
        raise store_error(error) from error
    if common.as_json:
        say_json(
            {
                "thumbprint": plain,
                "server": place.server.name,
                "deleted": list(removal.deleted),
                "moved": dict(removal.moved),
                "rewritten": list(removal.rewritten),
            }
        )
        return
    say(f"{plain} is removed: {'; '.join(removal.describe())}.")


async def _removable(place: Place, common: Common, thumbprint: str, *, force: bool) -> StoreCertificate:
    """Return the certificate; where it is or may be an internal transport certificate the command ends."""
    found = await place.found(common, thumbprint)
    async with opened(place.settings) as directory:
        answers = [
            (server, await directory.internal_tls_certificate(server.name)) for server in place.neighbours
        ]
    for server, answer in answers:
        if isinstance(answer, Named) and answer.thumbprint == thumbprint:
            renewing = place.invocation(common, f"certificate renew {thumbprint}")
            raise CommandError(
                f"{server.name}: {_CANNOT_BE_REMOVED}\n"
                f"Here: `{renewing}` makes its successor and says how that becomes the internal transport certificate.",
                ExitCode.NOT_AS_IT_SHOULD_BE,
            )
        if isinstance(answer, Unreadable) and not force:
            raise CommandError(
                f"{server.name}: the directory could not be read ({answer.reason}), so {thumbprint} may be the "
                "internal transport certificate; say --force to remove it all the same",
                ExitCode.UNREACHABLE,
            )
    return found


def _confirm(found: StoreCertificate, removal: Removal) -> bool:
    """Ask before anything is gone; without a terminal the question cannot be put."""
    thumbprint = found.certificate.thumbprint
    if not sys.stdin.isatty():
        raise CommandError(
            f"{thumbprint}: say --force to remove it where nobody can be asked", ExitCode.BAD_USAGE
        )
    diagnose(f"{thumbprint}: {found.certificate.subject}, issued by {found.certificate.issuer}")
    for line in removal.describe():
        diagnose(f"  {line}")
    return click.confirm("Remove this certificate and its private key?", default=False, err=True)


def _write(place: Place, taken: Issued, services: frozenset[str] | list[str] | None) -> None:
    try:
        write_certificate(place.folder, place.server.name, taken, services=services)
    except StoreError as error:
        raise store_error(error) from error


async def _held(place: Place, thumbprint: str) -> StoreCertificate | None:
    return await place.store.find(thumbprint)


async def _written(place: Place, common: Common, thumbprint: str) -> tuple[StoreCertificate, bool]:
    """Return the certificate as the store holds it now, and whether the directory names it."""
    one, answer = await place.found(common, thumbprint), await place.named()
    return one, isinstance(answer, Named) and answer.thumbprint == thumbprint


def _say_what_remains(place: Place, common: Common, one: StoreCertificate, *, is_named: bool) -> None:
    services = "not listed: SMTP" if one.services is None else ", ".join(sorted(one.services)) or "no service"
    if is_named:
        say(f"Enabled for {services}. The directory names it; the next session presents it.")
        return
    say(
        f"Enabled for {services}. The directory does not name it yet. To make it the internal transport certificate:"
    )
    enabling = f"certificate enable {one.certificate.thumbprint} --services SMTP"
    say_verbatim(f"  {place.invocation(common, enabling)}")


def _password(name: str | None, path: Path | None) -> PasswordSource | None:
    if name is not None and path is not None:
        raise ValueError("--password-env and --password-file exclude each other; say one of them")
    if name is not None:
        return PasswordInEnvironment(name)
    return None if path is None else PasswordInFile(path)


def _plain(thumbprint: str) -> str:
    try:
        return normalized_thumbprint(thumbprint)
    except ValueError as error:
        raise CommandError(str(error), ExitCode.BAD_USAGE) from error
