"""The certificate of the page (web.tls), chosen from the local computer store as a session's is.

``by_name`` and ``internal_transport`` run the selection that STARTTLS runs, so its sentences say why there is none.
"""

from __future__ import annotations

from dataclasses import replace
from ssl import SSLContext
from typing import TYPE_CHECKING

from smtpd_anontls.certificates.store import StoreError
from smtpd_anontls.domain.connectors import ReceiveConnector
from smtpd_anontls.domain.flags import AuthMechanism, StartTlsCertificate
from smtpd_anontls.domain.records import TlsVerb
from smtpd_anontls.domain.tls_policy import TlsPolicy, TlsVersion
from smtpd_anontls.selection.validity import Moment

if TYPE_CHECKING:
    from datetime import datetime

    from smtpd_anontls.deciding import Surroundings
    from smtpd_anontls.domain.certificate import Certificate
    from smtpd_anontls.domain.connectors import Server
    from smtpd_anontls.settings.values import Settings, WebTlsSettings

# Browsers are newer than the senders that ``tls`` is about: TLS 1.2 with forward secrecy, or 1.3.
POLICY = TlsPolicy(
    minimum=TlsVersion.TLSv1_2, maximum=TlsVersion.TLSv1_3, ciphers="ECDHE+AESGCM:ECDHE+CHACHA20"
)


class PageCertificateError(Exception):
    """There is no certificate for the page now; one sentence says why."""


async def choose(
    wanted: WebTlsSettings, settings: Settings, surroundings: Surroundings, now: datetime
) -> tuple[Certificate, SSLContext]:
    """Return the certificate that the page presents now, and what presents it; PageCertificateError."""
    server = _server_of(wanted, settings)
    connector = ReceiveConnector(name="web.tls", auth_mechanism=AuthMechanism.Tls)
    try:
        if isinstance(wanted.certificate, StartTlsCertificate):
            connector = replace(connector, starttls_certificate=wanted.certificate)
            selection, decided = await replace(surroundings, tls=POLICY).decide(
                connector, server, TlsVerb.STARTTLS, Moment(now)
            )
            if selection.certificate is None or decided is None:
                raise PageCertificateError(f"web.tls: {server.name}: {selection.steps[-1].detail}")
            certificate, context = selection.certificate, decided
        else:
            certificate, context = await surroundings.another_context(
                connector,
                server,
                TlsVerb.STARTTLS,
                thumbprint=wanted.certificate,
                policy=POLICY,
                now=now,
            )
    except StoreError as error:
        raise PageCertificateError(f"web.tls: {server.name}: {error}") from error
    # STARTTLS never asks for a client certificate.
    assert isinstance(context, SSLContext)
    return certificate, context


def _server_of(wanted: WebTlsSettings, settings: Settings) -> Server:
    servers = [each.server for each in settings.servers]
    if wanted.server is None:
        return servers[0]
    for each in servers:
        if each.name == wanted.server:
            return each
    raise PageCertificateError(f"web.tls.server: the configuration has no server {wanted.server} any more")
