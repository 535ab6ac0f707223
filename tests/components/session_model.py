"""A model of a session: how far the dialogue has come, what each verb is answered, and what is kept.

It says what RFC 5321, 3030, 3207 and 4954 say, in a handful of fields; it is no look at the receiver's own
state.  Beside it are the commands to try it with, each with the question for its code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum

from hypothesis import strategies as st

MAX_SIZE = 2000
MAX_RECIPIENTS = 3


class Step(IntEnum):
    """How far a dialogue has come."""

    CONNECTED = 0
    GREETED = 1
    SENDER = 2
    RECIPIENTS = 3
    CHUNKS = 4


@dataclass(frozen=True)
class Message:
    """A message as the journal has to have it."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes
    verb: str | None


@dataclass
class Model:
    """What a session knows; each method says which code a verb earns, and what it does."""

    step: Step = Step.CONNECTED
    secured_by: str | None = None
    sender: str = ""
    recipients: list[str] = field(default_factory=list)
    is_utf8: bool = False
    is_binary: bool = False
    content: bytes = b""
    taken: list[Message] = field(default_factory=list)

    @property
    def in_transaction(self) -> bool:
        """Whether MAIL has been taken."""
        return self.step >= Step.SENDER

    def forget(self) -> None:
        """End the transaction."""
        self.step = min(self.step, Step.GREETED)
        self.sender, self.recipients, self.content = "", [], b""
        self.is_utf8 = self.is_binary = False

    def hello(self, *, is_sound: bool) -> int:
        """EHLO and HELO (RFC 5321 section 4.1.4: as RSET)."""
        if not is_sound:
            return 501
        self.forget()
        self.step = Step.GREETED
        return 250

    def reset(self) -> int:
        """RSET."""
        self.forget()
        return 250

    def mail(self, sender: Sender) -> int:
        """MAIL."""
        if self.step is not Step.GREETED:
            return 503
        if sender.code == 250:
            self.step = Step.SENDER
            self.sender, self.is_utf8, self.is_binary = sender.address, sender.is_utf8, sender.is_binary
        return sender.code

    def recipient(self, recipient: Recipient) -> int:
        """RCPT."""
        if self.step not in {Step.SENDER, Step.RECIPIENTS}:
            return 503
        if not recipient.address.isascii() and not self.is_utf8:
            return 553
        if recipient.code != 250:
            return recipient.code
        if len(self.recipients) == MAX_RECIPIENTS:
            return 452
        self.recipients.append(recipient.address)
        self.step = Step.RECIPIENTS
        return 250

    def data(self) -> int:
        """Say DATA, before its content."""
        return 503 if self.step is not Step.RECIPIENTS or self.is_binary else 354

    def chunk(self, content: bytes, *, is_last: bool) -> int:
        """BDAT."""
        if self.step < Step.RECIPIENTS:
            return 503
        self.step = Step.CHUNKS
        if not is_last and len(self.content) + len(content) <= MAX_SIZE:
            self.content += content
            return 250
        return self.take(self.content + content)

    def take(self, content: bytes) -> int:
        """Take the whole content; it ends the transaction, whatever comes of it."""
        if fits := len(content) <= MAX_SIZE:
            self.taken.append(Message(self.sender, tuple(self.recipients), content, self.secured_by))
        self.forget()
        return 250 if fits else 552

    def upgrade(self, *, has_argument: bool) -> int:
        """STARTTLS and X-ANONYMOUSTLS, before the handshake."""
        if self.secured_by is not None:
            return 500
        if self.step is not Step.GREETED:
            return 503
        return 501 if has_argument else 220

    def secured(self, verb: str) -> None:
        """Forget what was said in clear (RFC 3207 section 4.2)."""
        self.forget()
        self.step, self.secured_by = Step.CONNECTED, verb

    def logon(self, mechanism: str, *, by_auth: bool) -> int:
        """AUTH and X-EXPS, before the tokens: LOGIN is AUTH's alone, and only under TLS."""
        if self.step is not Step.GREETED:
            return 503
        if not mechanism:
            return 501
        is_offered = mechanism == "NTLM" or (mechanism == "LOGIN" and by_auth and self.secured_by is not None)
        return 334 if is_offered else 504


@dataclass(frozen=True)
class Sender:
    """An argument of MAIL, and what comes of it where MAIL may come."""

    argument: str
    code: int = 250
    address: str = ""
    is_utf8: bool = False
    is_binary: bool = False


@dataclass(frozen=True)
class Recipient:
    """An argument of RCPT, and what comes of it where RCPT may come."""

    argument: str
    code: int = 250
    address: str = ""


