"""Selection of the inbound anonymous TLS certificate.

Follows the article "Selection of Inbound Anonymous TLS Certificates" step by step; the
suppression step is Set-ReceiveConnector's SuppressXAnonymousTls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from smtpd_anontls.domain.directory_value import Named, Unreadable, Unset, ValueForm
from smtpd_anontls.domain.events import EventId
from smtpd_anontls.domain.flags import AuthMechanism
from smtpd_anontls.domain.records import TlsVerb
from smtpd_anontls.selection.fallback import end_without
from smtpd_anontls.selection.outcome import Trace
from smtpd_anontls.selection.validity import check_validity

if TYPE_CHECKING:
    from smtpd_anontls.domain.certificate import StoreCertificate
    from smtpd_anontls.domain.connectors import ReceiveConnector, Server
    from smtpd_anontls.domain.directory_value import Answer
    from smtpd_anontls.selection.outcome import Directory, Selection, Store
    from smtpd_anontls.selection.validity import Moment

_FORMS = {
    ValueForm.DER: "a certificate (DER)",
    ValueForm.PEM: "a certificate (PEM)",
    ValueForm.SERIALIZED: "a certificate (Windows serialized)",
    ValueForm.THUMBPRINT: "a thumbprint",
}


async def select(
    connector: ReceiveConnector,
    server: Server,
    *,
    directory: Directory,
    store: Store,
    moment: Moment,
) -> Selection:
    """Choose the certificate that X-ANONYMOUSTLS will present in a session of *connector*."""
    trace = Trace(server.name, connector.name, TlsVerb.X_ANONYMOUSTLS)

    # "The Receive connector is checked to see whether the AuthMechanism property is set to a
    # value of ExchangeServer": if not, nothing is advertised and nothing is loaded.
    if AuthMechanism.ExchangeServer not in connector.auth_mechanism:
        trace.failed(
            "auth_mechanism", f"ExchangeServer is not enabled: AuthMechanism is {connector.auth_mechanism}"
        )
        return trace.nothing()
    trace.passed("auth_mechanism", f"ExchangeServer is enabled: AuthMechanism is {connector.auth_mechanism}")

    # Set-ReceiveConnector -SuppressXAnonymousTls: the verb is disabled and not advertised.
    if connector.suppress_x_anonymous_tls:
        trace.failed(
            "suppression", "SuppressXAnonymousTls is true, so X-ANONYMOUSTLS is neither advertised nor taken"
        )
        return trace.nothing()
    trace.passed("suppression", "SuppressXAnonymousTls is false")

    # "Queries the Active Directory service to retrieve the thumbprint of the certificate":
    # unreadable or null; 12012 belongs to service start alone.
    answer = await directory.internal_tls_certificate(server.name)
    if not isinstance(answer, Named):
        trace.failed("directory", describe(answer, server.name))
        if moment.at_start:
            trace.write(EventId.MISSING_IN_DIRECTORY)
        return trace.nothing()
    trace.passed("directory", describe(answer, server.name))

    # "Searches the local computer certificate store for a certificate that matches the thumbprint."
    found = await store.find(answer.thumbprint)
    if found is None or not found.key.is_there:
        why = describe_unusable(answer.thumbprint, found)
        return await end_without(trace, answer.thumbprint, why, connector, server, store=store, moment=moment)
    trace.passed("certificate_store", describe_found(found))

    # "The Valid to field on the certificate is compared to the current date and time."
    check_validity(
        trace,
        found.certificate,
        moment,
        fqdn=server.fqdn_of(connector),
        warning_days=server.expiry_warning_days,
    )
    return trace.selected(found.certificate)


def describe(answer: Answer, server: str) -> str:
    """Say in one sentence what the directory answered."""
    match answer:
        case Named(thumbprint, form, friendly_name):
            named = f", friendly name {friendly_name!r}" if friendly_name else ""
            return f"msExchServerInternalTLSCert of {server} names {thumbprint} as {_FORMS[form]}{named}"
        case Unset(note):
            return f"msExchServerInternalTLSCert of {server} is not set" + (f"; {note}" if note else "")
        case Unreadable(reason):
            return f"msExchServerInternalTLSCert of {server} could not be read: {reason}"
        case _:
            assert_never(answer)


def describe_unusable(thumbprint: str, found: StoreCertificate | None) -> str:
    """Say why the store could not load the certificate that the directory names."""
    if found is None:
        return f"the local computer store holds no certificate with thumbprint {thumbprint}"
    return f"{found.file} holds {thumbprint}, but it {found.key.value}, so it cannot be loaded"


def describe_found(found: StoreCertificate) -> str:
    """Say where the certificate was found."""
    subject = found.certificate.subject or "no subject"
    issuer = found.certificate.issuer or "nobody named"
    return f"{found.file} holds it: {subject}, issued by {issuer}{found.key_remark}"
