"""GSSAPI as the server in Active Directory: tickets of a domain controller for the computer account of MBX1."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from smtpd_anontls.authentication.gssapi import GssapiExchange
from smtpd_anontls.domain.account_names import AccountName
from smtpd_anontls.domain.authentication import Authenticated, Failed, FailureReason
from smtpd_anontls.domain.flags import ExtendedProtectionPolicy
from tests.components.accepting import EITHER
from tests.initiator import HOST, Initiator, converse
from tests.mit_kdc import keep_replays

if TYPE_CHECKING:
    from pathlib import Path

    from tests.samba import DomainController

pytestmark = pytest.mark.slow

BINDING = b"tls-server-end-point:" + bytes(range(32))
REQUIRE = ExtendedProtectionPolicy.Require


@pytest.fixture
def domain(kerberos: DomainController, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DomainController:
    """Return the domain in which this process is, as a server that has seen no token yet."""
    keep_replays(tmp_path, monkeypatch)
    return kerberos


def exchange_of(domain: DomainController, *, binding: bytes | None = None) -> GssapiExchange:
    """Return an exchange of MBX1 as X-EXPS has it, which asks for a binding where it has one."""
    return GssapiExchange(
        keytab=domain.keytab("MBX1$"),
        hostname=HOST,
        binding=binding,
        policy=ExtendedProtectionPolicy.NotUsed if binding is None else REQUIRE,
        security_layer=False,
    )


@EITHER
async def test_computer_of_the_domain_is_who_it_is(domain: DomainController, *, negotiate: bool) -> None:
    """MBX2$ authenticates itself to MBX1, and MBX1 to it."""
    initiator = Initiator(keytab=domain.keytab("MBX2$"), negotiate=negotiate)

    ended = await converse(exchange_of(domain), initiator)

    assert isinstance(ended, Authenticated)
    assert ended.identity == "MBX2$@CONTOSO.TEST"
    assert str(AccountName.of_principal(ended.identity)) == "CONTOSO\\MBX2$"
    assert "SMTPSVC/mbx1.contoso.test@CONTOSO.TEST" in ended.detail


@EITHER
async def test_binding_to_the_channel_is_compared(domain: DomainController, *, negotiate: bool) -> None:
    """Under Require the client's binding has to be there, and ours."""
    reasons = []
    for sent in (BINDING, bytes(len(BINDING)), None):
        initiator = Initiator(keytab=domain.keytab("MBX2$"), negotiate=negotiate, binding=sent)
        ended = await converse(exchange_of(domain, binding=BINDING), initiator)
        reasons.append(ended.reason if isinstance(ended, Failed) else None)

    assert reasons == [None, FailureReason.WRONG_BINDING, FailureReason.MISSING_BINDING]


@EITHER
async def test_ticket_for_another_computer_and_replay(domain: DomainController, *, negotiate: bool) -> None:
    """A ticket for MBX2 does not open MBX1, and one for MBX1 opens it once."""
    keytab = domain.keytab("svc-reader")
    other = Initiator(keytab=keytab, host="mbx2.contoso.test", negotiate=negotiate).first()
    own = Initiator(keytab=keytab, negotiate=negotiate).first()

    steps = [await exchange_of(domain).step(token) for token in (other, own, own)]

    assert [step.reason if isinstance(step, Failed) else None for step in steps] == [
        FailureReason.WRONG_KEY,
        None,
        FailureReason.REPLAY,
    ]
