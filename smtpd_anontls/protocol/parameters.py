"""The parameters of MAIL and RCPT: RFC 5321 section 4.1.2, ``esmtp-param``.

Those of SIZE (RFC 1870), 8BITMIME (RFC 6152), BINARYMIME (RFC 3030), SMTPUTF8 (RFC 6531), DSN
(RFC 3461 and, for addresses beyond US-ASCII, RFC 6533) and AUTH (RFC 4954) are held to their
syntax.  So are Exchange's ORAR and XRDST, as far as there is a public one.  A parameter whose
extension the connector does not offer is as unknown as any other word.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from smtpd_anontls.domain.flags import AuthMechanism, SizeEnabled, UnknownMailParameters
from smtpd_anontls.protocol import addresses, replies

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from smtpd_anontls.domain.connectors import ReceiveConnector
    from smtpd_anontls.protocol.replies import Reply

Parameters = dict[str, str | None]

# RFC 3461 section 4: the longest values of ENVID and ORCPT, as they are sent.
MAX_ENVELOPE_ID = 100
MAX_ORIGINAL_RECIPIENT = 500

# Spaces and tabs part the parameters; str.split would take a form feed or a no-break space too.
_WORD = re.compile(r"[^ \t]+")
_PARAMETER = re.compile(r"(?P<keyword>[A-Za-z0-9][A-Za-z0-9-]*+)(?:=(?P<value>[\x21-\x3c\x3e-\x7e]++))?")
# RFC 6531 section 3.4: a value may hold UTF-8, too.
_UTF8_PARAMETER = re.compile(
    rf"(?P<keyword>[A-Za-z0-9][A-Za-z0-9-]*+)(?:=(?P<value>[\x21-\x3c\x3e-\x7e{addresses.UTF8_NON_ASCII}]++))?",
)
_SIZE = re.compile(r"[0-9]{1,20}")  # RFC 1870 section 4.

_XCHAR = r"[\x21-\x2a\x2c-\x3c\x3e-\x7e]"  # RFC 3461 section 4.
_XTEXT = re.compile(rf"(?:{_XCHAR}|\+[0-9A-F]{{2}})++")
# RFC 3461 sections 4.2 and 4.4: before its encoding it is printable US-ASCII and white space.
_PRINTABLE_XTEXT = re.compile(rf"(?:{_XCHAR}|\+(?:09|[2-6][0-9A-F]|7[0-9A-E]))++")
_ADDRESS_TYPE = re.compile(r"[A-Za-z0-9!#$%&'*+/?^_`{|}~-]++")  # An atom, less what no value may hold.

# RFC 6533 section 3: utf-8-addr-xtext is this in US-ASCII alone.
_UNITEXT = re.compile(
    rf"(?:[\x21-\x2a\x2c-\x3c\x3e-\x5b\x5d-\x7e{addresses.UTF8_NON_ASCII}]"
    r"|\\x\{(?:[01][1-9]|10|20|2B|3D|7F|5C|[89A-F][0-9A-F]|[1-9A-F][0-9A-F]{2}"
    r"|[1-9A-CEF][0-9A-F]{3}|D[0-7][0-9A-F]{2}|[1-9A-F][0-9A-F]{4}|10[0-9A-F]{4})\})++",
)

# RFC 3461 section 4.1.
_NOTIFY_ON = frozenset({"SUCCESS", "FAILURE", "DELAY"})


class ParameterError(ValueError):
    """The parameters cannot be taken; *reply* is what the client is told."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.text)
        self.reply = reply


class _Rule(NamedTuple):
    """What is known of a keyword."""

    offered: Callable[[ReceiveConnector], bool]  # Whether EHLO offers its extension.
    refusal: Callable[[str | None, ReceiveConnector], Reply | None]  # What a wrong value is answered.


def parse_parameters(text: str, *, utf8: bool = False) -> Parameters:
    """Return the parameters by upper-case keyword; ParameterError where one is malformed or repeated.

    Values beyond US-ASCII are well-formed with *utf8* alone.
    """
    parameters: Parameters = {}
    pattern = _UTF8_PARAMETER if utf8 else _PARAMETER
    for word in _WORD.findall(text):
        found = pattern.fullmatch(word)
        if not found or found["keyword"].upper() in parameters:
            raise ParameterError(replies.INVALID_ARGUMENTS)
        parameters[found["keyword"].upper()] = found["value"]
    return parameters


def check_mail_parameters(parameters: Mapping[str, str | None], connector: ReceiveConnector) -> None:
    """Hold the parameters of MAIL to the extensions that *connector* offers; ParameterError says no."""
    _check(parameters, connector, _MAIL)


def check_recipient_parameters(parameters: Mapping[str, str | None], connector: ReceiveConnector) -> None:
    """Hold the parameters of RCPT to the extensions that *connector* offers; ParameterError says no."""
    _check(parameters, connector, _RCPT)


