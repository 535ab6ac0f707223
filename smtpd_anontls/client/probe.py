"""Ask any SMTP server for its banner, its EHLO lines and its TLS, and say what the answers mean.

Where that is asked for, authenticate and send a message too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from smtpd_anontls.client import verdict
from smtpd_anontls.client.approach import Seen, greet, secure
from smtpd_anontls.client.conversation import Conversation, Transcript, checked_ehlo_name
from smtpd_anontls.client.errors import ClientError
from smtpd_anontls.client.logon import Attempt
from smtpd_anontls.client.sending import Transaction
from smtpd_anontls.client.tls import TlsOffer
from smtpd_anontls.client.wire import Deadline, checked_timeout
from smtpd_anontls.domain.authentication import Mechanism
from smtpd_anontls.domain.certificate import normalized_thumbprint
from smtpd_anontls.domain.instants import rfc3339_seconds
from smtpd_anontls.domain.printable import printable
from smtpd_anontls.domain.records import TlsVerb
from smtpd_anontls.domain.tls_policy import TlsVersion
from smtpd_anontls.selection.outcome import certificate_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from smtpd_anontls.client.client_certificate import ClientCertificate
    from smtpd_anontls.client.conversation import Hello
    from smtpd_anontls.client.errors import ExitCode
    from smtpd_anontls.client.logon import LogonOptions
    from smtpd_anontls.client.outgoing import Outgoing
    from smtpd_anontls.client.target import Target
    from smtpd_anontls.client.tls import Secured
    from smtpd_anontls.client.verdict import Verdict
    from smtpd_anontls.domain.records import TranscriptRow


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeOptions:
    """How to probe and what to expect; ValueError says which option cannot be, and what would do."""

    ehlo: str  # The name to say; conversation.local_name() where nobody gave one.
    verb: TlsVerb | None = TlsVerb.X_ANONYMOUSTLS  # None: banner and EHLO only.
    expect_thumbprint: str | None = None
    tls_min: TlsVersion = TlsVersion.TLSv1
    tls_max: TlsVersion = TlsVersion.TLSv1_3
    server_name: str | None = None  # SNI.
    timeout: float = 30.0  # Seconds for everything together.
    client_certificate: ClientCertificate | None = None
    logon: LogonOptions | None = None  # None: authenticate nobody.
    outgoing: Outgoing | None = None  # None: send nothing.

    def __post_init__(self) -> None:
        checked_ehlo_name(self.ehlo)
        checked_timeout(self.timeout)
        TlsOffer(self.tls_min, self.tls_max, self.server_name)
        if self.expect_thumbprint is not None:
            if self.verb is None:
                raise ValueError("without a TLS verb there is no certificate to expect; name a verb")
            object.__setattr__(self, "expect_thumbprint", normalized_thumbprint(self.expect_thumbprint))
        if self.verb is None:
            self._check_clear()

    def _check_clear(self) -> None:
        """Look at what cannot be without TLS."""
        if self.client_certificate is not None:
            raise ValueError("without a TLS verb no client certificate can be presented; name a verb")
        logon = self.logon
        if logon is not None and logon.mechanism is Mechanism.LOGIN and not logon.allow_clear:
            raise ValueError(
                "without a TLS verb LOGIN says the password in the clear; name a verb, or say --allow-clear where that "
                "may be"
            )

    @property
    def offer(self) -> TlsOffer:
        """What the ClientHello will offer."""
        return TlsOffer(self.tls_min, self.tls_max, self.server_name, self.client_certificate)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """All that a probe has learned; what it did not come to is None."""

    target: Target
    verb: TlsVerb | None
    seen: Seen
    verdict: str
    exit_code: ExitCode
    client_certificate: ClientCertificate | None
    transcript: tuple[TranscriptRow, ...]

    @property
    def advertised(self) -> bool | None:
        """Whether the verb is advertised; None where none was asked for, or EHLO was not answered."""
        if self.verb is None or self.seen.hello is None:
            return None
        return self.seen.hello.offers(self.verb)

    @property
    def banner(self) -> str | None:
        """The greeting as the server sent it, with its code; a line break stands between its lines."""
        return None if self.seen.banner is None else "\n".join(self.seen.banner.lines)

    def as_json(self) -> dict[str, Any]:
        """Return the object that ``probe --json`` prints."""
        seen = self.seen
        certificate = None if seen.secured is None else seen.secured.certificate
        return {
            "host": self.target.host,
            "port": self.target.port,
            "banner": self.banner,
            "greeting": None if seen.hello is None else seen.hello.greeting.value,
            "ehlo": _ehlo_lines(seen.hello),
            "verb": None if self.verb is None else self.verb.value,
            "advertised": self.advertised,
            "tls": None if seen.secured is None else _tls_json(seen.secured),
            "certificate": None if certificate is None else certificate_json(certificate),
            "client_certificate": self._client_certificate_json(),
            "ehlo_after_tls": _ehlo_lines(seen.hello_after_tls),
            "authentication": None if seen.logon is None else seen.logon.as_json(),
            "sent": None if seen.sent is None else seen.sent.as_json(),
            "verdict": self.verdict,
            "exit_code": self.exit_code.value,
            "transcript": [row.as_json() for row in self.transcript],
        }

    def rows(self) -> list[tuple[str, str]]:
        """Return what a person reads, as labels and values in order; the verdict comes last."""
        seen = self.seen
        rows = [("Server", str(self.target))]
        if seen.banner is not None:
            rows += [("Banner", line) for line in seen.banner.lines]
        if seen.hello is not None:
            rows += [(seen.hello.greeting.value, line) for line in seen.hello.reply.texts]
        if self.verb is not None and self.advertised is not None:
            rows.append((self.verb.value, "advertised" if self.advertised else "not advertised"))
        if seen.secured is not None:
            rows += _tls_rows(seen.secured)
            rows += self._client_certificate_rows(seen.secured)
        if seen.hello_after_tls is not None:
            hello = seen.hello_after_tls
            rows += [(f"{hello.greeting} after TLS", line) for line in hello.reply.texts]
        if seen.logon is not None:
            rows.append((str(seen.logon), str(seen.logon.reply or "no answer")))
        if seen.sent is not None:
            rows.append(("Message" if seen.sent.accepted else "Last reply", str(seen.sent.reply)))
        return [*rows, ("Verdict", self.verdict)]

    def _client_certificate_json(self) -> dict[str, Any] | None:
        secured = self.seen.secured
        if secured is None:
            return None
        return {
            "asked_for": secured.asked_for_client_certificate,
            "presented": secured.presented is not None,
            "thumbprint": None
            if self.client_certificate is None
            else self.client_certificate.certificate.thumbprint,
        }

    def _client_certificate_rows(self, secured: Secured) -> list[tuple[str, str]]:
        if secured.presented is not None:
            return [("Client certificate", f"{secured.presented.thumbprint}, presented")]
        if secured.asked_for_client_certificate:
            return [("Client certificate", "asked for, none presented")]
        return [] if self.client_certificate is None else [("Client certificate", "not asked for")]


def probe(target: Target, options: ProbeOptions, now: datetime) -> ProbeResult:
    """Talk to *target* within the time-out and judge it as of *now*; no failure of the peer raises."""
    seen, transcript = Seen(), Transcript()
    try:
        with Conversation.open(target, Deadline(options.timeout), transcript) as conversation:
            judged = _converse(conversation, target, options, seen, now)
            for note in _go_on(conversation, target, options, seen):
                judged = judged.with_note(note)
    except ClientError as error:
        judged = verdict.broken_off(
            options.verb, seen.secured, error, expected=options.expect_thumbprint, now=now
        )
        if seen.logon is not None and seen.logon.succeeded:
            judged = judged.with_note(f"{seen.logon} had succeeded before")
    return ProbeResult(
        target=target,
        verb=options.verb,
        seen=seen,
        verdict=judged.sentence,
        exit_code=judged.exit_code,
        client_certificate=options.client_certificate,
        transcript=tuple(transcript.rows),
    )


def _converse(
    conversation: Conversation, target: Target, options: ProbeOptions, seen: Seen, now: datetime
) -> Verdict:
    """Greet and upgrade, and return what is to be thought of it."""
    banner, hello = greet(conversation, target, ehlo=options.ehlo, seen=seen)
    if options.verb is None:
        return verdict.no_verb_asked(target, hello)
    secured = secure(conversation, options.verb, banner, hello, offer=options.offer, seen=seen)
    # RFC 3207 section 4.2: the session starts again, so EHLO is said again.
    after = seen.hello_after_tls = conversation.hello(options.ehlo)
    judged = verdict.upgraded(options.verb, secured, after, expected=options.expect_thumbprint, now=now)
    own = options.client_certificate
    if own is not None:
        judged = judged.with_note(verdict.client_certificate(secured, own.certificate))
    return judged


def _go_on(conversation: Conversation, target: Target, options: ProbeOptions, seen: Seen) -> Iterator[str]:
    """Authenticate and send, where that is asked for; yield what came of it, each as a clause."""
    hello = seen.hello_after_tls or seen.hello
    assert hello is not None
    if options.logon is None and options.outgoing is None:
        return
    if seen.secured is not None and options.expect_thumbprint not in {None, seen.secured.thumbprint}:
        # Whoever names a certificate wants to tell its server alone who they are.
        yield "so nobody authenticated, and nothing was sent"
        return
    if options.logon is not None:
        attempt = Attempt(conversation, target, options.logon)
        try:
            yield attempt.run(hello, seen.secured).clause()
        finally:
            seen.logon = attempt.logon
    if options.outgoing is not None:
        transaction = Transaction(conversation, options.outgoing)
        try:
            yield f"the message was taken: {transaction.run(hello).reply}"
        finally:
            seen.sent = transaction.sent


def _ehlo_lines(hello: Hello | None) -> list[str]:
    return [] if hello is None else list(hello.ehlo_lines)


def _tls_json(secured: Secured) -> dict[str, Any]:
    return {"version": secured.version, "cipher": secured.cipher, "bits": secured.bits}


def _tls_rows(secured: Secured) -> list[tuple[str, str]]:
    rows = [
        ("TLS", f"{secured.version}, {secured.cipher}, {secured.bits} bits"),
        ("Thumbprint", secured.thumbprint),
    ]
    certificate = secured.certificate
    if certificate is not None:
        rows += [
            ("Subject", printable(certificate.subject)),
            ("Issuer", printable(certificate.issuer) + (" (self-signed)" if certificate.self_signed else "")),
            ("Names", printable(", ".join(certificate.subject_alternative_names))),
            ("Valid from", rfc3339_seconds(certificate.not_before)),
            ("Valid to", rfc3339_seconds(certificate.not_after)),
        ]
    return rows
