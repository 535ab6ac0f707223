"""The sentences of the verdict where no scripted peer is needed to bring them about."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from smtpd_anontls.client import refusals, verdict
from smtpd_anontls.client.conversation import Greeting, Hello, Reply
from smtpd_anontls.client.errors import ExitCode
from smtpd_anontls.client.target import Target
from smtpd_anontls.client.tls import Secured
from smtpd_anontls.domain.certificate import Certificate
from smtpd_anontls.domain.records import TlsVerb

NOW = datetime(2026, 11, 22, tzinfo=UTC)
THUMBPRINT = "5C7A" * 10
TARGET = Target("mx1.contoso.test")


def reply(code: int, *texts: str) -> Reply:
    """Make a reply of these lines."""
    return Reply(code, texts, b"")


def hello(*keywords: str, greeting: Greeting = Greeting.EHLO) -> Hello:
    """Make the answer to a greeting."""
    return Hello(greeting, reply(250, "mx1 Hello", *keywords))


def secured(**change: object) -> Secured:
    """Make a TLS session with an unremarkable self-signed certificate, but for *change*."""
    facts: dict[str, object] = {
        "thumbprint": THUMBPRINT,
        "subject": "CN=mx1",
        "issuer": "CN=mx1",
        "serial_number": "01",
        "not_before": datetime(2025, 1, 1, tzinfo=UTC),
        "not_after": datetime(2030, 1, 1, tzinfo=UTC),
        "subject_alternative_names": (),
        "common_names": ("mx1",),
        "self_signed": True,
        "version": 3,
        "der": b"",
    }
    certificate = Certificate(**{**facts, **change})  # type: ignore[arg-type] # One table of facts.
    return Secured("TLSv1.2", "ECDHE-RSA-AES256-GCM-SHA384", 256, THUMBPRINT, certificate)


def judge(session: Secured, verb: TlsVerb = TlsVerb.X_ANONYMOUSTLS) -> verdict.Verdict:
    """Judge a session without expectation, with nothing odd inside TLS."""
    return verdict.upgraded(verb, session, hello("CHUNKING"), expected=None, now=NOW)


def test_a_certificate_that_cannot_be_read_is_a_problem() -> None:
    """Octets that are no certificate are 1, with the thumbprint of what was sent."""
    judged = judge(Secured("TLSv1.2", "AES128-SHA", 128, THUMBPRINT, None))

    assert judged.exit_code is ExitCode.NOT_AS_EXPECTED
    assert f"its certificate {THUMBPRINT} cannot be read as an X.509 certificate" in judged.sentence


@pytest.mark.parametrize(
    ("verb", "said"),
    [
        (TlsVerb.X_ANONYMOUSTLS, "as is usual for anonymous TLS"),
        (TlsVerb.STARTTLS, "which other organizations will not trust"),
    ],
)
def test_self_signed_means_something_else_to_each_verb(verb: TlsVerb, said: str) -> None:
    """A self-signed certificate is usual behind one verb and a nuisance behind the other; both are 0."""
    judged = judge(secured(), verb)

    assert judged.exit_code is ExitCode.FINE
    assert said in judged.sentence


@pytest.mark.parametrize(("verb", "event"), [(TlsVerb.X_ANONYMOUSTLS, 12015), (TlsVerb.STARTTLS, 12016)])
def test_expiry_names_the_event_of_its_verb(verb: TlsVerb, event: int) -> None:
    """An expired certificate is 1, with the event that Exchange writes."""
    judged = judge(secured(not_after=datetime(2026, 1, 1, tzinfo=UTC)), verb)

    assert judged.exit_code is ExitCode.NOT_AS_EXPECTED
    assert (
        f"expired on 2026-01-01T00:00:00Z (Exchange advertises it all the same and writes event {event})"
        in (judged.sentence)
    )


def test_names_of_a_certificate_are_shown_harmlessly() -> None:
    """A certificate's subject cannot write to the terminal."""
    judged = judge(secured(subject="CN=\x1b[2Jmx1", issuer="CN=\u202eca", self_signed=False))

    assert judged.sentence.isprintable()
    assert r"CN=\x1b[2Jmx1" in judged.sentence


