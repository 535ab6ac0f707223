"""What is left of a selection whose certificate OpenSSL does not take, although the store holds it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from smtpd_anontls.domain.connectors import ReceiveConnector, Server
from smtpd_anontls.domain.flags import AuthMechanism, StartTlsCertificate
from smtpd_anontls.domain.records import TlsVerb
from smtpd_anontls.selection.fallback import reconsider
from smtpd_anontls.selection.outcome import Selection, Step
from smtpd_anontls.selection.validity import Moment
from tests.making import EPHEMERAL, NOW, MemoryStore, certificate, marks, result_of

CERTIFICATE = certificate()
CONNECTOR = ReceiveConnector(name="C", auth_mechanism=AuthMechanism.Tls | AuthMechanism.ExchangeServer)
INTERNAL = replace(CONNECTOR, starttls_certificate=StartTlsCertificate.internal_transport)
SERVER = Server(name="MBX1", fqdn="mbx1.contoso.test")
FALLING_BACK = replace(SERVER, ephemeral_fallback=True)
CHOSEN = Selection(
    "MBX1",
    "C",
    TlsVerb.X_ANONYMOUSTLS,
    CERTIFICATE,
    (
        Step("directory", passed=True, detail="names it"),
        Step("certificate_store", passed=True, detail="mbx1.pem holds it"),
        Step("validity", passed=True, detail="valid"),
    ),
    (),
)
ENDS = "directory+ certificate_store-"
GOES_ON = "directory+ certificate_store+ validity+"


@pytest.mark.parametrize(
    ("verb", "connector", "server", "steps", "events"),
    [
        pytest.param(TlsVerb.X_ANONYMOUSTLS, CONNECTOR, SERVER, ENDS, (12013,), id="ends"),
        pytest.param(TlsVerb.X_ANONYMOUSTLS, CONNECTOR, FALLING_BACK, GOES_ON, (12024,), id="falls back"),
        pytest.param(TlsVerb.STARTTLS, CONNECTOR, SERVER, ENDS, (12014,), id="STARTTLS ends"),
        pytest.param(TlsVerb.STARTTLS, CONNECTOR, FALLING_BACK, ENDS, (12014,), id="STARTTLS by name ends"),
        pytest.param(
            TlsVerb.STARTTLS, INTERNAL, FALLING_BACK, GOES_ON, (), id="STARTTLS, internal transport"
        ),
    ],
)
def test_only_the_internal_transport_certificate_has_a_stand_in(
    verb: TlsVerb, connector: ReceiveConnector, server: Server, steps: str, events: tuple[int, ...]
) -> None:
    """The steps before the store stay, its own takes the reason, and what follows is of the stand-in."""
    left = result_of(
        reconsider(
            replace(CHOSEN, verb=verb),
            "OpenSSL does not take it",
            connector,
            server,
            store=MemoryStore(()),
            moment=Moment(NOW),
        )
    )

    assert marks((s.step, s.passed) for s in left.steps) == steps
    assert left.certificate == (EPHEMERAL if steps == GOES_ON else None)
    assert left.event_ids == events
    assert left.steps[1].detail.startswith("mbx1.pem holds it; OpenSSL does not take it")
