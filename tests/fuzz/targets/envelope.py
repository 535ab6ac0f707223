"""The arguments of MAIL and RCPT: a mailbox that reads as itself again, or one reply that refuses."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from smtpd_anontls.domain.printable import printable
from smtpd_anontls.protocol.addresses import LONG_LIMITS, USUAL_LIMITS
from smtpd_anontls.protocol.envelope import Mailbox, read_recipient, read_sender
from smtpd_anontls.protocol.replies import Reply
from tests.fuzz.choices import Choices

if TYPE_CHECKING:
    from smtpd_anontls.domain.connectors import ReceiveConnector

RUNS = 1_700_000
MAX_LENGTH = 600
WORDS = (
    b"FROM:", b"TO:", b"<>", b"<a@b.test>", b"<Postmaster>", b"@a,@b:", b'"a b"@c', b"[IPv6:::1]", b"[192.0.2.1]",
    b" SIZE=", b" BODY=8BITMIME", b" BODY=BINARYMIME", b" SMTPUTF8", b" AUTH=<>", b" RET=HDRS", b" ENVID=", b" NOTIFY=",
    b"SUCCESS,DELAY", b" ORCPT=rfc822;", b" ORCPT=utf-8;", b"\\x{E9}", "ü".encode(), b"xn--", b" XRDST", b" ORAR=",
)  # fmt: skip

_LINE = re.compile(rb"[45][0-9]{2} [\x20-\x7e]+\r\n")


def target(data: bytes) -> None:
    """Read an argument with one of several connectors."""
    choices = Choices(data)
    connector = choices.connector()
    is_sender, utf8, has_keyword = choices.flag(), choices.flag(), choices.flag()
    text = choices.text()
    keyword = "FROM:" if is_sender else "TO:"
    found = _read(keyword + text if has_keyword else text, connector, is_sender=is_sender, utf8=utf8)
    if isinstance(found, Reply):
        assert _LINE.fullmatch(found.encoded())
        return

    assert isinstance(found, Mailbox)
    _check(found, connector, beyond_ascii=found.utf8 if is_sender else utf8)
    assert is_sender or found.address
    if found.utf8:
        assert connector.smtp_utf8_enabled
        assert "SMTPUTF8" in found.parameters
    parameters = [k if v is None else f"{k}={v}" for k, v in found.parameters.items()]
    again = " ".join([f"{keyword}<{found.address}>", *parameters])
    assert _read(again, connector, is_sender=is_sender, utf8=utf8) == found


def _read(argument: str, connector: ReceiveConnector, *, is_sender: bool, utf8: bool) -> Mailbox | Reply:
    if is_sender:
        return read_sender(argument, connector)
    return read_recipient(argument, connector, utf8=utf8)


def _check(found: Mailbox, connector: ReceiveConnector, *, beyond_ascii: bool) -> None:
    """Hold an address to its limits, and all that is kept to what can be shown and stored."""
    limits = LONG_LIMITS if connector.long_addresses_enabled else USUAL_LIMITS
    address = found.address

    assert printable(address) == address
    assert len(address.encode()) <= limits.address
    assert len(address.rpartition("@")[0].encode()) <= limits.local_part
    for text in (address, *found.parameters, *filter(None, found.parameters.values())):
        assert printable(text) == text
        assert beyond_ascii or text.isascii()
