"""The parameters of MAIL and RCPT: what is taken is what a naive reading finds, and within each extension's rules."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from smtpd_anontls.domain.flags import SizeEnabled
from smtpd_anontls.protocol.parameters import (
    MAX_ENVELOPE_ID,
    MAX_ORIGINAL_RECIPIENT,
    ParameterError,
    check_mail_parameters,
    check_recipient_parameters,
    parse_parameters,
)
from tests.fuzz.choices import MAX_MESSAGE_SIZE, Choices

if TYPE_CHECKING:
    from smtpd_anontls.domain.connectors import ReceiveConnector
    from smtpd_anontls.protocol.parameters import Parameters

RUNS = 1_700_000
MAX_LENGTH = 600
WORDS = (
    b"SIZE=", b"1000", b"BODY=7BIT", b"BODY=8BITMIME", b"BODY=BINARYMIME", b"SMTPUTF8", b"AUTH=", b"<>", b"+3D", b"RET=FULL",
    b"RET=HDRS", b"ENVID=", b"NOTIFY=NEVER", b"NOTIFY=SUCCESS,FAILURE", b"DELAY", b"ORCPT=rfc822;", b"ORCPT=utf-8;",
    b"\\x{", b"}", b"\\x{10FFFF}", b"ORAR=", b"XRDST", "\u017f".encode(), "\u2003".encode(), b"\x0b",
)  # fmt: skip


def target(data: bytes) -> None:
    """Parse and check text with one of several connectors."""
    choices = Choices(data)
    connector = choices.connector()
    is_mail, utf8 = choices.flag(), choices.flag()
    text = choices.text()
    try:
        found = parse_parameters(text, utf8=utf8)
        (check_mail_parameters if is_mail else check_recipient_parameters)(found, connector)
    except ParameterError as error:
        assert not error.reply.positive
        return

    words = [word for word in re.split("[ \t]", text) if word]
    assert found == {k.upper(): v if equals else None for k, equals, v in (w.partition("=") for w in words)}
    assert len(found) == len(words)
    assert all(utf8 or value is None or value.isascii() for value in found.values())
    if is_mail:
        _check_mail(found, connector)
    else:
        _check_recipient(found, connector)


def _check_mail(found: Parameters, connector: ReceiveConnector) -> None:
    if "SIZE" in found and connector.size_enabled is not SizeEnabled.Disabled:
        assert int(found["SIZE"] or "") <= MAX_MESSAGE_SIZE
    if "SMTPUTF8" in found and connector.smtp_utf8_enabled:
        assert found["SMTPUTF8"] is None
    if "AUTH" in found:
        assert found["AUTH"]
    if connector.delivery_status_notification_enabled:
        assert re.fullmatch("FULL|HDRS", found.get("RET", "FULL") or "", re.IGNORECASE | re.ASCII)
        if "ENVID" in found:
            assert len(found["ENVID"] or "") <= MAX_ENVELOPE_ID
            _decode_xtext(found["ENVID"] or "=")


def _check_recipient(found: Parameters, connector: ReceiveConnector) -> None:
    if not connector.delivery_status_notification_enabled:
        return
    if "NOTIFY" in found:
        words = (found["NOTIFY"] or "").upper().split(",")
        assert words == ["NEVER"] or set(words) <= {"SUCCESS", "FAILURE", "DELAY"}
        assert len(set(words)) == len(words)
    if "ORCPT" in found:
        value = found["ORCPT"] or ""
        kind, semicolon, address = value.partition(";")
        assert kind
        assert semicolon
        assert address
        assert len(value) <= MAX_ORIGINAL_RECIPIENT
        if kind.upper() != "UTF-8":
            _decode_xtext(address)


def _decode_xtext(text: str) -> None:
    """Decode as RFC 3461 section 4 says, and find printable US-ASCII."""
    decoded = re.sub(r"\+([0-9A-F]{2})", lambda found: chr(int(found[1], 16)), text)

    assert re.fullmatch(r"[\t\x20-\x7e]+", decoded)
