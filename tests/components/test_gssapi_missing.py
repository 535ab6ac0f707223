"""GSSAPI where the extra kerberos is not installed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from smtpd_anontls.authentication.gssapi import GssapiExchange, missing_library
from smtpd_anontls.authentication.observe import ObserveExchange
from smtpd_anontls.domain.authentication import Failed, FailureReason
from smtpd_anontls.domain.flags import ExtendedProtectionPolicy
from tests.der import ap_req, gss_token
from tests.initiator import HOST

if TYPE_CHECKING:
    from pathlib import Path

ADVICE = "GSSAPI needs the Python package gssapi: pip install 'smtpd-anontls[kerberos]'"


@pytest.fixture(autouse=True)
def _without_gssapi(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no import find the package."""
    for name in ("gssapi", "gssapi.raw"):
        monkeypatch.setitem(sys.modules, name, None)


async def test_exchange_says_what_to_install(tmp_path: Path) -> None:
    """Without the package nobody is authenticated, the fault is ours, and one line says what would do."""
    exchange = GssapiExchange(
        keytab=tmp_path / "own.keytab",
        hostname=HOST,
        binding=None,
        policy=ExtendedProtectionPolicy.NotUsed,
        security_layer=True,
    )

    step = await exchange.step(gss_token(ap_req()))

    assert missing_library() == ADVICE
    assert step == Failed(FailureReason.NOT_AVAILABLE, ADVICE)


async def test_blob_is_described_all_the_same(tmp_path: Path) -> None:
    """What the blob looks like needs no package; that its ticket is not checked is said."""
    step = await ObserveExchange(keytab=tmp_path / "own.keytab", hostname=HOST).step(gss_token(ap_req()))

    assert isinstance(step, Failed)
    assert step.reason is FailureReason.OBSERVED
    assert "a ticket for SMTPSVC/mbx1.contoso.test@CONTOSO.TEST" in step.detail
    assert step.detail.endswith(f"not_available: {ADVICE}")
