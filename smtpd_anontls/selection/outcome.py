"""The value that a selection returns, and the ports that it asks."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from smtpd_anontls.domain.events import EventDraft, EventId
from smtpd_anontls.domain.instants import rfc3339_seconds
from smtpd_anontls.domain.records import TlsVerb

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from smtpd_anontls.domain.certificate import Certificate, StoreCertificate
    from smtpd_anontls.domain.directory_value import Answer


class Directory(Protocol):
    """Where msExchServerInternalTLSCert is read."""

    async def internal_tls_certificate(self, server: str) -> Answer:
        """Return what the object of *server* names; never raise."""
        ...


class Store(Protocol):
    """The local computer store of one server."""

    async def find(self, thumbprint: str) -> StoreCertificate | None:
        """Return the certificate with this thumbprint, usable or not; None where there is none."""
        ...

    async def all(self) -> Sequence[StoreCertificate]:
        """Return every certificate."""
        ...

    async def ephemeral(self, names: Sequence[str], now: datetime) -> Certificate:
        """Return the self-signed certificate for *names* that is in memory alone; the first question makes it."""
        ...


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a selection: its question's answer, and the sentence that explains it."""

    step: str
    passed: bool
    detail: str

    def as_json(self) -> dict[str, Any]:
        """Return the step object of the trace."""
        return {"step": self.step, "passed": self.passed, "detail": self.detail}


@dataclass(frozen=True, slots=True)
class Selection:
    """What was decided, and everything needed to explain it."""

    server: str
    connector: str
    verb: TlsVerb
    certificate: Certificate | None  # None: the verb is not advertised, nothing is loaded.
    steps: tuple[Step, ...]
    events: tuple[EventDraft, ...]
    duration_ms: float = 0.0  # Measured by whoever ran it; the selection has no clock.
    # Made once and passed on: each session shows both selections, and nearly always the same ones.
    _shown: Mapping[str, Any] | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def advertised(self) -> bool:
        """Whether EHLO offers the verb."""
        return self.certificate is not None

    @property
    def event_ids(self) -> tuple[int, ...]:
        """The ids of the events that the selection asks for."""
        return tuple(event.event_id.value for event in self.events)

    def lasting(self, milliseconds: float) -> Selection:
        """Return the selection with what it took."""
        # Not dataclasses.replace, since each session does this: it looks every field up by its name.
        timed = Selection(
            self.server, self.connector, self.verb, self.certificate, self.steps, self.events, milliseconds
        )
        object.__setattr__(timed, "_shown", self._untimed())
        return timed

    def not_loadable(self, reason: str, fqdn: str) -> Selection:
        """Return the selection as it is where the chosen certificate could not be loaded after all."""
        assert self.certificate is not None
        before, detail = self.up_to_the_store()
        failed = Step("certificate_store", passed=False, detail=f"{detail}; {reason}")
        event = missing(self.verb, self.certificate.thumbprint, self.connector, fqdn)
        return replace(self, certificate=None, steps=(*before, failed), events=(event,))

    def presenting(self, stand_in: Certificate) -> Selection:
        """Return the selection as it is where a look-alike is presented in place of the certificate chosen."""
        assert self.certificate is not None
        # The step that chose it: the last but validity, which speaks of dates that both have.
        chose = max(at for at, step in enumerate(self.steps) if step.step != "validity")
        remark = (
            f"; STAND-IN: presented is {stand_in.thumbprint}, a look-alike with a key of its own, in place of "
            f"{self.certificate.thumbprint}"
        )
        marked = replace(self.steps[chose], detail=self.steps[chose].detail + remark)
        return replace(
            self, certificate=stand_in, steps=(*self.steps[:chose], marked, *self.steps[chose + 1 :])
        )

    def up_to_the_store(self) -> tuple[tuple[Step, ...], str]:
        """Return the steps before the store was asked, and the sentence of its step."""
        found = [step.step for step in self.steps].index("certificate_store")
        return self.steps[:found], self.steps[found].detail

    def as_json(self) -> dict[str, Any]:
        """Return the selection object that every surface shows."""
        return {**self._untimed(), "duration_ms": round(self.duration_ms, 3)}

    def _untimed(self) -> Mapping[str, Any]:
        if self._shown is not None:
            return self._shown
        shown = {
            "server": self.server,
            "connector": self.connector,
            "verb": self.verb.value,
            "advertised": self.advertised,
            "certificate": None if self.certificate is None else certificate_json(self.certificate),
            "steps": [step.as_json() for step in self.steps],
            "event_ids": list(self.event_ids),
        }
        object.__setattr__(self, "_shown", shown)
        return shown


def missing(verb: TlsVerb, thumbprint: str, connector: str, fqdn: str) -> EventDraft:
    """Return the event of *verb* for a certificate that was chosen and cannot be loaded."""
    if verb is TlsVerb.X_ANONYMOUSTLS:
        return EventDraft(EventId.NOT_IN_STORE, (thumbprint,), thumbprint)
    return EventDraft(EventId.NO_STARTTLS_CERTIFICATE, (fqdn, connector, fqdn), thumbprint)


def certificate_json(certificate: Certificate) -> dict[str, Any]:
    """Return the certificate object that every surface shows."""
    return {
        "thumbprint": certificate.thumbprint,
        "subject": certificate.subject,
        "issuer": certificate.issuer,
        "serial_number": certificate.serial_number,
        "not_before": rfc3339_seconds(certificate.not_before),
        "not_after": rfc3339_seconds(certificate.not_after),
        "subject_alternative_names": list(certificate.subject_alternative_names),
        "self_signed": certificate.self_signed,
    }


def stored_certificate_json(
    one: StoreCertificate, server: str, *, internal_transport: bool
) -> dict[str, Any]:
    """Return the object of a certificate in the local computer store of *server*."""
    return {
        **certificate_json(one.certificate),
        "server": server,
        "file": one.file,
        "private_key": one.key.name.lower(),
        "services": None if one.services is None else sorted(one.services),
        "internal_transport": internal_transport,
    }


@dataclass(slots=True)
class Trace:
    """The steps of a selection that is under way."""

    server: str
    connector: str
    verb: TlsVerb
    steps: list[Step] = field(default_factory=list)
    events: list[EventDraft] = field(default_factory=list)

    def passed(self, step: str, detail: str) -> None:
        """Note that a step's answer is yes."""
        self.steps.append(Step(step, passed=True, detail=detail))

    def failed(self, step: str, detail: str) -> None:
        """Note that a step's answer is no; whether that ends the selection is the caller's to say."""
        self.steps.append(Step(step, passed=False, detail=detail))

    def write(self, event_id: EventId, *inserts: str, thumbprint: str | None = None) -> None:
        """Ask for an event."""
        self.events.append(EventDraft(event_id, inserts, thumbprint))

    def nothing(self) -> Selection:
        """End without a certificate: the verb is not advertised."""
        return self._end(None)

    def selected(self, certificate: Certificate) -> Selection:
        """End with *certificate*: the verb is advertised."""
        return self._end(certificate)

    def _end(self, certificate: Certificate | None) -> Selection:
        return Selection(
            self.server,
            self.connector,
            self.verb,
            certificate,
            tuple(self.steps),
            tuple(self.events),
        )


def hours_remaining(certificate: Certificate, now: datetime) -> int:
    """Return the whole hours until Valid to."""
    return int((certificate.not_after - now).total_seconds() // 3600)
