"""What becomes of a selection afterwards: a certificate that cannot be loaded, and a verb that is missed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from smtpd_anontls.domain.connectors import ReceiveConnector
from smtpd_anontls.domain.events import CATALOGUE
from smtpd_anontls.domain.flags import AuthMechanism
from smtpd_anontls.domain.records import TlsVerb
from smtpd_anontls.selection.outcome import Selection, Step
from smtpd_anontls.selection.readiness import problem
from tests.making import certificate

CERTIFICATE = certificate()
CONNECTOR = ReceiveConnector(name="C", auth_mechanism=AuthMechanism.Tls | AuthMechanism.ExchangeServer)
ADVERTISED = Selection(
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


@pytest.mark.parametrize(
    ("verb", "event_id", "inserts"),
    [
        (TlsVerb.X_ANONYMOUSTLS, 12013, (CERTIFICATE.thumbprint,)),
        (TlsVerb.STARTTLS, 12014, ("mbx1.contoso.test", "C", "mbx1.contoso.test")),
    ],
)
def test_a_certificate_that_cannot_be_loaded_is_as_good_as_none(
    verb: TlsVerb, event_id: int, inserts: tuple[str, ...]
) -> None:
    """The store's step takes the reason and the end, with the event that a missing certificate has."""
    selection = replace(ADVERTISED, verb=verb).not_loadable("but OpenSSL refuses it", "mbx1.contoso.test")

    assert not selection.advertised
    assert [(s.step, s.passed) for s in selection.steps] == [
        ("directory", True),
        ("certificate_store", False),
    ]
    assert selection.steps[-1].detail == "mbx1.pem holds it; but OpenSSL refuses it"
    (event,) = selection.events
    assert (event.event_id.value, event.inserts, event.thumbprint) == (
        event_id,
        inserts,
        CERTIFICATE.thumbprint,
    )
    assert CATALOGUE[event.event_id].message(event.inserts)


MISSED = replace(
    ADVERTISED, certificate=None, steps=(Step("directory", passed=False, detail="it is not set"),)
)
SUPPRESSED = replace(MISSED, steps=(Step("suppression", passed=False, detail="suppressed"),))


@pytest.mark.parametrize(
    ("selection", "mechanism", "sentence"),
    [
        pytest.param(ADVERTISED, CONNECTOR.auth_mechanism, None, id="advertised"),
        pytest.param(
            MISSED,
            CONNECTOR.auth_mechanism,
            "MBX1: C: X-ANONYMOUSTLS is not advertised: it is not set",
            id="asked for and missed",
        ),
        pytest.param(MISSED, AuthMechanism.Tls, None, id="not asked for"),
        pytest.param(SUPPRESSED, CONNECTOR.auth_mechanism, None, id="suppressed"),
        pytest.param(
            replace(MISSED, verb=TlsVerb.STARTTLS),
            AuthMechanism.Tls,
            "MBX1: C: STARTTLS is not advertised: it is not set",
            id="STARTTLS asked for and missed",
        ),
        pytest.param(
            replace(MISSED, verb=TlsVerb.STARTTLS),
            AuthMechanism.ExchangeServer,
            None,
            id="STARTTLS not asked for",
        ),
    ],
)
def test_a_verb_that_is_asked_for_and_missed_is_a_problem(
    selection: Selection, mechanism: AuthMechanism, sentence: str | None
) -> None:
    """A problem is a verb that AuthMechanism asks for and that EHLO does not offer."""
    assert problem(selection, replace(CONNECTOR, auth_mechanism=mechanism)) == sentence
