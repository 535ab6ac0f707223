"""AUTH NTLM and AUTH LOGIN: what a peer sends proves nothing it does not know, and raises nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from smtpd_anontls.authentication.credentials import NtHash, UnknownUser, User
from smtpd_anontls.authentication.login import LoginExchange
from smtpd_anontls.authentication.ntlm import NtlmExchange, target_names
from smtpd_anontls.authentication.ntlm_messages import (
    MalformedError,
    read_authenticate,
    read_negotiate,
    read_target_info,
)
from smtpd_anontls.domain.account_names import AccountName
from smtpd_anontls.domain.authentication import Challenge, Failed
from smtpd_anontls.domain.flags import ExtendedProtectionPolicy
from tests.fuzz.choices import Choices

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from smtpd_anontls.authentication.credentials import Found
    from smtpd_anontls.domain.authentication import Step, TokenExchange

    T = TypeVar("T")

RUNS = 120_000
MAX_LENGTH = 600
WORDS = (
    b"NTLMSSP\0", b"NTLMSSP\0\x01\0\0\0", b"NTLMSSP\0\x03\0\0\0", b"\x18\0\x18\0\x40\0\0\0", b"\x01\x01\0\0\0\0\0\0",
    b"\x07\0\x08\0", b"\x09\0", b"\x0a\0\x10\0", "alice".encode("utf-16-le"), "CONTOSO".encode("utf-16-le"), b"\xff\xff\xff\xff",
)  # fmt: skip

_NAMES = target_names("mx1.lab.test", "MX1")
_NEGOTIATE = b"NTLMSSP\0\x01\0\0\0\x97\x82\x08\xe2" + bytes(16)
_POLICIES = tuple(ExtendedProtectionPolicy)
# Nobody's: no password that an input holds has this hash.
_ALICE = User(AccountName.parse("CONTOSO\\alice"), "CONTOSO\\alice", 1, NtHash(bytes(range(16))))


class _Alice:
    """A user file that has one user."""

    async def find(self, asked: AccountName) -> Found:
        return _ALICE if asked.user.lower() == "alice" else UnknownUser("there is no such user")


def target(data: bytes) -> None:
    """Read messages, and hold an exchange of each kind."""
    choices = Choices(data)
    exchange: TokenExchange
    if choices.flag():
        exchange = LoginExchange(_Alice())
    else:
        exchange = _ntlm(choices)
        if choices.flag():
            assert isinstance(_result(exchange.step(_NEGOTIATE)), Challenge)
    first, rest = choices.octets(choices.number() * choices.number(3)), choices.rest()
    _read_messages(rest)
    for token in (first, rest, rest):
        step = _result(exchange.step(token))
        if not isinstance(step, Challenge):
            assert isinstance(step, Failed)
            return


def _ntlm(choices: Choices) -> NtlmExchange:
    policy, ntlmv1, secured = choices.one_of(_POLICIES), choices.flag(), choices.flag()
    return NtlmExchange(
        _Alice(),
        ntlmv1=ntlmv1,
        policy=policy,
        binding=b"tls-server-end-point:" + bytes(32) if secured else None,
        names=_NAMES,
        random=bytes,
        clock=lambda: datetime(2027, 6, 1, tzinfo=UTC),
    )


def _result(step: Coroutine[object, None, Step]) -> Step:
    """Run a coroutine that waits for nothing."""
    try:
        step.send(None)
    except StopIteration as done:
        found: Step = done.value
        return found
    raise AssertionError("the exchange waited for something")


def _read_messages(token: bytes) -> None:
    for read in (read_negotiate, read_authenticate, read_target_info):
        try:
            read(token)
        except MalformedError as error:
            # Its text is shown; nothing of the message is in it.
            assert str(error).isascii()
            assert len(str(error)) < 100
