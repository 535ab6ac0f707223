"""NTLM for tests: an acceptor with a fixed challenge, pyspnego's initiator, and messages made by hand."""

from __future__ import annotations

import asyncio
import struct
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import spnego
from spnego.channel_bindings import GssChannelBindings

from smtpd_anontls.authentication.credentials import UnknownUser, UsersUnavailable, understand
from smtpd_anontls.authentication.ntlm import NtlmExchange, target_names
from smtpd_anontls.domain.authentication import Authenticated, Challenge, Failed
from smtpd_anontls.domain.flags import ExtendedProtectionPolicy

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpd_anontls.authentication.credentials import Found, Users
    from smtpd_anontls.domain.account_names import AccountName
    from smtpd_anontls.domain.authentication import Step

NOW = datetime(2027, 6, 1, 12, 0, 0, tzinfo=UTC)
# MS-NLMP section 4.2.1: the server's challenge, and the NT hash of "Password".
NONCE = bytes.fromhex("0123456789abcdef")
PASSWORD = "Password"  # noqa: S105 - of the specification's example
PASSWORD_HASH = "A4F49C406510BDCAB6824EE7C30FD852"  # noqa: S105 - as above
FQDN = "mbx1.contoso.test"

UNICODE, OEM, SIGN, SESSION_SECURITY = 0x1, 0x2, 0x10, 0x80000
NTLM_UNICODE = 0x201
NEGOTIATE_V1 = struct.pack("<8sII", b"NTLMSSP\0", 1, 0x207) + bytes(16)


@dataclass(frozen=True)
class Memory:
    """The users of a file that is only in memory; one of none is unavailable."""

    text: str | None

    async def find(self, asked: AccountName) -> Found:
        """Answer as a file would."""
        if self.text is None:
            return UsersUnavailable("there is no file")
        user = understand(self.text.encode(), "users.txt").find(asked)
        return user or UnknownUser(f"users.txt has no entry for {asked.shown}")


ALICE = Memory(f"CONTOSO\\alice:nt:{PASSWORD_HASH}\n")


def acceptor(
    users: Users = ALICE,
    *,
    ntlmv1: bool = False,
    policy: ExtendedProtectionPolicy = ExtendedProtectionPolicy.NotUsed,
    binding: bytes | None = None,
    random: Callable[[int], bytes] = lambda size: NONCE[:size],
) -> NtlmExchange:
    """Return the server's side of an exchange."""
    return NtlmExchange(
        users,
        ntlmv1=ntlmv1,
        policy=policy,
        binding=binding,
        names=target_names(FQDN, "MBX1"),
        random=random,
        clock=lambda: NOW,
    )


def step(exchange: NtlmExchange, token: bytes) -> Step:
    """Step it once."""
    return asyncio.run(exchange.step(token))


def challenge_of(exchange: NtlmExchange, token: bytes) -> bytes:
    """Step it with what has to be answered by a challenge, and return that."""
    answer = step(exchange, token)
    assert isinstance(answer, Challenge), answer
    return answer.token


def authenticated(answer: Step) -> Authenticated:
    """Return *answer*, which has to be a success."""
    assert isinstance(answer, Authenticated), answer
    return answer


def failed(answer: Step) -> Failed:
    """Return *answer*, which has to be a failure."""
    assert isinstance(answer, Failed), answer
    return answer


class Client:
    """Pyspnego as an NTLM client."""

    def __init__(
        self,
        user: str = "CONTOSO\\alice",
        password: str = PASSWORD,
        *,
        binding: bytes | None = None,
        flags: spnego.ContextReq = spnego.ContextReq.default,
    ) -> None:
        self._context = spnego.client(
            user,
            password,
            hostname=FQDN,
            service="SMTPSVC",
            protocol="ntlm",
            options=spnego.NegotiateOptions.use_ntlm,
            context_req=flags,
            channel_bindings=None if binding is None else GssChannelBindings(application_data=binding),
        )

    def negotiate(self) -> bytes:
        """Return its first message."""
        return self._context.step() or b""

    def answer(self, challenge: bytes) -> bytes:
        """Return its second message."""
        return self._context.step(challenge) or b""

    def authenticate(self, exchange: NtlmExchange) -> Step:
        """Authenticate to *exchange*."""
        return step(exchange, self.answer(challenge_of(exchange, self.negotiate())))


def by_hand(
    *,
    user: str = "alice",
    domain: str = "CONTOSO",
    nt: bytes = b"",
    lm: bytes = b"",
    flags: int = NTLM_UNICODE,
) -> bytes:
    """Return an AUTHENTICATE message of these parts, without version and MIC (MS-NLMP section 2.2.1.3)."""
    encoding = "utf-16-le" if flags & UNICODE else "cp1252"
    parts = (lm, nt, domain.encode(encoding), user.encode(encoding), b"", b"")
    fields, payload = b"", b""
    for part in parts:
        fields += struct.pack("<HHI", len(part), len(part), 64 + len(payload))
        payload += part
    return struct.pack("<8sI", b"NTLMSSP\0", 3) + fields + struct.pack("<I", flags) + payload
