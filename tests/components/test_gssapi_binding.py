"""Extended Protection of GSSAPI: whether a client's logon was bound to the TLS channel that it came over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from smtpd_anontls.domain.authentication import Failed, FailureReason
from smtpd_anontls.domain.flags import ExtendedProtectionPolicy
from tests.components.accepting import EITHER, client, exchange_of, reason_of
from tests.initiator import converse

if TYPE_CHECKING:
    from tests.mit_kdc import MitKdc

pytestmark = pytest.mark.slow

BINDING = b"tls-server-end-point:" + bytes(range(32))
OTHER_BINDING = b"tls-server-end-point:" + bytes(32)
NONE, ALLOW, REQUIRE = (
    ExtendedProtectionPolicy.NotUsed,
    ExtendedProtectionPolicy.Allow,
    ExtendedProtectionPolicy.Require,
)


@EITHER
@pytest.mark.parametrize(
    ("policy", "ours", "sent", "reason", "is_bound"),
    [
        pytest.param(NONE, BINDING, None, None, False, id="None: none sent"),
        pytest.param(NONE, BINDING, OTHER_BINDING, None, False, id="None: another sent, not looked at"),
        pytest.param(ALLOW, BINDING, BINDING, None, True, id="Allow: the same"),
        pytest.param(ALLOW, BINDING, None, None, False, id="Allow: none sent"),
        pytest.param(
            ALLOW, BINDING, OTHER_BINDING, FailureReason.WRONG_BINDING, None, id="Allow: another sent"
        ),
        pytest.param(ALLOW, None, BINDING, None, False, id="Allow: no TLS"),
        pytest.param(REQUIRE, BINDING, BINDING, None, True, id="Require: the same"),
        pytest.param(REQUIRE, BINDING, None, FailureReason.MISSING_BINDING, None, id="Require: none sent"),
        pytest.param(
            REQUIRE, BINDING, OTHER_BINDING, FailureReason.WRONG_BINDING, None, id="Require: another sent"
        ),
        pytest.param(REQUIRE, None, BINDING, FailureReason.MISSING_BINDING, None, id="Require: no TLS"),
    ],
)
async def test_extended_protection(
    realm: MitKdc,
    policy: ExtendedProtectionPolicy,
    ours: bytes | None,
    sent: bytes | None,
    reason: FailureReason | None,
    *,
    negotiate: bool,
    is_bound: bool | None,
) -> None:
    """The policy says whether a client's binding to the TLS channel is compared, and whether one has to be there."""
    exchange = exchange_of(realm, policy=policy, binding=ours)

    ended = await converse(exchange, client(realm, negotiate=negotiate, binding=sent))

    assert reason_of(ended) is reason
    if is_bound is not None:
        assert ("bound to the TLS channel" in getattr(ended, "detail", "")) is is_bound


async def test_missing_binding_names_who_and_why(realm: MitKdc) -> None:
    """Where a binding is missing the client is known, and the sentence says which side could not have one."""
    without = await converse(exchange_of(realm, policy=REQUIRE, binding=BINDING), client(realm))
    no_tls = await converse(exchange_of(realm, policy=REQUIRE), client(realm))

    assert isinstance(without, Failed)
    assert isinstance(no_tls, Failed)
    assert without.identity == no_tls.identity == "MBX2$@CONTOSO.TEST"
    assert without.detail.endswith("and the client sent none")
    assert no_tls.detail.endswith("and the session has no TLS to bind to")


@EITHER
async def test_client_that_knows_bindings_has_to_send_one(
    realm: MitKdc, monkeypatch: pytest.MonkeyPatch, *, negotiate: bool
) -> None:
    """Under Allow a client that says that it knows of bindings, as Windows does, does not go without."""
    aware = realm.configure("aware.conf", client_aware_channel_bindings="true")
    monkeypatch.setenv("KRB5_CONFIG", str(aware))
    exchange = exchange_of(realm, policy=ALLOW, binding=BINDING)

    step = await exchange.step(client(realm, negotiate=negotiate).first())

    assert isinstance(step, Failed)
    assert step.reason is FailureReason.WRONG_BINDING
    assert "or to none though it knows how to" in step.detail
