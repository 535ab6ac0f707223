"""A Receive connector and the server that it belongs to, with Exchange's defaults.

Property names are the snake_case of the Set-ReceiveConnector parameter.  Each field's
``doc`` is the one place that states what the property means: the settings and the
configuration reference are made from it.

Sizes are in bytes, durations in seconds, ``None`` in a limit means unlimited.
Sources: Set-ReceiveConnector, and a ``Get-ReceiveConnector`` dump of an Exchange 2019
server where the two differ (MaxHopCount 60).
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NewType, TypeVar

from smtpd_anontls.domain.endpoints import Binding, RemoteIPRange
from smtpd_anontls.domain.flags import (
    AuthMechanism,
    ExchangeFlag,
    ExtendedProtectionPolicy,
    MessageRateSource,
    PermissionGroups,
    ProtocolLoggingLevel,
    ServerRole,
    SizeEnabled,
    StartTlsCertificate,
    TransportRole,
    UnknownMailParameters,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

Bytes = NewType("Bytes", int)
Seconds = NewType("Seconds", float)
Limit = int | None  # None: unlimited.

T = TypeVar("T")

EVERY_ADDRESS = (
    RemoteIPRange.parse("0.0.0.0-255.255.255.255"),
    RemoteIPRange.parse("::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
)


def _property(default: T, doc: str) -> T:
    """Declare a property: its default and, for the reference, its meaning."""
    return field(default=default, metadata={"doc": doc})


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiveConnector:
    """One Receive connector, as Set-ReceiveConnector knows it."""

    name: str = field(metadata={"doc": "Name, unique on its server in any case."})
    enabled: bool = _property(True, "A disabled connector takes no session.")
    transport_role: TransportRole = _property(
        TransportRole.FrontendTransport,
        "FrontendTransport or HubTransport; decides which service its events name as their source.",
    )
    bindings: tuple[Binding, ...] = _property(
        (),
        "Local addresses and ports, for example 127.0.0.1:2525 or [::]:25; without any it takes no session.",
    )
    remote_ip_ranges: tuple[RemoteIPRange, ...] = _property(
        EVERY_ADDRESS,
        "Peers that it takes: addresses, ranges, CIDR. The most specific range of all connectors wins.",
    )
    auth_mechanism: AuthMechanism = _property(
        AuthMechanism.Tls,
        "Any of Tls, Integrated, BasicAuth, BasicAuthRequireTLS, ExchangeServer, ExternalAuthoritative; "
        "or None; or Exchange's integer. ExchangeServer is what X-ANONYMOUSTLS asks for, Tls STARTTLS.",
    )
    permission_groups: PermissionGroups = _property(
        PermissionGroups(0),
        "Any of AnonymousUsers, ExchangeUsers, ExchangeServers, ExchangeLegacyServers, Partners, Custom; or None. "
        "Without AnonymousUsers a sender that has not authenticated is refused.",
    )
    fqdn: str | None = _property(
        None,
        "Name in banner, EHLO and the STARTTLS selection. null: the server's FQDN. With ExchangeServer it must be "
        "the server's FQDN, its NetBIOS name or null.",
    )
    tls_certificate_name: str | None = _property(
        None,
        "STARTTLS certificate by issuer and subject: <I>issuer<S>subject. null: by FQDN.",
    )
    suppress_x_anonymous_tls: bool = _property(
        False, "Do not advertise X-ANONYMOUSTLS even where it could be."
    )
    starttls_certificate: StartTlsCertificate = _property(
        StartTlsCertificate.by_name,
        "by_name: Exchange's own STARTTLS selection. internal_transport: STARTTLS presents the "
        "X-ANONYMOUSTLS certificate, for clients without that verb.",
    )
    require_tls: bool = _property(False, "Refuse MAIL before TLS. Needs Tls.")
    require_ehlo_domain: bool = _property(False, "Refuse EHLO and HELO without a domain name.")
    banner: str | None = _property(
        None, "Text after 220. null: '<fqdn> Microsoft ESMTP MAIL Service ready at <date>'."
    )
    comment: str = _property("", "Free text.")
    protocol_logging_level: ProtocolLoggingLevel = _property(
        ProtocolLoggingLevel.Verbose,
        "Whether the protocol log has its sessions: Verbose or None. Exchange's own default is None except on Default Frontend.",
    )
    max_message_size: Bytes = _property(Bytes(36 * 1024 * 1024), "Largest message, advertised as SIZE.")
    max_header_size: Bytes = _property(Bytes(256 * 1024), "Largest header section of a message.")
    max_recipients_per_message: int = _property(
        200, "Recipients of one message; what lies behind is refused for this time."
    )
    max_hop_count: int = _property(60, "Received headers before a message counts as looping.")
    max_local_hop_count: int = _property(
        5, "Received headers of this server before a message counts as looping."
    )
    max_protocol_errors: Limit = _property(
        5, "Protocol errors (replies 500 to 504) that a session may have; one more closes it."
    )
    max_logon_failures: int = _property(
        3, "Failed logons that a session may have; one more closes it. 0: any number."
    )
    max_inbound_connection: Limit = _property(5000, "Sessions at once on this connector.")
    max_inbound_connection_per_source: Limit = _property(20, "Sessions at once from one address.")
    max_inbound_connection_percentage_per_source: int = _property(
        2,
        "Sessions from one address in percent of those still free; a first one is never too many, and 100 is no limit.",
    )
    message_rate_limit: Limit = _property(None, "Messages a minute from one source.")
    message_rate_source: MessageRateSource = _property(
        MessageRateSource.IPAddress,
        "What message_rate_limit counts by: IPAddress, User (the sender of MAIL), All (both) or None.",
    )
    connection_timeout: Seconds = _property(Seconds(600), "Longest life of a session, active or not.")
    connection_inactivity_timeout: Seconds = _property(
        Seconds(300), "Longest silence of a peer; less than connection_timeout."
    )
    tarpit_interval: Seconds = _property(
        Seconds(5), "Delay of a 5yz reply to a peer that has not authenticated."
    )
    auth_tarpit_interval: Seconds = _property(Seconds(5), "Delay after a failed logon.")
    size_enabled: SizeEnabled = _property(
        SizeEnabled.Enabled,
        "SIZE in EHLO: Enabled (with the limit), EnabledWithoutValue or Disabled.",
    )
    pipelining_enabled: bool = _property(True, "Advertise PIPELINING (RFC 2920).")
    enhanced_status_codes_enabled: bool = _property(True, "Advertise ENHANCEDSTATUSCODES (RFC 2034).")
    eight_bit_mime_enabled: bool = _property(True, "Advertise 8BITMIME (RFC 6152).")
    delivery_status_notification_enabled: bool = _property(True, "Advertise DSN (RFC 3461).")
    chunking_enabled: bool = _property(True, "Advertise CHUNKING (RFC 3030).")
    binary_mime_enabled: bool = _property(True, "Advertise BINARYMIME (RFC 3030). Needs chunking_enabled.")
    smtp_utf8_enabled: bool = _property(True, "Advertise SMTPUTF8 (RFC 6531).")
    enable_auth_gssapi: bool = _property(False, "Offer GSSAPI beside NTLM in AUTH. Needs Integrated.")
    extended_protection_policy: ExtendedProtectionPolicy = _property(
        ExtendedProtectionPolicy.NotUsed,
        "Channel binding at authentication: None, Allow or Require.",
    )
    domain_secure_enabled: bool = _property(False, "Mutual TLS with partner domains. Needs Tls.")
    bare_linefeed_rejection_enabled: bool = _property(
        False, "Refuse messages that come by DATA with a line feed, or a CR, that is no part of a CRLF."
    )
    long_addresses_enabled: bool = _property(
        False, "Take addresses of up to 1,860 octets, and advertise XLONGADDR."
    )
    orar_enabled: bool = _property(False, "Take the ORAR parameter of RCPT, and advertise XORAR.")
    unknown_mail_parameters: UnknownMailParameters = _property(
        UnknownMailParameters.accept,
        "Well-formed parameters of MAIL and RCPT that nobody here knows: accept or refuse.",
    )
    request_client_certificate: bool = _property(False, "Ask for a client certificate (direct trust).")
    proxy_protocol: bool = _property(
        False,
        "Take the peer's address from the PROXY protocol header (1 or 2) that trusted_proxies have to send.",
    )
    trusted_proxies: tuple[RemoteIPRange, ...] = _property(
        (), "Who may send a PROXY protocol header, and has to; from anybody else it closes the connection."
    )


def connector_json(server: str, connector: ReceiveConnector) -> dict[str, Any]:
    """Return the connector object that every surface shows; values are as the configuration has them."""
    return {
        "server": server,
        **{each.name: _plain(getattr(connector, each.name)) for each in fields(connector)},
    }


def _plain(value: object) -> object:
    if isinstance(value, ExchangeFlag):
        return value.names
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple):
        return [str(item) for item in value]
    return value


# Properties that are read and checked but that the receiver does not act on yet, each with the
# value at which that makes no difference.  Any other value earns a warning.
NOT_YET_HONOURED: Mapping[str, object] = MappingProxyType(
    {
        "domain_secure_enabled": False,
    },
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One Exchange server that the process stands for."""

    name: str
    fqdn: str
    role: ServerRole = ServerRole.Mailbox
    connectors: tuple[ReceiveConnector, ...] = ()
    expiry_warning_days: int = 30
    ephemeral_fallback: bool = False  # Whether a certificate made for the moment stands in (12024).

    @property
    def own_names(self) -> tuple[str, str]:
        """The names of the certificates that it makes for itself: NetBIOS name first, then the FQDN."""
        return self.name, self.fqdn

    def fqdn_of(self, connector: ReceiveConnector) -> str:
        """Return the name that *connector* uses in banner and EHLO: its FQDN, else the server's."""
        return connector.fqdn or self.fqdn
