"""The replies: well-formed on the wire, each of them, and the texts that Exchange uses."""

from __future__ import annotations

import re

import pytest

from smtpd_anontls.protocol import replies
from smtpd_anontls.protocol.replies import Reply, banner, challenge, chunk_received, help_text, queued

NAMED = {name: value for name, value in vars(replies).items() if isinstance(value, Reply)}
MADE = {
    "banner": banner(
        "mbx1.contoso.test Microsoft ESMTP MAIL Service ready at Tue, 1 Jun 2027 12:00:00 +0000"
    ),
    "queued": queued("<a@contoso.test>", 1, "mbx1.contoso.test"),
    "help": help_text(("HELO", "EHLO")),
    "challenge": challenge("NTLM supported"),
    "chunk": chunk_received(86),
}
# RFC 3463 section 2: class, subject and detail, without leading zeros.
ENHANCED = re.compile(r"[245]\.(?:0|[1-9][0-9]{0,2})\.(?:0|[1-9][0-9]{0,2})")
# RFC 5321 section 4.2: the codes that it and its extensions (RFC 4954) define.
CODES = {
    214,
    220,
    221,
    235,
    250,
    252,
    334,
    354,
    421,
    451,
    452,
    454,
    500,
    501,
    502,
    503,
    504,
    530,
    535,
    550,
    552,
    553,
    554,
}


@pytest.mark.parametrize("reply", [*NAMED.values(), *MADE.values()], ids=[*NAMED, *MADE])
def test_every_reply_is_well_formed(reply: Reply) -> None:
    """A code that SMTP knows, a status of the same class or Exchange's quirk, and lines of US-ASCII."""
    wire = reply.encoded()

    assert wire.endswith(b"\r\n")
    lines = wire[:-2].split(b"\r\n")
    assert all(re.fullmatch(rb"[0-9]{3}-[\x20-\x7e]+", line) for line in lines[:-1])
    assert re.fullmatch(rb"[0-9]{3} [\x20-\x7e]+", lines[-1])
    # RFC 5321 section 4.5.3.1.5.
    assert all(len(line) + 2 <= 512 for line in lines)
    assert reply.code in CODES
    assert reply.enhanced == "" or ENHANCED.fullmatch(reply.enhanced)
    assert reply.quirk is (reply.enhanced != "" and reply.enhanced[0] != str(reply.code)[0])


def test_only_the_banner_hello_help_and_354_carry_no_status() -> None:
    """RFC 2034 section 4 asks for an enhanced status in the others."""
    without = {name for name, reply in (NAMED | MADE).items() if not reply.enhanced}

    assert without == {"START_MAIL_INPUT", "banner", "help", "challenge"}


@pytest.mark.parametrize(
    ("reply", "line"),
    [
        (replies.SENDER_OK, "250 2.1.0 Sender OK"),
        (replies.RECIPIENT_OK, "250 2.1.5 Recipient OK"),
        (replies.START_MAIL_INPUT, "354 Start mail input; end with <CRLF>.<CRLF>"),
        (replies.TLS_READY, "220 2.0.0 SMTP server ready"),
        (replies.CLOSING, "221 2.0.0 Service closing transmission channel"),
        (replies.CANNOT_VERIFY, "252 2.1.5 Cannot VRFY user"),
        (replies.SERVICE_NOT_AVAILABLE, "421 4.3.2 Service not available"),
        (replies.SERVICE_NOT_ACTIVE, "421 4.3.2 Service not active"),
        (replies.TIMEOUT, "451 4.7.0 Timeout waiting for client input"),
        (replies.MUST_STARTTLS, "451 5.7.3 Must issue a STARTTLS command first"),
        (
            replies.TOO_MANY_CONNECTIONS,
            "421 4.3.2 The maximum number of concurrent connections has exceeded a limit, closing transmission channel",
        ),
        (
            replies.TOO_MANY_MESSAGES,
            "421 4.4.2 Message submission rate for this client has exceeded the configured limit",
        ),
        (replies.CONNECTION_TIMED_OUT, "421 4.4.1 Connection timed out"),
        (replies.TOO_MANY_HOPS, "554 5.4.6 Hop count exceeded - possible mail loop"),
        (replies.AUTHENTICATED, "235 2.7.0 Authentication successful"),
        (replies.AUTHENTICATION_FAULT, "454 4.7.0 Temporary authentication failure"),
        (replies.AUTHENTICATION_FAILED, "535 5.7.3 Authentication unsuccessful"),
        (replies.UNKNOWN_MECHANISM, "504 5.7.4 Unrecognized authentication type"),
        (chunk_received(86), "250 2.0.0 86 octets received"),
        (replies.UNRECOGNIZED, "500 5.3.3 Unrecognized command"),
        (replies.INVALID_DOMAIN, "501 5.5.4 Invalid domain name"),
        (replies.INVALID_ADDRESS, "501 5.1.7 Invalid address"),
        (replies.INVALID_RECIPIENT, "501 5.1.3 Invalid address"),
        (replies.NOT_IMPLEMENTED, "502 5.3.3 Command not implemented"),
        (replies.SEND_HELLO_FIRST, "503 5.5.2 Send hello first"),
        (
            replies.NOT_AUTHENTICATED,
            "530 5.7.57 SMTP; Client was not authenticated to send anonymous mail during MAIL FROM",
        ),
        (
            queued("<x@contoso.test>", 5111011082268, "mail1.fabrikam.com"),
            (
                "250 2.6.0 <x@contoso.test> [InternalId=5111011082268, Hostname=mail1.fabrikam.com] "
                "Queued mail for delivery"
            ),
        ),
    ],
)
def test_texts_that_were_seen_are_exact(reply: Reply, line: str) -> None:
    """Where a log or a Microsoft document shows Exchange's words, ours are the same."""
    assert reply.lines() == (line,)


