"""Who may use the page: users of HTTP Basic with argon2 hashes, and one bearer token (RFC 7617, RFC 6750)."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING

from smtpd_anontls.domain.printable import printable
from smtpd_anontls.notation.snapshot import UnreadableFileError, reason_of, take

if TYPE_CHECKING:
    from collections.abc import Mapping

    from smtpd_anontls.settings.values import WebAuthSettings

_LARGEST_FILE = 1024**2
# Checking a hash takes memory on purpose; a flood of guesses gets no more of it.
_CHECKS_AT_ONCE = 2
_KNOWN_PASSWORDS = 100


class AccessError(Exception):
    """Nobody could be let in; one sentence says why."""


class Access:
    """Decides whether an Authorization header opens the door."""

    def __init__(self, users: Mapping[str, str], token: str | None) -> None:
        """Take argon2 hashes by user, and the token."""
        self._users = dict(users)
        self._token = None if token is None else token.encode()
        self._checks = asyncio.Semaphore(_CHECKS_AT_ONCE)
        # Passwords that were right, by a digest that is worth nothing outside this process.
        self._key = secrets.token_bytes(32)
        self._known: dict[bytes, None] = {}
        self._nobody: str | None = None

    @classmethod
    def read(cls, settings: WebAuthSettings, environ: Mapping[str, str]) -> Access:
        """Read the file and the variable that *settings* name; AccessError says why that is no use."""
        token = None
        if settings.token_env is not None:
            token = environ.get(settings.token_env, "").strip()
            if not token:
                raise AccessError(
                    f"web.auth.token_env: the environment variable {settings.token_env} is not set; set it"
                )
        return cls({} if settings.users_file is None else _users_of(settings), token)

    @property
    def challenges(self) -> list[str]:
        """What a WWW-Authenticate header offers."""
        basic = ['Basic realm="smtpd-anontls", charset="UTF-8"'] if self._users else []
        bearer = ['Bearer realm="smtpd-anontls"'] if self._token is not None else []
        return basic + bearer

    async def admits(self, authorization: str | None) -> bool:
        """Whether *authorization* is right."""
        scheme, _, credentials = (authorization or "").partition(" ")
        match scheme.lower():
            case "bearer" if self._token is not None:
                return hmac.compare_digest(self._token, credentials.strip().encode())
            case "basic" if self._users:
                return await self._is_user(credentials.strip())
        return False

    async def _is_user(self, credentials: str) -> bool:
        try:
            name, colon, password = base64.b64decode(credentials, validate=True).decode().partition(":")
        except (binascii.Error, ValueError):
            return False
        if not colon:
            return False
        digest = hmac.digest(self._key, f"{name}:{password}".encode(), hashlib.sha256)
        if digest in self._known:
            return True
        async with self._checks:
            right = await asyncio.to_thread(self._verify, name, password)
        if right:
            if len(self._known) >= _KNOWN_PASSWORDS:
                self._known.clear()
            self._known[digest] = None
        return right

    def _verify(self, name: str, password: str) -> bool:
        # Here, since who does without passwords does without the library.
        from argon2 import PasswordHasher, extract_parameters  # noqa: PLC0415
        from argon2.exceptions import InvalidHashError, VerificationError  # noqa: PLC0415

        known = self._users.get(name)
        try:
            if known is None and self._nobody is None:
                # A user who is not there takes as long as one who is.
                as_theirs = extract_parameters(next(iter(self._users.values())))
                self._nobody = PasswordHasher.from_parameters(as_theirs).hash(secrets.token_hex())
            PasswordHasher().verify(known or self._nobody or "", password)
        except (VerificationError, InvalidHashError):
            return False
        return name in self._users


def _users_of(settings: WebAuthSettings) -> dict[str, str]:
    path = settings.users_file
    assert path is not None
    where = f"web.auth.users_file: {path}"
    try:
        text = take(path, _LARGEST_FILE).content.decode()
    except FileNotFoundError:
        raise AccessError(f"{where} is not there; write user:argon2-hash lines into it") from None
    except UnreadableFileError as error:
        raise AccessError(f"{where} cannot be read ({error})") from None
    except OSError as error:
        raise AccessError(f"{where} cannot be read ({reason_of(error)})") from None
    except UnicodeDecodeError:
        raise AccessError(f"{where} is not UTF-8 text") from None
    users: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, colon, digest = line.strip().partition(":")
        if not (name and colon and digest.startswith("$argon2")):
            raise AccessError(f"{where}: line {number} is not user:argon2-hash")
        if name in users:
            raise AccessError(f"{where}: line {number}: {printable(name)} is there twice")
        users[name] = digest
    if not users:
        raise AccessError(f"{where} has no user; write user:argon2-hash lines into it")
    return users
