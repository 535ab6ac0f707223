"""The enumerations of a Receive connector, spelled and numbered as Exchange does.

Members carry Exchange's own spelling, so that a member's name is what the
configuration, the traces and the tables show.  Numbers are those in a
``Get-ReceiveConnector | Export-Clixml`` dump.
"""

from __future__ import annotations

from enum import Enum, Flag, StrEnum
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable

FlagType = TypeVar("FlagType", bound="ExchangeFlag")
EnumType = TypeVar("EnumType", bound=Enum)


class ExchangeFlag(Flag):
    """A set of options that prints as Exchange prints it: ``Tls, ExchangeServer``."""

    def __str__(self) -> str:
        return ", ".join(self.names) or "None"

    @property
    def names(self) -> list[str]:
        """The options that are set, in Exchange's order; an empty list where none is."""
        return [str(member.name) for member in self]


class AuthMechanism(ExchangeFlag):
    """How a sender may secure the session and authenticate (Set-ReceiveConnector -AuthMechanism)."""

    Tls = 1
    Integrated = 2
    BasicAuth = 4
    BasicAuthRequireTLS = 8
    ExchangeServer = 16
    ExternalAuthoritative = 32


class PermissionGroups(ExchangeFlag):
    """Who may submit mail to the connector (Set-ReceiveConnector -PermissionGroups)."""

    AnonymousUsers = 1
    ExchangeUsers = 2
    ExchangeServers = 4
    ExchangeLegacyServers = 8
    Partners = 16
    # Exchange shows Custom where permissions were set one by one; its number is not public.
    Custom = 32


class TransportRole(StrEnum):
    """Which transport service owns the connector."""

    FrontendTransport = "FrontendTransport"
    HubTransport = "HubTransport"


class ServerRole(StrEnum):
    """What the server is: a Mailbox server in the forest, or an Edge server beside it."""

    Mailbox = "Mailbox"
    Edge = "Edge"


class SizeEnabled(StrEnum):
    """How EHLO offers SIZE (RFC 1870): with the limit, without a value, or not at all."""

    Enabled = "Enabled"
    EnabledWithoutValue = "EnabledWithoutValue"
    Disabled = "Disabled"


class ExtendedProtectionPolicy(StrEnum):
    """Whether authentication must be bound to the TLS channel."""

    NotUsed = "None"
    Allow = "Allow"
    Require = "Require"


class MessageRateSource(StrEnum):
    """What the message rate limit counts by."""

    IPAddress = "IPAddress"
    User = "User"
    All = "All"
    NotUsed = "None"


class ProtocolLoggingLevel(StrEnum):
    """Whether the connector's sessions go to the protocol log."""

    Verbose = "Verbose"
    NotUsed = "None"


class StartTlsCertificate(StrEnum):
    """Which certificate STARTTLS presents: Exchange's selection by name, or the X-ANONYMOUSTLS one."""

    by_name = "by_name"
    internal_transport = "internal_transport"


class UnknownMailParameters(StrEnum):
    """What happens to a well-formed MAIL or RCPT parameter that nobody here knows."""

    accept = "accept"
    refuse = "refuse"


def flag_from_names(kind: type[FlagType], names: Iterable[str]) -> FlagType:
    """Return the flag with *names* set, in any case; ``None``, alone, stands for no option at all.

    Raise ValueError naming the first word that is not one of the options, or does not go with the others.
    """
    known = {str(member.name).casefold(): member for member in kind}
    words = list(names)
    flag = kind(0)
    for word in words:
        if word.casefold() == "none":
            # Set-ReceiveConnector takes None only without any other value.
            if len(words) > 1:
                raise ValueError(f"{word!r} goes alone; remove it or the others")
        elif word.casefold() in known:
            flag |= known[word.casefold()]
        else:
            allowed = ", ".join(["None", *(str(member.name) for member in kind)])
            raise ValueError(f"{word!r} is not one of {allowed}")
    return flag


def flag_from_number(kind: type[FlagType], number: int) -> FlagType:
    """Return the flag that Exchange stores as *number*; ValueError where it has unknown bits."""
    every = sum(member.value for member in kind)
    if number < 0 or number & ~every:
        raise ValueError(f"{number} is not a sum of {', '.join(f'{m.name} {m.value}' for m in kind)}")
    return kind(number)


def enum_from_name(kind: type[EnumType], name: str) -> EnumType:
    """Return the member whose value is *name* in any case; ValueError says which there are."""
    for member in kind:
        if str(member.value).casefold() == name.casefold():
            return member
    raise ValueError(f"{name!r} is not one of {', '.join(str(member.value) for member in kind)}")