def test_an_identifier_beyond_ascii_is_escaped() -> None:
    """The client's own Message-ID comes back in US-ASCII, whatever script it was written in."""
    reply = queued("<\u00e4\u2028\u4f60@contoso.test>", 1, "mbx1.contoso.test")

    shown = r"<\xe4\u2028\u4f60@contoso.test>"
    assert reply.lines() == (
        f"250 2.6.0 {shown} [InternalId=1, Hostname=mbx1.contoso.test] Queued mail for delivery",
    )


def test_help_has_exchange_s_two_lines() -> None:
    """The sentence first, then the verbs in one line."""
    assert help_text(("HELO", "EHLO", "QUIT")).lines() == (
        "214-This server supports the following commands:",
        "214 HELO EHLO QUIT",
    )


@pytest.mark.parametrize(
    ("code", "enhanced"), [(250, "5.0.0"), (550, "4.0.0"), (451, "5.7.3"), (354, "2.0.0")]
)
def test_a_status_of_another_class_is_a_mistake(code: int, enhanced: str) -> None:
    """RFC 2034 section 4: the first digit of the status is that of the code."""
    with pytest.raises(ValueError, match=f"{code} cannot carry {enhanced}"):
        Reply(code, enhanced, "text")


def test_a_quirk_is_declared() -> None:
    """What Exchange itself does is possible, on purpose."""
    assert Reply(451, "5.7.3", "text", quirk=True).lines() == ("451 5.7.3 text",)


@pytest.mark.parametrize(
    "text", ["a\r\n250 OK", "a\n", "a\r", "\0", "\x1b[2J", "\x7f", "\x85", "\u2028", "\udc80"]
)
def test_no_reply_can_carry_a_control_character(text: str) -> None:
    """Neither its first line nor a later one: a peer's words can never make a second reply."""
    with pytest.raises(ValueError, match="a reply line cannot carry"):
        Reply(250, "", text)
    with pytest.raises(ValueError, match="a reply line cannot carry"):
        Reply(250, "", "ok", ("ok", text))


def test_every_line_has_the_status() -> None:
    """RFC 2034 section 4: each line of a reply carries it, and the last one the blank."""
    reply = Reply(550, "5.7.1", "first", ("second", "third"))

    assert reply.encoded() == b"550-5.7.1 first\r\n550-5.7.1 second\r\n550 5.7.1 third\r\n"


def test_text_beyond_ascii_is_escaped() -> None:
    """A banner in another script leaves as US-ASCII."""
    assert banner("M\u00fcnchen \u4f60").encoded() == b"220 M\\xfcnchen \\u4f60\r\n"


@pytest.mark.parametrize(
    ("code", "positive"), [(220, True), (354, True), (399, True), (400, False), (552, False)]
)
def test_positive_is_all_that_does_not_refuse(code: int, *, positive: bool) -> None:
    """The classes 2 and 3 go on; 4 and 5 refuse."""
    assert Reply(code, "", "text").positive is positive


def test_a_long_message_id_gives_way_to_our_own_identifier() -> None:
    """The 250 of an accepted message stays within RFC 5321's 512 octets, whatever the client called it."""
    reply = queued("<" + "\U0001f4e7" * 100 + "@contoso.test>", 7, "mbx1.contoso.test")

    assert reply.text.startswith("<7@mbx1.contoso.test> [InternalId=7, ")
    assert len(reply.encoded()) <= 512
