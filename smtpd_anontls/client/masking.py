"""What was said to authenticate, kept out of everything that is shown.

A server may repeat what it was sent: one that has gone back to taking commands quotes the line that
it does not know, whole or cut short, often in upper case, and that line may be a password in base64.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode

DATA = "<authentication data>"
_DATA = DATA.encode()
# Shorter than this, a word of a sentence would be found by chance in a token of a few thousand octets.
_SHORTEST = 6
_WORD = re.compile(rb"[A-Za-z0-9+/=]{%d,}" % _SHORTEST)
_OF_AUTHENTICATION = frozenset({235, 334})  # RFC 4954: what may carry a server's token.


class Mask:
    """What may not be shown."""

    def __init__(self) -> None:
        self._secrets: list[re.Pattern[bytes]] = []
        self._tokens = b""

    def conceal(self, secret: bytes) -> None:
        """Hide *secret* wherever it stands, in any case."""
        self._secrets.append(re.compile(re.escape(secret), re.IGNORECASE))

    def conceal_token(self, encoded: bytes) -> None:
        """Hide every part of a token, as it goes over the wire, that is long enough to be told from chance."""
        self._tokens += b" " + encoded.lower()

    def of(self, octets: bytes) -> bytes:
        """Return *octets* without what may not be shown."""
        for secret in self._secrets:
            octets = secret.sub(_DATA, octets)
        return _WORD.sub(self._of_word, octets) if self._tokens else octets

    def of_reply(self, code: int, text: bytes) -> bytes:
        """Return a reply's text without what may not be shown, a token of the server's own included."""
        if code in _OF_AUTHENTICATION and text and _is_base64(text):
            return _DATA
        return self.of(text)

    def _of_word(self, found: re.Match[bytes]) -> bytes:
        return _DATA if found[0].lower() in self._tokens else found[0]


def _is_base64(text: bytes) -> bool:
    try:
        b64decode(text, validate=True)
    except binascii.Error:
        return False
    return True
