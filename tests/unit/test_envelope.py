"""MAIL and RCPT, read whole: keyword, path, parameters."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpd_anontls.domain.connectors import ReceiveConnector
from smtpd_anontls.domain.flags import UnknownMailParameters
from smtpd_anontls.protocol.envelope import Mailbox, read_recipient, read_sender
from smtpd_anontls.protocol.replies import (
    INVALID_ADDRESS,
    INVALID_ARGUMENTS,
    INVALID_RECIPIENT,
    MESSAGE_TOO_BIG,
    NON_ASCII_ADDRESS,
    Reply,
)

if TYPE_CHECKING:
    from collections.abc import Callable

CONNECTOR = ReceiveConnector(name="Default Frontend MBX1")
WITHOUT = replace(CONNECTOR, smtp_utf8_enabled=False, binary_mime_enabled=False, eight_bit_mime_enabled=False)
STRICT = replace(WITHOUT, unknown_mail_parameters=UnknownMailParameters.refuse)
read_international = partial(read_recipient, utf8=True)


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


@pytest.mark.parametrize(
    ("argument", "sender"),
    [
        ("FROM:<a@b> SMTPUTF8", Mailbox("a@b", {"SMTPUTF8": None}, utf8=True)),
        ("FROM:<ü@x> smtputf8", Mailbox("ü@x", {"SMTPUTF8": None}, utf8=True)),
        ("FROM:<ü@ä.test> SIZE=1 SMTPUTF8 BODY=8BITMIME", Mailbox("ü@ä.test", {"SIZE": "1", "SMTPUTF8": None, "BODY": "8BITMIME"}, utf8=True)),
        ("FROM:ü@x SMTPUTF8 X=ä", Mailbox("ü@x", {"SMTPUTF8": None, "X": "ä"}, utf8=True)),
        ("FROM:<> SMTPUTF8", Mailbox("", {"SMTPUTF8": None}, utf8=True)),
        ("FROM:<a@b> BODY=binarymime", Mailbox("a@b", {"BODY": "binarymime"}, wants_binary=True)),
        ("FROM:<a@b> BODY=7BIT", Mailbox("a@b", {"BODY": "7BIT"})),
    ],
)  # fmt: skip
def test_what_a_sender_says_of_its_message(argument: str, sender: Mailbox) -> None:
    """SMTPUTF8 allows the path in front of it; BINARYMIME asks for BDAT."""
    assert read_sender(argument, CONNECTOR) == sender


def test_an_extension_that_is_not_offered_is_not_in_force() -> None:
    """Its parameter is kept as an unknown one, or refused, and means nothing."""
    for argument in ("FROM:<a@b> SMTPUTF8", "FROM:<a@b> BODY=BINARYMIME"):
        sender = read_sender(argument, WITHOUT)

        assert isinstance(sender, Mailbox)
        assert sender.parameters
        assert not sender.utf8
        assert not sender.wants_binary
        assert read_sender(argument, STRICT) is INVALID_ARGUMENTS


@pytest.mark.parametrize(
    ("read", "connector", "argument", "refused"),
    [
        (read_sender, CONNECTOR, "FROM:<ü@x>", NON_ASCII_ADDRESS),
        (read_sender, CONNECTOR, "FROM:<a@ü.test> SIZE=1", NON_ASCII_ADDRESS),
        # What stands in a path is no parameter.
        (read_sender, CONNECTOR, 'FROM:<"ü SMTPUTF8 "@x>', NON_ASCII_ADDRESS),
        (read_sender, CONNECTOR, "FROM:<ü@x> X-SMTPUTF8", NON_ASCII_ADDRESS),
        (read_sender, WITHOUT, "FROM:<ü@x> SMTPUTF8", NON_ASCII_ADDRESS),
        (read_sender, STRICT, "FROM:<ü@x> SMTPUTF8", NON_ASCII_ADDRESS),
        (read_sender, CONNECTOR, "FROM:<ü@x> SMTPUTF8=1", INVALID_ARGUMENTS),
        (read_sender, CONNECTOR, "FROM:<ü@x> SMTPUTF8 SMTPUTF8", INVALID_ARGUMENTS),
        (read_sender, CONNECTOR, "FROM:<a@b> X=ü", INVALID_ARGUMENTS),
        (read_sender, WITHOUT, "FROM:<a@b> X=ü SMTPUTF8", INVALID_ARGUMENTS),
        (read_sender, CONNECTOR, "FROM:<ü@> SMTPUTF8", INVALID_ADDRESS),
        (read_sender, CONNECTOR, "FROM:<\udcff@x> SMTPUTF8", INVALID_ADDRESS),
        (read_sender, CONNECTOR, "FROM:<postmaster> SMTPUTF8", INVALID_ADDRESS),
        (read_sender, CONNECTOR, "FROM:<a@b> BODY=BINARY", INVALID_ARGUMENTS),
        (read_recipient, CONNECTOR, "TO:<ü@x>", NON_ASCII_ADDRESS),
        (read_recipient, WITHOUT, "TO:<a@ü.test> NOTIFY=NEVER", NON_ASCII_ADDRESS),
        (read_recipient, CONNECTOR, "TO:<a@b> X=ü", INVALID_ARGUMENTS),
        (read_recipient, CONNECTOR, "TO:<a@b> NOTIFY=x", INVALID_ARGUMENTS),
        (read_recipient, CONNECTOR, "TO:<\x85@x>", INVALID_RECIPIENT),
        (read_international, CONNECTOR, "TO:<\u202e@x>", INVALID_RECIPIENT),
        (read_international, CONNECTOR, "TO:<ü@x> =", INVALID_ARGUMENTS),
    ],
)  # fmt: skip
def test_what_is_beyond_ascii_needs_smtputf8(
    read: Callable[[str, ReceiveConnector], Mailbox | Reply],
    connector: ReceiveConnector,
    argument: str,
    refused: Reply,
) -> None:
    """RFC 6531 section 3.5: 553 5.6.7 where SMTPUTF8 would help, the usual reply where it would not."""
    assert read(argument, connector) is refused


def test_recipients_of_an_international_transaction() -> None:
    """Where MAIL said SMTPUTF8, a recipient need not say it again."""
    assert read_recipient("TO:<ü@ä.test>", CONNECTOR, utf8=True) == Mailbox("ü@ä.test", {})
    assert read_recipient("TO:<a@b> ORCPT=utf-8;ü@ä.test", CONNECTOR, utf8=True) == Mailbox(
        "a@b", {"ORCPT": "utf-8;ü@ä.test"}
    )


def test_long_addresses_are_a_matter_of_the_connector() -> None:
    """LongAddressesEnabled, in MAIL and in RCPT."""
    address = f"IMCEAX400-{'x' * 1800}@contoso.test"
    long = replace(CONNECTOR, long_addresses_enabled=True)

    assert read_sender(f"FROM:<{address}>", CONNECTOR) is INVALID_ADDRESS
    assert read_recipient(f"TO:<{address}>", CONNECTOR) is INVALID_RECIPIENT
    assert read_sender(f"FROM:<{address}>", long) == Mailbox(address, {})
    assert read_recipient(f"TO:<{address}>", long) == Mailbox(address, {})


PIECES = [
    "FROM:",
    "TO:",
    *"<>@ \t=\0",
    "a",
    "ü",
    "\udcff",
    "postmaster",
    "x.test",
    "SMTPUTF8",
    "BODY=BINARYMIME",
    "X=ä",
]


@given(
    st.text(max_size=40) | st.lists(st.sampled_from(PIECES), max_size=14).map("".join),
    st.sampled_from(["", "FROM:<", "TO:<"]),
    st.sampled_from([CONNECTOR, WITHOUT, STRICT]),
    st.booleans(),
)
def test_any_argument_is_a_mailbox_or_a_refusal(
    text: str,
    start: str,
    connector: ReceiveConnector,
    utf8: bool,  # noqa: FBT001 - Hypothesis passes it so
) -> None:
    """Nothing is raised; beyond US-ASCII is only what SMTPUTF8 allows, and only a sender is null."""
    sender = read_sender(start + text, connector)
    recipient = read_recipient(start + text, connector, utf8=utf8)

    if isinstance(sender, Mailbox):
        assert sender.utf8 or "".join([sender.address, *map(str, sender.parameters.values())]).isascii()
        assert not sender.utf8 or ("SMTPUTF8" in sender.parameters and connector.smtp_utf8_enabled)
    else:
        assert not sender.positive
    if isinstance(recipient, Mailbox):
        assert recipient.address
        assert utf8 or "".join([recipient.address, *map(str, recipient.parameters.values())]).isascii()
        assert not recipient.utf8
    else:
        assert not recipient.positive
