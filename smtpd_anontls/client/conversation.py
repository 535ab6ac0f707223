"""An SMTP conversation from the client's side: replies read within bounds, commands, the TLS verbs.

Everything that the peer says is held as printable text; only a reply's ``wire`` has the octets.
"""

from __future__ import annotations

import re
import socket
import time
from base64 import b64encode
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Self

from smtpd_anontls.client.errors import (
    ClientError,
    ConversationError,
    HandshakeError,
    NoTicketError,
    RefusedError,
)
from smtpd_anontls.client.masking import DATA, Mask
from smtpd_anontls.client.wire import Deadline, connect, why
from smtpd_anontls.domain.printable import printable
from smtpd_anontls.domain.records import TranscriptRow

if TYPE_CHECKING:
    from types import TracebackType

    from smtpd_anontls.client.target import Target
    from smtpd_anontls.client.tls import Secured, TlsOffer, TlsSession
    from smtpd_anontls.client.wire import Wire
    from smtpd_anontls.domain.records import TlsVerb

MAX_REPLY_LINE = 4096  # Octets, the line end included; RFC 5321 section 4.5.3.1.5 asks for 512.
MAX_REPLY_LINES = 200
_READY = 220
_QUIT_SECONDS = 2.0
_PIECE = 65536  # Octets of a message that are handed to TLS at a time.
_SHOWN_CHARACTERS = 160
# RFC 5321 section 4.2: three digits, then a space, a hyphen, or nothing at all.
_REPLY_LINE = re.compile(rb"(?P<code>[2-5][0-9]{2})(?:(?P<more>[ -])(?P<text>.*))?", re.DOTALL)
_EHLO_NAME = re.compile(r"[A-Za-z0-9._:\[\]-]{1,255}")


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole reply; *texts* are its lines without the code, printable."""

    code: int
    texts: tuple[str, ...]
    wire: bytes = field(repr=False)  # As it came, with CRLF line ends.

    def __str__(self) -> str:
        return shortened(f"{self.code} {' / '.join(self.texts)}".rstrip())

    @property
    def is_positive(self) -> bool:
        """Whether it is a 2yz reply."""
        return 200 <= self.code < 300  # noqa: PLR2004 - RFC 5321 section 4.2.1

    @property
    def is_permanent(self) -> bool:
        """Whether it is a 5yz reply."""
        return self.code >= 500  # noqa: PLR2004 - RFC 5321 section 4.2.1

    @property
    def lines(self) -> tuple[str, ...]:
        """The lines with their codes, as they came, printable."""
        return tuple(shown(line) for line in self.wire.splitlines())


class Greeting(StrEnum):
    """The command that opened the session."""

    EHLO = "EHLO"
    HELO = "HELO"


@dataclass(frozen=True, slots=True)
class Hello:
    """How the server answered the greeting; a server that knows HELO alone offers nothing."""

    greeting: Greeting
    reply: Reply

    @property
    def ehlo_lines(self) -> tuple[str, ...]:
        """The lines of the EHLO reply without their codes; none where only HELO was taken."""
        return self.reply.texts if self.greeting is Greeting.EHLO else ()

    @property
    def keywords(self) -> tuple[str, ...]:
        """The EHLO keywords, in the server's order and upper case."""
        return tuple(line.split()[0].upper() for line in self.ehlo_lines[1:] if line.split())

    def offers(self, verb: TlsVerb) -> bool:
        """Whether *verb* is advertised."""
        return self.has(verb.value)

    def has(self, keyword: str) -> bool:
        """Whether *keyword*, in upper case, is advertised."""
        return keyword in self.keywords

    def words_behind(self, keyword: str) -> tuple[str, ...]:
        """Return what the line of *keyword* says behind it, in upper case; nothing where there is no such line."""
        lines = (line.upper().split() for line in self.ehlo_lines[1:])
        return next((tuple(words[1:]) for words in lines if words[:1] == [keyword]), ())


class Transcript:
    """The dialogue so far; it outlives a conversation that fails."""

    def __init__(self) -> None:
        self.rows: list[TranscriptRow] = []
        self._started = time.monotonic()

    def note(self, mark: str, text: str) -> None:
        """Add a row: ``C`` what we said, ``S`` what the server said, ``*`` what happened."""
        self.rows.append(TranscriptRow(int((time.monotonic() - self._started) * 1000), mark, text))


