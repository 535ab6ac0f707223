"""What the page about certificates shows: each server's store, and what would be selected at a moment."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from smtpd_anontls.domain.instants import rfc3339_seconds
from smtpd_anontls.selection.outcome import certificate_json
from smtpd_anontls.web.pages.session_view import Badge

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from smtpd_anontls.directory.server_object import ServerObject
    from smtpd_anontls.domain.certificate import Certificate, StoreCertificate
    from smtpd_anontls.domain.connectors import Server
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
        cls,
        held: StoreCertificate,
        named: ServerObject,
        charts: Sequence[Chart],
        line: TimeLine,
        warned: timedelta,
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
            _validity(certificate, line.moment, warned),
            line.bar(certificate.not_before, certificate.not_after),
        )


@dataclass(frozen=True, slots=True)
class Chosen:
    """The certificate that a verb of a connector would select; None where it is not advertised."""

    verb: str
    title: str | None
    thumbprint: str
    validity: Badge
    anchor: str  # Of its flow chart.


@dataclass(frozen=True, slots=True)
class Choosing:
    """What a connector would select, by verb."""

    connector: str
    chosen: tuple[Chosen, ...]


@dataclass(frozen=True, slots=True)
class StoreView:
    """The local computer store of a server."""

    server: str
    fqdn: str
    named: ServerObject
    is_held: bool  # Whether the store holds what the directory names.
    certificates: tuple[CertificateView, ...]
    charts: tuple[tuple[Chart, str], ...]  # Each with its id in the page.
    choosing: tuple[Choosing, ...]


def store_view(
    server: Server,
    number: int,
    *,
    named: ServerObject,
    held: Sequence[StoreCertificate],
    charts: Sequence[Chart],
    line: TimeLine,
) -> StoreView:
    """Return the view of a store, the *number*-th of the page, with what would be selected from it."""
    warned = timedelta(days=server.expiry_warning_days)
    views = tuple(CertificateView.of(each, named, charts, line, warned) for each in held)
    drawn = tuple((chart, f"chart-{number}-{place}") for place, chart in enumerate(charts, 1))
    return StoreView(
        server.name,
        server.fqdn,
        named,
        any(each.is_internal for each in views),
        views,
        drawn,
        _choosing(drawn, {each.found["thumbprint"]: each for each in views}),
    )


def _choosing(
    drawn: Sequence[tuple[Chart, str]], views: Mapping[str, CertificateView]
) -> tuple[Choosing, ...]:
    found: dict[str, list[Chosen]] = {}
    for chart, anchor in drawn:
        thumbprint = "" if chart.certificate is None else chart.certificate["thumbprint"]
        view = views.get(thumbprint)
        chosen = Chosen(
            chart.verb,
            None if chart.certificate is None else view.title if view else chart.certificate["subject"],
            thumbprint,
            view.validity if view else Badge("calm", f"not advertised: {chart.ended_at}"),
            anchor,
        )
        found.setdefault(chart.connector, []).append(chosen)
    return tuple(Choosing(connector, tuple(each)) for connector, each in found.items())


def _services(held: StoreCertificate) -> str:
    if held.services is None:
        return "not listed: counts as enabled for SMTP"
    return ", ".join(sorted(held.services)) or "None"


def _validity(certificate: Certificate, moment: datetime, warned: timedelta) -> Badge:
    if certificate.is_expired(moment):
        return Badge("bad", f"expired {_days(moment - certificate.not_after)} ago")
    if certificate.is_not_yet_valid(moment):
        return Badge("warning", "not yet valid")
    left = certificate.not_after - moment
    if left <= warned:
        return Badge("warning", f"expires soon, {_days(left)} left")
    return Badge("good", f"valid, {_days(left)} left")


def _days(length: timedelta) -> str:
    if not length.days:
        return "less than a day"
    return f"{length.days:,} day{'' if length.days == 1 else 's'}"


def date_of(instant: datetime) -> str:
    """Return the day of *instant*, as a date field has it."""
    return rfc3339_seconds(instant)[:10]
