"""A message to be sent, octet by octet as its file has it, and what it asks of a server."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

from smtpd_anontls.client.errors import RefusedError
from smtpd_anontls.domain.printable import printable
from smtpd_anontls.protocol.addresses import AddressError, parse_path
from smtpd_anontls.protocol.headers import has_bare_line_end, message_id, parse_header_section

if TYPE_CHECKING:
    from pathlib import Path

    from smtpd_anontls.client.conversation import Hello

MAX_OCTETS = 150 * 1024 * 1024
_MAX_RECIPIENTS = 1000


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An envelope and its message; ValueError says which address cannot be."""

    sender: str  # Empty: the null reverse-path.
    recipients: tuple[str, ...]
    content: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if not self.recipients:
            raise ValueError("a message needs a recipient; say --to b@contoso.test")
        if len(self.recipients) > _MAX_RECIPIENTS:
            raise ValueError(f"a message goes to at most {_MAX_RECIPIENTS} recipients at a time")
        object.__setattr__(self, "sender", _address(self.sender, may_be_null=True))
        object.__setattr__(self, "recipients", tuple(_address(each) for each in self.recipients))

    @property
    def message_id(self) -> str | None:
        """The Message-ID of its header."""
        return message_id(parse_header_section(self.content))

    @property
    def is_binary(self) -> bool:
        """Whether DATA cannot carry it as it is: it has NUL, or a CR or LF alone (RFC 5321 section 2.3.8)."""
        return b"\0" in self.content or has_bare_line_end(self.content)

    def mail(self, hello: Hello) -> str:
        """Return the MAIL command for a server that offers this; RefusedError where it offers too little."""
        parameters = [f"MAIL FROM:<{self.sender}>"]
        if hello.has("SIZE"):
            parameters.append(f"SIZE={len(self.content)}")
        if (body := self._body(hello)) is not None:
            parameters.append(f"BODY={body}")
        if not all(each.isascii() for each in (self.sender, *self.recipients)):
            if not hello.has("SMTPUTF8"):
                raise RefusedError(
                    "an address has letters beyond ASCII, and the server does not offer SMTPUTF8"
                )
            parameters.append("SMTPUTF8")
        return " ".join(parameters)

    def _body(self, hello: Hello) -> str | None:
        """Return what BODY= says of the content (RFC 6152, RFC 3030); None: nothing."""
        has_8_bits = not self.content.isascii()
        if self.is_binary:
            if not hello.has("CHUNKING"):
                raise RefusedError(
                    "the message has NUL octets, or CR or LF alone, which only BDAT can carry, and the server does not "
                    "offer CHUNKING; Exchange would not send it either. Write its line ends as CRLF (unix2dos does)"
                )
            if hello.has("BINARYMIME"):
                return "BINARYMIME"
        if not has_8_bits:
            return None
        if not hello.has("8BITMIME"):
            raise RefusedError(
                "the message has octets above 127, and the server does not offer 8BITMIME; write it in quoted-printable "
                "or base64"
            )
        return "8BITMIME"

    def stuffed(self) -> bytes:
        """Return the content as DATA carries it, its end included (RFC 5321 section 4.5.2)."""
        stuffed = self.content.replace(b"\r\n.", b"\r\n..")
        if stuffed.startswith(b"."):
            stuffed = b"." + stuffed
        if stuffed and not stuffed.endswith(b"\r\n"):
            stuffed += b"\r\n"
        return stuffed + b".\r\n"


def read_message(path: Path, stdin: BinaryIO) -> bytes:
    """Return the octets of a file, ``-`` is *stdin*; ValueError says why there are none."""
    try:
        if str(path) == "-":
            return _bounded(stdin, "standard input")
        # A FIFO, such as a shell's <(…), is read to its end.
        with path.open("rb") as file:
            return _bounded(file, printable(str(path)))
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise ValueError(f"the message cannot be read: {printable(os.fspath(path))}: {reason}") from error


def _bounded(file: BinaryIO, name: str) -> bytes:
    content = file.read(MAX_OCTETS + 1)
    if len(content) > MAX_OCTETS:
        raise ValueError(f"{name} is larger than {MAX_OCTETS // 1024**2} MB, which is the most that is sent")
    return content


def _address(text: str, *, may_be_null: bool = False) -> str:
    bare = text.strip()
    if may_be_null and bare in {"", "<>"}:
        return ""
    try:
        address, rest = parse_path(bare if bare.startswith("<") else f"<{bare}>", utf8=True)
    except AddressError:
        address, rest = "", ""
    if not address or rest:
        raise ValueError(f"{text!r} is not an address; write a@contoso.test")
    return address