class Conversation:
    """An SMTP session as its client; leaving its context says QUIT where that is in order, and closes it."""

    def __init__(self, target: Target, wire: Wire, transcript: Transcript) -> None:
        self._target = target
        self._wire: Wire | None = wire
        self._transcript = transcript
        self._mask = Mask()
        self._buffer = bytearray()

    @classmethod
    def open(cls, target: Target, deadline: Deadline, transcript: Transcript) -> Self:
        """Connect to *target*; ConnectError says why that is not possible."""
        wire = connect(target, deadline)
        transcript.note("*", f"connected to {target}")
        return cls(target, wire, transcript)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._wire is None:
            return
        try:
            if kind is None or issubclass(kind, RefusedError | NoTicketError):
                self._quit()
        finally:
            self._wire.close()

    def read_banner(self) -> Reply:
        """Return the server's first reply, whatever its code."""
        return self._read_reply("its greeting")

    def hello(self, name: str) -> Hello:
        """Say EHLO, or HELO to a server that does not know EHLO; RefusedError where neither is taken."""
        reply = self.command(f"EHLO {name}")
        if reply.is_positive:
            return Hello(Greeting.EHLO, reply)
        # RFC 5321 section 3.2: a client may fall back to HELO.
        if reply.is_permanent and (old := self.command(f"HELO {name}")).is_positive:
            return Hello(Greeting.HELO, old)
        raise RefusedError(f"{self._target} refuses EHLO: {reply}")

    def command(self, line: str, *, token: bytes | None = None) -> Reply:
        """Send a command line, with an authentication's first *token* where there is one, and return the answer."""
        if token is None:
            return self._say(line.encode() + b"\r\n", line, line.split(maxsplit=1)[0])
        # RFC 4954 section 4: an initial response of no octets is written "=".
        encoded = self._concealed(token) or b"="
        return self._say(line.encode() + b" " + encoded + b"\r\n", f"{line} {DATA}", line)

    def answer(self, token: bytes) -> Reply:
        """Send an authentication's next *token* and return the answer to it."""
        return self._say(self._concealed(token) + b"\r\n", DATA if token else "", "the authentication data")

    def cancel(self) -> Reply:
        """Break an authentication off (RFC 4954 section 4) and return the answer to that."""
        return self._say(b"*\r\n", "*", "the cancellation")

    def conceal(self, secret: bytes) -> None:
        """Never show *secret*, whoever says it from now on."""
        self._mask.conceal(secret)

    def content(self, octets: bytes, *, behind: str | None = None) -> Reply:
        """Send a message's *octets*, right *behind* a command line that says so, and return the answer to them."""
        shown_as = f"<{len(octets)} octets of the message>"
        line = b"" if behind is None else behind.encode() + b"\r\n"
        if behind is not None:
            shown_as = f"{behind} {shown_as}"
        return self._say(line + octets, shown_as, "the message")

    def ask_for_tls(self, verb: TlsVerb) -> Reply:
        """Send the TLS verb; after 220 the next octets must be those of TLS, which is checked here."""
        reply = self.command(verb.value)
        # RFC 3207 section 4: octets behind the 220 came in the clear, from anybody on the way.
        if reply.code == _READY and self._buffer:
            raise ConversationError(
                f"{self._target} sent plain text behind the 220 to {verb}, which somebody on the way may have put there: "
                f"{self._excerpt(self._buffer)}; the session was ended before TLS"
            )
        return reply

    def start_tls(self, offer: TlsOffer) -> Secured:
        """Run the TLS handshake; HandshakeError says why it failed."""
        try:
            secured = self._live.start_tls(offer)
        except HandshakeError as error:
            self._transcript.note("*", str(error))
            raise
        self._transcript.note(
            "*", f"TLS: {secured.version}, {secured.cipher}, certificate {secured.thumbprint}"
        )
        return secured

    def hand_over(self) -> tuple[socket.socket, TlsSession]:
        """Give the socket and its TLS session away, which the caller closes from now on."""
        handed = self._live.hand_over()
        self._wire = None
        return handed

    def _concealed(self, token: bytes) -> bytes:
        """Return *token* as it goes over the wire; it is never shown."""
        encoded = b64encode(token)
        self._mask.conceal_token(encoded)
        return encoded

    def _say(self, octets: bytes, shown_as: str, what: str) -> Reply:
        """Send all *octets* and return the answer to them; *what* names them in a sentence."""
        if self._buffer:
            raise ConversationError(f"{self._target} spoke out of turn: {self._excerpt(self._buffer)}")
        self._transcript.note("C", printable(shown_as))
        try:
            for start in range(0, len(octets), _PIECE):
                self._live.send(octets[start : start + _PIECE])
        except TimeoutError as error:
            raise ConversationError(
                f"{self._target} did not take {what} within {self._live.deadline}"
            ) from error
        except OSError:
            # The peer has broken off; what it said last, a 421 or a TLS alert, can still be read.
            self._transcript.note("*", f"the connection broke at {what}")
        return self._read_reply(f"the answer to {what}")

    def _quit(self) -> None:
        """Say QUIT as courtesy: the answer is awaited for a moment, and nothing depends on it."""
        self._live.deadline = self._live.deadline.at_most(_QUIT_SECONDS)
        with suppress(ClientError):
            self.command("QUIT")

    @property
    def deadline(self) -> Deadline:
        """The moment by which everything must be done."""
        return self._live.deadline

    @property
    def _live(self) -> Wire:
        if self._wire is None:
            raise ValueError("the conversation was handed over")
        return self._wire

    def _read_reply(self, awaited: str) -> Reply:
        code, wire = 0, bytearray()
        texts: list[str] = []
        while True:
            line = self._read_line(awaited)
            found = _REPLY_LINE.fullmatch(line)
            if not found or (texts and int(found["code"]) != code):
                raise ConversationError(
                    f"{self._target} does not speak SMTP: it sent {self._excerpt(line)} as {awaited}"
                )
            code = int(found["code"])
            text = self._mask.of_reply(code, found["text"] or b"")
            texts.append(shown(text))
            wire += line + b"\r\n"
            self._transcript.note("S", shown(found["code"] + (found["more"] or b"") + text))
            if found["more"] != b"-":
                return Reply(code, tuple(texts), bytes(wire))
            if len(texts) == MAX_REPLY_LINES:
                raise ConversationError(f"{self._target} sent more than {MAX_REPLY_LINES} lines as {awaited}")

    def _read_line(self, awaited: str) -> bytes:
        """Return the next line without its end; LF alone ends a line too, as old servers send it."""
        while (end := self._buffer.find(b"\n")) < 0 and len(self._buffer) < MAX_REPLY_LINE:
            self._fill(awaited)
        if not 0 <= end < MAX_REPLY_LINE:
            raise ConversationError(
                f"{self._target} sent a line of more than {MAX_REPLY_LINE} octets as {awaited}"
            )
        line = bytes(self._buffer[:end]).removesuffix(b"\r")
        del self._buffer[: end + 1]
        return line

    def _excerpt(self, octets: bytes | bytearray) -> str:
        """Quote the first line of *octets*."""
        first = bytes(octets[:MAX_REPLY_LINE]).split(b"\n", 1)[0].removesuffix(b"\r")
        return f"'{shortened(shown(self._mask.of(first)))}'"

    def _fill(self, awaited: str) -> None:
        try:
            octets = self._live.receive()
        except TimeoutError as error:
            raise ConversationError(
                f"{self._target} did not send {awaited} within {self._live.deadline}"
            ) from error
        except OSError as error:
            raise ConversationError(
                f"the connection to {self._target} broke before {awaited}: {why(error)}"
            ) from error
        if not octets:
            raise ConversationError(f"{self._target} closed the connection instead of sending {awaited}")
        self._buffer += octets


def checked_ehlo_name(name: str) -> str:
    """Return *name* if it can stand behind EHLO; ValueError says what would do."""
    if not _EHLO_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a name for EHLO; write edge.contoso.test or [192.0.2.1]")
    return name


def local_name() -> str:
    """Return this machine's own name for EHLO, without asking DNS."""
    name = socket.gethostname()
    return name if _EHLO_NAME.fullmatch(name) else "localhost"


def shown(octets: bytes) -> str:
    """Return octets of the peer as text that is safe to show."""
    return printable(octets.decode("ascii", "backslashreplace"))


def shortened(text: str) -> str:
    """Return *text*, cut where it is longer than a sentence can bear."""
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"
