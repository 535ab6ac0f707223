"""Ask any SMTP server for its banner, its EHLO lines and its TLS, and say what the answers mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from smtpd_anontls.client import verdict
from smtpd_anontls.client.approach import Seen, greet, secure
from smtpd_anontls.client.conversation import Conversation, Transcript, checked_ehlo_name
from smtpd_anontls.client.errors import ClientError
from smtpd_anontls.client.tls import TlsOffer
from smtpd_anontls.client.wire import Deadline, checked_timeout
from smtpd_anontls.domain.certificate import normalized_thumbprint
from smtpd_anontls.domain.instants import rfc3339_seconds
from smtpd_anontls.domain.printable import printable
from smtpd_anontls.domain.records import TlsVerb
from smtpd_anontls.domain.tls_policy import TlsVersion
from smtpd_anontls.selection.outcome import certificate_json

if TYPE_CHECKING:
    from datetime import datetime

    from smtpd_anontls.client.conversation import Hello
    from smtpd_anontls.client.errors import ExitCode
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

    def __post_init__(self) -> None:
        checked_ehlo_name(self.ehlo)
        checked_timeout(self.timeout)
        TlsOffer(self.tls_min, self.tls_max, self.server_name)
        if self.expect_thumbprint is not None:
            if self.verb is None:
                raise ValueError("without a TLS verb there is no certificate to expect; name a verb")
            object.__setattr__(self, "expect_thumbprint", normalized_thumbprint(self.expect_thumbprint))

    @property
    def offer(self) -> TlsOffer:
        """What the ClientHello will offer."""
        return TlsOffer(self.tls_min, self.tls_max, self.server_name)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """All that a probe has learned; what it did not come to is None."""

    target: Target
    verb: TlsVerb | None
    seen: Seen
    verdict: str
    exit_code: ExitCode
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
            "ehlo_after_tls": _ehlo_lines(seen.hello_after_tls),
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
        if seen.hello_after_tls is not None:
            hello = seen.hello_after_tls
            rows += [(f"{hello.greeting} after TLS", line) for line in hello.reply.texts]
        return [*rows, ("Verdict", self.verdict)]


def probe(target: Target, options: ProbeOptions, now: datetime) -> ProbeResult:
    """Talk to *target* within the time-out and judge it as of *now*; no failure of the peer raises."""
    seen, transcript = Seen(), Transcript()
    try:
        with Conversation.open(target, Deadline(options.timeout), transcript) as conversation:
            judged = _converse(conversation, target, options, seen, now)
    except ClientError as error:
        judged = verdict.broken_off(
            options.verb, seen.secured, error, expected=options.expect_thumbprint, now=now
        )
    return ProbeResult(
        target=target,
        verb=options.verb,
        seen=seen,
        verdict=judged.sentence,
        exit_code=judged.exit_code,
        transcript=tuple(transcript.rows),
    )


def _converse(
    conversation: Conversation, target: Target, options: ProbeOptions, seen: Seen, now: datetime
) -> Verdict:
    banner, hello = greet(conversation, target, ehlo=options.ehlo, seen=seen)
    if options.verb is None:
        return verdict.no_verb_asked(target, hello)
    secured = secure(conversation, options.verb, banner, hello, offer=options.offer, seen=seen)
    # RFC 3207 section 4.2: the session starts again, so EHLO is said again.
    after = seen.hello_after_tls = conversation.hello(options.ehlo)
    return verdict.upgraded(options.verb, secured, after, expected=options.expect_thumbprint, now=now)


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
