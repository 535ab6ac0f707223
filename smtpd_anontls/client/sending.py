"""One mail transaction: MAIL, RCPT, and the message by BDAT where CHUNKING is offered (RFC 3030), else by DATA."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from smtpd_anontls.client import refusals
from smtpd_anontls.client.errors import RefusedError

if TYPE_CHECKING:
    from smtpd_anontls.client.conversation import Conversation, Hello, Reply
    from smtpd_anontls.client.outgoing import Outgoing

_START_INPUT = 354
_MESSAGE_ID = re.compile(r"<[^<>\s]+>")


@dataclass(frozen=True, slots=True)
class Sent:
    """How far a transaction came."""

    reply: Reply  # The server's last.
    message_id: str | None  # The message's own, else the one that the server names.
    accepted: bool = False

    def as_json(self) -> dict[str, Any]:
        """Return the object ``sent`` of ``probe --json``."""
        return {"reply": str(self.reply), "message_id": self.message_id, "accepted": self.accepted}


class Transaction:
    """One message on its way; ``sent`` says how far it came, whatever ended it."""

    def __init__(self, conversation: Conversation, outgoing: Outgoing) -> None:
        self.sent: Sent | None = None
        self._conversation = conversation
        self._outgoing = outgoing
        self._message_id = outgoing.message_id

    def run(self, hello: Hello) -> Sent:
        """Send it to a server that offers *hello*; RefusedError says what the server did not take.

        Where one recipient is refused nothing is sent: whoever asked named them all.
        """
        self._ask(self._outgoing.mail(hello))
        for recipient in self._outgoing.recipients:
            self._ask(f"RCPT TO:<{recipient}>")
        reply = self._by_bdat() if hello.has("CHUNKING") else self._by_data()
        named = _MESSAGE_ID.search(str(reply))
        if self._message_id is None and named is not None:
            self._message_id = named[0]
        self.sent = Sent(reply, self._message_id, accepted=True)
        return self.sent

    def _by_bdat(self) -> Reply:
        content = self._outgoing.content
        return self._judged(
            "the message", self._conversation.content(content, behind=f"BDAT {len(content)} LAST")
        )

    def _by_data(self) -> Reply:
        answer = self._conversation.command("DATA")
        if answer.code != _START_INPUT:
            self._refused("DATA", answer)
        return self._judged("the message", self._conversation.content(self._outgoing.stuffed()))

    def _ask(self, line: str) -> None:
        self._judged(line, self._conversation.command(line))

    def _judged(self, what: str, reply: Reply) -> Reply:
        if not reply.is_positive:
            self._refused(what, reply)
        self.sent = Sent(reply, self._message_id)
        return reply

    def _refused(self, what: str, reply: Reply) -> None:
        self.sent = Sent(reply, self._message_id)
        raise RefusedError(refusals.message(what, reply))
