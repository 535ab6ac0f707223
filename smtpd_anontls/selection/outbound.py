"""Selection of the outbound anonymous TLS certificate: what the sending side loads for a session with another server.

Follows the article "Selection of Outbound Anonymous TLS Certificates".  The certificate is the client's, which
direct trust between Mailbox and Edge servers asks for; between Mailbox servers none is loaded, and the session
is encrypted by the receiving side's alone.

A selection of the sending side has the delivery in the place of its connector; ``advertised`` says of it
whether a certificate is loaded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from smtpd_anontls.domain.directory_value import Named
from smtpd_anontls.domain.events import EventId
from smtpd_anontls.domain.flags import ServerRole
from smtpd_anontls.domain.records import TlsVerb
from smtpd_anontls.domain.sending import TO_EDGE, TO_ORGANIZATION, SmartHostAuthMechanism
from smtpd_anontls.selection.anonymous_tls import describe, describe_found, describe_unusable
from smtpd_anontls.selection.outcome import Trace, missing
from smtpd_anontls.selection.validity import check_validity

if TYPE_CHECKING:
    from smtpd_anontls.domain.connectors import Server
    from smtpd_anontls.domain.sending import Delivery
    from smtpd_anontls.selection.outcome import Directory, Selection, Store
    from smtpd_anontls.selection.validity import Moment


async def select(
    delivery: Delivery,
    server: Server,
    *,
    directory: Directory,
    store: Store,
    moment: Moment,
) -> Selection:
    """Choose the certificate that *server* loads as the sending side of *delivery*."""
    is_edge = server.role is ServerRole.Edge
    place = f"Send connector for {delivery.address_space}" if is_edge else f"queue {delivery.delivery_type}"
    trace = Trace(server.name, place, TlsVerb.X_ANONYMOUSTLS)

    # A Mailbox server looks at the queue's DeliveryType, an Edge server at its Send connector: anonymous TLS is
    # for the legs between the two alone.
    if not (_from_edge(trace, delivery) if is_edge else _to_edge(trace, delivery)):
        return trace.nothing()

    # "InternalTransportCertificateThumbprint isn't null", and then the attribute that it is read from: one question.
    answer = await directory.internal_tls_certificate(server.name)
    if not isinstance(answer, Named):
        trace.failed("directory", describe(answer, server.name))
        if moment.at_start:
            trace.write(EventId.MISSING_IN_DIRECTORY)
        return trace.nothing()
    trace.passed("directory", describe(answer, server.name))

    # From here on as the receiving side does: the local computer store, then Valid to.
    found = await store.find(answer.thumbprint)
    if found is None or not found.key.is_there:
        trace.failed("certificate_store", describe_unusable(answer.thumbprint, found))
        trace.events.append(missing(trace.verb, answer.thumbprint, place, server.fqdn))
        return trace.nothing()
    trace.passed("certificate_store", describe_found(found))

    check_validity(
        trace,
        found.certificate,
        moment,
        fqdn=server.fqdn,
        warning_days=server.expiry_warning_days,
        all_the_same="it is loaded all the same",
    )
    return trace.selected(found.certificate)


def _to_edge(trace: Trace, delivery: Delivery) -> bool:
    if not delivery.is_to_edge:
        trace.failed(
            "delivery_type",
            f"the queue's DeliveryType is {delivery.delivery_type}; a Mailbox server loads a certificate for {TO_EDGE} "
            "alone",
        )
        return False
    trace.passed("delivery_type", f"the queue's DeliveryType is {TO_EDGE}: to an Edge server of this site")
    return True


def _from_edge(trace: Trace, delivery: Delivery) -> bool:
    mechanism = delivery.smart_host_auth_mechanism
    if SmartHostAuthMechanism.ExchangeServer not in mechanism:
        trace.failed(
            "smart_host_auth",
            f"SmartHostAuthMechanism of the Send connector is {mechanism}, without ExchangeServer",
        )
        return False
    trace.passed("smart_host_auth", f"SmartHostAuthMechanism of the Send connector is {mechanism}")
    if not delivery.is_to_organization:
        trace.failed(
            "address_space",
            f"the Send connector is for {delivery.address_space}, not for {TO_ORGANIZATION}, the organization",
        )
        return False
    trace.passed("address_space", f"the Send connector is for {TO_ORGANIZATION}, the organization")
    return True
