"""Selection of the outbound anonymous TLS certificate, step by step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from smtpd_anontls.domain.certificate import Certificate, KeyState, StoreCertificate
from smtpd_anontls.domain.connectors import Server
from smtpd_anontls.domain.directory_value import Answer, Named, Unreadable, Unset, ValueForm
from smtpd_anontls.domain.flags import ServerRole
from smtpd_anontls.domain.sending import TO_EDGE, Delivery, SmartHostAuthMechanism, smart_host_auth_mechanism
from smtpd_anontls.selection.outbound import select
from smtpd_anontls.selection.validity import Moment
from tests.making import DAY, NOW, MemoryDirectory, MemoryStore, certificate, marks, result_of, stored

if TYPE_CHECKING:
    from datetime import datetime

CERTIFICATE = certificate()
MAILBOX = Server(name="MBX1", fqdn="mbx1.contoso.test")
EDGE = Server(name="EDGE1", fqdn="edge1.contoso.test", role=ServerRole.Edge)
NAMED = Named(CERTIFICATE.thumbprint, ValueForm.DER)
EXCHANGE_SERVER = SmartHostAuthMechanism.ExchangeServer

USUAL = Delivery()
TO_IT = "delivery_type+ directory+ certificate_store+"
FROM_IT = "smart_host_auth+ address_space+ directory+ certificate_store+"


@dataclass(frozen=True, kw_only=True)
class Case:
    """What a selection is given, and what it must say; the defaults are a Mailbox server's good case."""

    server: Server = MAILBOX
    delivery: Delivery = USUAL
    answer: Answer = NAMED
    store: tuple[StoreCertificate, ...] = (stored(CERTIFICATE),)
    now: datetime = NOW
    at_start: bool = False

    loaded: Certificate | None = CERTIFICATE
    steps: str = f"{TO_IT} validity+"
    says: str = "valid until 2028-03-27T12:00:00Z"  # In the last step.
    events: tuple[int, ...] = ()
    questions: int = 2


CASES = {
    "to an Edge server of the site": Case(),
    "the queue's type in another case": Case(delivery=Delivery(delivery_type=TO_EDGE.upper())),
    "to another Mailbox server": Case(
        delivery=Delivery(delivery_type="SmtpRelayToMailboxDeliveryGroup"),
        loaded=None,
        steps="delivery_type-",
        says="the queue's DeliveryType is SmtpRelayToMailboxDeliveryGroup; a Mailbox server loads a certificate for "
        "SmtpRelayWithinAdSitetoEdge alone",
        questions=0,
    ),
    "a Mailbox server looks at no Send connector": Case(
        delivery=Delivery(smart_host_auth_mechanism=SmartHostAuthMechanism(0), address_space="*")
    ),
    "from an Edge server to the organization": Case(server=EDGE, steps=f"{FROM_IT} validity+"),
    "an Edge server looks at no queue": Case(
        server=EDGE, delivery=Delivery(delivery_type="DnsConnectorDelivery"), steps=f"{FROM_IT} validity+"
    ),
    "from an Edge server by a connector without ExchangeServer": Case(
        server=EDGE,
        delivery=Delivery(smart_host_auth_mechanism=SmartHostAuthMechanism.BasicAuth),
        loaded=None,
        steps="smart_host_auth-",
        says="SmartHostAuthMechanism of the Send connector is BasicAuth, without ExchangeServer",
        questions=0,
    ),
    "from an Edge server to the internet": Case(
        server=EDGE,
        delivery=Delivery(address_space="*"),
        loaded=None,
        steps="smart_host_auth+ address_space-",
        says="the Send connector is for *, not for --, the organization",
        questions=0,
    ),
    "not set": Case(
        answer=Unset(),
        loaded=None,
        steps="delivery_type+ directory-",
        says="msExchServerInternalTLSCert of MBX1 is not set",
        questions=1,
    ),
    "not set, at service start": Case(
        answer=Unset(),
        at_start=True,
        loaded=None,
        steps="delivery_type+ directory-",
        says="msExchServerInternalTLSCert of MBX1 is not set",
        events=(12012,),
        questions=1,
    ),
    "unreadable": Case(
        answer=Unreadable("no domain controller answered"),
        loaded=None,
        steps="delivery_type+ directory-",
        says="msExchServerInternalTLSCert of MBX1 could not be read: no domain controller answered",
        questions=1,
    ),
    "not in the store": Case(
        store=(),
        loaded=None,
        steps="delivery_type+ directory+ certificate_store-",
        says=f"the local computer store holds no certificate with thumbprint {CERTIFICATE.thumbprint}",
        events=(12013,),
    ),
    "without a private key": Case(
        store=(stored(CERTIFICATE, key=KeyState.MISSING),),
        loaded=None,
        steps="delivery_type+ directory+ certificate_store-",
        says=f"mbx1.pem holds {CERTIFICATE.thumbprint}, but it has no private key, so it cannot be loaded",
        events=(12013,),
    ),
    "its private key is on the server that was exported": Case(
        store=(stored(CERTIFICATE, key=KeyState.ELSEWHERE),)
    ),
    "expired, loaded all the same": Case(
        now=CERTIFICATE.not_after + DAY,
        steps=f"{TO_IT} validity-",
        says="expired on 2028-03-27T12:00:00Z; it is loaded all the same",
        events=(12015,),
    ),
    "not yet valid, loaded all the same": Case(
        now=CERTIFICATE.not_before - DAY,
        steps=f"{TO_IT} validity-",
        says="warning: not valid before 2027-05-02T12:00:00Z; it is loaded all the same, since only Valid to is looked at",
    ),
    "expires soon, at service start": Case(
        now=CERTIFICATE.not_after - DAY, at_start=True, events=(12017,)
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_case(case: Case) -> None:
    """What is loaded, every step's answer, the last one's sentence, the events, and how much was asked."""
    asked: list[str] = []
    selection = result_of(
        select(
            case.delivery,
            case.server,
            directory=MemoryDirectory(case.answer, asked),
            store=MemoryStore(case.store, asked),
            moment=Moment(case.now, at_start=case.at_start),
        )
    )

    assert selection.certificate == case.loaded
    assert marks((step.step, step.passed) for step in selection.steps) == case.steps
    assert selection.steps[-1].detail == case.says
    assert selection.event_ids == case.events
    assert len(asked) == case.questions


def test_each_question_has_a_no() -> None:
    """Every step is answered no by some case."""
    answers = {mark for case in CASES.values() for mark in case.steps.split()}
    steps = {mark[:-1] for mark in answers}

    assert {mark[:-1] for mark in answers if mark.endswith("-")} == steps
    assert steps == {
        "delivery_type", "smart_host_auth", "address_space", "directory", "certificate_store", "validity",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "mechanism"),
    [
        ("exchangeserver", EXCHANGE_SERVER),
        ("BasicAuth, ExchangeServer", EXCHANGE_SERVER | SmartHostAuthMechanism.BasicAuth),
        ("None", SmartHostAuthMechanism(0)),
        ("", SmartHostAuthMechanism(0)),
    ],
)
def test_a_mechanism_as_it_is_typed(text: str, mechanism: SmartHostAuthMechanism) -> None:
    """In any case, several between commas."""
    assert smart_host_auth_mechanism(text) == mechanism


def test_a_mechanism_that_there_is_not() -> None:
    """ValueError says which there are."""
    with pytest.raises(
        ValueError, match=r"^'Kerberos' is not one of None, BasicAuth, BasicAuthRequireTLS, Exch"
    ):
        smart_host_auth_mechanism("Kerberos")