@pytest.mark.parametrize("banner", ["mx1 Microsoft ESMTP MAIL Service ready", "mx1 ready"])
def test_exchange_is_known_by_its_banner_or_its_keywords(banner: str) -> None:
    """A banner of one's own does not hide an Exchange server whose EHLO has its keywords."""
    keywords = () if "Microsoft" in banner else ("X-EXPS NTLM",)
    sentence = verdict.verb_not_offered(TlsVerb.X_ANONYMOUSTLS, reply(220, banner), hello(*keywords))

    assert "lacks ExchangeServer in AuthMechanism" in sentence


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (reply(451, "4.7.0 Later"), "X-ANONYMOUSTLS is advertised, but refused with 451 4.7.0 Later"),
        (reply(454, ""), "a certificate or private key that it cannot load"),
        (reply(502, "5.3.3 No"), "may have changed the command"),
    ],
)
def test_a_refused_verb_is_explained(answer: Reply, said: str) -> None:
    """The kind of reply says where to look."""
    assert said in verdict.verb_refused(TlsVerb.X_ANONYMOUSTLS, answer)


def test_without_ehlo_there_is_no_verb() -> None:
    """A server that takes HELO alone speaks SMTP all the same."""
    judged = verdict.no_verb_asked(TARGET, hello("X-ANONYMOUSTLS", greeting=Greeting.HELO))

    assert judged.exit_code is ExitCode.FINE
    assert (
        judged.sentence == "mx1.contoso.test:25 speaks SMTP, but takes HELO alone, so it offers no TLS verb"
    )


def test_keywords_are_compared_whole_and_without_case() -> None:
    """A keyword with parameters counts, one that only begins alike does not."""
    answer = hello("x-anonymoustls", "STARTTLS-NOT", "", "SIZE 37748736")

    assert answer.offers(TlsVerb.X_ANONYMOUSTLS)
    assert not answer.offers(TlsVerb.STARTTLS)
    assert answer.keywords == ("X-ANONYMOUSTLS", "STARTTLS-NOT", "SIZE")


def test_a_long_reply_is_cut_in_a_sentence() -> None:
    """A reply of many lines does not make a verdict of many lines."""
    assert len(str(reply(554, *["no"] * 100))) == 160


def test_a_client_certificate_that_stayed_here_is_told() -> None:
    """A server that asks for another kind of key gets none, and that is said."""
    session = secured()
    own = session.certificate
    assert own is not None
    asked = replace(session, asked_for_client_certificate=True)

    assert verdict.client_certificate(asked, own) == (
        f"the server asked for a client certificate, but {THUMBPRINT} has no key type that it takes"
    )


@pytest.mark.parametrize(
    ("code", "text", "said"),
    [
        (530, "5.7.57 Client not authenticated", "PermissionGroups; authenticate with --auth"),
        (451, "5.7.3 STARTTLS is required to send mail", "name a TLS verb with --verb"),
        (550, "5.7.1 Unable to relay", "look at the connector's PermissionGroups"),
        (450, "4.2.1 Later", "MAIL was refused with 450 4.2.1 Later"),
    ],
)
def test_a_refused_command_is_explained(code: int, text: str, said: str) -> None:
    """The beginning of the reply says where to look, where that is known."""
    assert refusals.message("MAIL", reply(code, text)).endswith(said)


def test_words_behind_a_keyword() -> None:
    """What a line of EHLO says behind its keyword, whole and without case."""
    answer = hello("auth ntlm Login", "X-EXPS", "AUTHENTIC YES", "")

    assert answer.words_behind("AUTH") == ("NTLM", "LOGIN")
    assert answer.words_behind("X-EXPS") == ()
    assert answer.words_behind("SIZE") == ()
