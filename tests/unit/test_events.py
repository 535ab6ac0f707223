"""The event catalogue: texts, levels and sources are those of Exchange, word for word."""

from __future__ import annotations

import re

import pytest

from smtpd_anontls.domain.events import CATALOGUE, Category, EventId, Level, source_of
from smtpd_anontls.domain.flags import TransportRole

THUMBPRINT = "5C7AF0E1D2C3B4A5968778695A4B3C2D1E0F5C7A"
TRANSPORT = Category.TRANSPORT_SERVICE
RECEIVE = Category.SMTP_RECEIVE

# Copied from the public event pages, %n where an insert belongs.
TEXTS = {
    12012: "The internal transport certificate that is used for SMTP authentication by Microsoft Exchange could not be read from Active Directory. The certificate may be missing. If an existing certificate that matches the fully qualified domain name (FQDN) of the server is already installed, run the Enable-ExchangeCertificate cmdlet to publish this certificate to Active Directory. If a certificate for the FQDN of the server is not installed, create a certificate by running the New-ExchangeCertificate cmdlet for the FQDN of the server.",
    12013: "Microsoft Exchange could not load the certificate with thumbprint of %1 from the personal store on the local computer. This certificate was configured for authentication with other Exchange servers. Mail flow to other Exchange servers could be affected by this error. If the certificate with this thumbprint still exists in the personal store, run Enable-ExchangeCertificate %1 -Services SMTP to resolve the issue. If the certificate does not exist in the personal store, restore it from backup by using the Import-ExchangeCertificate cmdlet, or create a new certificate for the FQDN or the server enabled for SMTP by running the following command: New-ExchangeCertificate -DomainName serverfqdn -Services SMTP.",
    12014: "Microsoft Exchange could not find a certificate that contains the domain name %1 in the personal store on the local computer. Therefore, it is unable to support the STARTTLS SMTP verb for the connector %2 with a FQDN parameter of %3. If the connector's FQDN is not specified, the computer's FQDN is used. Verify the connector configuration and the installed certificates to make sure that there is a certificate with a domain name for that FQDN. If this certificate exists, run Enable-ExchangeCertificate -Services SMTP to make sure that the Microsoft Exchange Transport service has access to the certificate key.",
    12015: "An internal transport certificate expired. Thumbprint:%1",
    12016: "There is no valid SMTP Transport Layer Security (TLS) certificate for the FQDN of %1. The existing certificate for that FQDN has expired. The continued use of that FQDN will cause mail flow problems. A new certificate that contains the FQDN of %1 should be installed on this server as soon as possible. You can create a new certificate by using the New-ExchangeCertificate task.",
    12017: "An internal transport certificate will expire soon. Thumbprint:%1, hours remaining: %2",
    12018: "The STARTTLS certificate will expire soon: subject: %1, thumbprint: %2, hours remaining: %3. Run the New-ExchangeCertificate cmdlet to create a new certificate.",
    12019: "The remote internal transport certificate expired. Certificate subject: %1.",
    12024: "Microsoft Exchange could not load the certificate with thumbprint of %1 from the personal store on the local computer. This certificate was configured for authentication with other Exchange servers. Mail flow to other Exchange servers could be affected by this error. If the certificate with this thumbprint still exists in the personal store, run Enable-ExchangeCertificate %1 -services SMTP to resolve the issue. If the certificate does not exist in the personal store, restore it from backup by using the Import-ExchangeCertificate cmdlet, or create a new certificate for the FQDN or the server enabled for SMTP by running the following command: New-ExchangeCertificate -DomainName serverfqdn -Services SMTP. Meanwhile, an ephemeral, self-signed certificate with thumbprint %2 is being used.",
    1003: "The configuration of one of the SMTP Receive connectors is invalid. The configuration change will be ignored. The description of the configuration error is: %1.",
    1012: "Receive connector %1: Authentication failures have exceeded the maximum of %2 for the connection from %3. Disconnecting.",
    1032: "The Receive connector requires TLS before the MailFrom command can be run. However, the connector is not configured to accept TLS.",
    1035: "Inbound authentication failed with error %1 for Receive connector %2. The authentication mechanism is %3. The source IP address of the client who tried to authenticate to Microsoft Exchange is [%4].",
}

