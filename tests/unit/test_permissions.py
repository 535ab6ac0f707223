"""Permissions of a session: the table of "Receive connectors", and the lists that public logs print."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpd_anontls.domain.connectors import ReceiveConnector
from smtpd_anontls.domain.flags import AuthMechanism, PermissionGroups
from smtpd_anontls.domain.permissions import Permission, may_submit, session_permissions

NOBODY = None
EVERY_GROUP = PermissionGroups(sum(group.value for group in PermissionGroups))

# "Receive connectors", table "Receive connector permission groups", in the table's own words.
TABLE = {
    PermissionGroups.AnonymousUsers: """
        ms-Exch-Accept-Headers-Routing ms-Exch-SMTP-Accept-Any-Sender
        ms-Exch-SMTP-Accept-Authoritative-Domain-Sender ms-Exch-SMTP-Submit
    """,
    PermissionGroups.ExchangeUsers: """
        ms-Exch-Accept-Headers-Routing ms-Exch-Bypass-Anti-Spam ms-Exch-SMTP-Accept-Any-Recipient
        ms-Exch-SMTP-Submit
    """,
    # The last one is in the notes below the table.
    PermissionGroups.ExchangeServers: """
        ms-Exch-Accept-Headers-Forest ms-Exch-Accept-Headers-Organization ms-Exch-Accept-Headers-Routing
        ms-Exch-Bypass-Anti-Spam ms-Exch-Bypass-Message-Size-Limit ms-Exch-SMTP-Accept-Any-Recipient
        ms-Exch-SMTP-Accept-Any-Sender ms-Exch-SMTP-Accept-Authentication-Flag
        ms-Exch-SMTP-Accept-Authoritative-Domain-Sender ms-Exch-SMTP-Accept-Exch50 ms-Exch-SMTP-Submit
        ms-Exch-SMTP-Accept-XShadow
    """,
    PermissionGroups.ExchangeLegacyServers: """
        ms-Exch-Accept-Headers-Routing ms-Exch-Bypass-Anti-Spam ms-Exch-Bypass-Message-Size-Limit
        ms-Exch-SMTP-Accept-Any-Recipient ms-Exch-SMTP-Accept-Any-Sender
        ms-Exch-SMTP-Accept-Authentication-Flag ms-Exch-SMTP-Accept-Authoritative-Domain-Sender
        ms-Exch-SMTP-Accept-Exch50 ms-Exch-SMTP-Submit
    """,
    PermissionGroups.Partners: "ms-Exch-Accept-Headers-Routing ms-Exch-SMTP-Submit",
    PermissionGroups.Custom: "",
}
# The same table, "MS Exchange\Externally Secured Servers".
EXTERNALLY_SECURED = TABLE[PermissionGroups.ExchangeLegacyServers]

# "How to use Exchange protocol logging" (Veritas): everything that Exchange 2010 has.
LOGGED = (
    "SMTPSubmit SMTPSubmitForMLS SMTPAcceptAnyRecipient SMTPAcceptAuthenticationFlag SMTPAcceptAnySender "
    "SMTPAcceptAuthoritativeDomainSender BypassAntiSpam BypassMessageSizeLimit SMTPSendEXCH50 "
    "SMTPAcceptEXCH50 AcceptRoutingHeaders AcceptForestHeaders AcceptOrganizationHeaders "
    "SendRoutingHeaders SendForestHeaders SendOrganizationHeaders SMTPSendXShadow SMTPAcceptXShadow"
)

groups = st.integers(0, EVERY_GROUP.value).map(PermissionGroups)


def connector(permitted: PermissionGroups, mechanism: AuthMechanism = AuthMechanism.Tls) -> ReceiveConnector:
    """Return a connector for these groups."""
    return ReceiveConnector(name="Default", permission_groups=permitted, auth_mechanism=mechanism)


def rights(permissions: tuple[Permission, ...]) -> set[str]:
    """Return the documented names."""
    return {permission.right for permission in permissions}


@pytest.mark.parametrize("group", PermissionGroups)
def test_what_a_group_is_granted(group: PermissionGroups) -> None:
    """A member of one group has what the table grants it, where the connector has the group."""
    assert rights(session_permissions(connector(EVERY_GROUP), group)) == set(TABLE[group].split())


@pytest.mark.parametrize("group", PermissionGroups)
def test_a_group_that_the_connector_has_not(group: PermissionGroups) -> None:
    """Its members get nothing of it."""
    assert session_permissions(connector(EVERY_GROUP & ~group), group) == ()


def test_an_anonymous_sender_as_the_log_prints_it() -> None:
    """Public logs of Exchange 2010 and 2013 have this list for a sender that has not authenticated."""
    permissions = session_permissions(connector(EVERY_GROUP), NOBODY)

    assert (
        " ".join(permissions)
        == "SMTPSubmit SMTPAcceptAnySender SMTPAcceptAuthoritativeDomainSender AcceptRoutingHeaders"
    )


def test_the_order_of_the_log() -> None:
    """It is that of the longest public list, where that has a permission."""
    permissions = session_permissions(connector(EVERY_GROUP), PermissionGroups.ExchangeServers)

    assert [name for name in LOGGED.split() if name in list(Permission)] == [
        each.value for each in Permission
    ]
    assert list(permissions) == list(Permission)


def test_one_who_has_authenticated_is_not_anonymous() -> None:
    """What AnonymousUsers grants is not for members of another group."""
    anonymous = connector(PermissionGroups.AnonymousUsers)

    assert may_submit(session_permissions(anonymous, NOBODY))
    assert not may_submit(session_permissions(anonymous, PermissionGroups.ExchangeUsers))
    assert not may_submit(session_permissions(anonymous, PermissionGroups(0)))


@pytest.mark.parametrize("member_of", [NOBODY, PermissionGroups.ExchangeUsers])
def test_externally_secured(member_of: PermissionGroups | None) -> None:
    """ExternalAuthoritative takes everyone for a server, without the headers of forest and organization."""
    trusting = connector(PermissionGroups.ExchangeServers, AuthMechanism.ExternalAuthoritative)

    assert rights(session_permissions(trusting, member_of)) == set(EXTERNALLY_SECURED.split())


def test_externally_secured_without_its_group() -> None:
    """Without ExchangeServers, which ExternalAuthoritative needs, it grants nothing."""
    broken = connector(PermissionGroups.AnonymousUsers, AuthMechanism.ExternalAuthoritative)

    assert session_permissions(broken, NOBODY) == session_permissions(
        connector(PermissionGroups.AnonymousUsers), NOBODY
    )


@given(permitted=groups, member_of=groups, added=groups)
def test_more_groups_never_grant_less(
    permitted: PermissionGroups, member_of: PermissionGroups, added: PermissionGroups
) -> None:
    """On a connector that takes more groups a sender may do at least as much."""
    before = session_permissions(connector(permitted), member_of)
    after = session_permissions(connector(permitted | added), member_of)

    assert set(before) <= set(after)


@given(permitted=groups, member_of=groups)
def test_every_sender_that_may_anything_may_submit(
    permitted: PermissionGroups, member_of: PermissionGroups
) -> None:
    """Each documented group grants ms-Exch-SMTP-Submit, so no other permission comes without it."""
    permissions = session_permissions(connector(permitted), member_of)

    assert may_submit(permissions) == bool(permissions)
    assert len(set(permissions)) == len(permissions)
