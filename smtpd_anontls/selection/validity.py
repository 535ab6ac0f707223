"""The last step of both selections: Valid to against now, and the warning before it.

"If the certificate has expired, Event ID 12015 is logged in the Application log.  But the
certificate selection process doesn't fail" - the same holds for STARTTLS with 12016.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from smtpd_anontls.domain.events import EventDraft, EventId
from smtpd_anontls.domain.instants import rfc3339_seconds
from smtpd_anontls.domain.records import TlsVerb
from smtpd_anontls.selection.outcome import hours_remaining

if TYPE_CHECKING:
    from datetime import datetime

    from smtpd_anontls.domain.certificate import Certificate
    from smtpd_anontls.selection.outcome import Trace


@dataclass(frozen=True, slots=True)
class Moment:
    """When a selection runs, and whether that is at service start."""

    now: datetime
    at_start: bool = False


def check_validity(
    trace: Trace,
    certificate: Certificate,
    moment: Moment,
    *,
    fqdn: str,
    warning_days: int | None,
    all_the_same: str | None = None,
) -> None:
    """Add the validity step, and the events of an expired or soon expiring certificate.

    Without *warning_days* nothing warns before Valid to.  *all_the_same* says what happens to a certificate that is
    not valid; where nothing is said, its verb is advertised.
    """
    all_the_same = all_the_same or f"{trace.verb} is advertised all the same"
    if certificate.is_expired(moment.now):
        trace.failed(
            "validity",
            f"expired on {rfc3339_seconds(certificate.not_after)}; {all_the_same}",
        )
        if trace.verb is TlsVerb.X_ANONYMOUSTLS:
            trace.write(EventId.EXPIRED, certificate.thumbprint, thumbprint=certificate.thumbprint)
        else:
            trace.write(EventId.STARTTLS_EXPIRED, fqdn, thumbprint=certificate.thumbprint)
        return
    if certificate.is_not_yet_valid(moment.now):
        # The documents look at Valid to alone.
        trace.failed(
            "validity",
            f"warning: not valid before {rfc3339_seconds(certificate.not_before)}; {all_the_same}, since only Valid to is "
            "looked at",
        )
        return
    trace.passed("validity", f"valid until {rfc3339_seconds(certificate.not_after)}")
    if moment.at_start and warning_days is not None:
        trace.events.extend(expiry_warning(trace.verb, certificate, moment.now, warning_days=warning_days))


def expiry_warning(
    verb: TlsVerb, certificate: Certificate, now: datetime, *, warning_days: int
) -> list[EventDraft]:
    """Return event 12017 or 12018 where Valid to is within *warning_days*; for service start and once a day."""
    if certificate.is_expired(now) or certificate.not_after - now > timedelta(days=warning_days):
        return []
    thumbprint, hours = certificate.thumbprint, str(hours_remaining(certificate, now))
    if verb is TlsVerb.X_ANONYMOUSTLS:
        return [EventDraft(EventId.EXPIRES_SOON, (thumbprint, hours), thumbprint)]
    return [EventDraft(EventId.STARTTLS_EXPIRES_SOON, (certificate.subject, thumbprint, hours), thumbprint)]
