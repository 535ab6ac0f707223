"""What the facts of a conversation mean to somebody who runs Exchange: one sentence each, and an exit code.

The texts rest on Microsoft's own: the NDR table (5.7.3), "Selection of Inbound Anonymous TLS
Certificates", Set-ReceiveConnector, and the ESMTP inspection of Cisco firewalls (KB 320027).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from smtpd_anontls.client.conversation import Greeting
from smtpd_anontls.client.errors import ExitCode
from smtpd_anontls.domain.instants import rfc3339_seconds
from smtpd_anontls.domain.printable import printable
from smtpd_anontls.domain.records import TlsVerb

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from smtpd_anontls.client.conversation import Hello, Reply
    from smtpd_anontls.client.errors import ClientError
    from smtpd_anontls.client.target import Target
    from smtpd_anontls.client.tls import Secured
    from smtpd_anontls.domain.certificate import Certificate

# XXXXXXXA for STARTTLS: the firewall keeps a line's length and numbers the keywords that it hides.
_MASKED_KEYWORD = re.compile(r"X{3,}[A-Z]?")
_MASKED_BANNER = re.compile(r"\*{4,}")
_EXCHANGE_KEYWORDS = frozenset({"X-ANONYMOUSTLS", "X-EXPS", "XRDST", "XEXCH50", "XSHADOW", "XSHADOWREQUEST"})
_EXCHANGE_BANNER = "Microsoft ESMTP MAIL"
_UNMASK = "turn its SMTP inspection off (Cisco ASA: no inspect esmtp) before you look at the server"
_LOCAL_PROBLEM = 454  # RFC 3207 section 4: TLS not available due to temporary reason.

_NOT_OFFERED = {
    TlsVerb.X_ANONYMOUSTLS: (
        "an Exchange sender would stop here with 451 5.7.3 Cannot achieve Exchange Server authentication"
    ),
    TlsVerb.STARTTLS: (
        "an Exchange sender that requires TLS would stop here with 451 5.7.3 STARTTLS is required to send mail"
    ),
}
_CAUSES = {
    TlsVerb.X_ANONYMOUSTLS: (
        "causes: the Receive connector that takes this client lacks ExchangeServer in AuthMechanism or has "
        "SuppressXAnonymousTls set, msExchServerInternalTLSCert is not set or cannot be read (event 12012 at service "
        "start), the certificate that it names is not in the local computer store (event 12013), or a firewall "
        "removes the verb"
    ),
    TlsVerb.STARTTLS: (
        "causes: the Receive connector that takes this client lacks Tls in AuthMechanism, no certificate in the local "
        "computer store is eligible for its name (event 12014), or a firewall removes the verb"
    ),
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """One sentence, and the exit code that goes with it."""

    sentence: str
    exit_code: ExitCode

    def with_note(self, note: str) -> Verdict:
        """Return the same with one more clause."""
        return Verdict(f"{self.sentence}; {note}", self.exit_code)


def banner_refused(target: Target, banner: Reply) -> str:
    """Say what a greeting other than 220 means."""
    sentence = f"{target} refuses the session: {banner}"
    if banner.code == 421 and "4.3.2" in banner.texts[0]:  # noqa: PLR2004 - RFC 5321 section 3.8
        sentence += (
            "; Exchange says so when no Receive connector takes this client's address (RemoteIPRanges), or while the "
            "Transport service is not active"
        )
    return sentence


def verb_not_offered(verb: TlsVerb, banner: Reply, hello: Hello) -> str:
    """Say what it means that EHLO does not offer *verb*, and why that can be."""
    sentence = f"{verb} is not advertised: {_NOT_OFFERED[verb]}"
    masked = [keyword for keyword in hello.keywords if _MASKED_KEYWORD.fullmatch(keyword)]
    if masked:
        return f"{sentence}; a firewall masks the EHLO keywords ({', '.join(masked)}): {_UNMASK}"
    if any(_MASKED_BANNER.search(text) for text in banner.texts):
        return f"{sentence}; a firewall masks the greeting with asterisks: {_UNMASK}"
    if hello.greeting is Greeting.HELO:
        return f"{sentence}; the server, or a firewall before it, refuses EHLO and takes HELO alone, which offers nothing"
    other = next(v for v in TlsVerb if v is not verb)
    offered = f"; {other} is advertised" if hello.offers(other) else ""
    if verb is TlsVerb.X_ANONYMOUSTLS and not _looks_like_exchange(banner, hello):
        return (
            f"{sentence}; nothing in its greeting or its EHLO reply speaks of Exchange, which alone has this verb, so "
            f"this may be another mail server or a gateway{offered}"
        )
    return f"{sentence}; {_CAUSES[verb]}{offered}"


def verb_refused(verb: TlsVerb, reply: Reply) -> str:
    """Say what it means that the server offers *verb* and then does not take it."""
    sentence = f"{verb} is advertised, but refused with {reply}"
    if reply.code == _LOCAL_PROBLEM:
        return f"{sentence}: the server has a problem of its own, often a certificate or private key that it cannot load"
    if "XXXX" in reply.texts[0]:
        return f"{sentence}: a firewall masks the command: {_UNMASK}"
    if reply.is_permanent:
        return f"{sentence}: a firewall or proxy on the way may have changed the command"
    return sentence


def no_verb_asked(target: Target, hello: Hello) -> Verdict:
    """Say what a conversation without upgrade has shown."""
    if hello.greeting is Greeting.HELO:
        return Verdict(f"{target} speaks SMTP, but takes HELO alone, so it offers no TLS verb", ExitCode.FINE)
    offered = " and ".join(verb.value for verb in TlsVerb if hello.offers(verb)) or "no TLS verb"
    return Verdict(f"{target} speaks SMTP and advertises {offered}", ExitCode.FINE)


def upgraded(
    verb: TlsVerb, secured: Secured, after: Hello, *, expected: str | None, now: datetime
) -> Verdict:
    """Judge a TLS session: the certificate against *now* and the expectation, and what EHLO offers inside."""
    problems = list(certificate_problems(secured, verb, expected=expected, now=now))
    notes = []
    certificate = secured.certificate
    if certificate is not None and certificate.is_not_yet_valid(now):
        notes.append(f"the certificate is valid only from {rfc3339_seconds(certificate.not_before)}")
    notes.append(_after_tls(after))
    if problems or certificate is None:
        sentence = f"{_session(verb, secured)}, but {' and '.join(problems)}"
        return Verdict("; ".join((sentence, *notes)), ExitCode.NOT_AS_EXPECTED)
    sentence = (
        f"{verb} works: {secured.version} with {secured.cipher}, certificate {_describe(certificate, verb)}"
    )
    if expected is not None:
        sentence += ", as expected"
    return Verdict("; ".join((sentence, *notes)), ExitCode.FINE)


def broken_off(
    verb: TlsVerb | None,
    secured: Secured | None,
    failure: ClientError,
    *,
    expected: str | None,
    now: datetime,
) -> Verdict:
    """Judge a conversation that ended early; what a certificate has shown until then is told as well."""
    if verb is None or secured is None:
        return Verdict(str(failure), failure.exit_code)
    problems = certificate_problems(secured, verb, expected=expected, now=now)
    sentence = f"{_session(verb, secured)}, but then {failure}"
    return Verdict("; ".join((sentence, *problems)), failure.exit_code)


def client_certificate(secured: Secured, own: Certificate) -> str:
    """Say what became of the client certificate *own*."""
    if secured.presented is not None:
        return f"the client certificate {own.thumbprint} was presented"
    if secured.asked_for_client_certificate:
        return (
            f"the server asked for a client certificate, but {own.thumbprint} has no key type that it takes"
        )
    return (
        f"the server asked for no client certificate, so {own.thumbprint} was not presented (an Edge server asks, and a "
        "connector with request_client_certificate)"
    )


def _session(verb: TlsVerb, secured: Secured) -> str:
    return f"{verb} gave a TLS session ({secured.version} with {secured.cipher})"


def certificate_problems(
    secured: Secured, verb: TlsVerb, *, expected: str | None, now: datetime
) -> Iterable[str]:
    """Yield what is wrong with the certificate, each as a clause."""
    certificate = secured.certificate
    if certificate is None:
        yield f"its certificate {secured.thumbprint} cannot be read as an X.509 certificate"
    elif certificate.is_expired(now):
        event = 12015 if verb is TlsVerb.X_ANONYMOUSTLS else 12016
        yield (
            f"the certificate {secured.thumbprint} expired on {rfc3339_seconds(certificate.not_after)} (Exchange "
            f"advertises it all the same and writes event {event})"
        )
    if expected is not None and secured.thumbprint != expected:
        yield f"the certificate presented is {secured.thumbprint}, not {expected} as expected"


def _describe(certificate: Certificate, verb: TlsVerb) -> str:
    if not certificate.self_signed:
        origin = f"issued by {printable(certificate.issuer)}"
    elif verb is TlsVerb.X_ANONYMOUSTLS:
        origin = "self-signed, as is usual for anonymous TLS"
    else:
        origin = "self-signed, which other organizations will not trust"
    return (
        f"{certificate.thumbprint} ({printable(certificate.subject) or 'no subject'}, {origin}, valid until "
        f"{rfc3339_seconds(certificate.not_after)})"
    )


def _after_tls(after: Hello) -> str:
    # RFC 3207 section 4.2: STARTTLS is not offered inside TLS; Exchange withdraws both verbs.
    left = [verb.value for verb in TlsVerb if after.offers(verb)]
    if left:
        return f"against RFC 3207, {' and '.join(left)} {'is' if len(left) == 1 else 'are'} still advertised inside TLS"
    return "the TLS verbs are gone after it, as they must be"


def _looks_like_exchange(banner: Reply, hello: Hello) -> bool:
    return any(_EXCHANGE_BANNER in text for text in banner.texts) or not _EXCHANGE_KEYWORDS.isdisjoint(
        hello.keywords
    )
