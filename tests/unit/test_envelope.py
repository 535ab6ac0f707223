"""MAIL and RCPT, read whole: keyword, path, parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from smtpd_anontls.domain.connectors import ReceiveConnector
from smtpd_anontls.protocol.envelope import Mailbox, read_recipient, read_sender
from smtpd_anontls.protocol.replies import (
    INVALID_ADDRESS,
    INVALID_ARGUMENTS,
    INVALID_RECIPIENT,
    MESSAGE_TOO_BIG,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpd_anontls.protocol.replies import Reply

CONNECTOR = ReceiveConnector(name="Default Frontend MBX1")


@pytest.mark.parametrize(
    ("read", "argument", "taken"),
    [
        (read_sender, "FROM:<a@contoso.test>", Mailbox("a@contoso.test", {})),
        (read_sender, "from: <a@contoso.test> SIZE=10 body=8bitmime", Mailbox("a@contoso.test", {"SIZE": "10", "BODY": "8bitmime"})),
        (read_sender, "FROM:<>", Mailbox("", {})),
        (read_sender, "FROM:a@contoso.test", Mailbox("a@contoso.test", {})),
        (read_recipient, "TO:<b@contoso.test> NOTIFY=NEVER", Mailbox("b@contoso.test", {"NOTIFY": "NEVER"})),
        (read_recipient, "to:<Postmaster>", Mailbox("Postmaster", {})),
    ],
)  # fmt: skip
def test_what_is_taken(
    read: Callable[[str, ReceiveConnector], Mailbox | Reply], argument: str, taken: Mailbox
) -> None:
    """The address and its parameters come out, however the keyword is spelt."""
    assert read(argument, CONNECTOR) == taken


@pytest.mark.parametrize(
    ("read", "argument", "refused"),
    [
        (read_sender, "", INVALID_ARGUMENTS),
        (read_sender, "TO:<a@contoso.test>", INVALID_ARGUMENTS),
        (read_sender, "FROM:<a", INVALID_ADDRESS),
        (read_sender, "FROM:<postmaster>", INVALID_ADDRESS),
        (read_sender, "FROM:<a@contoso.test> SIZE=99999999999", MESSAGE_TOO_BIG),
        (read_sender, "FROM:<a@contoso.test> SIZE=x", INVALID_ARGUMENTS),
        (read_recipient, "FROM:<a@contoso.test>", INVALID_ARGUMENTS),
        (read_recipient, "TO:<>", INVALID_RECIPIENT),
        (read_recipient, "TO:<a b>", INVALID_RECIPIENT),
        (read_recipient, "TO:<a@contoso.test> =", INVALID_ARGUMENTS),
    ],
)
def test_what_is_refused(
    read: Callable[[str, ReceiveConnector], Mailbox | Reply], argument: str, refused: Reply
) -> None:
    """Each mistake has the reply of its kind: the sender's address is 5.1.7, a recipient's 5.1.3."""
    assert read(argument, CONNECTOR) is refused
