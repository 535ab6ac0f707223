"""Selection of the inbound STARTTLS certificate by name, step by step."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from smtpd_anontls.domain.certificate import Certificate, KeyState, StoreCertificate
from smtpd_anontls.domain.connectors import ReceiveConnector, Server
from smtpd_anontls.domain.directory_value import Answer, Unset
from smtpd_anontls.domain.flags import AuthMechanism
from smtpd_anontls.selection.starttls import select
from smtpd_anontls.selection.validity import Moment
from tests.making import (
    AUTHORITY,
    DAY,
    NOW,
    certificate,
    decided,
    der,
    marks,
    stored,
    version_1,
)

if TYPE_CHECKING:
    from smtpd_anontls.selection.outcome import Selection

FQDN = "mbx1.contoso.test"
CONNECTOR = ReceiveConnector(name="Default Frontend MBX1")
SERVER = Server(name="MBX1", fqdn=FQDN)

# Newest Valid from last; all of them valid at NOW but where the name says otherwise.
ISSUED = certificate(issuer=AUTHORITY)
SELF_SIGNED = certificate()
NEWER_ISSUED = certificate(issuer=AUTHORITY, not_before=NOW - 5 * DAY)
NEWER_SELF_SIGNED = certificate(not_before=NOW - 5 * DAY)
OLDER_SELF_SIGNED = certificate(not_before=NOW - 90 * DAY)
EXPIRED_ISSUED = certificate(issuer=AUTHORITY, not_before=NOW - 10 * DAY, not_after=NOW - DAY)
OLDER_EXPIRED_ISSUED = certificate(issuer=AUTHORITY, not_before=NOW - 20 * DAY, not_after=NOW - DAY)
EXPIRED_SELF_SIGNED = certificate(not_before=NOW - 10 * DAY, not_after=NOW - DAY)
FUTURE_ISSUED = certificate(issuer=AUTHORITY, not_before=NOW + DAY)
WILDCARD = certificate("Contoso", names=("*.contoso.test",), issuer=AUTHORITY)
MAIL = certificate("mail.contoso.test", names=(), issuer=AUTHORITY)
OTHER = certificate("other", names=("other.contoso.test",))
TWIN_1 = certificate(issuer=AUTHORITY, serial=1)
TWIN_2 = certificate(issuer=AUTHORITY, serial=2)
OLD_FORMAT = Certificate.from_der(version_1(der(FQDN, names=())))

NAMED_BY_ISSUER_AND_SUBJECT = f"<I>CN={AUTHORITY}<S>CN=mail.contoso.test"


@dataclass(frozen=True, kw_only=True)
class Case:
    """What a selection is given, and what it must say; the defaults are the good case."""

    connector: ReceiveConnector = CONNECTOR
    answer: Answer = Unset()  # noqa: RUF009 - frozen, and made of nothing
    store: tuple[StoreCertificate, ...] = (stored(ISSUED),)
    now: datetime = NOW
    at_start: bool = False

    advertised: Certificate | None = ISSUED
    steps: str = "auth_mechanism+ certificate_name+ certificate_store+ eligibility+ preference+ validity+"
    says: tuple[str, str] = ("validity", "valid until 2028-03-27T12:00:00Z")  # A step, and what is in it.
    events: tuple[tuple[int, tuple[str, ...]], ...] = ()
    asked: tuple[str, ...] = ("store: all",)

    def selection(self) -> tuple[Selection, tuple[str, ...]]:
        """Run it; return the selection, and the questions that the ports were asked, in order."""
        moment = Moment(self.now, at_start=self.at_start)
        return decided(select, self.connector, SERVER, answer=self.answer, store=self.store, moment=moment)


GOOD = Case()

_NO_MATCH = replace(
    GOOD,
    store=(stored(OTHER),),
    advertised=None,
    steps="auth_mechanism+ certificate_name+ certificate_store-",
    says=(
        "certificate_store",
        f"no certificate in the local computer store has the name {FQDN} (1 looked at)",
    ),
    events=((12014, (FQDN, CONNECTOR.name, FQDN)),),
)
_BY_ISSUER_AND_SUBJECT = replace(
    GOOD,
    connector=replace(CONNECTOR, tls_certificate_name=NAMED_BY_ISSUER_AND_SUBJECT),
    store=(stored(ISSUED), stored(MAIL, "mail.pem")),
    advertised=MAIL,
    says=(
        "certificate_name",
        f"TlsCertificateName asks for issuer 'CN={AUTHORITY}' and subject 'CN=mail.contoso.test'",
    ),
)
_BY_CONNECTOR_FQDN = replace(
    GOOD,
    connector=replace(CONNECTOR, fqdn="mail.contoso.test"),
    store=(stored(ISSUED), stored(MAIL, "mail.pem")),
    advertised=MAIL,
    says=("certificate_name", "the connector's FQDN asks for mail.contoso.test"),
)
_INELIGIBLE = replace(
    GOOD,
    store=(stored(ISSUED, key=KeyState.MISSING),),
    advertised=None,
    steps="auth_mechanism+ certificate_name+ certificate_store+ eligibility-",
    says=("eligibility", "mbx1.pem has no private key"),
    events=((12014, (FQDN, CONNECTOR.name, FQDN)),),
)
_EXPIRED = replace(
    GOOD,
    store=(stored(EXPIRED_ISSUED),),
    advertised=EXPIRED_ISSUED,
    steps="auth_mechanism+ certificate_name+ certificate_store+ eligibility+ preference+ validity-",
    says=("validity", "expired on 2027-05-31T12:00:00Z; STARTTLS is advertised all the same"),
    events=((12016, (FQDN,)),),
)
_EXPIRES_SOON = replace(GOOD, now=ISSUED.not_after - DAY)

BY_NAME = {
    "held, eligible, valid": GOOD,
    "held, eligible, valid, at start": replace(GOOD, at_start=True),
    "Tls missing": replace(
        GOOD,
        connector=replace(CONNECTOR, auth_mechanism=AuthMechanism.ExchangeServer),
        advertised=None,
        steps="auth_mechanism-",
        says=("auth_mechanism", "Tls is not enabled: AuthMechanism is ExchangeServer"),
        asked=(),
    ),
    # The name.
    "the server's FQDN": replace(
        GOOD, says=("certificate_name", "the server's FQDN asks for mbx1.contoso.test")
    ),
    "the connector's FQDN before the server's": _BY_CONNECTOR_FQDN,
    "an empty connector FQDN is none": replace(
        GOOD,
        connector=replace(CONNECTOR, fqdn=""),
        says=("certificate_name", "the server's FQDN asks for mbx1.contoso.test"),
    ),
    "TlsCertificateName before the connector's FQDN": replace(
        _BY_ISSUER_AND_SUBJECT,
        connector=replace(_BY_ISSUER_AND_SUBJECT.connector, fqdn="other.contoso.test"),
    ),
    "TlsCertificateName, spelled otherwise": replace(
        _BY_ISSUER_AND_SUBJECT,
        connector=replace(
            CONNECTOR, tls_certificate_name=f"<i> cn = {AUTHORITY.upper()} <s>CN=Mail.Contoso.TEST"
        ),
        says=("certificate_store", "has that issuer and subject: mail.pem (1 of 2)"),
    ),
    "TlsCertificateName, subject right and issuer wrong": replace(
        _NO_MATCH,
        connector=replace(CONNECTOR, tls_certificate_name="<I>CN=Other CA<S>CN=mail.contoso.test"),
        store=(stored(MAIL),),
        says=(
            "certificate_store",
            "no certificate in the local computer store has that issuer and subject (1 looked at)",
        ),
        events=((12014, ("<I>CN=Other CA<S>CN=mail.contoso.test", CONNECTOR.name, FQDN)),),
    ),
    "TlsCertificateName that is none": replace(
        GOOD,
        connector=replace(CONNECTOR, tls_certificate_name="mail.contoso.test", fqdn="mail.contoso.test"),
        advertised=None,
        steps="auth_mechanism+ certificate_name-",
        says=(
            "certificate_name",
            (
                "TlsCertificateName cannot be used: 'mail.contoso.test' is not a certificate name; "
                "write <I>issuer<S>subject"
            ),
        ),
        events=((12014, ("mail.contoso.test", CONNECTOR.name, "mail.contoso.test")),),
        asked=(),
    ),
    # The store.
    "no certificate of that name": _NO_MATCH,
    "no certificate of that name, at start": replace(_NO_MATCH, at_start=True),
    "an empty store": replace(
        _NO_MATCH, store=(), says=("certificate_store", f"has the name {FQDN} (0 looked at)")
    ),
    "no certificate of the connector's FQDN": replace(
        _NO_MATCH,
        connector=replace(CONNECTOR, fqdn="mail.contoso.test"),
        says=("certificate_store", "has the name mail.contoso.test"),
        events=((12014, ("mail.contoso.test", CONNECTOR.name, "mail.contoso.test")),),
    ),
    "two of three have the name": replace(
        GOOD,
        store=(stored(SELF_SIGNED, "b.pem"), stored(OTHER, "c.pem"), stored(ISSUED, "a.pem")),
        says=(
            "certificate_store",
            f"each of these in the local computer store has the name {FQDN}: a.pem, b.pem (2 of 3)",
        ),
    ),
    "the name in Subject alone": replace(_BY_CONNECTOR_FQDN, store=(stored(MAIL),)),
    "a wildcard for one label": replace(GOOD, store=(stored(WILDCARD),), advertised=WILDCARD),
    "a wildcard is not for two labels": replace(
        _NO_MATCH,
        connector=replace(CONNECTOR, fqdn="a.mbx1.contoso.test"),
        store=(stored(WILDCARD),),
        says=("certificate_store", "has the name a.mbx1.contoso.test"),
        events=((12014, ("a.mbx1.contoso.test", CONNECTOR.name, "a.mbx1.contoso.test")),),
    ),
    "a wildcard is not for its own domain": replace(
        _NO_MATCH,
        connector=replace(CONNECTOR, fqdn="contoso.test"),
        store=(stored(WILDCARD),),
        says=("certificate_store", "has the name contoso.test"),
        events=((12014, ("contoso.test", CONNECTOR.name, "contoso.test")),),
    ),
    # Eligibility.
    "no private key": _INELIGIBLE,
    "no private key, at start": replace(_INELIGIBLE, at_start=True),
    "a private key that cannot be read": replace(
        _INELIGIBLE,
        store=(stored(ISSUED, key=KeyState.UNREADABLE),),
        says=("eligibility", "mbx1.pem has a private key that cannot be read"),
    ),
    "the private key of another": replace(
        _INELIGIBLE,
        store=(stored(ISSUED, key=KeyState.MISMATCH),),
        says=("eligibility", "mbx1.pem has a private key that does not belong to it"),
    ),
    "not enabled for SMTP": replace(
        _INELIGIBLE,
        store=(stored(ISSUED, services=frozenset({"IIS", "IMAP"})),),
        says=("eligibility", "mbx1.pem is not enabled for SMTP"),
    ),
    "X.509 v1": replace(
        _INELIGIBLE, store=(stored(OLD_FORMAT),), says=("eligibility", "mbx1.pem is X.509 v1, not v3")
    ),
    "everything wrong with two": replace(
        _INELIGIBLE,
        store=(
            stored(OLD_FORMAT, "b.pem", key=KeyState.MISSING, services=frozenset()),
            stored(ISSUED, "a.pem", key=KeyState.MISSING),
        ),
        says=(
            "eligibility",
            (
                "a.pem has no private key; "
                "b.pem is X.509 v1, not v3 and has no private key and is not enabled for SMTP"
            ),
        ),
    ),
    "not listed in services.yaml": replace(
        GOOD,
        store=(stored(ISSUED, services=None),),
        says=(
            "eligibility",
            "mbx1.pem is eligible (services.yaml does not list it: counts as enabled for SMTP)",
        ),
    ),
    "one of two is eligible": replace(
        GOOD,
        store=(stored(NEWER_ISSUED, "new.pem", key=KeyState.MISSING), stored(ISSUED, "old.pem")),
        says=("eligibility", "new.pem has no private key; old.pem is eligible"),
    ),
    # Preference.
    "the newest Valid from": replace(
        GOOD,
        store=(stored(ISSUED, "old.pem"), stored(NEWER_ISSUED, "new.pem")),
        advertised=NEWER_ISSUED,
        says=(
            "preference",
            (
                "new.pem of 2 eligible: the most recent valid certificate of a certification authority "
                "(valid from 2027-05-27T12:00:00Z)"
            ),
        ),
    ),
    "issued and valid before self-signed and newer": replace(
        GOOD, store=(stored(NEWER_SELF_SIGNED, "self.pem"), stored(ISSUED, "issued.pem"))
    ),
    "issued and valid before issued, newer and expired": replace(
        GOOD, store=(stored(EXPIRED_ISSUED, "new.pem"), stored(ISSUED, "old.pem"))
    ),
    "issued and valid before issued and not yet valid": replace(
        GOOD, store=(stored(FUTURE_ISSUED, "new.pem"), stored(ISSUED, "old.pem"))
    ),
    "self-signed before issued, newer and expired": replace(
        GOOD,
        store=(stored(EXPIRED_ISSUED, "issued.pem"), stored(SELF_SIGNED, "self.pem")),
        advertised=SELF_SIGNED,
        says=(
            "preference",
            (
                "self.pem of 2 eligible: the most recent self-signed certificate, since no valid one of a "
                "certification authority is eligible"
            ),
        ),
    ),
    "the newest self-signed": replace(
        GOOD,
        store=(stored(OLDER_SELF_SIGNED, "old.pem"), stored(NEWER_SELF_SIGNED, "new.pem")),
        advertised=NEWER_SELF_SIGNED,
    ),
    "the newest self-signed, although it has expired": replace(
        _EXPIRED,
        store=(stored(OLDER_SELF_SIGNED, "old.pem"), stored(EXPIRED_SELF_SIGNED, "new.pem")),
        advertised=EXPIRED_SELF_SIGNED,
    ),
    "issued and expired only": replace(
        _EXPIRED,
        store=(stored(OLDER_EXPIRED_ISSUED, "old.pem"), stored(EXPIRED_ISSUED, "new.pem")),
        says=(
            "preference",
            (
                "new.pem of 2 eligible: the most recent certificate of a certification authority, although not "
                "valid now; there is no other"
            ),
        ),
    ),
    "of the same second: the lower thumbprint": replace(
        GOOD,
        store=(stored(TWIN_1, "1.pem"), stored(TWIN_2, "2.pem")),
        advertised=min(TWIN_1, TWIN_2, key=lambda c: c.thumbprint),
    ),
    "of the same second, the other way round": replace(
        GOOD,
        store=(stored(TWIN_2, "2.pem"), stored(TWIN_1, "1.pem")),
        advertised=min(TWIN_1, TWIN_2, key=lambda c: c.thumbprint),
    ),
    "two files of one certificate": replace(
        GOOD,
        store=(stored(ISSUED, "b.pem"), stored(ISSUED, "a.pem")),
        says=("preference", "a.pem of 2 eligible"),
    ),
    # Validity.
    "expired, still advertised": _EXPIRED,
    "expired, still advertised, at start": replace(_EXPIRED, at_start=True),
    "expired, of the connector's FQDN": replace(
        _EXPIRED,
        connector=replace(CONNECTOR, fqdn="MBX1"),
        events=((12016, ("MBX1",)),),
    ),
    "at Valid to itself, still valid": replace(GOOD, now=ISSUED.not_after),
    "not yet valid, advertised with a warning": replace(
        GOOD,
        store=(stored(FUTURE_ISSUED),),
        advertised=FUTURE_ISSUED,
        steps="auth_mechanism+ certificate_name+ certificate_store+ eligibility+ preference+ validity-",
        says=("validity", "warning: not valid before 2027-06-02T12:00:00Z; STARTTLS is advertised"),
        at_start=True,
    ),
    "expires soon, in a session": _EXPIRES_SOON,
    "expires soon, at start": replace(
        _EXPIRES_SOON,
        at_start=True,
        events=((12018, ("CN=mbx1", ISSUED.thumbprint, "24")),),
    ),
    "a microsecond before the warning time, at start": replace(
        GOOD, now=ISSUED.not_after - 30 * DAY - timedelta(microseconds=1), at_start=True
    ),
}


@pytest.mark.parametrize("case", BY_NAME.values(), ids=BY_NAME.keys())
def test_selects_as_the_article_says(case: Case) -> None:
    """Each case advertises, explains, records and asks exactly what the article says."""
    selection, asked = case.selection()
    details = {step.step: step.detail for step in selection.steps}

    assert selection.certificate == case.advertised
    assert marks((s.step, s.passed) for s in selection.steps) == case.steps
    assert case.says[1] in details[case.says[0]]
    assert tuple((e.event_id.value, e.inserts) for e in selection.events) == case.events
    assert asked == case.asked


def test_every_step_by_name_is_answered_both_ways() -> None:
    """For every step there is a case that answers yes and one that answers no; preference always finds one."""
    answers = {mark for case in BY_NAME.values() for mark in case.steps.split()}
    steps = ("auth_mechanism", "certificate_name", "certificate_store", "eligibility", "validity")

    assert answers == {f"{step}{mark}" for step in steps for mark in "+-"} | {"preference+"}


@pytest.mark.parametrize(
    ("case", "thumbprint"),
    [
        pytest.param(_NO_MATCH, None, id="12014"),
        pytest.param(_EXPIRED, EXPIRED_ISSUED.thumbprint, id="12016"),
        pytest.param(BY_NAME["expires soon, at start"], ISSUED.thumbprint, id="12018"),
    ],
)
def test_events_carry_the_thumbprint(case: Case, thumbprint: str | None) -> None:
    """An event that is about one certificate carries its thumbprint."""
    (event,) = case.selection()[0].events

    assert event.thumbprint == thumbprint


def test_json_names_the_verb() -> None:
    """The JSON is the same object as that of X-ANONYMOUSTLS, with its own verb."""
    shown = GOOD.selection()[0].as_json()

    assert shown["verb"] == "STARTTLS"
    assert shown["certificate"]["issuer"] == f"CN={AUTHORITY}"
    assert shown["certificate"]["self_signed"] is False
    assert [step["step"] for step in shown["steps"]] == [
        "auth_mechanism",
        "certificate_name",
        "certificate_store",
        "eligibility",
        "preference",
        "validity",
    ]


def test_two_certificates_in_one_file_are_told_in_one_order() -> None:
    """Where the file's name cannot tell them apart, the order of the store still decides no sentence."""
    held = (stored(ISSUED, "all.pem"), stored(OLDER_SELF_SIGNED, "all.pem", key=KeyState.MISSING))

    assert replace(GOOD, store=held).selection() == replace(GOOD, store=held[::-1]).selection()
