"""AUTH LOGIN as the server, against the user file."""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpd_anontls.authentication.credentials import NoUsers, NtHash
from smtpd_anontls.authentication.login import LoginExchange
from smtpd_anontls.domain.authentication import Authenticated, Challenge, Failed, FailureReason
from tests.components.ntlm_talking import ALICE, PASSWORD, Memory

if TYPE_CHECKING:
    from smtpd_anontls.authentication.credentials import Users
    from smtpd_anontls.domain.authentication import Step


def play(*tokens: bytes, users: Users = ALICE) -> list[Step]:
    """Step an exchange with each token, and return what came of them."""

    async def stepping() -> list[Step]:
        exchange = LoginExchange(users)
        return [await exchange.step(token) for token in tokens]

    return asyncio.run(stepping())


def test_both_are_asked_for() -> None:
    """The prompts are those that Exchange shows."""
    first, second, last = play(b"", b"CONTOSO\\alice", PASSWORD.encode())

    assert isinstance(first, Challenge)
    assert isinstance(second, Challenge)
    assert [base64.b64encode(each.token) for each in (first, second)] == [b"VXNlcm5hbWU6", b"UGFzc3dvcmQ6"]
    assert last == Authenticated("CONTOSO\\alice", "user name and password of CONTOSO\\alice")


def test_the_user_name_may_come_with_the_command() -> None:
    """Then the password alone is asked for."""
    first, last = play(b"alice@contoso.test", PASSWORD.encode())

    assert first == Challenge(b"Password:")
    assert isinstance(last, Authenticated)
    assert last.identity == "CONTOSO\\alice"


@pytest.mark.parametrize(
    ("user", "password", "expected"),
    [
        (
            "alice",
            "password",
            Failed(FailureReason.WRONG_PASSWORD, "the password is not that of CONTOSO\\alice", "alice"),
        ),
        (
            "alice",
            "",
            Failed(FailureReason.WRONG_PASSWORD, "the password is not that of CONTOSO\\alice", "alice"),
        ),
        ("bob", PASSWORD, Failed(FailureReason.UNKNOWN_USER, "users.txt has no entry for bob", "bob")),
        ("", PASSWORD, Failed(FailureReason.UNKNOWN_USER, "users.txt has no entry for ")),
        (
            "FABRIKAM\\alice",
            PASSWORD,
            Failed(
                FailureReason.UNKNOWN_USER, "users.txt has no entry for FABRIKAM\\alice", "FABRIKAM\\alice"
            ),
        ),
        (
            "alice",
            "x" * 1025,
            Failed(FailureReason.MALFORMED, "the password has more than 1024 octets", "alice"),
        ),
    ],
)
def test_a_client_is_refused(user: str, password: str, expected: Failed) -> None:
    """The record says why, and never with which password."""
    assert play(b"", user.encode(), password.encode())[-1] == expected


def test_without_a_file_the_fault_is_ours() -> None:
    """The client hears of a temporary failure."""
    last = play(b"alice", PASSWORD.encode(), users=NoUsers())[-1]

    assert isinstance(last, Failed)
    assert last.reason is FailureReason.NOT_AVAILABLE
    assert last.is_ours
    assert last.detail == "authentication.credentials is null, so there are no users of NTLM and LOGIN"


def test_a_hash_is_no_password() -> None:
    """Who has read the file cannot log on with what stands in it."""
    digits = NtHash.of(PASSWORD).octets.hex()

    for stolen in (digits, f"{digits}:{digits}", f"nt:{digits}"):
        last = play(b"alice", stolen.encode())[-1]
        assert isinstance(last, Failed)
        assert last.reason is FailureReason.WRONG_PASSWORD


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
def test_a_password_beyond_ascii(encoding: str) -> None:
    """It is taken as UTF-8, or as Windows in the West would type it."""
    typed = "Grüße"
    users = Memory(f"jürgen:nt:{NtHash.of(typed).octets.hex()}")

    assert isinstance(play("jürgen".encode(encoding), typed.encode(encoding), users=users)[-1], Authenticated)


def test_the_password_is_not_kept() -> None:
    """Nothing that is left after the exchange holds it."""

    async def stepping() -> tuple[LoginExchange, Step]:
        exchange = LoginExchange(ALICE)
        await exchange.step(b"alice")
        return exchange, await exchange.step(b"Hunter2")

    exchange, last = asyncio.run(stepping())

    assert "Hunter2" not in repr(vars(exchange)) + repr(last)


@given(st.lists(st.binary(max_size=40), max_size=4))
def test_anything_may_come(tokens: list[bytes]) -> None:
    """Whatever it is, there is an answer, and nobody is authenticated by it."""
    assert not any(isinstance(answer, Authenticated) for answer in play(*tokens))
