"""AUTH LOGIN: user name and password, each asked for.

Nothing but draft-murchison-sasl-login and [MS-XLOGIN] describes it; the prompts are theirs and Exchange's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from smtpd_anontls.authentication.credentials import NOBODYS_HASH, NtHash, UnknownUser, User
from smtpd_anontls.domain.account_names import AccountName
from smtpd_anontls.domain.authentication import Authenticated, Challenge, Failed, FailureReason

if TYPE_CHECKING:
    from smtpd_anontls.authentication.credentials import Users
    from smtpd_anontls.domain.authentication import Step

USERNAME_PROMPT = b"Username:"
PASSWORD_PROMPT = b"Password:"
# Windows takes 256 characters at most; to hash more than anybody types is work for nothing.
_LONGEST_PASSWORD = 1024


class LoginExchange:
    """One AUTH LOGIN as the server; the first token is the user name, or empty where none came yet."""

    def __init__(self, users: Users) -> None:
        self._users = users
        self._user_name: str | None = None
        self._has_asked = False

    async def step(self, token: bytes) -> Step:
        """Take the peer's token; never raise.  The password is not kept."""
        if self._user_name is not None:
            return await self._judge(self._user_name, token)
        if not token and not self._has_asked:
            self._has_asked = True
            return Challenge(USERNAME_PROMPT)
        self._user_name = _text(token)
        return Challenge(PASSWORD_PROMPT)

    async def _judge(self, user_name: str, password: bytes) -> Step:
        name = AccountName.parse(user_name)
        claimed = name.shown or None
        if len(password) > _LONGEST_PASSWORD:
            detail = f"the password has more than {_LONGEST_PASSWORD} octets"
            return Failed(FailureReason.MALFORMED, detail, claimed)
        found = await self._users.find(name)
        known_hash = found.nt_hash if isinstance(found, User) else NOBODYS_HASH
        is_right = known_hash.matches(NtHash.of(_text(password)))
        if isinstance(found, UnknownUser):
            return Failed(FailureReason.UNKNOWN_USER, found.detail, claimed)
        if not isinstance(found, User):
            return Failed(FailureReason.NOT_AVAILABLE, found.detail, claimed)
        if not is_right:
            detail = f"the password is not that of {found.written}"
            return Failed(FailureReason.WRONG_PASSWORD, detail, claimed)
        return Authenticated(str(found.name), f"user name and password of {found.written}")


def _text(octets: bytes) -> str:
    """Return what was typed: UTF-8, else the code page of Western Windows."""
    try:
        return octets.decode()
    except UnicodeDecodeError:
        return octets.decode("cp1252", "replace")
