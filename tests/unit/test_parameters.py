"""The parameters of MAIL and RCPT."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpd_anontls.domain.connectors import Bytes, ReceiveConnector
from smtpd_anontls.domain.flags import AuthMechanism, SizeEnabled, UnknownMailParameters
from smtpd_anontls.protocol.parameters import (
    ParameterError,
    Parameters,
    check_mail_parameters,
    check_recipient_parameters,
    parse_parameters,
)
from smtpd_anontls.protocol.replies import (
    INVALID_ARGUMENTS,
    MESSAGE_TOO_BIG,
    Reply,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LENIENT = ReceiveConnector(name="lenient", max_message_size=Bytes(1000))
STRICT = ReceiveConnector(
    name="strict",
    max_message_size=Bytes(1000),
    unknown_mail_parameters=UnknownMailParameters.refuse,
)
# The same two where EHLO offers none of the extensions.
LENIENT_BARE = replace(
    LENIENT,
    size_enabled=SizeEnabled.Disabled,
    eight_bit_mime_enabled=False,
    binary_mime_enabled=False,
    smtp_utf8_enabled=False,
    delivery_status_notification_enabled=False,
)
STRICT_BARE = replace(LENIENT_BARE, unknown_mail_parameters=UnknownMailParameters.refuse)


@pytest.mark.parametrize(
    ("text", "parameters"),
    [
        ("", {}),
        (" \t ", {}),
        ("SIZE=1", {"SIZE": "1"}),
        ("size=1 Body=8bitmime", {"SIZE": "1", "BODY": "8bitmime"}),
        ("SMTPUTF8", {"SMTPUTF8": None}),
        ("SIZE=1 \t  XSHADOW=a-b-c ", {"SIZE": "1", "XSHADOW": "a-b-c"}),
        ("AUTH=<>", {"AUTH": "<>"}),
        ("X-1=!<>~", {"X-1": "!<>~"}),
        ("8BIT", {"8BIT": None}),
    ],
)
def test_parameters_are_read(text: str, parameters: Parameters) -> None:
    """Keywords in upper case, values as they are, None where there is no value."""
    assert parse_parameters(text) == parameters


@pytest.mark.parametrize(
    "text",
    [
        "SIZE=",
        "=1",
        "=",
        "-X=1",
        "X_1=1",
        "SIZE=1=2",
        "SIZE = 1",
        "SIZE=1 size=2",
        "SMTPUTF8 SMTPUTF8",
        "X=a\0b",
        "X=\x7f",
        "X=\u00e4",
        "\u00dc=1",
        "\u212a=1",
        "X=\udcff",
        "<b@contoso.test>",
        # A blank of Unicode parts nothing.
        "SIZE=1\u00a0BODY=7BIT",
        "SIZE=1\x0bBODY=7BIT",
        "SIZE=1\x1fBODY=7BIT",
        "SIZE=1\n",
    ],
)
def test_malformed_or_repeated_parameters_are_refused(text: str) -> None:
    """RFC 5321 section 4.1.2: a keyword, and a value of printable US-ASCII without equal signs."""
    with pytest.raises(ParameterError) as raised:
        parse_parameters(text)

    assert raised.value.reply is INVALID_ARGUMENTS
    assert str(raised.value) == INVALID_ARGUMENTS.text


@pytest.mark.parametrize(
    ("text", "value"), [("X=\u00e4", "\u00e4"), ("X=a\u20ac<>", "a\u20ac<>"), ("X=\U0001f4e7", "\U0001f4e7")]
)
def test_values_beyond_ascii_need_smtputf8(text: str, value: str) -> None:
    """RFC 6531 section 3.4: a value may hold UTF-8 where SMTPUTF8 is in force, and nowhere else."""
    assert parse_parameters(text, utf8=True) == {"X": value}
    with pytest.raises(ParameterError):
        parse_parameters(text)


@pytest.mark.parametrize(
    "text",
    [
        "X=\udcff",
        "X=\x85",
        "X=\u202e",
        "X=\u2028",
        "\u00dc=1",
        "\u212a=1",
        "X\u00e4",
        "X=\u00e4=",
        "X=\u00e4 x=1",
    ],
)
def test_malformed_parameters_are_refused_with_smtputf8_too(text: str) -> None:
    """Octets that are no UTF-8, controls and keywords beyond US-ASCII stay malformed."""
    with pytest.raises(ParameterError):
        parse_parameters(text, utf8=True)


@pytest.mark.parametrize("connector", [LENIENT, STRICT], ids=lambda c: str(c.name))
@pytest.mark.parametrize("size_enabled", [SizeEnabled.Enabled, SizeEnabled.EnabledWithoutValue])
def test_size_is_held_to_the_limit_where_ehlo_hides_it(
    connector: ReceiveConnector, size_enabled: SizeEnabled
) -> None:
    """The limit holds whether or not EHLO names it."""
    connector = replace(connector, size_enabled=size_enabled)

    check_mail_parameters({"SIZE": "1000"}, connector)
    with pytest.raises(ParameterError) as raised:
        check_mail_parameters({"SIZE": "1001"}, connector)
    assert raised.value.reply is MESSAGE_TOO_BIG


@pytest.mark.parametrize("connector", [LENIENT, STRICT], ids=lambda c: str(c.name))
@pytest.mark.parametrize(
    "text",
    [
        "",
        "SIZE=0",
        "SIZE=1000",
        "SIZE=00000000000000000001",
        "BODY=7BIT",
        "BODY=8bitmime",
        "AUTH=<>",
        "AUTH=a+40contoso.test",
        "AUTH=a@contoso.test",
        "BODY=BinaryMime",
        "SMTPUTF8",
        "smtputf8",
        "RET=FULL",
        "RET=hdrs",
        "ENVID=QQ314159",
        "ENVID=+20a+09+7E+2B",
        f"ENVID={'e' * 100}",
        "RET=HDRS ENVID=a SIZE=5 BODY=7BIT SMTPUTF8 AUTH=<>",
    ],
)
def test_known_parameters_of_mail_are_taken(text: str, connector: ReceiveConnector) -> None:
    """Those of the extensions that are offered, whether or not unknown ones are."""
    check_mail_parameters(parse_parameters(text), connector)


@pytest.mark.parametrize("connector", [LENIENT, STRICT], ids=lambda c: str(c.name))
@pytest.mark.parametrize(
    ("text", "reply"),
    [
        ("SIZE", INVALID_ARGUMENTS),
        ("SIZE=-1", INVALID_ARGUMENTS),
        ("SIZE=1k", INVALID_ARGUMENTS),
        ("SIZE=000000000000000000001", INVALID_ARGUMENTS),
        ("SIZE=1001", MESSAGE_TOO_BIG),
        ("SIZE=99999999999999999999", MESSAGE_TOO_BIG),
        ("BODY", INVALID_ARGUMENTS),
        ("BODY=9BIT", INVALID_ARGUMENTS),
        ("AUTH", INVALID_ARGUMENTS),
        ("AUTH=a+4", INVALID_ARGUMENTS),
        ("AUTH=a+4x", INVALID_ARGUMENTS),
        ("AUTH=a+4a", INVALID_ARGUMENTS),
        ("BODY=7BIT SIZE=1001", MESSAGE_TOO_BIG),
        ("SMTPUTF8=1", INVALID_ARGUMENTS),
        ("RET", INVALID_ARGUMENTS),
        ("RET=BODY", INVALID_ARGUMENTS),
        ("RET=FULL,HDRS", INVALID_ARGUMENTS),
        ("ENVID", INVALID_ARGUMENTS),
        ("ENVID=a+2", INVALID_ARGUMENTS),
        ("ENVID=a+2b", INVALID_ARGUMENTS),
        ("ENVID=a+", INVALID_ARGUMENTS),
        # RFC 3461 section 4.4: printable before its encoding.
        ("ENVID=a+0D+0A", INVALID_ARGUMENTS),
        ("ENVID=+00", INVALID_ARGUMENTS),
        ("ENVID=+7F", INVALID_ARGUMENTS),
        ("ENVID=+E4", INVALID_ARGUMENTS),
        (f"ENVID={'e' * 101}", INVALID_ARGUMENTS),
    ],
)
def test_wrong_values_are_refused(text: str, reply: Reply, connector: ReceiveConnector) -> None:
    """A declared size over the limit is refused at once; a value that is none, as an argument."""
    with pytest.raises(ParameterError) as raised:
        check_mail_parameters(parse_parameters(text), connector)

    assert raised.value.reply is reply


def test_digits_of_other_scripts_are_no_size() -> None:
    """RFC 1870 means the ten digits of US-ASCII."""
    with pytest.raises(ParameterError):
        check_mail_parameters({"SIZE": "\u0661"}, LENIENT)


@pytest.mark.parametrize(
    ("eight_bit", "binary", "taken"),
    [
        (True, True, {"7BIT", "8BITMIME", "BINARYMIME"}),
        (True, False, {"7BIT", "8BITMIME"}),
        (False, True, {"7BIT", "BINARYMIME"}),
    ],
)
def test_body_is_what_the_extensions_offer(*, eight_bit: bool, binary: bool, taken: set[str]) -> None:
    """BODY takes 8BITMIME and BINARYMIME where EHLO names them; the rest is a wrong value, not unknown."""
    connector = replace(LENIENT, eight_bit_mime_enabled=eight_bit, binary_mime_enabled=binary)

    for value in ("7BIT", "8BITMIME", "BINARYMIME"):
        if value in taken:
            check_mail_parameters({"BODY": value}, connector)
        else:
            with pytest.raises(ParameterError) as raised:
                check_mail_parameters({"BODY": value}, connector)
            assert raised.value.reply is INVALID_ARGUMENTS


RECIPIENT_TAKEN = [
    "NOTIFY=NEVER",
    # As Microsoft's telnet walk-through writes it.
    "NOTIFY=success,failure",
    "NOTIFY=DELAY",
    "NOTIFY=Delay,Failure,Success",
    "ORCPT=rfc822;b@contoso.test",
    "ORCPT=rfc822;b+2Bc+20d@contoso.test",
    "orcpt=X400;/C+3DDE/A+3D+20/",
    f"ORCPT=rfc822;{'o' * 493}",
    "NOTIFY=NEVER ORCPT=rfc822;b",
    # RFC 6533 section 3: US-ASCII alone, and the mailbox itself.
    r"ORCPT=utf-8;\x{E4}\x{20AC}\x{1F4E7}\x{10FFFF}@contoso.test",
    r"ORCPT=UTF-8;a\x{2B}b\x{3D}\x{5C}\x{20}\x{7F}\x{10}\x{01}\x{D7FF}@contoso.test",
    "ORCPT=utf-8;b+c@contoso.test",
    "ORCPT=utf-8;\u00e4\u20ac@\u00fc.test",
    "ORCPT=utf-8;\u00e4+b@\u00fc.test",
    "ORCPT=utf-8;\u00e4\\x{2B}b@contoso.test",
]

RECIPIENT_REFUSED = [
    "NOTIFY",
    "NOTIFY=ALWAYS",
    "NOTIFY=NEVER,SUCCESS",
    "NOTIFY=SUCCESS,NEVER",
    "NOTIFY=NEVER,NEVER",
    "NOTIFY=DELAY,delay",
    "NOTIFY=SUCCESS,",
    "NOTIFY=,",
    # In upper case a long s is an S.
    "NOTIFY=\u017fuccess",
    "ORCPT",
    "ORCPT=b@contoso.test",
    "ORCPT=rfc822;",
    "ORCPT=;b@contoso.test",
    "ORCPT=rfc(822;b",
    "ORCPT=rfc822;b+2b",
    "ORCPT=rfc822;b+0A",
    "ORCPT=rfc822;\u00e4@contoso.test",
    "ORCPT=\u00e4;b",
    f"ORCPT=rfc822;{'o' * 494}",
    "ORCPT=utf-8;",
    r"ORCPT=utf-8;\x{e4}",
    r"ORCPT=utf-8;\x{}",
    r"ORCPT=utf-8;\x{41}",
    r"ORCPT=utf-8;\x{00}",
    r"ORCPT=utf-8;\x{D800}",
    r"ORCPT=utf-8;\x{110000}",
    r"ORCPT=utf-8;\x{00E4}",
    "ORCPT=utf-8;a\\b",
    "ORCPT=utf-8;a+b",
    "ORCPT=utf-8;<a+b@contoso.test>",
    "ORCPT=utf-8;@hub.test:a+b@contoso.test",
]


@pytest.mark.parametrize("connector", [LENIENT, STRICT], ids=lambda c: str(c.name))
@pytest.mark.parametrize("text", RECIPIENT_TAKEN)
def test_known_parameters_of_rcpt_are_taken(text: str, connector: ReceiveConnector) -> None:
    """Those of DSN (RFC 3461 and RFC 6533), whether or not unknown ones are."""
    check_recipient_parameters(parse_parameters(text, utf8=True), connector)


@pytest.mark.parametrize("connector", [LENIENT, STRICT], ids=lambda c: str(c.name))
@pytest.mark.parametrize("text", RECIPIENT_REFUSED)
def test_wrong_values_of_rcpt_are_refused(text: str, connector: ReceiveConnector) -> None:
    """A value that is none is refused as an argument."""
    with pytest.raises(ParameterError) as raised:
        check_recipient_parameters(parse_parameters(text, utf8=True), connector)

    assert raised.value.reply is INVALID_ARGUMENTS


@pytest.mark.parametrize(
    ("offering", "text"),
    [
        (replace(STRICT, orar_enabled=True), "ORAR=anything;at+all"),
        (replace(STRICT, auth_mechanism=AuthMechanism.ExchangeServer), "XRDST=anything;at+all"),
        (replace(STRICT, auth_mechanism=AuthMechanism.ExchangeServer | AuthMechanism.Tls), "XRDST"),
    ],
)
def test_exchange_parameters_are_known_where_ehlo_names_them(offering: ReceiveConnector, text: str) -> None:
    """ORAR is that of OrarEnabled, XRDST that of Exchange server authentication."""
    parameters = parse_parameters(text)

    check_recipient_parameters(parameters, offering)
    check_recipient_parameters(parameters, LENIENT)
    with pytest.raises(ParameterError) as raised:
        check_recipient_parameters(parameters, STRICT)
    assert raised.value.reply is INVALID_ARGUMENTS


def test_orar_says_something() -> None:
    """Without a value it names no alternate recipient."""
    with pytest.raises(ParameterError):
        check_recipient_parameters({"ORAR": None}, replace(LENIENT, orar_enabled=True))


@pytest.mark.parametrize("check", [check_mail_parameters, check_recipient_parameters])
@pytest.mark.parametrize(
    "text", ["XOORG=contoso.test", "XATTRDIRECT=Originating", "X-1", "ORAR=x", "XRDST=x"]
)
def test_unknown_parameters_are_a_matter_of_the_connector(
    text: str, check: Callable[[Mapping[str, str | None], ReceiveConnector], None]
) -> None:
    """What nobody here knows is taken or refused, in MAIL and in RCPT alike."""
    parameters = parse_parameters(text)

    check(parameters, LENIENT)
    with pytest.raises(ParameterError) as raised:
        check(parameters, STRICT)
    assert raised.value.reply is INVALID_ARGUMENTS


@pytest.mark.parametrize(
    ("check", "text"),
    [
        (check_mail_parameters, "SIZE=99999999"),
        (check_mail_parameters, "SIZE=x"),
        (check_mail_parameters, "BODY=8BITMIME"),
        (check_mail_parameters, "BODY=x"),
        (check_mail_parameters, "SMTPUTF8"),
        (check_mail_parameters, "SMTPUTF8=x"),
        (check_mail_parameters, "RET=x"),
        (check_mail_parameters, "ENVID=+"),
        (check_recipient_parameters, "NOTIFY=x"),
        (check_recipient_parameters, "ORCPT=x"),
        # Each verb has its own.
        (check_mail_parameters, "NOTIFY=x"),
        (check_recipient_parameters, "SIZE=x"),
    ],
)
def test_a_parameter_of_an_extension_that_is_not_offered_is_unknown(
    text: str, check: Callable[[Mapping[str, str | None], ReceiveConnector], None]
) -> None:
    """Without its extension in EHLO a parameter is treated as any other word."""
    parameters = parse_parameters(text)

    check(parameters, LENIENT_BARE)
    with pytest.raises(ParameterError) as raised:
        check(parameters, STRICT_BARE)
    assert raised.value.reply is INVALID_ARGUMENTS


@pytest.mark.parametrize("connector", [LENIENT, STRICT], ids=lambda c: str(c.name))
def test_no_keyword_is_spelt_beyond_ascii(connector: ReceiveConnector) -> None:
    """In upper case a long s is an S and a dotless i an I, but neither makes a value that is known."""
    for parameters in ({"BODY": "7B\u0131T"}, {"RET": "HDR\u017f"}):
        with pytest.raises(ParameterError):
            check_mail_parameters(parameters, connector)


@pytest.mark.parametrize("connector", [LENIENT, STRICT], ids=lambda c: str(c.name))
def test_a_recipient_without_parameters_is_taken(connector: ReceiveConnector) -> None:
    """No parameter is never unknown."""
    check_recipient_parameters({}, connector)


XTEXT = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=30).map(
    lambda text: "".join(c if "!" <= c <= "~" and c not in "+=" else f"+{ord(c):02X}" for c in text)
)
UNITEXT = st.text(st.characters(codec="utf-8", min_codepoint=0x21), min_size=1, max_size=30).map(
    lambda text: "".join(c if c.isascii() and c not in "\\+=\x7f" else f"\\x{{{ord(c):02X}}}" for c in text)
)


@given(XTEXT, XTEXT, UNITEXT)
def test_what_is_encoded_is_taken(envelope_id: str, recipient: str, international: str) -> None:
    """Any printable text in xtext (RFC 3461 section 4), and any at all in utf-8-addr-xtext (RFC 6533)."""
    check_mail_parameters({"ENVID": envelope_id, "AUTH": recipient}, STRICT)
    check_recipient_parameters({"ORCPT": f"rfc822;{recipient}"}, STRICT)
    check_recipient_parameters({"ORCPT": f"utf-8;{international}"}, STRICT)


KEYWORDS = st.sampled_from(["NOTIFY", "ORCPT", "ORAR", "XRDST", "RET", "ENVID", "SMTPUTF8", "BODY", " ", "="])
VALUES = st.sampled_from(
    ["NEVER", ",", "DELAY", "FULL", "rfc822;", "utf-8;", r"\x{E4}", r"\x{", "ä", "\udcff", "+", "+2B"]
)
NEAR_PARAMETERS = st.lists(KEYWORDS | VALUES, max_size=16).map("".join)


@given(st.text(max_size=60) | NEAR_PARAMETERS, st.booleans(), st.sampled_from([LENIENT, STRICT, STRICT_BARE]))
def test_any_text_is_parameters_or_none(text: str, utf8: bool, connector: ReceiveConnector) -> None:  # noqa: FBT001 - Hypothesis passes by position
    """Nothing but ParameterError is raised, and only with SMTPUTF8 a value is beyond US-ASCII."""
    refused = None
    try:
        parameters = parse_parameters(text, utf8=utf8)
        check_mail_parameters(parameters, connector)
        check_recipient_parameters(parameters, connector)
    except ParameterError as error:
        refused = error.reply

    if refused is None:
        assert len(parameters) == len(re.findall(r"[^ \t]+", text))
        assert utf8 or text.isascii()
    else:
        assert not refused.positive
