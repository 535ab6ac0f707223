"""What the page about certificates shows: each server's store, and what would be selected at a moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from smtpd_anontls.domain.instants import rfc3339_seconds
from smtpd_anontls.selection.outcome import certificate_json
from smtpd_anontls.web.pages.session_view import Badge

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from smtpd_anontls.directory.server_object import ServerObject
    from smtpd_anontls.domain.certificate import Certificate, StoreCertificate
    from smtpd_anontls.domain.records import Json
    from smtpd_anontls.web.pages.flow import Chart
    from smtpd_anontls.web.pages.timeline import Bar, TimeLine


# Names of a certificate that its title has.
_NAMES = 3


@dataclass(frozen=True, slots=True)
class CertificateView:
    """A certificate of a store."""

    found: Json  # The certificate object.
    file: str
    key: str
    key_usable: bool
    services: str
    is_internal: bool
    chosen_for: tuple[str, ...]
    validity: Badge
    bar: Bar

    @property
    def title(self) -> str:
        """What a person calls it: its names, else its subject."""
        names = self.found["subject_alternative_names"]
        more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
        return ", ".join(names[:_NAMES]) + more if names else self.found["subject"] or "no subject"

    @classmethod
    def of(
        cls, held: StoreCertificate, named: ServerObject, charts: Sequence[Chart], line: TimeLine
    ) -> CertificateView:
        """Return the view of *held*, which *charts* may have chosen."""
        certificate = held.certificate
        return cls(
            certificate_json(certificate),
            held.file,
            held.key.value,
            held.key.is_there,
            _services(held),
            named.thumbprint == certificate.thumbprint,
            tuple(
                f"{chart.verb} on {chart.connector}"
                for chart in charts
                if chart.certificate is not None and chart.certificate["thumbprint"] == certificate.thumbprint
            ),
            _validity(certificate, line.moment),
            line.bar(certificate.not_before, certificate.not_after),
        )


@dataclass(frozen=True, slots=True)
class StoreView:
    """The local computer store of a server."""

    server: str
    fqdn: str
    named: ServerObject
    is_held: bool  # Whether the store holds what the directory names.
    certificates: tuple[CertificateView, ...]
    charts: tuple[Chart, ...]


def store_view(
    server: str,
    fqdn: str,
    *,
    named: ServerObject,
    held: Sequence[StoreCertificate],
    charts: Sequence[Chart],
    line: TimeLine,
) -> StoreView:
    """Return the view of a store, with what would be selected from it."""
    views = tuple(CertificateView.of(each, named, charts, line) for each in held)
    return StoreView(server, fqdn, named, any(each.is_internal for each in views), views, tuple(charts))


def _services(held: StoreCertificate) -> str:
    if held.services is None:
        return "not listed: counts as enabled for SMTP"
    return ", ".join(sorted(held.services)) or "None"


def _validity(certificate: Certificate, moment: datetime) -> Badge:
    if certificate.is_expired(moment):
        return Badge("bad", "expired")
    if certificate.is_not_yet_valid(moment):
        return Badge("warning", "not yet valid")
    days = (certificate.not_after - moment).days
    return Badge("good", f"valid, {days:,} day{'' if days == 1 else 's'} left")


def date_of(instant: datetime) -> str:
    """Return the day of *instant*, as a date field has it."""
    return rfc3339_seconds(instant)[:10]