SENDERS = (
    Sender("FROM:<alice@edge.test>", address="alice@edge.test"),
    Sender("from:<>"),
    Sender("FROM:<@hop.test:alice@edge.test> SIZE=100 BODY=8BITMIME RET=HDRS", address="alice@edge.test"),
    Sender("FROM:<alice@edge.test> BODY=BINARYMIME", address="alice@edge.test", is_binary=True),
    Sender("FROM:<jürgen@edge.test> SMTPUTF8", address="jürgen@edge.test", is_utf8=True),
    Sender("FROM:<jürgen@edge.test>", 553),
    Sender("FROM:<alice@edge.test> SIZE=2001", 552),
    Sender("FROM:<alice@edge.test> SIZE=1 SIZE=2", 501),
    Sender("FROM:<alice@edge.test", 501),
    Sender("alice@edge.test", 501),
)
RECIPIENTS = (
    Recipient("TO:<bob@lab.test>", address="bob@lab.test"),
    Recipient("to: <carol@lab.test> NOTIFY=NEVER ORCPT=rfc822;carol@lab.test", address="carol@lab.test"),
    Recipient("TO:<Postmaster>", address="Postmaster"),
    Recipient("TO:<bärbel@lab.test>", address="bärbel@lab.test"),
    Recipient("TO:<>", 501),
    Recipient("TO:<bob@lab.test> NOTIFY=SOMETIMES", 501),
)
# Command lines that change nothing, with their codes.
SMALL_TALK = (
    (b"NOOP", 250), (b"noop x", 250), (b"HELP", 214), (b"VRFY bob", 252), (b"VRFY", 501), (b"EXPN all", 502),
    (b"RSET x", 501), (b"DATA x", None), (b"XYZZY", 500), (b"", 500), (b"MAILFROM:<a@b>", 500), (b"NOOP\r", 500),
    (b"NO\rOP", 500), (b"N" * 2047, 500), (b"NOOP " + b"x" * 20000, 500), (b"EHLO a..b", 501), (b"HELO -", 501),
)  # fmt: skip
VERBS = frozenset(
    b"EHLO HELO MAIL RCPT DATA BDAT RSET NOOP HELP VRFY EXPN QUIT AUTH X-EXPS STARTTLS X-ANONYMOUSTLS".split()
)
GARBAGE = st.binary(max_size=40).filter(
    lambda line: (
        b"\n" not in line and line.partition(b" ")[0].upper() not in VERBS and not line.startswith(b"PROXY")
    )
)
PIECES = (
    b"\r\n", b"\r\n.", b".", b"\n", b"\r", b"\0", b"\xff", b"a", b"Subject: x\r\n", b"\r\nMAIL FROM:<m@evil.test>\r\n",
    b"x" * 700,
)  # fmt: skip
CONTENT = st.lists(st.sampled_from(PIECES), max_size=8).map(b"".join)

# A command: its octets, and what asks the model for the code.
Command = tuple[bytes, Callable[[Model], int]]


def _small_talk(line: bytes, code: int | None) -> Command:
    # DATA with an argument is refused for its place first.
    return line, lambda model: code or (503 if model.data() == 503 and not model.is_binary else 501)


def chunk(content: bytes, *, is_last: bool) -> Command:
    """Return BDAT with its content."""
    last = b" LAST" if is_last else b""
    return b"BDAT %d%s\r\n%s" % (len(content), last, content), lambda m: m.chunk(content, is_last=is_last)


def _mail(sender: Sender) -> Command:
    return f"MAIL {sender.argument}".encode(), lambda model: model.mail(sender)


def _rcpt(recipient: Recipient) -> Command:
    return f"RCPT {recipient.argument}".encode(), lambda model: model.recipient(recipient)


def _hello(line: bytes) -> Command:
    return line, lambda model: model.hello(is_sound=True)


CHUNK = CONTENT.map(lambda content: chunk(content, is_last=False))
COMMANDS: st.SearchStrategy[Command] = st.one_of(
    st.sampled_from(SMALL_TALK).map(lambda each: _small_talk(*each)),
    GARBAGE.map(lambda line: (line, lambda _: 500)),
    st.sampled_from([b"EHLO edge.lab.test", b"HELO [192.0.2.1]", b"ehlo"]).map(_hello),
    st.sampled_from([b"RSET", b"rset "]).map(lambda line: (line, Model.reset)),
    st.sampled_from(SENDERS).map(_mail),
    st.sampled_from(RECIPIENTS).map(_rcpt),
    CHUNK,
    CONTENT.map(lambda content: chunk(content, is_last=True)),
)
# Nothing, or all that has to be said first: hellos, and whole envelopes.
HELLOS: st.SearchStrategy[list[Command]] = st.sampled_from([[], [_hello(b"EHLO edge.lab.test")]])
STARTS: st.SearchStrategy[list[Command]] = st.one_of(
    st.just([]),
    st.tuples(
        st.just(_hello(b"EHLO edge.lab.test")),
        st.sampled_from(SENDERS[:5]).map(_mail),
        st.sampled_from(RECIPIENTS[:4]).map(_rcpt),
    ).map(list),
    st.tuples(
        st.just(_hello(b"HELO edge.lab.test")),
        st.sampled_from(SENDERS).map(_mail),
        st.lists(st.sampled_from(RECIPIENTS).map(_rcpt), max_size=5),
    ).map(lambda each: [each[0], each[1], *each[2]]),
)
