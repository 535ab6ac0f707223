"""What is wrong with a server's certificates and Receive connectors, and the command that mends each.

Every finding follows from the articles on the selection of certificates, from Set-ReceiveConnector, or
from the rules between its properties; nothing is guessed.  What the selections came to is asked for, not
computed again, so that ``advise`` never says something else than ``explain``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from smtpd_anontls.diagnosis.capture import captures
from smtpd_anontls.diagnosis.commands import (
    certificate_command,
    identity,
    new_internal_certificate,
    property_command,
    quoted,
)
from smtpd_anontls.domain.connector_rules import connector_violations, server_violations
from smtpd_anontls.domain.directory_value import Named, Unreadable
from smtpd_anontls.domain.flags import AuthMechanism, StartTlsCertificate
from smtpd_anontls.domain.instants import rfc3339_seconds
from smtpd_anontls.domain.records import TlsVerb
from smtpd_anontls.selection.starttls import candidates_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime
    from typing import Any

    from smtpd_anontls.domain.certificate import Certificate, StoreCertificate
    from smtpd_anontls.domain.connectors import ReceiveConnector, Server
    from smtpd_anontls.domain.directory_value import Answer
    from smtpd_anontls.domain.endpoints import IPAddress
    from smtpd_anontls.selection.outcome import Selection


class Kind(StrEnum):
    """What a finding is about."""

    ATTRIBUTE_UNREADABLE = "attribute_unreadable"
    ATTRIBUTE_NOT_SET = "attribute_not_set"
    NOT_IN_STORE = "not_in_store"
    NO_PRIVATE_KEY = "no_private_key"
    EXPIRED = "expired"
    EXPIRES_SOON = "expires_soon"
    INTERNAL_CERTIFICATE_REPLACED = "internal_certificate_replaced"
    EXCHANGE_SERVER_MISSING = "exchange_server_missing"
    NO_STARTTLS_CERTIFICATE = "no_starttls_certificate"
    TLS_CERTIFICATE_NAME = "tls_certificate_name"
    CERTIFICATES_COMPETE = "certificates_compete"
    RULE_BROKEN = "rule_broken"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to mend: one sentence, and the command of the Exchange Management Shell that does it."""

    kind: Kind
    server: str
    connectors: tuple[str, ...]  # Empty: it is about the whole server.
    detail: str
    command: str

    def as_json(self) -> dict[str, Any]:
        """Return the object that ``advise --json`` prints."""
        return {
            "kind": self.kind.value,
            "server": self.server,
            "connectors": list(self.connectors),
            "detail": self.detail,
            "command": self.command,
        }


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one server."""

    server: Server
    answer: Answer  # What msExchServerInternalTLSCert names.
    certificates: Sequence[StoreCertificate]  # The whole local computer store.
    selections: Sequence[tuple[ReceiveConnector, Selection]]  # Of each enabled connector, as now.


def advise(facts: Iterable[Facts], now: datetime, *, peers: Sequence[IPAddress] = ()) -> list[Finding]:
    """Return what is to be mended, the server's own certificate first.

    *peers* are addresses of other Exchange servers; those that the servers themselves are bound to count too.
    """
    every = list(facts)
    found: list[Finding] = []
    for each in every:
        others = [
            binding.address
            for other in every
            if other is not each
            for connector in other.server.connectors
            for binding in connector.bindings
            if not binding.is_wildcard and not binding.address.is_loopback
        ]
        found += _Server(each, now).findings([*peers, *others])
    return _merged(found)


def _merged(found: Iterable[Finding]) -> list[Finding]:
    """Return each finding once, with every connector that has it: what is mended once is said once."""
    merged: dict[Finding, list[str]] = {}
    for each in found:
        # A command that names the connector keeps them apart.
        merged.setdefault(replace(each, connectors=()), []).extend(each.connectors)
    return [replace(each, connectors=tuple(dict.fromkeys(names))) for each, names in merged.items()]


class _Server:
    """The questions about one server."""

    def __init__(self, facts: Facts, now: datetime) -> None:
        self._facts = facts
        self._server = facts.server
        self._now = now

    def findings(self, peers: Sequence[IPAddress]) -> Iterator[Finding]:
        if self._anonymous_tls_is_wanted():
            yield from self._internal_certificate()
        yield from self._peers(peers)
        for connector, selection in self._facts.selections:
            if selection.verb is TlsVerb.STARTTLS and AuthMechanism.Tls in connector.auth_mechanism:
                yield from self._starttls(connector, selection)
        yield from self._rules()

    def _anonymous_tls_is_wanted(self) -> bool:
        return any(
            connector.enabled
            and AuthMechanism.ExchangeServer in connector.auth_mechanism
            and not connector.suppress_x_anonymous_tls
            for connector in self._server.connectors
        )

    # -- the internal transport certificate

    def _internal_certificate(self) -> Iterator[Finding]:
        answer = self._facts.answer
        if isinstance(answer, Unreadable):
            yield self._finding(
                Kind.ATTRIBUTE_UNREADABLE,
                f"msExchServerInternalTLSCert could not be read: {answer.reason}; X-ANONYMOUSTLS is not advertised",
                f"Get-TransportService {quoted(self._server.name)} | "
                "Format-List Name,InternalTransportCertificateThumbprint",
            )
        elif not isinstance(answer, Named):
            yield self._finding(
                Kind.ATTRIBUTE_NOT_SET,
                "msExchServerInternalTLSCert is not set, so X-ANONYMOUSTLS is not advertised (event 12012 at service "
                "start)",
                self._internal_command(),
            )
        else:
            yield from self._named(answer.thumbprint)

    def _named(self, thumbprint: str) -> Iterator[Finding]:
        found = next((c for c in self._facts.certificates if c.certificate.thumbprint == thumbprint), None)
        if found is None:
            yield self._finding(
                Kind.NOT_IN_STORE,
                f"the internal transport certificate {thumbprint} is not in the local computer store, so X-ANONYMOUSTLS "
                "is not advertised (event 12013)",
                self._internal_command(),
            )
            return
        if not found.key.is_there:
            yield self._without_key(found)
            return
        if not found.certificate.self_signed:
            yield self._finding(
                Kind.INTERNAL_CERTIFICATE_REPLACED,
                f"the internal transport certificate {thumbprint} was issued by {found.certificate.issuer}; it took the "
                "place of the self-signed one of Setup, and each renewal will have to be made the default again",
                self._internal_command(),
            )
        yield from self._validity(found.certificate, TlsVerb.X_ANONYMOUSTLS, self._internal_command())

    def _internal_command(self) -> str:
        """Return the command that makes a good certificate of the store the internal one, or makes a new one."""
        good = [
            each.certificate
            for each in self._facts.certificates
            if each.key.is_there
            and each.certificate.self_signed
            and each.certificate.has_name(self._server.fqdn)
            and not each.certificate.is_expired(self._now + timedelta(days=self._server.expiry_warning_days))
            and not each.certificate.is_not_yet_valid(self._now)
        ]
        if not good:
            return new_internal_certificate(self._server)
        newest = max(good, key=lambda certificate: certificate.not_before)
        return certificate_command(
            "Enable-ExchangeCertificate", self._server, newest.thumbprint, "-Services SMTP"
        )

    def _without_key(self, stored: StoreCertificate) -> Finding:
        thumbprint = stored.certificate.thumbprint
        return self._finding(
            Kind.NO_PRIVATE_KEY,
            f"the certificate {thumbprint} {stored.key.value}, so it cannot be presented",
            f"certutil -repairstore my {thumbprint}",
        )

    def _validity(self, certificate: Certificate, verb: TlsVerb, command: str) -> Iterator[Finding]:
        until = rfc3339_seconds(certificate.not_after)
        whose = "the internal transport certificate" if verb is TlsVerb.X_ANONYMOUSTLS else "the certificate"
        if certificate.is_expired(self._now):
            event = 12015 if verb is TlsVerb.X_ANONYMOUSTLS else 12016
            yield self._finding(
                Kind.EXPIRED,
                f"{whose} {certificate.thumbprint} expired on {until}; it is still presented (event {event})",
                command,
            )
        elif certificate.is_expired(self._now + timedelta(days=self._server.expiry_warning_days)):
            event = 12017 if verb is TlsVerb.X_ANONYMOUSTLS else 12018
            yield self._finding(
                Kind.EXPIRES_SOON,
                f"{whose} {certificate.thumbprint} expires on {until} (event {event} at service start and once a day)",
                command,
            )

    # -- who reaches which connector

    def _peers(self, peers: Sequence[IPAddress]) -> Iterator[Finding]:
        for caught in captures(self._server, peers):
            yield self._finding(
                Kind.EXCHANGE_SERVER_MISSING,
                caught.detail,
                property_command(self._server, caught.connector, "remote_ip_ranges"),
                connector=caught.connector.name,
            )

    # -- STARTTLS

    def _starttls(self, connector: ReceiveConnector, selection: Selection) -> Iterator[Finding]:
        if connector.starttls_certificate is StartTlsCertificate.internal_transport:
            return  # This receiver's own; what can be wrong with that certificate is said already.
        try:
            candidates = candidates_for(connector, self._server, self._facts.certificates)
        except ValueError as error:
            yield self._unmatched(connector, f"TlsCertificateName cannot be used: {error}")
            return
        if selection.certificate is not None:
            yield from self._chosen(selection.certificate, candidates)
            return
        if not candidates and connector.tls_certificate_name is not None:
            yield self._unmatched(
                connector,
                f"TlsCertificateName {connector.tls_certificate_name} matches no certificate in the local computer "
                "store, so STARTTLS is not advertised (event 12014)",
            )
            return
        keyless = [each for each in candidates if each.enabled_for_smtp and not each.key.is_there]
        if keyless:
            for each in keyless:
                yield self._without_key(each)
            return
        yield self._finding(
            Kind.NO_STARTTLS_CERTIFICATE,
            f"STARTTLS is not advertised: {selection.steps[-1].detail} (event 12014)",
            self._starttls_command(connector, candidates),
            connector=connector.name,
        )

    def _starttls_command(self, connector: ReceiveConnector, candidates: Iterable[StoreCertificate]) -> str:
        for each in candidates:
            if each.key.is_there and not each.enabled_for_smtp:
                return certificate_command(
                    "Enable-ExchangeCertificate", self._server, each.certificate.thumbprint, "-Services SMTP"
                )
        name = quoted(self._server.fqdn_of(connector))
        return (
            f"New-ExchangeCertificate -Server {quoted(self._server.name)} -DomainName {name} -Services SMTP"
        )

    def _unmatched(self, connector: ReceiveConnector, detail: str) -> Finding:
        fqdn = self._server.fqdn_of(connector)
        fitting = [
            each.certificate
            for each in self._facts.certificates
            if each.key.is_there and each.enabled_for_smtp and each.certificate.has_name(fqdn)
        ]
        where = identity(self._server, connector)
        if fitting:
            newest = max(fitting, key=lambda certificate: certificate.not_before)
            command = (
                f"$c = Get-ExchangeCertificate -Server {quoted(self._server.name)} -Thumbprint {newest.thumbprint}; "
                f'Set-ReceiveConnector {where} -TlsCertificateName "<I>$($c.Issuer)<S>$($c.Subject)"'
            )
        else:
            command = f"Set-ReceiveConnector {where} -TlsCertificateName $null"
        return self._finding(Kind.TLS_CERTIFICATE_NAME, detail, command, connector=connector.name)

    def _chosen(
        self, certificate: Certificate, candidates: dict[StoreCertificate, tuple[str, ...]]
    ) -> Iterator[Finding]:
        internal = self._facts.answer
        if not (isinstance(internal, Named) and internal.thumbprint == certificate.thumbprint):
            # Where it is the internal one as well, that has been looked at.
            yield from self._validity(certificate, TlsVerb.STARTTLS, self._renewal(certificate))
        rivals = [
            each.certificate
            for each, objections in candidates.items()
            if not objections
            and each.certificate.self_signed == certificate.self_signed
            and not each.certificate.is_expired(self._now)
            and not each.certificate.is_not_yet_valid(self._now)
        ]
        losers = sorted({each.thumbprint for each in rivals} - {certificate.thumbprint})
        if losers:
            yield self._finding(
                Kind.CERTIFICATES_COMPETE,
                f"{certificate.thumbprint} is presented for STARTTLS, since it has the most recent Valid from; "
                f"{' and '.join(losers)} could be as well, and the next one to be added will take its place",
                certificate_command("Remove-ExchangeCertificate", self._server, losers[0]),
            )

    def _renewal(self, certificate: Certificate) -> str:
        get = certificate_command("Get-ExchangeCertificate", self._server, certificate.thumbprint)
        request = "" if certificate.self_signed else " -GenerateRequest"
        return f"{get} | New-ExchangeCertificate{request} -Services SMTP"

    # -- the rules between properties

    def _rules(self) -> Iterator[Finding]:
        by_name = {connector.name: connector for connector in self._server.connectors}
        violations = [
            *(
                v
                for connector in self._server.connectors
                for v in connector_violations(connector, self._server)
            ),
            *server_violations(self._server),
        ]
        for violation in violations:
            connector = by_name[violation.connector]
            name = violation.properties[0]
            yield self._finding(
                Kind.RULE_BROKEN,
                f"{name}: {violation.message} (event {violation.event_id.value})",
                property_command(self._server, connector, name),
                connector=connector.name,
            )

    def _finding(self, kind: Kind, detail: str, command: str, *, connector: str | None = None) -> Finding:
        connectors = () if connector is None else (connector,)
        return Finding(kind, self._server.name, connectors, detail, command)
