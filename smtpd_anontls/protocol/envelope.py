"""What MAIL and RCPT say: a path and its parameters, or the reply that refuses them.

RFC 5321 sections 4.1.1.2 and 4.1.1.3, and RFC 6531 section 3.4 for what is beyond US-ASCII.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from smtpd_anontls.protocol import addresses, parameters, replies

if TYPE_CHECKING:
    from smtpd_anontls.domain.connectors import ReceiveConnector
    from smtpd_anontls.protocol.parameters import Parameters
    from smtpd_anontls.protocol.replies import Reply


class Mailbox(NamedTuple):
    """An address of the envelope, and the parameters that came with it."""

    address: str  # Empty: the null path.
    parameters: Parameters
    # Of a sender: what it said of its message, where the connector offers that extension.
    utf8: bool = False  # SMTPUTF8 (RFC 6531): the recipients, too, may be beyond US-ASCII.
    wants_binary: bool = False  # BODY=BINARYMIME (RFC 3030): the message has to come by BDAT.


NULL_SENDER = Mailbox("", {})


def read_sender(argument: str, connector: ReceiveConnector) -> Mailbox | Reply:
    """Return what stands behind MAIL, or the reply that refuses it."""
    path = _behind("FROM:", argument)
    if path is None:
        return replies.INVALID_ARGUMENTS
    # SMTPUTF8 stands behind the path that it allows: all is read as if it were there, and then looked for.
    offered = connector.smtp_utf8_enabled
    try:
        address, rest = addresses.parse_path(path, utf8=offered, limits=_limits(connector))
        given = parameters.parse_parameters(rest, utf8=offered) if rest else {}
        utf8 = offered and "SMTPUTF8" in given
        if not utf8 and not address.isascii():
            return replies.NON_ASCII_ADDRESS
        if not utf8 and not rest.isascii():
            return replies.INVALID_ARGUMENTS
        parameters.check_mail_parameters(given, connector)
    except addresses.NonAsciiAddressError:
        return replies.NON_ASCII_ADDRESS
    except addresses.AddressError:
        return replies.INVALID_ADDRESS
    except parameters.ParameterError as error:
        return error.reply
    # Section 4.1.1.3: postmaster without a domain is a recipient only.
    if address and "@" not in address:
        return replies.INVALID_ADDRESS
    binary = connector.binary_mime_enabled and (given.get("BODY") or "").upper() == "BINARYMIME"
    return Mailbox(address, given, utf8, binary)


def read_recipient(argument: str, connector: ReceiveConnector, *, utf8: bool = False) -> Mailbox | Reply:
    """Return what stands behind RCPT, or the reply that refuses it; *utf8*: MAIL said SMTPUTF8."""
    path = _behind("TO:", argument)
    if path is None:
        return replies.INVALID_ARGUMENTS
    try:
        address, rest = addresses.parse_path(path, utf8=utf8, limits=_limits(connector))
        given = parameters.parse_parameters(rest, utf8=utf8) if rest else {}
        parameters.check_recipient_parameters(given, connector)
    except addresses.NonAsciiAddressError:
        return replies.NON_ASCII_ADDRESS
    except addresses.AddressError:
        return replies.INVALID_RECIPIENT
    except parameters.ParameterError as error:
        return error.reply
    # The null path is a sender only.
    return Mailbox(address, given) if address else replies.INVALID_RECIPIENT


def _behind(keyword: str, argument: str) -> str | None:
    return argument[len(keyword) :] if argument[: len(keyword)].upper() == keyword else None


def _limits(connector: ReceiveConnector) -> addresses.Limits:
    return addresses.LONG_LIMITS if connector.long_addresses_enabled else addresses.USUAL_LIMITS
