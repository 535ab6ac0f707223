"""What becomes of a selection whose internal transport certificate cannot be loaded.

The article on inbound anonymous TLS certificates ends there: event 12013, nothing is advertised.
The page of event 12024 tells of servers that go on with an ephemeral, self-signed certificate;
``ephemeral_fallback`` makes a server one of these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from smtpd_anontls.domain.events import EventId
from smtpd_anontls.domain.flags import StartTlsCertificate
from smtpd_anontls.domain.records import TlsVerb
from smtpd_anontls.selection.outcome import Trace, missing
from smtpd_anontls.selection.validity import check_validity

if TYPE_CHECKING:
    from smtpd_anontls.domain.connectors import ReceiveConnector, Server
    from smtpd_anontls.selection.outcome import Selection, Store
    from smtpd_anontls.selection.validity import Moment


async def end_without(
    trace: Trace,
    thumbprint: str,
    why: str,
    connector: ReceiveConnector,
    server: Server,
    *,
    store: Store,
    moment: Moment,
) -> Selection:
    """End a selection that cannot load the certificate *thumbprint*: with nothing, or with an ephemeral one."""
    fqdn = server.fqdn_of(connector)
    is_anonymous = trace.verb is TlsVerb.X_ANONYMOUSTLS
    if not server.ephemeral_fallback:
        trace.failed("certificate_store", why)
        trace.events.append(missing(trace.verb, thumbprint, connector.name, fqdn))
        return trace.nothing()

    # The page of 12024: "Meanwhile, an ephemeral, self-signed certificate … is being used."
    ephemeral = await store.ephemeral(server.own_names, moment.now)
    trace.passed(
        "certificate_store",
        f"{why}; instead an ephemeral, self-signed certificate is used, which is in the memory of this process "
        f"alone: {ephemeral.thumbprint}",
    )
    if is_anonymous:
        # STARTTLS, where it presents the same certificate, leaves it at that.
        trace.write(EventId.EPHEMERAL_FALLBACK, thumbprint, ephemeral.thumbprint, thumbprint=thumbprint)
    warning_days = server.expiry_warning_days if is_anonymous else None
    check_validity(trace, ephemeral, moment, fqdn=fqdn, warning_days=warning_days)
    return trace.selected(ephemeral)


async def reconsider(
    selection: Selection,
    reason: str,
    connector: ReceiveConnector,
    server: Server,
    *,
    store: Store,
    moment: Moment,
) -> Selection:
    """Return the selection as it is where what it chose could not be loaded after all, because of *reason*."""
    assert selection.certificate is not None
    is_internal_transport = (
        selection.verb is TlsVerb.X_ANONYMOUSTLS
        or connector.starttls_certificate is StartTlsCertificate.internal_transport
    )
    if not (server.ephemeral_fallback and is_internal_transport):
        return selection.not_loadable(reason, server.fqdn_of(connector))
    before, detail = selection.up_to_the_store()
    trace = Trace(selection.server, selection.connector, selection.verb, list(before))
    return await end_without(
        trace,
        selection.certificate.thumbprint,
        f"{detail}; {reason}",
        connector,
        server,
        store=store,
        moment=moment,
    )
