"""The catalogue of Application log events that the receiver writes, with Exchange's texts.

Levels and texts are those of the public event pages.  Where pages contradict each other,
the real log wins: 12015, 12017 and 1035 are warnings.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

from smtpd_anontls.domain.flags import TransportRole

if TYPE_CHECKING:
    from collections.abc import Mapping


class EventId(IntEnum):
    """Event ids of MSExchangeTransport and MSExchangeFrontEndTransport."""

    INVALID_CONNECTOR = 1003
    TOO_MANY_FAILED_LOGONS = 1012
    REQUIRE_TLS_WITHOUT_TLS = 1032
    INBOUND_AUTHENTICATION_FAILED = 1035
    MISSING_IN_DIRECTORY = 12012
    NOT_IN_STORE = 12013
    NO_STARTTLS_CERTIFICATE = 12014
    EXPIRED = 12015
    STARTTLS_EXPIRED = 12016
    EXPIRES_SOON = 12017
    STARTTLS_EXPIRES_SOON = 12018
    REMOTE_EXPIRED = 12019
    EPHEMERAL_FALLBACK = 12024


class Level(StrEnum):
    """How grave an event is."""

    ERROR = "Error"
    WARNING = "Warning"
    INFORMATION = "Information"


class Category(StrEnum):
    """The task category under which Event Viewer lists it."""

    TRANSPORT_SERVICE = "TransportService"
    SMTP_RECEIVE = "SmtpReceive"


@dataclass(frozen=True, slots=True)
class EventType:
    """One kind of event; ``%1`` and so on in *text* stand for its inserts."""

    event_id: EventId
    level: Level
    category: Category
    symbol: str | None  # None: not known.
    text: str

    @property
    def insert_count(self) -> int:
        """How many inserts the text takes."""
        return max((int(number) for number in re.findall(r"%(\d)", self.text)), default=0)

    def message(self, inserts: tuple[str, ...]) -> str:
        """Return the full text; ValueError where the number of *inserts* is not the text's."""
        if len(inserts) != self.insert_count:
            raise ValueError(
                f"event {self.event_id.value} takes {self.insert_count} inserts, not {len(inserts)}"
            )
        return re.sub(r"%(\d)", lambda found: inserts[int(found[1]) - 1], self.text)


@dataclass(frozen=True, slots=True)
class EventDraft:
    """An event that a decision asks for; who writes it adds time, id and place."""

    event_id: EventId
    inserts: tuple[str, ...] = ()
    thumbprint: str | None = None