def _check(
    parameters: Mapping[str, str | None], connector: ReceiveConnector, rules: Mapping[str, _Rule]
) -> None:
    for keyword, value in parameters.items():
        rule = rules.get(keyword)
        if rule is not None and rule.offered(connector):
            refusal = rule.refusal(value, connector)
            if refusal is not None:
                raise ParameterError(refusal)
        elif connector.unknown_mail_parameters is UnknownMailParameters.refuse:
            raise ParameterError(replies.INVALID_ARGUMENTS)


def _unless(is_sound: Callable[[str], bool]) -> Callable[[str | None, ReceiveConnector], Reply | None]:
    """Refuse a parameter that has no value, or one that is not sound."""

    def refusal(value: str | None, _connector: ReceiveConnector) -> Reply | None:
        return None if value is not None and is_sound(value) else replies.INVALID_ARGUMENTS

    return refusal


def _size(value: str | None, connector: ReceiveConnector) -> Reply | None:
    if value is None or not _SIZE.fullmatch(value):
        return replies.INVALID_ARGUMENTS
    # RFC 1870 section 6.1: a declared size over the limit is refused at once.
    return replies.MESSAGE_TOO_BIG if int(value) > connector.max_message_size else None


def _body(value: str | None, connector: ReceiveConnector) -> Reply | None:
    # RFC 6152 section 2 has the first two, RFC 3030 section 3 the third.
    takes = {
        "7BIT": True,
        "8BITMIME": connector.eight_bit_mime_enabled,
        "BINARYMIME": connector.binary_mime_enabled,
    }
    return None if takes.get(_keyword(value or "")) else replies.INVALID_ARGUMENTS


def _keyword(value: str) -> str:
    """Return *value* in upper case, if it is US-ASCII: beyond that a long s becomes an S."""
    return value.upper() if value.isascii() else value


def _flag(value: str | None, _connector: ReceiveConnector) -> Reply | None:
    return None if value is None else replies.INVALID_ARGUMENTS


def _anything(_value: str | None, _connector: ReceiveConnector) -> Reply | None:
    return None


def _is_notify(value: str) -> bool:
    words = _keyword(value).split(",")
    # RFC 3461 section 4.1: NEVER goes alone.
    return words == ["NEVER"] or (len(set(words)) == len(words) and _NOTIFY_ON.issuperset(words))


def _is_envelope_id(value: str) -> bool:
    return len(value) <= MAX_ENVELOPE_ID and _PRINTABLE_XTEXT.fullmatch(value) is not None


def _is_original_recipient(value: str) -> bool:
    kind, semicolon, address = value.partition(";")
    if len(value) > MAX_ORIGINAL_RECIPIENT or not semicolon or not _ADDRESS_TYPE.fullmatch(kind):
        return False
    if kind.upper() == "UTF-8":
        return _UNITEXT.fullmatch(address) is not None or _is_mailbox(address)
    return _PRINTABLE_XTEXT.fullmatch(address) is not None


def _is_mailbox(text: str) -> bool:
    """Whether *text* is a utf-8-address (RFC 6533 section 3): the mailbox itself, which may hold a plus."""
    try:
        address, _ = addresses.parse_path(f"<{text}>", utf8=True)
    except addresses.AddressError:
        return False
    return address == text != ""


def _offers_dsn(connector: ReceiveConnector) -> bool:
    return connector.delivery_status_notification_enabled


_MAIL: Mapping[str, _Rule] = MappingProxyType(
    {
        "SIZE": _Rule(lambda c: c.size_enabled is not SizeEnabled.Disabled, _size),
        "BODY": _Rule(lambda c: c.eight_bit_mime_enabled or c.binary_mime_enabled, _body),
        "SMTPUTF8": _Rule(lambda c: c.smtp_utf8_enabled, _flag),
        "RET": _Rule(_offers_dsn, _unless(lambda value: _keyword(value) in {"FULL", "HDRS"})),
        "ENVID": _Rule(_offers_dsn, _unless(_is_envelope_id)),
        # RFC 4954 section 5: the value is xtext; "<>" is that, too.
        "AUTH": _Rule(lambda _: True, _unless(lambda value: _XTEXT.fullmatch(value) is not None)),
    },
)
_RCPT: Mapping[str, _Rule] = MappingProxyType(
    {
        "NOTIFY": _Rule(_offers_dsn, _unless(_is_notify)),
        "ORCPT": _Rule(_offers_dsn, _unless(_is_original_recipient)),
        # Set-ReceiveConnector, OrarEnabled: "The actual ORAR information is transmitted in the RCPT TO
        # SMTP command."  How it is written is not public, nor is it for XRDST.
        "ORAR": _Rule(lambda c: c.orar_enabled, _unless(lambda _: True)),
        "XRDST": _Rule(lambda c: AuthMechanism.ExchangeServer in c.auth_mechanism, _anything),
    },
)
