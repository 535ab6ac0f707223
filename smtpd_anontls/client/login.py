"""LOGIN as the client: the user name and the password, each at its prompt ([MS-XLOGIN])."""

from __future__ import annotations

from smtpd_anontls.client.tokens import one_too_many


class LoginTokens:
    """What LOGIN says; the prompts' own words do not matter, they differ between servers."""

    def __init__(self, user: str, password: str) -> None:
        self._answers = [user.encode(), password.encode()]

    def initial(self) -> bytes | None:
        """Return None: the server asks first."""
        return None

    def answer(self, challenge: bytes) -> bytes:  # noqa: ARG002 - see the class
        """Return the user name, then the password."""
        if not self._answers:
            raise one_too_many("LOGIN")
        return self._answers.pop(0)

    def finish(self, text: bytes) -> None:
        """Take the server's word for it: LOGIN proves nothing of the server."""
