"""What MAIL and RCPT say: a path and its parameters, or the reply that refuses them.

RFC 5321 sections 4.1.1.2 and 4.1.1.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from smtpd_anontls.protocol import addresses, parameters, replies

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from smtpd_anontls.domain.connectors import ReceiveConnector
    from smtpd_anontls.protocol.parameters import Parameters
    from smtpd_anontls.protocol.replies import Reply


@dataclass(frozen=True, slots=True)
class Mailbox:
    """An address of the envelope, and the parameters that came with it."""

    address: str  # Empty: the null path.
    parameters: Parameters


NULL_SENDER = Mailbox("", {})


def read_sender(argument: str, connector: ReceiveConnector) -> Mailbox | Reply:
    """Return what stands behind MAIL, or the reply that refuses it."""
    sender = _read(argument, "FROM:", connector, parameters.check_mail_parameters, replies.INVALID_ADDRESS)
    # Section 4.1.1.3: postmaster without a domain is a recipient only.
    if isinstance(sender, Mailbox) and sender.address and "@" not in sender.address:
        return replies.INVALID_ADDRESS
    return sender


def read_recipient(argument: str, connector: ReceiveConnector) -> Mailbox | Reply:
    """Return what stands behind RCPT, or the reply that refuses it."""
    recipient = _read(
        argument, "TO:", connector, parameters.check_recipient_parameters, replies.INVALID_RECIPIENT
    )
    # The null path is a sender only.
    if isinstance(recipient, Mailbox) and not recipient.address:
        return replies.INVALID_RECIPIENT
    return recipient


def _read(
    argument: str,
    keyword: str,
    connector: ReceiveConnector,
    check: Callable[[Mapping[str, str | None], ReceiveConnector], None],
    no_address: Reply,
) -> Mailbox | Reply:
    if argument[: len(keyword)].upper() != keyword:
        return replies.INVALID_ARGUMENTS
    try:
        address, rest = addresses.parse_path(argument[len(keyword) :])
        given = parameters.parse_parameters(rest)
        check(given, connector)
    except addresses.AddressError:
        return no_address
    except parameters.ParameterError as error:
        return error.reply
    return Mailbox(address, given)
