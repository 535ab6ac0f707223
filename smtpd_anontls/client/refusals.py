"""What it means to somebody who runs Exchange that an authentication or a message was refused.

Sources: Set-ReceiveConnector (AuthMechanism, PermissionGroups), Microsoft's NDR table, KB 979174 (454 4.7.0).
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from smtpd_anontls.domain.authentication import Mechanism

if TYPE_CHECKING:
    from collections.abc import Mapping

    from smtpd_anontls.client.conversation import Hello, Reply
    from smtpd_anontls.client.logon import Logon, LogonOptions
    from smtpd_anontls.client.target import Target

_WHERE_OFFERED: Mapping[Mechanism, str] = MappingProxyType(
    {
        Mechanism.GSSAPI: (
            "Exchange offers it behind X-EXPS where AuthMechanism has ExchangeServer, and behind AUTH where it has "
            "Integrated and EnableAuthGSSAPI is true"
        ),
        Mechanism.NTLM: (
            "Exchange offers it behind X-EXPS where AuthMechanism has ExchangeServer, and behind AUTH where it has "
            "Integrated"
        ),
        Mechanism.LOGIN: "Exchange offers it behind AUTH where AuthMechanism has BasicAuth",
    }
)
_FIRST_OF_ALL = 454  # RFC 4954 section 6: temporary authentication failure.
_UNKNOWN_MECHANISM = 504
_CREDENTIALS = 535
# Beginnings of replies to MAIL, RCPT and the message, the longest first.
_MEANINGS: Mapping[str, str] = MappingProxyType(
    {
        "530 5.7.57": "AnonymousUsers is not in the connector's PermissionGroups; authenticate with --auth",
        "550 5.7.54": "the recipient's domain is none of the organization's, and this sender may not relay",
        "550 5.7.60": "this sender may not send as that address",
        "451 5.7.3": "the connector has RequireTLS set; name a TLS verb with --verb",
        "530 5.7.0": "the server wants TLS first; name a TLS verb with --verb",
        "530 5.7.1": "AnonymousUsers is not in the connector's PermissionGroups; authenticate with --auth",
        "550 5.7.1": "the sender has not the permission for it: look at the connector's PermissionGroups",
        "552 5.3.4": "the message is larger than MaxMessageSize allows",
    }
)


def mechanism_not_offered(mechanism: Mechanism, hello: Hello, *, is_clear: bool) -> str:
    """Say what it means that neither verb offers *mechanism*."""
    lines = [" ".join((verb, *hello.words_behind(verb))) for verb in ("X-EXPS", "AUTH") if hello.has(verb)]
    sentence = f"{mechanism} is not offered ({'; '.join(lines) or 'neither X-EXPS nor AUTH is'}): {_WHERE_OFFERED[mechanism]}"
    if mechanism is Mechanism.LOGIN and is_clear:
        return f"{sentence}, and only inside TLS where it has BasicAuthRequireTLS too"
    return sentence


def authentication(logon: Logon, options: LogonOptions, target: Target, reply: Reply) -> str:
    """Say what the answer to an authentication means that is not 235."""
    sentence = f"{logon} was refused with {reply}"
    if reply.code == _UNKNOWN_MECHANISM:
        return f"{sentence}: the server offers the mechanism and does not take it"
    if reply.code not in {_FIRST_OF_ALL, _CREDENTIALS}:
        return sentence
    if logon.mechanism is Mechanism.GSSAPI:
        return (
            f"{sentence}: the server could not read the ticket for {options.service(target)} (another account holds "
            "the service principal name, its key has changed, or the clocks differ), or it refuses the channel binding; "
            "its event 1035 has the reason"
        )
    causes = "the user or the password is wrong, or the account may not log on"
    if logon.mechanism is Mechanism.NTLM and not logon.is_bound and reply.code == _CREDENTIALS:
        causes += ", or ExtendedProtectionPolicy asks for a channel binding"
    return f"{sentence}: {causes}"


def message(what: str, reply: Reply) -> str:
    """Say what a refusal of *what* means: a command or the message."""
    sentence = f"{what} was refused with {reply}"
    meaning = next((each for start, each in _MEANINGS.items() if str(reply).startswith(start)), None)
    return f"{sentence}: {meaning}" if meaning else sentence
