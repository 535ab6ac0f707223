"""The dialogue of a session, bounded in size and free of secrets, and its rows in the protocol log."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from smtpd_anontls.domain.authentication import Mechanism
from smtpd_anontls.domain.records import TranscriptRow

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from smtpd_anontls.domain.certificate import Certificate
    from smtpd_anontls.domain.records import TlsFacts
    from smtpd_anontls.protocol.replies import Reply
    from smtpd_anontls.smtp.ports import SessionLog

MASK = "<authentication data>"
_AUTHENTICATION = (b"AUTH", b"X-EXPS")

_MECHANISMS = frozenset(mechanism.value.encode() for mechanism in Mechanism)

# What is kept of one session: its beginning, its end, and of each line its first octets.
MAX_HEAD_ROWS = 400
MAX_TAIL_ROWS = 100
MAX_LINE_OCTETS = 512

# What TranscriptRow itself calls, without a call of Python's between: there is a row for each line of a session.
_new_row = tuple.__new__


class Transcript:
    """Collects rows; the middle of a very long session is counted, not kept."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """*clock* gives seconds; offsets count from now."""
        self._clock = clock
        self._start = clock()
        self._head: list[TranscriptRow] = []
        self._tail: deque[TranscriptRow] = deque(maxlen=MAX_TAIL_ROWS)
        self._left_out = 0
        self._authenticating = False
        self._says_hello = False
        self.log: SessionLog | None = None  # Where the rows go besides.

    def connected(self) -> None:
        """Note that the session begins."""
        if self.log is not None:
            self.log.connected()

    def disconnected(self, *, by_peer: bool, by_reset: bool) -> None:
        """Note that the session has ended, and who ended it."""
        if self.log is not None:
            ended_by = "Remote(ConnectionReset)" if by_reset else "Remote"
            self.log.disconnected(ended_by if by_peer else "Local")

    def client(self, line: bytes, verb: bytes, *, is_known: bool) -> None:
        """Note a command line without its line end; *verb* is what stands before its first blank, in upper case.

        What stands behind AUTH or X-EXPS is never kept, whether the verb was taken or refused;
        nor is a line behind it that is no command, since it may be its continuation.
        """
        self._says_hello = verb == b"EHLO"
        if is_known and verb not in _AUTHENTICATION:
            # Nearly every command; it is looked at no further.
            self._authenticating = False
        else:
            line = self._masked(line, is_known=is_known)
        self._add("C", line[:MAX_LINE_OCTETS].decode("utf-8", "backslashreplace"))
        if self.log is not None:
            self.log.received(line.decode("utf-8", "backslashreplace"))

    def _masked(self, line: bytes, *, is_known: bool) -> bytes:
        # A tab makes a command unknown, and what stands behind it is a secret all the same.
        verb, *words = line.split(maxsplit=1) or [b""]
        rest = words[0] if words else b""
        if verb.upper() in _AUTHENTICATION:
            self._authenticating = True
            mechanism, *token = rest.split(maxsplit=1) or [b""]
            shown = verb
            if mechanism.upper() in _MECHANISMS:
                # Only a word that is a mechanism's name is no secret.
                shown += b" " + mechanism
                rest = token[0] if token else b""
            return shown + (b" " + MASK.encode() if rest else b"")
        if self._authenticating and not is_known:
            return MASK.encode()
        self._authenticating = False
        return line

    def token(self) -> None:
        """Note that the client went on with an authentication."""
        self._add("C", MASK)

    def challenge(self) -> None:
        """Note that the server went on with one."""
        self._add("S", f"334 {MASK}")
        if self.log is not None:
            self.log.sent(["334 <authentication response>"])

    def server(self, lines: Sequence[str]) -> None:
        """Note a reply."""
        for line in lines:
            self._add("S", line[:MAX_LINE_OCTETS])
        if self.log is not None:
            self.log.sent(lines, ehlo=self._says_hello and len(lines) > 1)

    def permissions(self, names: tuple[str, ...]) -> None:
        """Note what the sender may do now."""
        if self.log is not None:
            self.log.permissions(names)

    def certificate(self, certificate: Certificate, *, remote: bool = False) -> None:
        """Note a certificate that is presented."""
        if self.log is not None:
            self.log.certificate(certificate, remote=remote)

    def handshake(self, facts: TlsFacts) -> None:
        """Note how a handshake ended."""
        if facts.failure is not None:
            self.note(f"TLS handshake failed: {facts.failure}")
        else:
            self.note(
                f"TLS began: {facts.version}, {facts.cipher}, certificate {facts.thumbprint}"
                + (", resumed" if facts.resumed else ""),
            )
        if self.log is not None:
            self.log.handshake(facts)

    def tarpit(self, seconds: float, reply: Reply) -> None:
        """Note that a reply is held back."""
        line = reply.lines()[0]
        self.note(f"held back for {seconds:g} s: {line}")
        if self.log is not None:
            self.log.information(f"Tarpit for '{_time_span(seconds)}' due to '{line}'")

    def information(self, data: str, context: str = "") -> None:
        """Note something in the protocol log alone."""
        if self.log is not None:
            self.log.information(data, context)

    def note(self, text: str) -> None:
        """Note what happened beside the dialogue."""
        self._add("*", text)

    def rows(self) -> tuple[TranscriptRow, ...]:
        """Return the rows, with one that counts those left out."""
        if not self._left_out:
            return (*self._head, *self._tail)
        told = TranscriptRow(self._head[-1].offset_ms, "*", f"{self._left_out} more lines are not kept")
        return (*self._head, told, *self._tail)

    def _add(self, mark: str, text: str) -> None:
        # As it stays: a session is recorded twice, with its first message and at its end.
        row = _new_row(TranscriptRow, (round((self._clock() - self._start) * 1000), mark, text))
        if len(self._head) < MAX_HEAD_ROWS:
            self._head.append(row)
            return
        if len(self._tail) == MAX_TAIL_ROWS:
            self._left_out += 1
        self._tail.append(row)


def _time_span(seconds: float) -> str:
    """Return a duration as the public logs have it: ``0.00:00:25.639``, days first."""
    milliseconds = round(seconds * 1000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    whole, rest = divmod(milliseconds, 1000)
    return f"{days}.{hours:02}:{minutes:02}:{whole:02}" + (f".{rest:03}" if rest else "")
