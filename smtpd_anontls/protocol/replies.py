"""The replies that the receiver gives, each named and checked once, with Exchange's texts.

Texts marked BK are not in a public log that could be cited; they follow Exchange's manner.
Source: section 1.3 of the behaviour notes (public logs and Microsoft's telnet walk-through).
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Reply:
    """One SMTP reply, of one line or more."""

    code: int
    enhanced: str  # RFC 3463, "5.5.1"; empty where none belongs (220 banner, 250 to EHLO, 214, 354).
    text: str
    more: tuple[str, ...] = ()  # Further lines.
    quirk: bool = False  # Exchange itself pairs this code with a class that is not its own.
    # Made once: most replies are constants, and a message of 1 KB takes four of them.
    _lines: tuple[str, ...] = field(init=False, repr=False, compare=False)
    _encoded: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Hold the reply to RFC 5321 section 4.2 and RFC 3463 section 2, and write it out."""
        if self.enhanced and not self.quirk and self.enhanced[0] != str(self.code)[0]:
            raise ValueError(f"{self.code} cannot carry {self.enhanced}")
        head = f"{self.enhanced} " if self.enhanced else ""
        *before, last = self.text, *self.more
        lines = (*[f"{self.code}-{head}{text}" for text in before], f"{self.code} {head}{last}")
        for line in lines:
            if not line.isprintable():
                raise ValueError(f"a reply line cannot carry {line!r}")
        object.__setattr__(self, "_lines", lines)
        encoded = ("\r\n".join(lines) + "\r\n").encode("ascii", "backslashreplace")
        object.__setattr__(self, "_encoded", encoded)

    def lines(self) -> tuple[str, ...]:
        """Return the lines without their line ends."""
        return self._lines

    def encoded(self) -> bytes:
        """Return what goes on the wire; a reply leaves in one piece, however many lines it has."""
        return self._encoded

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
    shown = (
        message_id if message_id.isascii() else message_id.encode("ascii", "backslashreplace").decode("ascii")
    )
    if len(shown) > _LONGEST_IDENTIFIER:
        shown = f"<{internal_id}@{hostname}>"
    text = f"{shown} [InternalId={internal_id}, Hostname={hostname}] Queued mail for delivery"
    return Reply(250, "2.6.0", text)


def chunk_received(octets: int) -> Reply:
    """Return the answer to a chunk that is not the last (RFC 3030 section 4.1, whose words these are)."""
    return Reply(250, "2.0.0", f"{octets} octets received")


def challenge(text: str) -> Reply:
    """Return a server's turn in an authentication: base64, or words for a person (RFC 4954 section 4)."""
    return Reply(334, "", text)


SENDER_OK = Reply(250, "2.1.0", "Sender OK")
RECIPIENT_OK = Reply(250, "2.1.5", "Recipient OK")
START_MAIL_INPUT = Reply(354, "", "Start mail input; end with <CRLF>.<CRLF>")
RESETTING = Reply(250, "2.0.0", "Resetting")
OK = Reply(250, "2.0.0", "OK")
TLS_READY = Reply(220, "2.0.0", "SMTP server ready")
CLOSING = Reply(221, "2.0.0", "Service closing transmission channel")
CANNOT_VERIFY = Reply(252, "2.1.5", "Cannot VRFY user")

AUTHENTICATED = Reply(235, "2.7.0", "Authentication successful")

SERVICE_NOT_AVAILABLE = Reply(421, "4.3.2", "Service not available")
SERVICE_NOT_ACTIVE = Reply(421, "4.3.2", "Service not active")
# Seen by senders of several lists as the answer to one connection too many.
TOO_MANY_CONNECTIONS = Reply(
    421,
    "4.3.2",
    "The maximum number of concurrent connections has exceeded a limit, closing transmission channel",
)
TOO_MANY_ERRORS = Reply(421, "4.7.0", "Too many protocol errors, closing transmission channel")  # BK
TOO_MANY_LOGON_FAILURES = Reply(421, "4.7.0", "Too many failed logons, closing transmission channel")  # BK
TOO_MANY_MESSAGES = Reply(
    421, "4.4.2", "Message submission rate for this client has exceeded the configured limit"
)
CONNECTION_TIMED_OUT = Reply(421, "4.4.1", "Connection timed out")
TIMEOUT = Reply(451, "4.7.0", "Timeout waiting for client input")
LOCAL_ERROR = Reply(451, "4.3.0", "Requested action aborted: local error in processing")  # RFC 5321's words.
AUTHENTICATION_FAULT = Reply(454, "4.7.0", "Temporary authentication failure")
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
AUTHENTICATION_CANCELLED = Reply(501, "5.7.0", "Authentication cancelled")  # BK, RFC 4954 section 4
NOT_BASE64 = Reply(501, "5.5.2", "Cannot decode the authentication data")  # BK, RFC 4954 section 4
NOT_IMPLEMENTED = Reply(502, "5.3.3", "Command not implemented")
BAD_SEQUENCE = Reply(503, "5.5.1", "Bad sequence of commands")  # BK
SEND_HELLO_FIRST = Reply(503, "5.5.2", "Send hello first")
SENDER_ALREADY_SPECIFIED = Reply(503, "5.5.2", "Sender already specified")  # BK
NEED_MAIL = Reply(503, "5.5.2", "Need mail command")  # BK
NEED_RECIPIENT = Reply(503, "5.5.2", "Need rcpt command")  # BK
ALREADY_AUTHENTICATED = Reply(503, "5.5.1", "Already authenticated")  # BK
UNKNOWN_MECHANISM = Reply(504, "5.7.4", "Unrecognized authentication type")
AUTHENTICATION_FAILED = Reply(535, "5.7.3", "Authentication unsuccessful")
NOT_AUTHENTICATED = Reply(
    530,
    "5.7.57",
    "SMTP; Client was not authenticated to send anonymous mail during MAIL FROM",
)
NO_PERMISSION = Reply(550, "5.7.1", "Client does not have permissions to submit to this server")  # BK
# 5.6.11 is Microsoft's own code for bare line feeds ("NDR enhanced status codes").
BARE_LINE_FEEDS = Reply(550, "5.6.11", "Message contains bare line feeds")  # BK
HEADER_TOO_BIG = Reply(552, "5.3.4", "Message header size exceeds fixed maximum size")  # BK
# RFC 6531 section 3.5: 553 with X.6.7.
NON_ASCII_ADDRESS = Reply(553, "5.6.7", "Addresses beyond US-ASCII need SMTPUTF8")  # BK
# "Hop count exceeded - possible mail loop": generated by on-premises Exchange, says Microsoft's page.
TOO_MANY_HOPS = Reply(554, "5.4.6", "Hop count exceeded - possible mail loop")
MESSAGE_TOO_BIG = Reply(552, "5.3.4", "Message size exceeds fixed maximum message size")  # BK


def help_text(verbs: tuple[str, ...]) -> Reply:
    """Return the answer to HELP: the verbs of RFC 5321 and STARTTLS; Exchange names no X verb."""
    return Reply(214, "", "This server supports the following commands:", (" ".join(verbs),))
