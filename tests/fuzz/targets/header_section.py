"""The header section of a message: read for looking up, counted, and fit for a reply, whatever it holds."""

from __future__ import annotations

import re

from smtpd_anontls.protocol import headers, replies

RUNS = 600_000
MAX_LENGTH = 600
WORDS = (
    b"Subject: ", b"Message-ID: <a@b>", b"Received: from a by mx1.lab.test; ", b"Received: (by c) by d", b"=?utf-8?q?",
    b"=?utf-8?b?w7w=?=", b"=?utf-7?q?+2AA-?=", b"?=", b"\\ud800", b"\r\n", b"\r\n\r\n", b"\n\n", b"\r\n ", b"\r\n\t",
    b"\0.\r\n", b"\r\n.\0\r\n", b":", b" :", b"(", b")", b"\\", "é".encode(), b"\xe9",
)  # fmt: skip

_FQDN = "mx1.lab.test"
_NAME = re.compile(r"[!-9;-~]+")
_BARE = re.compile(rb"(?<!\r)\n|\r(?!\n)")


def target(data: bytes) -> None:
    """Read a message."""
    fields = headers.parse_header_section(data)
    received = [value for name, value in fields if name.lower() == "received"]

    assert len(fields) <= headers.MAX_FIELDS
    assert all(_NAME.fullmatch(name) and "\n" not in value for name, value in fields)
    assert headers.received_count(fields) == len(received)
    assert headers.local_received_count(fields, _FQDN) <= len(received)
    assert headers.header_section_octets(data) == _section_octets(data)
    assert headers.has_bare_line_end(data) == (_BARE.search(data) is not None or _has_hidden_end(data))
    for _, value in fields:
        # It is stored, so it is Unicode that can be.
        headers.decoded_subject(value).encode()
    _check_message_id(fields)


def _check_message_id(fields: tuple[tuple[str, str], ...]) -> None:
    """Hold the reply to a message to one line of at most 512 octets."""
    identifier = headers.message_id(fields)
    if identifier is None:
        return
    reply = replies.queued(identifier, 2**63, _FQDN).encoded()

    assert not set(identifier) & set(" \t\r\n\0")
    assert re.fullmatch(rb"250 [\x20-\x7e]+\r\n", reply)
    assert len(reply) <= 512


def _section_octets(raw: bytes) -> int:
    position = 0
    for line in raw.split(b"\n")[:-1]:
        position += len(line) + 1
        if line in {b"", b"\r"}:
            return position
    return len(raw)


def _has_hidden_end(raw: bytes) -> bool:
    return any(b"\0" in line and line.strip(b"\0") == b"." for line in raw.split(b"\r\n")[:-1])
