"""Selection of the inbound anonymous TLS certificate, step by step."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from smtpd_anontls.domain.certificate import Certificate, KeyState, StoreCertificate
from smtpd_anontls.domain.connectors import ReceiveConnector, Server
from smtpd_anontls.domain.directory_value import Answer, Named, Unreadable, Unset, ValueForm
from smtpd_anontls.domain.flags import AuthMechanism
from smtpd_anontls.selection.anonymous_tls import select
from smtpd_anontls.selection.validity import Moment
from tests.making import DAY, EPHEMERAL, NOW, certificate, decided, marks, stored

if TYPE_CHECKING:
    from smtpd_anontls.selection.outcome import Selection

CERTIFICATE = certificate()
CONNECTOR = ReceiveConnector(
    name="Default Frontend MBX1", auth_mechanism=AuthMechanism.Tls | AuthMechanism.ExchangeServer
)
SERVER = Server(name="MBX1", fqdn="mbx1.contoso.test", connectors=(CONNECTOR,))

NAMED = Named(CERTIFICATE.thumbprint, ValueForm.DER)

NOTHING: tuple[str, ...] = ()
DIRECTORY = ("directory: MBX1",)
BOTH = (*DIRECTORY, "store: find")

HELD = "auth_mechanism+ suppression+ directory+ certificate_store+"


@dataclass(frozen=True, kw_only=True)
class Case:
    """What a selection is given, and what it must say; the defaults are the good case."""

    connector: ReceiveConnector = CONNECTOR
    server: Server = SERVER
    answer: Answer = NAMED
    store: tuple[StoreCertificate, ...] = (stored(CERTIFICATE),)
    now: datetime = NOW
    at_start: bool = False

    advertised: Certificate | None = CERTIFICATE
    steps: str = f"{HELD} validity+"
    says: str = "valid until 2028-03-27T12:00:00Z"  # In the last step.
    events: tuple[int, ...] = ()
    asked: tuple[str, ...] = BOTH

    def selection(self) -> tuple[Selection, tuple[str, ...]]:
        """Run it; return the selection, and the questions that the ports were asked, in order."""
        moment = Moment(self.now, at_start=self.at_start)
        return decided(
            select, self.connector, self.server, answer=self.answer, store=self.store, moment=moment
        )


GOOD = Case()

_NO_EXCHANGE_SERVER = replace(
    GOOD,
    connector=replace(CONNECTOR, auth_mechanism=AuthMechanism.Tls | AuthMechanism.Integrated),
    advertised=None,
    steps="auth_mechanism-",
    says="ExchangeServer is not enabled: AuthMechanism is Tls, Integrated",
    asked=NOTHING,
)
_SUPPRESSED = replace(
    GOOD,
    connector=replace(CONNECTOR, suppress_x_anonymous_tls=True),
    advertised=None,
    steps="auth_mechanism+ suppression-",
    says="SuppressXAnonymousTls is true, so X-ANONYMOUSTLS is neither advertised nor taken",
    asked=NOTHING,
)
_NOT_SET = replace(
    GOOD,
    answer=Unset(),
    advertised=None,
    steps="auth_mechanism+ suppression+ directory-",
    says="msExchServerInternalTLSCert of MBX1 is not set",
    asked=DIRECTORY,
)
_UNREADABLE = replace(
    _NOT_SET,
    answer=Unreadable("no such object"),
    says="msExchServerInternalTLSCert of MBX1 could not be read: no such object",
)
_NOT_IN_STORE = replace(
    GOOD,
    store=(stored(certificate(serial=2), "other.pem"),),
    advertised=None,
    steps="auth_mechanism+ suppression+ directory+ certificate_store-",
    says=f"the local computer store holds no certificate with thumbprint {CERTIFICATE.thumbprint}",
    events=(12013,),
)
# The page of 12024: a certificate made for the moment is used in place of one that cannot be loaded.
_FALLEN_BACK = replace(
    GOOD,
    server=replace(SERVER, ephemeral_fallback=True),
    store=(),
    advertised=EPHEMERAL,
    events=(12024,),
    asked=(*BOTH, "store: ephemeral MBX1, mbx1.contoso.test"),
)
_EXPIRED = replace(
    GOOD,
    now=CERTIFICATE.not_after + DAY,
    steps=f"{HELD} validity-",
    says="expired on 2028-03-27T12:00:00Z; X-ANONYMOUSTLS is advertised all the same",
    events=(12015,),
)
_EXPIRES_SOON = replace(GOOD, now=CERTIFICATE.not_after - 30 * DAY)

CASES = {
    "named, held, valid": GOOD,
    "named, held, valid, at start": replace(GOOD, at_start=True),
    "ExchangeServer missing": _NO_EXCHANGE_SERVER,
    "ExchangeServer missing, at start": replace(_NO_EXCHANGE_SERVER, at_start=True),
    "AuthMechanism is None": replace(
        _NO_EXCHANGE_SERVER,
        connector=replace(CONNECTOR, auth_mechanism=AuthMechanism(0)),
        says="AuthMechanism is None",
    ),
    "ExchangeServer alone is enough": replace(
        GOOD, connector=replace(CONNECTOR, auth_mechanism=AuthMechanism.ExchangeServer)
    ),
    "suppressed": _SUPPRESSED,
    "suppressed, at start": replace(_SUPPRESSED, at_start=True),
    "not set, in a session": _NOT_SET,
    "not set, at start": replace(_NOT_SET, at_start=True, events=(12012,)),
    "not set, with a note": replace(
        _NOT_SET, answer=Unset("the object is there"), says="is not set; the object is there"
    ),
    "unreadable, in a session": _UNREADABLE,
    "unreadable, at start": replace(_UNREADABLE, at_start=True, events=(12012,)),
    "not in the store, in a session": _NOT_IN_STORE,
    "not in the store, at start": replace(_NOT_IN_STORE, at_start=True),
    "the store is empty": replace(_NOT_IN_STORE, store=()),
    "held without its private key": replace(
        _NOT_IN_STORE,
        store=(stored(CERTIFICATE, key=KeyState.MISSING),),
        says=f"mbx1.pem holds {CERTIFICATE.thumbprint}, but it has no private key, so it cannot be loaded",
    ),
    "held with a private key that cannot be read": replace(
        _NOT_IN_STORE,
        store=(stored(CERTIFICATE, key=KeyState.UNREADABLE),),
        says="but it has a private key that cannot be read, so it cannot be loaded",
    ),
    "held with the private key of another": replace(
        _NOT_IN_STORE,
        store=(stored(CERTIFICATE, key=KeyState.MISMATCH),),
        says="but it has a private key that does not belong to it, so it cannot be loaded",
    ),
    "not in the store, with the ephemeral fallback": _FALLEN_BACK,
    "not in the store, with the ephemeral fallback, at start": replace(_FALLEN_BACK, at_start=True),
    "held without its private key, with the ephemeral fallback": replace(
        _FALLEN_BACK, store=(stored(CERTIFICATE, key=KeyState.MISSING),)
    ),
    "named, held, valid: the ephemeral fallback is not needed": replace(GOOD, server=_FALLEN_BACK.server),
    "not set: the ephemeral fallback has nothing to stand in for": replace(
        _NOT_SET, server=_FALLEN_BACK.server
    ),
    "suppressed: the ephemeral fallback is not asked for": replace(_SUPPRESSED, server=_FALLEN_BACK.server),
    "with an ephemeral certificate that has expired": replace(
        _FALLEN_BACK,
        now=EPHEMERAL.not_after + DAY,
        steps=f"{HELD} validity-",
        says="expired on 2028-03-27T12:00:00Z; X-ANONYMOUSTLS is advertised all the same",
        events=(12024, 12015),
    ),
    # "Nothing is said about SMTP service flag": this path does not ask for it.
    "not enabled for SMTP, all the same": replace(
        GOOD, store=(stored(CERTIFICATE, services=frozenset({"IIS"})),)
    ),
    "expired, still advertised": _EXPIRED,
    "expired, still advertised, at start": replace(_EXPIRED, at_start=True),
    "at Valid to itself, still valid": replace(GOOD, now=CERTIFICATE.not_after),
    "a microsecond after Valid to": replace(_EXPIRED, now=CERTIFICATE.not_after + timedelta(microseconds=1)),
    "not yet valid, advertised with a warning": replace(
        GOOD,
        now=CERTIFICATE.not_before - timedelta(microseconds=1),
        steps=f"{HELD} validity-",
        says="warning: not valid before 2027-05-02T12:00:00Z; X-ANONYMOUSTLS is advertised all the same",
    ),
    "at Valid from itself, valid": replace(GOOD, now=CERTIFICATE.not_before),
    "expires soon, in a session": _EXPIRES_SOON,
    "expires soon, at start": replace(_EXPIRES_SOON, at_start=True, events=(12017,)),
    "at Valid to itself, at start": replace(GOOD, now=CERTIFICATE.not_after, at_start=True, events=(12017,)),
    "a microsecond before the warning time, at start": replace(
        GOOD, now=CERTIFICATE.not_after - 30 * DAY - timedelta(microseconds=1), at_start=True
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_selects_as_the_article_says(case: Case) -> None:
    """Each case advertises, explains, records and asks exactly what the article says."""
    selection, asked = case.selection()

    assert selection.certificate == case.advertised
    assert selection.advertised is (case.advertised is not None)
    assert marks((s.step, s.passed) for s in selection.steps) == case.steps
    assert case.says in selection.steps[-1].detail
    assert selection.event_ids == case.events
    assert asked == case.asked


def test_every_step_is_answered_both_ways() -> None:
    """For every step there is a case that answers yes, and one that answers no."""
    answers = {mark for case in CASES.values() for mark in case.steps.split()}
    steps = ("auth_mechanism", "suppression", "directory", "certificate_store", "validity")

    assert answers == {f"{step}{mark}" for step in steps for mark in "+-"}


@pytest.mark.parametrize(
    ("case", "inserts", "thumbprint"),
    [
        pytest.param(CASES["not set, at start"], (), None, id="12012"),
        pytest.param(_NOT_IN_STORE, (CERTIFICATE.thumbprint,), CERTIFICATE.thumbprint, id="12013"),
        pytest.param(
            _FALLEN_BACK,
            (CERTIFICATE.thumbprint, EPHEMERAL.thumbprint),
            CERTIFICATE.thumbprint,
            id="12024",
        ),
        pytest.param(_EXPIRED, (CERTIFICATE.thumbprint,), CERTIFICATE.thumbprint, id="12015"),
        pytest.param(
            CASES["expires soon, at start"],
            (CERTIFICATE.thumbprint, "720"),
            CERTIFICATE.thumbprint,
            id="12017",
        ),
    ],
)
def test_events_carry_their_inserts(case: Case, inserts: tuple[str, ...], thumbprint: str | None) -> None:
    """Each event has the inserts of its text, and the thumbprint where there is one."""
    (event,) = case.selection()[0].events

    assert event.inserts == inserts
    assert event.thumbprint == thumbprint


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (Named("AB", ValueForm.DER), "names AB as a certificate (DER)"),
        (Named("AB", ValueForm.PEM), "names AB as a certificate (PEM)"),
        (Named("AB", ValueForm.THUMBPRINT), "names AB as a thumbprint"),
        (
            Named("AB", ValueForm.SERIALIZED, "Microsoft Exchange"),
            "names AB as a certificate (Windows serialized), friendly name 'Microsoft Exchange'",
        ),
    ],
)
def test_directory_sentence_says_what_the_attribute_held(answer: Named, sentence: str) -> None:
    """The sentence tells in which form the attribute named the certificate."""
    selection, _ = replace(GOOD, answer=answer).selection()

    assert selection.steps[2].detail == f"msExchServerInternalTLSCert of MBX1 {sentence}"


def test_store_sentence_says_where_and_by_whom() -> None:
    """The sentence names the file, the subject and the issuer; a nameless certificate is called that."""
    nameless = replace(CERTIFICATE, subject="", issuer="")

    found = GOOD.selection()[0].steps[3]
    found_nameless = replace(GOOD, store=(stored(nameless),)).selection()[0].steps[3]

    assert found.detail == "mbx1.pem holds it: CN=mbx1, issued by CN=mbx1"
    assert found_nameless.detail == "mbx1.pem holds it: no subject, issued by nobody named"


def test_store_sentence_says_what_stands_in() -> None:
    """The sentence says why the certificate cannot be loaded, and which one is used instead."""
    step = _FALLEN_BACK.selection()[0].steps[3]

    assert step.detail == (
        f"the local computer store holds no certificate with thumbprint {CERTIFICATE.thumbprint}; instead an "
        "ephemeral, self-signed certificate is used, which is in the memory of this process alone: "
        f"{EPHEMERAL.thumbprint}"
    )


def test_json_is_the_object_of_every_surface() -> None:
    """The JSON has exactly the documented keys, in their order."""
    shown = _EXPIRED.selection()[0].as_json()

    assert shown == {
        "server": "MBX1",
        "connector": "Default Frontend MBX1",
        "verb": "X-ANONYMOUSTLS",
        "advertised": True,
        "certificate": {
            "thumbprint": CERTIFICATE.thumbprint,
            "subject": "CN=mbx1",
            "issuer": "CN=mbx1",
            "serial_number": "5C7A",
            "not_before": "2027-05-02T12:00:00Z",
            "not_after": "2028-03-27T12:00:00Z",
            "subject_alternative_names": ["mbx1", "mbx1.contoso.test"],
            "self_signed": True,
        },
        "steps": shown["steps"],
        "event_ids": [12015],
        "duration_ms": 0.0,
    }
    assert list(shown) == [
        "server",
        "connector",
        "verb",
        "advertised",
        "certificate",
        "steps",
        "event_ids",
        "duration_ms",
    ]
    assert shown["steps"][0] == {
        "step": "auth_mechanism",
        "passed": True,
        "detail": "ExchangeServer is enabled: AuthMechanism is Tls, ExchangeServer",
    }


def test_json_of_nothing_has_no_certificate() -> None:
    """Where nothing is advertised the certificate is null, and the time taken has three decimals."""
    selection = replace(_SUPPRESSED.selection()[0], duration_ms=1.23456)

    shown = selection.as_json()

    assert shown["certificate"] is None
    assert shown["advertised"] is False
    assert shown["duration_ms"] == 1.235


@pytest.mark.parametrize("now", [NOW, CERTIFICATE.not_after + DAY])
def test_a_look_alike_is_named_where_it_was_chosen(now: datetime) -> None:
    """The step that found the certificate says what is presented in its place; nothing else changes."""
    real, _ = replace(Case(), store=(stored(CERTIFICATE, key=KeyState.ELSEWHERE),), now=now).selection()
    shown = real.presenting(EPHEMERAL)
    changed = [
        (before.step, after.detail.removeprefix(before.detail))
        for before, after in zip(real.steps, shown.steps, strict=True)
        if before != after
    ]

    assert shown.certificate == EPHEMERAL
    assert shown.events == real.events
    remark = f"presented is {EPHEMERAL.thumbprint}, a look-alike with a key of its own, in place of {CERTIFICATE.thumbprint}"
    assert changed == [("certificate_store", f"; STAND-IN: {remark}")]
