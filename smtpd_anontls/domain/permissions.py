"""What a sender may do on a Receive connector: the permissions that its permission groups grant.

Source: "Receive connectors", the tables of permission groups and of permissions.  The names are those
that the protocol log prints, in its order, as public logs of Exchange 2007 to 2013 have them.
"""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING

from smtpd_anontls.domain.flags import AuthMechanism, PermissionGroups

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from smtpd_anontls.domain.connectors import ReceiveConnector


class Permission(StrEnum):
    """A permission, by its name in the protocol log; the order is the log's."""

    SUBMIT = "SMTPSubmit"
    ACCEPT_ANY_RECIPIENT = "SMTPAcceptAnyRecipient"
    ACCEPT_AUTHENTICATION_FLAG = "SMTPAcceptAuthenticationFlag"
    ACCEPT_ANY_SENDER = "SMTPAcceptAnySender"
    ACCEPT_AUTHORITATIVE_DOMAIN_SENDER = "SMTPAcceptAuthoritativeDomainSender"
    BYPASS_ANTI_SPAM = "BypassAntiSpam"
    BYPASS_MESSAGE_SIZE_LIMIT = "BypassMessageSizeLimit"
    ACCEPT_EXCH50 = "SMTPAcceptEXCH50"
    ACCEPT_ROUTING_HEADERS = "AcceptRoutingHeaders"
    ACCEPT_FOREST_HEADERS = "AcceptForestHeaders"
    ACCEPT_ORGANIZATION_HEADERS = "AcceptOrganizationHeaders"
    # One of those "reserved for internal Microsoft use"; what the log calls the others is not public.
    ACCEPT_XSHADOW = "SMTPAcceptXShadow"

    @property
    def right(self) -> str:
        """The extended right of Get-ADPermission, such as ``ms-Exch-SMTP-Submit``."""
        return _RIGHTS[self]


_RIGHTS: Mapping[Permission, str] = MappingProxyType(
    {
        Permission.SUBMIT: "ms-Exch-SMTP-Submit",
        Permission.ACCEPT_ANY_RECIPIENT: "ms-Exch-SMTP-Accept-Any-Recipient",
        Permission.ACCEPT_AUTHENTICATION_FLAG: "ms-Exch-SMTP-Accept-Authentication-Flag",
        Permission.ACCEPT_ANY_SENDER: "ms-Exch-SMTP-Accept-Any-Sender",
        Permission.ACCEPT_AUTHORITATIVE_DOMAIN_SENDER: "ms-Exch-SMTP-Accept-Authoritative-Domain-Sender",
        Permission.BYPASS_ANTI_SPAM: "ms-Exch-Bypass-Anti-Spam",
        Permission.BYPASS_MESSAGE_SIZE_LIMIT: "ms-Exch-Bypass-Message-Size-Limit",
        Permission.ACCEPT_EXCH50: "ms-Exch-SMTP-Accept-Exch50",
        Permission.ACCEPT_ROUTING_HEADERS: "ms-Exch-Accept-Headers-Routing",
        Permission.ACCEPT_FOREST_HEADERS: "ms-Exch-Accept-Headers-Forest",
        Permission.ACCEPT_ORGANIZATION_HEADERS: "ms-Exch-Accept-Headers-Organization",
        Permission.ACCEPT_XSHADOW: "ms-Exch-SMTP-Accept-XShadow",
    }
)

# ExchangeServers for "MS Exchange\Externally Secured Servers", and ExchangeLegacyServers: the same rights.
_TRUSTED = frozenset(
    {
        Permission.SUBMIT,
        Permission.ACCEPT_ANY_RECIPIENT,
        Permission.ACCEPT_AUTHENTICATION_FLAG,
        Permission.ACCEPT_ANY_SENDER,
        Permission.ACCEPT_AUTHORITATIVE_DOMAIN_SENDER,
        Permission.BYPASS_ANTI_SPAM,
        Permission.BYPASS_MESSAGE_SIZE_LIMIT,
        Permission.ACCEPT_EXCH50,
        Permission.ACCEPT_ROUTING_HEADERS,
    }
)

# "Receive connector permission groups"; what Custom stands for is in the connector's own access list.
_GRANTED: Mapping[PermissionGroups, frozenset[Permission]] = MappingProxyType(
    {
        PermissionGroups.AnonymousUsers: frozenset(
            {
                Permission.SUBMIT,
                Permission.ACCEPT_ANY_SENDER,
                Permission.ACCEPT_AUTHORITATIVE_DOMAIN_SENDER,
                Permission.ACCEPT_ROUTING_HEADERS,
            }
        ),
        PermissionGroups.ExchangeUsers: frozenset(
            {
                Permission.SUBMIT,
                Permission.ACCEPT_ANY_RECIPIENT,
                Permission.BYPASS_ANTI_SPAM,
                Permission.ACCEPT_ROUTING_HEADERS,
            }
        ),
        PermissionGroups.ExchangeServers: _TRUSTED
        | {
            Permission.ACCEPT_FOREST_HEADERS,
            Permission.ACCEPT_ORGANIZATION_HEADERS,
            Permission.ACCEPT_XSHADOW,
        },
        PermissionGroups.ExchangeLegacyServers: _TRUSTED,
        PermissionGroups.Partners: frozenset({Permission.SUBMIT, Permission.ACCEPT_ROUTING_HEADERS}),
    }
)


def session_permissions(
    connector: ReceiveConnector, member_of: PermissionGroups | None
) -> tuple[Permission, ...]:
    """Return what a sender may do, in the log's order: what its groups are granted on *connector*.

    *member_of* is None for a sender that has not authenticated: it has what AnonymousUsers grants, which
    one that has authenticated does not get, even where it belongs to no group.
    """
    holds = PermissionGroups.AnonymousUsers if member_of is None else member_of
    return _granted(connector.permission_groups, connector.auth_mechanism, holds)


# Each session asks, and there are few answers.
@lru_cache(maxsize=100)
def _granted(
    groups: PermissionGroups, mechanisms: AuthMechanism, holds: PermissionGroups
) -> tuple[Permission, ...]:
    granted: set[Permission] = set()
    for group in groups & holds:
        granted |= _GRANTED.get(group, frozenset())
    # Set-ReceiveConnector: ExternalAuthoritative takes everyone for a server that is secured externally,
    # and asks for the group ExchangeServers.
    if AuthMechanism.ExternalAuthoritative in mechanisms and PermissionGroups.ExchangeServers in groups:
        granted |= _TRUSTED
    return tuple(permission for permission in Permission if permission in granted)


def may_submit(permissions: Collection[Permission]) -> bool:
    """Whether MAIL is taken at all: ms-Exch-SMTP-Submit "is required to submit messages"."""
    return Permission.SUBMIT in permissions
