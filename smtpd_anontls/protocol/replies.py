"""The replies that the receiver gives, each named and checked once, with Exchange's texts.

Texts marked BK are not in a public log that could be cited; they follow Exchange's manner.
Source: section 1.3 of the behaviour notes (public logs and Microsoft's telnet walk-through).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reply:
    """One SMTP reply, of one line or more."""

    code: int
    enhanced: str  # RFC 3463, "5.5.1"; empty where none belongs (220 banner, 250 to EHLO, 214, 354).
    text: str
    more: tuple[str, ...] = ()  # Further lines.
    quirk: bool = False  # Exchange itself pairs this code with a class that is not its own.

    def __post_init__(self) -> None:
        """Hold the reply to RFC 5321 section 4.2 and RFC 3463 section 2."""
        if self.enhanced and not self.quirk and self.enhanced[0] != str(self.code)[0]:
            raise ValueError(f"{self.code} cannot carry {self.enhanced}")
        for line in (self.text, *self.more):
            if not line.isprintable():
                raise ValueError(f"a reply line cannot carry {line!r}")

    def lines(self) -> list[str]:
        """Return the lines without their line ends."""
        head = f"{self.enhanced} " if self.enhanced else ""
        texts = [head + self.text, *(head + line for line in self.more)]
        return [f"{self.code}-{text}" for text in texts[:-1]] + [f"{self.code} {texts[-1]}"]

    def encoded(self) -> bytes:
        """Return what goes on the wire; a reply leaves in one piece, however many lines it has."""
        return ("\r\n".join(self.lines()) + "\r\n").encode("ascii", "backslashreplace")

    @property
    def positive(self) -> bool:
        """Whether it says yes, or go on (RFC 5321 section 4.2.1)."""
        return self.code < 400  # noqa: PLR2004 - the first code that says no


# Of the 512 octets that RFC 5321 section 4.5.3.1.5 leaves a reply line, 255 may be the host's name.
_LONGEST_IDENTIFIER = 160


def banner(text: str) -> Reply:
    """Return the greeting: ``220 <fqdn> Microsoft ESMTP MAIL Service ready at <date>``."""
    return Reply(220, "", text)


def queued(message_id: str, internal_id: int, hostname: str) -> Reply:
    """Return the acceptance of a message, as Exchange 2013 and later write it."""
    # The identifier is the client's own word: it may hold any character but blanks and ASCII controls.
    shown = message_id.encode("ascii", "backslashreplace").decode("ascii")
    if len(shown) > _LONGEST_IDENTIFIER:
        shown = f"<{internal_id}@{hostname}>"
    text = f"{shown} [InternalId={internal_id}, Hostname={hostname}] Queued mail for delivery"
    return Reply(250, "2.6.0", text)


SENDER_OK = Reply(250, "2.1.0", "Sender OK")
RECIPIENT_OK = Reply(250, "2.1.5", "Recipient OK")
START_MAIL_INPUT = Reply(354, "", "Start mail input; end with <CRLF>.<CRLF>")
RESETTING = Reply(250, "2.0.0", "Resetting")
OK = Reply(250, "2.0.0", "OK")
TLS_READY = Reply(220, "2.0.0", "SMTP server ready")
CLOSING = Reply(221, "2.0.0", "Service closing transmission channel")
CANNOT_VERIFY = Reply(252, "2.1.5", "Cannot VRFY user")

SERVICE_NOT_AVAILABLE = Reply(421, "4.3.2", "Service not available")
SERVICE_NOT_ACTIVE = Reply(421, "4.3.2", "Service not active")
TIMEOUT = Reply(451, "4.7.0", "Timeout waiting for client input")
LOCAL_ERROR = Reply(451, "4.3.0", "Requested action aborted: local error in processing")  # RFC 5321's words.
INSUFFICIENT_RESOURCES = Reply(452, "4.3.1", "Insufficient system resources")
TOO_MANY_RECIPIENTS = Reply(452, "4.5.3", "Too many recipients")
MUST_STARTTLS = Reply(451, "5.7.3", "Must issue a STARTTLS command first", quirk=True)

UNRECOGNIZED = Reply(500, "5.3.3", "Unrecognized command")
LINE_TOO_LONG = Reply(500, "5.5.2", "Command line too long")  # BK
BARE_LINE_END = Reply(500, "5.5.2", "Command lines end in CRLF")  # BK
INVALID_ARGUMENTS = Reply(501, "5.5.4", "Invalid arguments")
INVALID_DOMAIN = Reply(501, "5.5.4", "Invalid domain name")
INVALID_ADDRESS = Reply(501, "5.1.7", "Invalid address")  # RFC 3463: the sender's mailbox.
INVALID_RECIPIENT = Reply(501, "5.1.3", "Invalid address")  # RFC 3463: the destination mailbox.
NOT_IMPLEMENTED = Reply(502, "5.3.3", "Command not implemented")
BAD_SEQUENCE = Reply(503, "5.5.1", "Bad sequence of commands")  # BK
SEND_HELLO_FIRST = Reply(503, "5.5.2", "Send hello first")
SENDER_ALREADY_SPECIFIED = Reply(503, "5.5.2", "Sender already specified")  # BK
NEED_MAIL = Reply(503, "5.5.2", "Need mail command")  # BK
NEED_RECIPIENT = Reply(503, "5.5.2", "Need rcpt command")  # BK
NOT_AUTHENTICATED = Reply(
    530,
    "5.7.57",
    "SMTP; Client was not authenticated to send anonymous mail during MAIL FROM",
)
MESSAGE_TOO_BIG = Reply(552, "5.3.4", "Message size exceeds fixed maximum message size")  # BK


def help_text(verbs: tuple[str, ...]) -> Reply:
    """Return the answer to HELP: the verbs of RFC 5321 and STARTTLS; Exchange names no X verb."""
    return Reply(214, "", "This server supports the following commands:", (" ".join(verbs),))
