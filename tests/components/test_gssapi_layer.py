"""The last round of AUTH GSSAPI (RFC 4752): no security layer, and nobody else's name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from smtpd_anontls.domain.authentication import Authenticated, Challenge, Failed, FailureReason
from smtpd_anontls.domain.flags import ExtendedProtectionPolicy
from tests.components.accepting import EITHER, client, exchange_of

if TYPE_CHECKING:
    from smtpd_anontls.authentication.gssapi import GssapiExchange
    from tests.initiator import Initiator
    from tests.mit_kdc import MitKdc

pytestmark = pytest.mark.slow


async def offered(exchange: GssapiExchange, initiator: Initiator) -> bytes:
    """Talk until the server offers security layers, and return the token that does so."""
    last = await exchange.step(initiator.first())
    assert isinstance(last, Challenge)
    assert initiator.answer(last.token) == b""
    assert initiator.is_done
    offer = await exchange.step(b"")
    assert isinstance(offer, Challenge)
    return offer.token


@EITHER
@pytest.mark.parametrize(
    "identity",
    [
        "",
        "MBX2$@CONTOSO.TEST",
        "mbx2$@contoso.test",
        "MBX2$",
        "CONTOSO\\MBX2$",
    ],
)
async def test_client_goes_without_a_layer(realm: MitKdc, identity: str, *, negotiate: bool) -> None:
    """The client takes what is offered, as nobody or as itself, and is authenticated; no token is left."""
    exchange, initiator = exchange_of(realm, security_layer=True), client(realm, negotiate=negotiate)
    offer = await offered(exchange, initiator)

    ended = await exchange.step(initiator.choose(offer, identity=identity))

    assert isinstance(ended, Authenticated)
    assert ended.identity == "MBX2$@CONTOSO.TEST"
    assert ended.token == b""


async def test_offer_follows_at_once_where_there_is_no_last_token(realm: MitKdc) -> None:
    """Without mutual authentication the server has nothing to prove, and offers in its first answer."""
    exchange, initiator = exchange_of(realm, security_layer=True), client(realm, mutual=False)

    offer = await exchange.step(initiator.first())

    assert isinstance(offer, Challenge)
    assert isinstance(await exchange.step(initiator.choose(offer.token)), Authenticated)


@pytest.mark.parametrize(
    ("layer", "identity", "reason", "said"),
    [
        pytest.param(
            2,
            "",
            FailureReason.MALFORMED,
            "the client chose a security layer that was not offered",
            id="integrity",
        ),
        pytest.param(
            4,
            "",
            FailureReason.MALFORMED,
            "the client chose a security layer that was not offered",
            id="privacy",
        ),
        pytest.param(
            1,
            "Administrator",
            FailureReason.OTHER_IDENTITY,
            "the client wants to act as Administrator, and is somebody else",
            id="another user",
        ),
        pytest.param(
            1,
            "MBX2$@fabrikam.test",
            FailureReason.OTHER_IDENTITY,
            "the client wants to act as FABRIKAM\\MBX2$, and is somebody else",
            id="another realm",
        ),
        pytest.param(
            1,
            "a\x1b[31m",
            FailureReason.OTHER_IDENTITY,
            "the client wants to act as a\\x1b[31m, and is somebody else",
            id="what no terminal should see",
        ),
    ],
)
async def test_choice_that_is_refused(
    realm: MitKdc, layer: int, identity: str, reason: FailureReason, said: str
) -> None:
    """Neither another layer nor another identity is granted; the record says whose ticket it was."""
    exchange, initiator = exchange_of(realm, security_layer=True), client(realm)
    offer = await offered(exchange, initiator)

    ended = await exchange.step(initiator.choose(offer, layer=layer, identity=identity))

    assert ended == Failed(reason, said, "MBX2$@CONTOSO.TEST")


async def test_choice_that_cannot_be_read(realm: MitKdc) -> None:
    """What the client did not protect, or altered, or left incomplete, is malformed."""
    ended = []
    for spoil in (bytes, lambda token: token[:-1], lambda token: token[:-1] + bytes([token[-1] ^ 1])):
        exchange, initiator = exchange_of(realm, security_layer=True), client(realm)
        offer = await offered(exchange, initiator)
        choice = initiator.choose(offer)
        ended.append(await exchange.step(b"\1\0\0\0" if spoil is bytes else spoil(choice)))
    exchange, initiator = exchange_of(realm, security_layer=True), client(realm)
    await offered(exchange, initiator)
    ended.append(await exchange.step(initiator.protect(b"\1\0")))

    assert [getattr(step, "reason", None) for step in ended] == [FailureReason.MALFORMED] * 4


async def test_last_token_is_answered_with_nothing(realm: MitKdc) -> None:
    """A client that answers the last token with one of its own breaks RFC 4752."""
    exchange, initiator = exchange_of(realm, security_layer=True), client(realm)
    await exchange.step(initiator.first())

    ended = await exchange.step(b"more")

    assert ended == Failed(
        FailureReason.MALFORMED,
        "the client answered the last token with one of its own",
        "MBX2$@CONTOSO.TEST",
    )


async def test_binding_is_asked_for_before_a_layer_is_offered(realm: MitKdc) -> None:
    """Where a binding is missing there is no last round."""
    exchange = exchange_of(realm, security_layer=True, policy=ExtendedProtectionPolicy.Require)

    ended = await exchange.step(client(realm).first())

    assert isinstance(ended, Failed)
    assert ended.reason is FailureReason.MISSING_BINDING
