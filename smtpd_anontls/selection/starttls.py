"""Selection of the inbound STARTTLS certificate.

By name, it follows the article "Selection of Inbound STARTTLS Certificates" step by step.
With ``starttls_certificate: internal_transport`` - this receiver's own addition - it presents
the certificate that X-ANONYMOUSTLS would, so that clients without that verb can meet it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from smtpd_anontls.domain.certificate import CertificateName
from smtpd_anontls.domain.directory_value import Named
from smtpd_anontls.domain.events import EventId
from smtpd_anontls.domain.flags import AuthMechanism, StartTlsCertificate
from smtpd_anontls.domain.instants import rfc3339_seconds
from smtpd_anontls.domain.records import TlsVerb
from smtpd_anontls.selection.anonymous_tls import describe, describe_found, describe_unusable
from smtpd_anontls.selection.fallback import end_without
from smtpd_anontls.selection.outcome import Trace
from smtpd_anontls.selection.validity import check_validity

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from smtpd_anontls.domain.certificate import StoreCertificate
    from smtpd_anontls.domain.connectors import ReceiveConnector, Server
    from smtpd_anontls.selection.outcome import Directory, Selection, Store
    from smtpd_anontls.selection.validity import Moment

_X509_V3 = 3


async def select(
    connector: ReceiveConnector,
    server: Server,
    *,
    directory: Directory,
    store: Store,
    moment: Moment,
) -> Selection:
    """Choose the certificate that STARTTLS will present in a session of *connector*."""
    trace = Trace(server.name, connector.name, TlsVerb.STARTTLS)

    # "The Receive connector is checked to see whether the AuthMechanism property is set to TLS."
    if AuthMechanism.Tls not in connector.auth_mechanism:
        trace.failed("auth_mechanism", f"Tls is not enabled: AuthMechanism is {connector.auth_mechanism}")
        return trace.nothing()
    trace.passed("auth_mechanism", f"Tls is enabled: AuthMechanism is {connector.auth_mechanism}")

    if connector.starttls_certificate is StartTlsCertificate.internal_transport:
        return await _internal_transport(
            trace, connector, server, directory=directory, store=store, moment=moment
        )
    return await _by_name(trace, connector, server, store=store, moment=moment)


async def _by_name(
    trace: Trace,
    connector: ReceiveConnector,
    server: Server,
    *,
    store: Store,
    moment: Moment,
) -> Selection:
    fqdn = server.fqdn_of(connector)

    # TlsCertificateName, where set; else the connector's FQDN; else the server's physical FQDN.
    try:
        wanted = _Wanted.of(connector, server)
    except ValueError as error:
        trace.failed("certificate_name", f"TlsCertificateName cannot be used: {error}")
        trace.write(
            EventId.NO_STARTTLS_CERTIFICATE, str(connector.tls_certificate_name), connector.name, fqdn
        )
        return trace.nothing()
    trace.passed("certificate_name", wanted.detail)

    # "Searches the local computer certificate store for certificates that match."
    everything = await store.all()
    candidates = [candidate for candidate in everything if wanted.fits(candidate)]
    if not candidates:
        trace.failed(
            "certificate_store",
            f"no certificate in the local computer store {wanted.question} ({len(everything)} looked at)",
        )
        trace.write(EventId.NO_STARTTLS_CERTIFICATE, wanted.text, connector.name, fqdn)
        return trace.nothing()
    trace.passed(
        "certificate_store",
        f"each of these in the local computer store {wanted.question}: "
        + ", ".join(sorted(candidate.file for candidate in candidates))
        + f" ({len(candidates)} of {len(everything)})",
    )

    # Eligible: X.509 v3 or later, a private key, enabled for SMTP; the name has been looked at.
    eligible = [candidate for candidate in candidates if not _objections(candidate)]
    if not eligible:
        trace.failed("eligibility", _describe_eligibility(candidates))
        trace.write(EventId.NO_STARTTLS_CERTIFICATE, wanted.text, connector.name, fqdn)
        return trace.nothing()
    trace.passed("eligibility", _describe_eligibility(candidates))

    # The most recent Valid from goes first; the first valid CA-issued one wins, else the first self-signed.
    chosen, why = _prefer(eligible, moment.now)
    trace.passed("preference", why)

    check_validity(trace, chosen.certificate, moment, fqdn=fqdn, warning_days=server.expiry_warning_days)
    return trace.selected(chosen.certificate)


async def _internal_transport(
    trace: Trace,
    connector: ReceiveConnector,
    server: Server,
    *,
    directory: Directory,
    store: Store,
    moment: Moment,
) -> Selection:
    fqdn = server.fqdn_of(connector)

    answer = await directory.internal_tls_certificate(server.name)
    if not isinstance(answer, Named):
        trace.failed("directory", describe(answer, server.name))
        trace.write(EventId.NO_STARTTLS_CERTIFICATE, fqdn, connector.name, fqdn)
        return trace.nothing()
    trace.passed("directory", describe(answer, server.name))

    found = await store.find(answer.thumbprint)
    if found is None or not found.key.is_there:
        why = describe_unusable(answer.thumbprint, found)
        return await end_without(trace, answer.thumbprint, why, connector, server, store=store, moment=moment)
    trace.passed("certificate_store", describe_found(found))

    # No 12018: X-ANONYMOUSTLS warns of this certificate with 12017.
    check_validity(trace, found.certificate, moment, fqdn=fqdn, warning_days=None)
    return trace.selected(found.certificate)


class _Wanted:
    """The name that a STARTTLS certificate must carry."""

    def __init__(self, text: str, detail: str, name: CertificateName | None) -> None:
        self.text = text
        self.detail = detail
        self._name = name
        self.question = f"has the name {text}" if name is None else "has that issuer and subject"

    @classmethod
    def of(cls, connector: ReceiveConnector, server: Server) -> _Wanted:
        """Return what *connector* asks for; ValueError where its TlsCertificateName is not one."""
        if connector.tls_certificate_name is not None:
            name = CertificateName.parse(connector.tls_certificate_name)
            return cls(
                name.text,
                f"TlsCertificateName asks for issuer {name.issuer!r} and subject {name.subject!r}",
                name,
            )
        if connector.fqdn:
            return cls(connector.fqdn, f"the connector's FQDN asks for {connector.fqdn}", None)
        return cls(server.fqdn, f"the server's FQDN asks for {server.fqdn}", None)

    def fits(self, candidate: StoreCertificate) -> bool:
        certificate = candidate.certificate
        return certificate.has_name(self.text) if self._name is None else self._name.matches(certificate)


def candidates_for(
    connector: ReceiveConnector, server: Server, everything: Iterable[StoreCertificate]
) -> dict[StoreCertificate, tuple[str, ...]]:
    """Return those of *everything* that have the name which *connector* wants, each with what speaks against it.

    ValueError where its TlsCertificateName is not one.
    """
    wanted = _Wanted.of(connector, server)
    return {each: tuple(_objections(each)) for each in everything if wanted.fits(each)}


def _objections(candidate: StoreCertificate) -> list[str]:
    objections = []
    if candidate.certificate.version < _X509_V3:
        objections.append(f"is X.509 v{candidate.certificate.version}, not v3")
    if not candidate.key.is_there:
        objections.append(candidate.key.value)
    if not candidate.enabled_for_smtp:
        objections.append("is not enabled for SMTP")
    return objections


def _describe_eligibility(candidates: Sequence[StoreCertificate]) -> str:
    sentences = []
    for candidate in sorted(candidates, key=lambda c: (c.file, c.certificate.thumbprint)):
        objections = _objections(candidate)
        if objections:
            sentences.append(f"{candidate.file} {' and '.join(objections)}")
        elif candidate.services is None:
            sentences.append(
                f"{candidate.file} is eligible (services.yaml does not list it: counts as enabled for SMTP)"
                f"{candidate.key_remark}"
            )
        else:
            sentences.append(f"{candidate.file} is eligible{candidate.key_remark}")
    return "; ".join(sentences)


def _prefer(eligible: Sequence[StoreCertificate], now: datetime) -> tuple[StoreCertificate, str]:
    """Return the best of *eligible*, and why."""
    # The thumbprint decides between certificates of the same second, and the name between copies
    # of one certificate, so that the order of the store never does.
    newest_first = sorted(
        eligible,
        key=lambda c: (-c.certificate.not_before.timestamp(), c.certificate.thumbprint, c.file),
    )

    def valid(candidate: StoreCertificate) -> bool:
        return not candidate.certificate.is_expired(now) and not candidate.certificate.is_not_yet_valid(now)

    issued = [candidate for candidate in newest_first if not candidate.certificate.self_signed]
    self_signed = [candidate for candidate in newest_first if candidate.certificate.self_signed]
    for candidate in issued:
        if valid(candidate):
            return candidate, _because(
                candidate, "the most recent valid certificate of a certification authority", eligible
            )
    if self_signed:
        # The article does not ask a self-signed one to be valid; the validity step speaks of that.
        why = "the most recent self-signed certificate, since no valid one of a certification authority is eligible"
        return self_signed[0], _because(self_signed[0], why, eligible)
    # Only certificates of an authority that are not valid now: "expired, still advertised" (12016).
    why = (
        "the most recent certificate of a certification authority, although not valid now; there is no other"
    )
    return issued[0], _because(issued[0], why, eligible)


def _because(chosen: StoreCertificate, why: str, eligible: Sequence[StoreCertificate]) -> str:
    from_when = rfc3339_seconds(chosen.certificate.not_before)
    return f"{chosen.file} of {len(eligible)} eligible: {why} (valid from {from_when})"
