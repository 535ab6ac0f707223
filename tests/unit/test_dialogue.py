"""The order of commands."""

from __future__ import annotations

import pytest

from smtpd_anontls.domain.records import TlsVerb
from smtpd_anontls.protocol.dialogue import OUT_OF_ORDER, Dialogue, Phase, out_of_order
from smtpd_anontls.protocol.replies import (
    BAD_SEQUENCE,
    NEED_MAIL,
    NEED_RECIPIENT,
    SEND_HELLO_FIRST,
    SENDER_ALREADY_SPECIFIED,
    Reply,
)

NO = BAD_SEQUENCE
GIVEN = SENDER_ALREADY_SPECIFIED
# For each verb what is answered in CONNECTED, GREETED, MAIL, RECIPIENTS and CHUNKS; None: it may come.
ORDER: dict[str, tuple[Reply | None, ...]] = {
    "MAIL": (SEND_HELLO_FIRST, None, GIVEN, GIVEN, GIVEN),
    "RCPT": (SEND_HELLO_FIRST, NEED_MAIL, None, None, NO),
    "DATA": (SEND_HELLO_FIRST, NEED_MAIL, NEED_RECIPIENT, None, NO),
    "BDAT": (SEND_HELLO_FIRST, NEED_MAIL, NEED_RECIPIENT, None, None),
    "STARTTLS": (SEND_HELLO_FIRST, None, NO, NO, NO),
    "X-ANONYMOUSTLS": (SEND_HELLO_FIRST, None, NO, NO, NO),
    "AUTH": (SEND_HELLO_FIRST, None, NO, NO, NO),
    "X-EXPS": (SEND_HELLO_FIRST, None, NO, NO, NO),
    # RFC 5321 section 4.1.4: these may come at any time.
    "EHLO": (None,) * 5,
    "HELO": (None,) * 5,
    "RSET": (None,) * 5,
    "NOOP": (None,) * 5,
    "HELP": (None,) * 5,
    "VRFY": (None,) * 5,
    "EXPN": (None,) * 5,
    "QUIT": (None,) * 5,
}


@pytest.mark.parametrize(
    ("verb", "phase", "reply"),
    [(verb, phase, reply) for verb, row in ORDER.items() for phase, reply in zip(Phase, row, strict=True)],
)
def test_each_verb_in_each_phase(verb: str, phase: Phase, reply: Reply | None) -> None:
    """A verb out of order gets the reply that names what is missing, or what came already."""
    assert out_of_order(verb, phase) is reply


def test_every_verb_with_an_order_has_a_row() -> None:
    """The table above covers the whole of the rules."""
    assert {verb for verb, row in ORDER.items() if any(row)} == set(OUT_OF_ORDER)


def test_a_transaction_and_the_next() -> None:
    """Hello, sender, recipients, and back to where the next message begins."""
    connected = Dialogue()
    greeted = connected.greeted()
    sender = greeted.sender_given()
    recipients = sender.recipient_given()

    assert connected == Dialogue(Phase.CONNECTED, None)
    assert [d.phase for d in (greeted, sender, recipients)] == [Phase.GREETED, Phase.MAIL, Phase.RECIPIENTS]
    assert recipients.recipient_given() == recipients
    assert recipients.chunk_given().phase is Phase.CHUNKS
    assert recipients.chunk_given().greeted() == greeted
    assert recipients.greeted() == greeted


@pytest.mark.parametrize(
    ("phase", "after"),
    [
        (Phase.CONNECTED, Phase.CONNECTED),
        (Phase.GREETED, Phase.GREETED),
        (Phase.MAIL, Phase.GREETED),
        (Phase.RECIPIENTS, Phase.GREETED),
    ],
)
def test_reset_ends_the_transaction_and_greets_nobody(phase: Phase, after: Phase) -> None:
    """RSET keeps the hello, and does not stand for one; TLS stays."""
    assert Dialogue(phase).reset() == Dialogue(after)
    assert Dialogue(phase, TlsVerb.STARTTLS).reset() == Dialogue(after, TlsVerb.STARTTLS)


@pytest.mark.parametrize("verb", list(TlsVerb))
@pytest.mark.parametrize("phase", list(Phase))
def test_tls_forgets_what_was_said_in_clear(phase: Phase, verb: TlsVerb) -> None:
    """RFC 3207 section 4.2: a new hello is needed, whatever was said; the verb used is known from then on."""
    secured = Dialogue(phase).secured(verb)

    assert secured == Dialogue(Phase.CONNECTED, verb)
    assert out_of_order("MAIL", secured.phase) is SEND_HELLO_FIRST
    assert secured.greeted().sender_given().recipient_given().secured_by is verb