_EVERY = (
    EventType(
        EventId.MISSING_IN_DIRECTORY,
        Level.ERROR,
        Category.TRANSPORT_SERVICE,
        "InternalTransportCertificateMissingInAD",
        "The internal transport certificate that is used for SMTP authentication by Microsoft Exchange could not be "
        "read from Active Directory. The certificate may be missing. If an existing certificate that matches the fully "
        "qualified domain name (FQDN) of the server is already installed, run the Enable-ExchangeCertificate cmdlet to "
        "publish this certificate to Active Directory. If a certificate for the FQDN of the server is not installed, "
        "create a certificate by running the New-ExchangeCertificate cmdlet for the FQDN of the server.",
    ),
    EventType(
        EventId.NOT_IN_STORE,
        Level.ERROR,
        Category.TRANSPORT_SERVICE,
        "CannotLoadInternalTransportCertificateFromStore",
        "Microsoft Exchange could not load the certificate with thumbprint of %1 from the personal store on the local "
        "computer. This certificate was configured for authentication with other Exchange servers. Mail flow to other "
        "Exchange servers could be affected by this error. If the certificate with this thumbprint still exists in the "
        "personal store, run Enable-ExchangeCertificate %1 -Services SMTP to resolve the issue. If the certificate "
        "does not exist in the personal store, restore it from backup by using the Import-ExchangeCertificate cmdlet, "
        "or create a new certificate for the FQDN or the server enabled for SMTP by running the following command: "
        "New-ExchangeCertificate -DomainName serverfqdn -Services SMTP.",
    ),
    EventType(
        EventId.NO_STARTTLS_CERTIFICATE,
        Level.ERROR,
        Category.TRANSPORT_SERVICE,
        None,
        "Microsoft Exchange could not find a certificate that contains the domain name %1 in the personal store on the "
        "local computer. Therefore, it is unable to support the STARTTLS SMTP verb for the connector %2 with a FQDN "
        "parameter of %3. If the connector's FQDN is not specified, the computer's FQDN is used. Verify the connector "
        "configuration and the installed certificates to make sure that there is a certificate with a domain name for "
        "that FQDN. If this certificate exists, run Enable-ExchangeCertificate -Services SMTP to make sure that the "
        "Microsoft Exchange Transport service has access to the certificate key.",
    ),
    EventType(
        EventId.EXPIRED,
        Level.WARNING,
        Category.TRANSPORT_SERVICE,
        "InternalTransportCertificateExpired",
        "An internal transport certificate expired. Thumbprint:%1",
    ),
    EventType(
        EventId.STARTTLS_EXPIRED,
        Level.ERROR,
        Category.TRANSPORT_SERVICE,
        "STARTTLSCertificateExpired",
        "There is no valid SMTP Transport Layer Security (TLS) certificate for the FQDN of %1. The existing "
        "certificate for that FQDN has expired. The continued use of that FQDN will cause mail flow problems. A new "
        "certificate that contains the FQDN of %1 should be installed on this server as soon as possible. You can "
        "create a new certificate by using the New-ExchangeCertificate task.",
    ),
    EventType(
        EventId.EXPIRES_SOON,
        Level.WARNING,
        Category.TRANSPORT_SERVICE,
        "InternalTransportCertificateExpiresSoon",
        "An internal transport certificate will expire soon. Thumbprint:%1, hours remaining: %2",
    ),
    EventType(
        EventId.STARTTLS_EXPIRES_SOON,
        Level.ERROR,
        Category.TRANSPORT_SERVICE,
        "STARTTLSCertificateExpiresSoon",
        "The STARTTLS certificate will expire soon: subject: %1, thumbprint: %2, hours remaining: %3. Run the "
        "New-ExchangeCertificate cmdlet to create a new certificate.",
    ),
    EventType(
        EventId.REMOTE_EXPIRED,
        Level.INFORMATION,
        Category.TRANSPORT_SERVICE,
        "RemoteInternalTransportCertificateExpired",
        "The remote internal transport certificate expired. Certificate subject: %1.",
    ),
    EventType(
        EventId.EPHEMERAL_FALLBACK,
        Level.INFORMATION,
        Category.TRANSPORT_SERVICE,
        "CannotLoadInternalTransportCertificateFallbackEphemeralCertificate",
        "Microsoft Exchange could not load the certificate with thumbprint of %1 from the personal store on the local "
        "computer. This certificate was configured for authentication with other Exchange servers. Mail flow to other "
        "Exchange servers could be affected by this error. If the certificate with this thumbprint still exists in the "
        "personal store, run Enable-ExchangeCertificate %1 -services SMTP to resolve the issue. If the certificate "
        "does not exist in the personal store, restore it from backup by using the Import-ExchangeCertificate cmdlet, "
        "or create a new certificate for the FQDN or the server enabled for SMTP by running the following command: "
        "New-ExchangeCertificate -DomainName serverfqdn -Services SMTP. Meanwhile, an ephemeral, self-signed "
        "certificate with thumbprint %2 is being used.",
    ),
    EventType(
        EventId.INVALID_CONNECTOR,
        Level.ERROR,
        Category.SMTP_RECEIVE,
        None,
        "The configuration of one of the SMTP Receive connectors is invalid. The configuration change will be ignored. "
        "The description of the configuration error is: %1.",
    ),
    EventType(
        EventId.TOO_MANY_FAILED_LOGONS,
        Level.WARNING,
        Category.SMTP_RECEIVE,
        None,
        "Receive connector %1: Authentication failures have exceeded the maximum of %2 for the connection from %3. "
        "Disconnecting.",
    ),
    EventType(
        EventId.REQUIRE_TLS_WITHOUT_TLS,
        Level.ERROR,
        Category.SMTP_RECEIVE,
        None,
        "The Receive connector requires TLS before the MailFrom command can be run. However, the connector is not "
        "configured to accept TLS.",
    ),
    EventType(
        EventId.INBOUND_AUTHENTICATION_FAILED,
        Level.WARNING,
        Category.SMTP_RECEIVE,
        None,
        "Inbound authentication failed with error %1 for Receive connector %2. The authentication mechanism is %3. The "
        "source IP address of the client who tried to authenticate to Microsoft Exchange is [%4].",
    ),
)

CATALOGUE: Mapping[EventId, EventType] = MappingProxyType({kind.event_id: kind for kind in _EVERY})


_SOURCES: Mapping[TransportRole, str] = MappingProxyType(
    {
        TransportRole.FrontendTransport: "MSExchangeFrontEndTransport",
        TransportRole.HubTransport: "MSExchangeTransport",
    },
)


def source_of(role: TransportRole) -> str:
    """Return the event source that a transport role writes under."""
    return _SOURCES[role]
