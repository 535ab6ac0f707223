"""Authentication as values: mechanisms, the steps of a token exchange, and why one failed.

A reason is for the record and the operator; the peer hears one of two replies, whatever it was.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol


class Mechanism(StrEnum):
    """The mechanisms of AUTH and X-EXPS, as EHLO names them."""

    GSSAPI = "GSSAPI"
    NTLM = "NTLM"
    LOGIN = "LOGIN"
    EXCHANGEAUTH = "EXCHANGEAUTH"


class ExchangeAuth(StrEnum):
    """What X-EXPS EXCHANGEAUTH meets: it is not offered, or its blob is looked at."""

    OFF = "off"
    OBSERVE = "observe"


class FailureReason(StrEnum):
    """Why an authentication failed; it is recorded, and never told to the peer."""

    CANCELLED = "cancelled"  # RFC 4954 section 4: the client sent "*".
    MALFORMED = "malformed"  # No base64, or no token of the mechanism.
    UNKNOWN_USER = "unknown_user"
    WRONG_PASSWORD = "wrong_password"  # noqa: S105 - a reason
    NTLMV1_REFUSED = "ntlmv1_refused"
    TICKET_EXPIRED = "ticket_expired"
    CLOCK_SKEW = "clock_skew"
    WRONG_KEY = "wrong_key"  # The ticket was issued for a key that is not in the keytab, or for another host.
    WRONG_BINDING = "wrong_binding"
    MISSING_BINDING = "missing_binding"
    ALTERED = "altered"  # NTLM: the message integrity code does not fit.
    REPLAY = "replay"
    OTHER_IDENTITY = "other_identity"  # RFC 4752: the client asks to act as somebody who it is not.
    OBSERVED = "observed"  # EXCHANGEAUTH: its blob was looked at, nothing more.
    UNKNOWN = "unknown"
    NOT_AVAILABLE = "not_available"  # Ours: no keytab that can be read, no library, no user file.


# What event 1035 names as its error, as Exchange's public logs spell it.
LOGON_DENIED = "LogonDenied"
ILLEGAL_MESSAGE = "IllegalMessage"
UNEXPECTED_EXCHANGE_AUTH_BLOB = "UnexpectedExchangeAuthBlob"


@dataclass(frozen=True, slots=True)
class Challenge:
    """The server answers with a token and waits for the next one; *token* is not base64 yet."""

    token: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Authenticated:
    r"""The sender has proved who it is: ``CONTOSO\MBX2$``, of GSSAPI the principal, ``MBX2$@CONTOSO.TEST``."""

    identity: str
    detail: str  # One readable sentence for the record, without a secret.
    # The server's last token where the mechanism has one; it goes out as a challenge that the client
    # answers with an empty line (RFC 4954 section 4), before the 235.
    token: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Failed:
    """The sender has not; *detail* is one readable sentence for the record, without a secret."""

    reason: FailureReason
    detail: str
    identity: str | None = None  # Who it claimed to be, where that could be read.

    @property
    def is_ours(self) -> bool:
        """Whether the fault is the receiver's or the KDC's: 454 instead of 535."""
        return self.reason in {FailureReason.NOT_AVAILABLE, FailureReason.OBSERVED}

    @property
    def error(self) -> str:
        """What event 1035 names as the error."""
        if self.reason is FailureReason.OBSERVED:
            return UNEXPECTED_EXCHANGE_AUTH_BLOB
        return ILLEGAL_MESSAGE if self.reason is FailureReason.MALFORMED else LOGON_DENIED


Step = Challenge | Authenticated | Failed


class TokenExchange(Protocol):
    """One authentication, as the server; it is stepped until it is no Challenge, and then dropped.

    ``step`` never raises for what a peer sends.  An empty token before the first step means that no
    initial response came; a mechanism in which the client goes first is then given its 334 by the session.
    """

    async def step(self, token: bytes) -> Step:
        """Take the peer's token, decoded from base64, and return what comes of it."""
        ...


# What stands in place of a mechanism where a client certificate says who the sender is.
DIRECT_TRUST = "DirectTrust"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a session's sender is, how that is known, and the groups that follow."""

    name: str  # CONTOSO\MBX2$
    mechanism: str  # GSSAPI, NTLM, LOGIN, or DIRECT_TRUST.
    groups: tuple[str, ...]  # Names of PermissionGroups: ExchangeServers, ExchangeUsers.
    detail: str  # Why these groups: configured, read from the directory, assumed.
