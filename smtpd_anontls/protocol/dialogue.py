"""The order of commands: what the client has said so far, and which verb may come next.

RFC 5321 section 4.1.4, RFC 3030 section 2 for chunks, RFC 4954 section 4 for AUTH, and RFC 3207
section 4.2 for what TLS does to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING

from smtpd_anontls.protocol import replies

if TYPE_CHECKING:
    from collections.abc import Mapping

    from smtpd_anontls.domain.records import TlsVerb
    from smtpd_anontls.protocol.replies import Reply


class Phase(Enum):
    """How far the dialogue has come."""

    CONNECTED = "no hello yet"
    GREETED = "hello said"
    MAIL = "sender given"
    RECIPIENTS = "recipients given"
    CHUNKS = "a part of the message given"


@dataclass(frozen=True, slots=True)
class Dialogue:
    """The client's side of the story."""

    phase: Phase = Phase.CONNECTED
    secured_by: TlsVerb | None = None  # None: in clear.

    def greeted(self) -> Dialogue:
        """After EHLO or HELO, or at the end of a transaction (RFC 5321 section 4.1.4)."""
        return _dialogue(Phase.GREETED, self.secured_by)

    def reset(self) -> Dialogue:
        """After RSET: the transaction is gone, the hello stays."""
        return self if self.phase is Phase.CONNECTED else self.greeted()

    def sender_given(self) -> Dialogue:
        """After MAIL."""
        return _dialogue(Phase.MAIL, self.secured_by)

    def recipient_given(self) -> Dialogue:
        """After a RCPT that was accepted."""
        return _dialogue(Phase.RECIPIENTS, self.secured_by)

    def chunk_given(self) -> Dialogue:
        """After a BDAT that was accepted and was not the last."""
        return _dialogue(Phase.CHUNKS, self.secured_by)

    def secured(self, verb: TlsVerb) -> Dialogue:
        """After a handshake: RFC 3207 section 4.2 forgets what was said in clear, EHLO included."""
        return _dialogue(Phase.CONNECTED, verb)


# There are fifteen of them, and a message takes four steps.
_dialogue = cache(Dialogue)


TRANSACTION = (Phase.MAIL, Phase.RECIPIENTS, Phase.CHUNKS)

_NOT_WITHIN_A_TRANSACTION = dict.fromkeys(TRANSACTION, replies.BAD_SEQUENCE)
_SENDER_GIVEN = dict.fromkeys(TRANSACTION, replies.SENDER_ALREADY_SPECIFIED)
_HELLO_FIRST = {Phase.CONNECTED: replies.SEND_HELLO_FIRST}
_CONTENT = {**_HELLO_FIRST, Phase.GREETED: replies.NEED_MAIL, Phase.MAIL: replies.NEED_RECIPIENT}
# RFC 3030 section 2: the envelope is closed by the first chunk, and DATA cannot take over.
_NO_MORE_BEHIND_A_CHUNK = {Phase.CHUNKS: replies.BAD_SEQUENCE}

# For each verb the phases in which it is out of order, and the reply that says so.
OUT_OF_ORDER: Mapping[str, Mapping[Phase, Reply]] = MappingProxyType(
    {
        "MAIL": {**_HELLO_FIRST, **_SENDER_GIVEN},
        "RCPT": {**_HELLO_FIRST, Phase.GREETED: replies.NEED_MAIL, **_NO_MORE_BEHIND_A_CHUNK},
        "DATA": {**_CONTENT, **_NO_MORE_BEHIND_A_CHUNK},
        "BDAT": _CONTENT,
        # RFC 3207 section 4: TLS is asked for after EHLO; in a transaction it would lose the envelope.
        "STARTTLS": {**_HELLO_FIRST, **_NOT_WITHIN_A_TRANSACTION},
        "X-ANONYMOUSTLS": {**_HELLO_FIRST, **_NOT_WITHIN_A_TRANSACTION},
        # RFC 4954 section 4: "not permitted during a mail transaction".
        "AUTH": {**_HELLO_FIRST, **_NOT_WITHIN_A_TRANSACTION},
        "X-EXPS": {**_HELLO_FIRST, **_NOT_WITHIN_A_TRANSACTION},
    },
)


def out_of_order(verb: str, phase: Phase) -> Reply | None:
    """Return the reply to *verb* in *phase* where it must not come now; None where it may."""
    return OUT_OF_ORDER.get(verb, {}).get(phase)