FACTS: dict[int, tuple[Level, Category, str | None]] = {
    12012: (Level.ERROR, TRANSPORT, "InternalTransportCertificateMissingInAD"),
    12013: (Level.ERROR, TRANSPORT, "CannotLoadInternalTransportCertificateFromStore"),
    12014: (Level.ERROR, TRANSPORT, None),
    12015: (Level.WARNING, TRANSPORT, "InternalTransportCertificateExpired"),
    12016: (Level.ERROR, TRANSPORT, "STARTTLSCertificateExpired"),
    12017: (Level.WARNING, TRANSPORT, "InternalTransportCertificateExpiresSoon"),
    12018: (Level.ERROR, TRANSPORT, "STARTTLSCertificateExpiresSoon"),
    12019: (Level.INFORMATION, TRANSPORT, "RemoteInternalTransportCertificateExpired"),
    12024: (
        Level.INFORMATION,
        TRANSPORT,
        "CannotLoadInternalTransportCertificateFallbackEphemeralCertificate",
    ),
    1003: (Level.ERROR, RECEIVE, None),
    1012: (Level.WARNING, RECEIVE, None),
    1032: (Level.ERROR, RECEIVE, None),
    1035: (Level.WARNING, RECEIVE, None),
}


def test_catalogue_is_complete() -> None:
    """Every event id has its entry, under its own id, and these tables know them all."""
    assert set(CATALOGUE) == set(EventId)
    assert all(kind.event_id is event_id for event_id, kind in CATALOGUE.items())
    assert {event_id.value for event_id in EventId} == set(TEXTS) == set(FACTS)


@pytest.mark.parametrize("event_id", EventId)
def test_text_is_that_of_exchange(event_id: EventId) -> None:
    """The full text is that of the page, with each insert in its place."""
    kind = CATALOGUE[event_id]
    inserts = tuple(f"<insert {n}>" for n in range(1, kind.insert_count + 1))
    expected = TEXTS[event_id.value]
    for n, insert in enumerate(inserts, start=1):
        expected = expected.replace(f"%{n}", insert)

    assert kind.text == TEXTS[event_id.value]
    assert kind.message(inserts) == expected
    assert not re.search(r"%\d", expected)


@pytest.mark.parametrize("event_id", EventId)
def test_level_category_and_symbol_are_those_of_exchange(event_id: EventId) -> None:
    """Where pages contradict the real log, the real log wins: 12015, 12017 and 1035 are warnings."""
    kind = CATALOGUE[event_id]

    assert (kind.level, kind.category, kind.symbol) == FACTS[event_id.value]


def test_an_insert_used_twice_is_one_insert() -> None:
    """12013 names its thumbprint twice, and takes it once."""
    message = CATALOGUE[EventId.NOT_IN_STORE].message((THUMBPRINT,))

    assert message.count(THUMBPRINT) == 2


def test_an_insert_is_never_taken_for_text() -> None:
    """A percent sign or a backslash inside an insert stays as it is."""
    message = CATALOGUE[EventId.EXPIRES_SOON].message(("%2\\1", "7"))

    assert message.endswith("Thumbprint:%2\\1, hours remaining: 7")


@pytest.mark.parametrize("event_id", EventId)
def test_a_wrong_number_of_inserts_is_our_mistake(event_id: EventId) -> None:
    """One insert too many or too few raises and says how many there are."""
    kind = CATALOGUE[event_id]
    wrong = [n for n in (kind.insert_count - 1, kind.insert_count + 1) if n >= 0]

    for number in wrong:
        with pytest.raises(
            ValueError, match=f"^event {event_id.value} takes {kind.insert_count} inserts, not {number}$"
        ):
            kind.message(("x",) * number)


@pytest.mark.parametrize(
    ("role", "source"),
    [
        (TransportRole.FrontendTransport, "MSExchangeFrontEndTransport"),
        (TransportRole.HubTransport, "MSExchangeTransport"),
    ],
)
def test_source_tells_the_service(role: TransportRole, source: str) -> None:
    """The front end and the transport service write under names of their own."""
    assert source_of(role) == source
