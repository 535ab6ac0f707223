"""The client's side of a token exchange: what ``logon`` asks a mechanism for."""

from __future__ import annotations

import binascii
from base64 import b64decode
from typing import Protocol

from smtpd_anontls.client.errors import ConversationError


class Tokens(Protocol):
    """One authentication, as the client; ClientError says why it cannot go on."""

    def initial(self) -> bytes | None:
        """Return the token that goes behind the command; None where the mechanism waits for a 334."""
        ...

    def answer(self, challenge: bytes) -> bytes:
        """Return the token that answers a 334; *challenge* is what stands behind it, in base64 or not."""
        ...

    def finish(self, text: bytes) -> None:
        """Take the server's 235; RefusedError where the server itself has not proved what it had to."""
        ...


def decoded(challenge: bytes) -> bytes:
    """Return the token that a server sent in base64; ConversationError where it is none."""
    try:
        return b64decode(challenge, validate=True)
    except binascii.Error:
        raise ConversationError("the server sent a challenge that is no base64") from None


def one_too_many(mechanism: str) -> ConversationError:
    """Return what it means that a server asks on when the mechanism has nothing more to say."""
    return ConversationError(f"the server asks for more than {mechanism} has to say")
