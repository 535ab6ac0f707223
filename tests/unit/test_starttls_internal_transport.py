"""STARTTLS with the internal transport certificate, which X-ANONYMOUSTLS would present."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from smtpd_anontls.domain.certificate import Certificate, KeyState, StoreCertificate
from smtpd_anontls.domain.connectors import ReceiveConnector, Server
from smtpd_anontls.domain.directory_value import Answer, Named, Unreadable, Unset, ValueForm
from smtpd_anontls.domain.flags import AuthMechanism, StartTlsCertificate
from smtpd_anontls.selection.starttls import select
from smtpd_anontls.selection.validity import Moment
from tests.making import AUTHORITY, DAY, EPHEMERAL, NOW, certificate, decided, marks, stored

if TYPE_CHECKING:
    from datetime import datetime

    from smtpd_anontls.selection.outcome import Selection

FQDN = "mbx1.contoso.test"
CONNECTOR = ReceiveConnector(
    name="Default Frontend MBX1", starttls_certificate=StartTlsCertificate.internal_transport
)
SERVER = Server(name="MBX1", fqdn=FQDN)
CERTIFICATE = certificate()
BETTER = certificate(issuer=AUTHORITY, not_before=NOW - 5 * DAY)  # By name it would win.
NAMED = Named(CERTIFICATE.thumbprint, ValueForm.DER)
MISSING = ((12014, (FQDN, CONNECTOR.name, FQDN)),)


@dataclass(frozen=True, kw_only=True)
class Case:
    """What a selection is given, and what it must say; the defaults are the good case."""

    connector: ReceiveConnector = CONNECTOR
    server: Server = SERVER
    answer: Answer = NAMED
    store: tuple[StoreCertificate, ...] = (stored(CERTIFICATE), stored(BETTER, "better.pem"))
    now: datetime = NOW
    at_start: bool = False

    advertised: Certificate | None = CERTIFICATE
    steps: str = "auth_mechanism+ directory+ certificate_store+ validity+"
    says: str = "valid until 2028-03-27T12:00:00Z"  # In the last step.
    events: tuple[tuple[int, tuple[str, ...]], ...] = ()
    thumbprint: str | None = None  # Of the event.
    asked: tuple[str, ...] = ("directory: MBX1", "store: find")

    def selection(self) -> tuple[Selection, tuple[str, ...]]:
        """Run it; return the selection, and the questions that the ports were asked, in order."""
        moment = Moment(self.now, at_start=self.at_start)
        return decided(
            select, self.connector, self.server, answer=self.answer, store=self.store, moment=moment
        )


GOOD = Case()

_NOT_SET = replace(
    GOOD,
    answer=Unset(),
    advertised=None,
    steps="auth_mechanism+ directory-",
    says="msExchServerInternalTLSCert of MBX1 is not set",
    events=MISSING,
    asked=("directory: MBX1",),
)
_NOT_HELD = replace(
    GOOD,
    store=(stored(BETTER),),
    advertised=None,
    steps="auth_mechanism+ directory+ certificate_store-",
    says=f"the local computer store holds no certificate with thumbprint {CERTIFICATE.thumbprint}",
    events=MISSING,
    thumbprint=CERTIFICATE.thumbprint,
)
_EXPIRED = replace(
    GOOD,
    now=CERTIFICATE.not_after + DAY,
    steps="auth_mechanism+ directory+ certificate_store+ validity-",
    says="expired on 2028-03-27T12:00:00Z; STARTTLS is advertised all the same",
    events=((12016, (FQDN,)),),
    thumbprint=CERTIFICATE.thumbprint,
)

CASES = {
    "named, held, valid": GOOD,
    "Tls missing": replace(
        GOOD,
        connector=replace(CONNECTOR, auth_mechanism=AuthMechanism.ExchangeServer),
        advertised=None,
        steps="auth_mechanism-",
        says="Tls is not enabled: AuthMechanism is ExchangeServer",
        asked=(),
    ),
    "suppression does not apply": replace(GOOD, connector=replace(CONNECTOR, suppress_x_anonymous_tls=True)),
    "ExchangeServer is not needed": replace(
        GOOD, connector=replace(CONNECTOR, auth_mechanism=AuthMechanism.Tls)
    ),
    "TlsCertificateName is not looked at": replace(
        GOOD, connector=replace(CONNECTOR, tls_certificate_name="none at all")
    ),
    "not set": _NOT_SET,
    "not set, at start: 12014 too, never 12012": replace(_NOT_SET, at_start=True),
    "not set, with the connector's FQDN": replace(
        _NOT_SET,
        connector=replace(CONNECTOR, fqdn="mail.contoso.test"),
        events=((12014, ("mail.contoso.test", CONNECTOR.name, "mail.contoso.test")),),
    ),
    "unreadable": replace(
        _NOT_SET,
        answer=Unreadable("no such object"),
        says="msExchServerInternalTLSCert of MBX1 could not be read: no such object",
    ),
    "not in the store: 12014, never 12013": _NOT_HELD,
    "held without its private key": replace(
        _NOT_HELD,
        store=(stored(CERTIFICATE, key=KeyState.MISSING),),
        says=f"mbx1.pem holds {CERTIFICATE.thumbprint}, but it has no private key, so it cannot be loaded",
    ),
    "not in the store, with the ephemeral fallback: X-ANONYMOUSTLS writes 12024, not STARTTLS": replace(
        GOOD,
        server=replace(SERVER, ephemeral_fallback=True),
        store=(stored(BETTER),),
        advertised=EPHEMERAL,
        asked=("directory: MBX1", "store: find", "store: ephemeral MBX1, mbx1.contoso.test"),
    ),
    "expired, still advertised": _EXPIRED,
    "expired, still advertised, at start": replace(_EXPIRED, at_start=True),
    "not yet valid, advertised with a warning": replace(
        GOOD,
        now=CERTIFICATE.not_before - DAY,
        steps="auth_mechanism+ directory+ certificate_store+ validity-",
        says="warning: not valid before 2027-05-02T12:00:00Z",
    ),
    "expires soon, at start: X-ANONYMOUSTLS warns, not STARTTLS": replace(
        GOOD, now=CERTIFICATE.not_after - DAY, at_start=True
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_selects_what_the_directory_names(case: Case) -> None:
    """Each case advertises, explains, records and asks as documented: events 12014 and 12016 only."""
    selection, asked = case.selection()

    assert selection.certificate == case.advertised
    assert marks((s.step, s.passed) for s in selection.steps) == case.steps
    assert case.says in selection.steps[-1].detail
    assert tuple((e.event_id.value, e.inserts) for e in selection.events) == case.events
    assert all(event.thumbprint == case.thumbprint for event in selection.events)
    assert asked == case.asked


def test_every_step_is_answered_both_ways() -> None:
    """For every step there is a case that answers yes, and one that answers no."""
    answers = {mark for case in CASES.values() for mark in case.steps.split()}
    steps = ("auth_mechanism", "directory", "certificate_store", "validity")

    assert answers == {f"{step}{mark}" for step in steps for mark in "+-"}
