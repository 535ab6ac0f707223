"""The parameters of MAIL and RCPT."""

from __future__ import annotations

import pytest

from smtpd_anontls.domain.connectors import Bytes, ReceiveConnector
from smtpd_anontls.domain.flags import SizeEnabled, UnknownMailParameters
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

LENIENT = ReceiveConnector(name="lenient", max_message_size=Bytes(1000))
STRICT = ReceiveConnector(
    name="strict",
    max_message_size=Bytes(1000),
    unknown_mail_parameters=UnknownMailParameters.refuse,
)
# The same two where EHLO offers neither SIZE nor 8BITMIME.
LENIENT_BARE = ReceiveConnector(
    name="lenient", size_enabled=SizeEnabled.Disabled, eight_bit_mime_enabled=False
)
STRICT_BARE = ReceiveConnector(
    name="strict",
    size_enabled=SizeEnabled.Disabled,
    eight_bit_mime_enabled=False,
    unknown_mail_parameters=UnknownMailParameters.refuse,
)


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
        ("BODY=BINARYMIME", INVALID_ARGUMENTS),
        ("BODY=9BIT", INVALID_ARGUMENTS),
        ("AUTH", INVALID_ARGUMENTS),
        ("AUTH=a+4", INVALID_ARGUMENTS),
        ("AUTH=a+4x", INVALID_ARGUMENTS),
        ("AUTH=a+4a", INVALID_ARGUMENTS),
        ("BODY=7BIT SIZE=1001", MESSAGE_TOO_BIG),
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
    "text", ["RET=FULL", "XOORG=contoso.test", "SMTPUTF8", "NOTIFY=NEVER ORCPT=rfc822;a"]
)
def test_unknown_parameters_are_a_matter_of_the_connector(text: str) -> None:
    """What nobody here knows is taken or refused, in MAIL and in RCPT alike."""
    parameters = parse_parameters(text)

    check_mail_parameters(parameters, LENIENT)
    check_recipient_parameters(parameters, LENIENT)
    for check in (check_mail_parameters, check_recipient_parameters):
        with pytest.raises(ParameterError) as raised:
            check(parameters, STRICT)
        assert raised.value.reply is INVALID_ARGUMENTS


@pytest.mark.parametrize("text", ["SIZE=99999999", "SIZE=x", "BODY=8BITMIME", "BODY=x"])
def test_a_parameter_of_an_extension_that_is_not_offered_is_unknown(text: str) -> None:
    """Without SIZE or 8BITMIME in EHLO their parameters are treated as any other word."""
    parameters = parse_parameters(text)

    check_mail_parameters(parameters, LENIENT_BARE)
    with pytest.raises(ParameterError) as raised:
        check_mail_parameters(parameters, STRICT_BARE)
    assert raised.value.reply is INVALID_ARGUMENTS


@pytest.mark.parametrize("connector", [LENIENT, STRICT], ids=lambda c: str(c.name))
def test_a_recipient_without_parameters_is_taken(connector: ReceiveConnector) -> None:
    """No parameter is never unknown."""
    check_recipient_parameters({}, connector)
