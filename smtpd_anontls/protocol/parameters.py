"""The parameters of MAIL and RCPT: RFC 5321 section 4.1.2, ``esmtp-param``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from smtpd_anontls.domain.flags import SizeEnabled, UnknownMailParameters
from smtpd_anontls.protocol import replies

if TYPE_CHECKING:
    from collections.abc import Mapping

    from smtpd_anontls.domain.connectors import ReceiveConnector
    from smtpd_anontls.protocol.replies import Reply

Parameters = dict[str, str | None]

# Spaces and tabs part the parameters; str.split would take a form feed or a no-break space too.
_WORD = re.compile(r"[^ \t]+")
_PARAMETER = re.compile(r"(?P<keyword>[A-Za-z0-9][A-Za-z0-9-]*)(?:=(?P<value>[\x21-\x3c\x3e-\x7e]+))?")
_SIZE = re.compile(r"[0-9]{1,20}")  # RFC 1870 section 4.
_BODY = frozenset({"7BIT", "8BITMIME"})  # RFC 6152 section 2.
_XTEXT = re.compile(
    r"(?:[\x21-\x2a\x2c-\x3c\x3e-\x7e]|\+[0-9A-F]{2})+"
)  # RFC 4954 section 5: AUTH= is xtext.


class ParameterError(ValueError):
    """The parameters cannot be taken; *reply* is what the client is told."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.text)
        self.reply = reply


def parse_parameters(text: str) -> Parameters:
    """Return the parameters by upper-case keyword; ParameterError where one is malformed or repeated."""
    parameters: Parameters = {}
    for word in _WORD.findall(text):
        found = _PARAMETER.fullmatch(word)
        if not found or found["keyword"].upper() in parameters:
            raise ParameterError(replies.INVALID_ARGUMENTS)
        parameters[found["keyword"].upper()] = found["value"]
    return parameters


def check_mail_parameters(parameters: Mapping[str, str | None], connector: ReceiveConnector) -> None:
    """Hold the parameters of MAIL to the extensions that *connector* offers; ParameterError says no."""
    for keyword, value in parameters.items():
        match keyword:
            case "SIZE" if connector.size_enabled is not SizeEnabled.Disabled:
                if value is None or not _SIZE.fullmatch(value):
                    raise ParameterError(replies.INVALID_ARGUMENTS)
                # RFC 1870 section 6.1: a declared size over the limit is refused at once.
                if int(value) > connector.max_message_size:
                    raise ParameterError(replies.MESSAGE_TOO_BIG)
            case "BODY" if connector.eight_bit_mime_enabled:
                if value is None or value.upper() not in _BODY:
                    raise ParameterError(replies.INVALID_ARGUMENTS)
            case "AUTH":
                if value is None or not _XTEXT.fullmatch(value):
                    raise ParameterError(replies.INVALID_ARGUMENTS)
            case _:
                _check_unknown(connector)


def check_recipient_parameters(parameters: Mapping[str, str | None], connector: ReceiveConnector) -> None:
    """Hold the parameters of RCPT to what *connector* takes; ParameterError says no."""
    if parameters:
        _check_unknown(connector)


def _check_unknown(connector: ReceiveConnector) -> None:
    if connector.unknown_mail_parameters is UnknownMailParameters.refuse:
        raise ParameterError(replies.INVALID_ARGUMENTS)
