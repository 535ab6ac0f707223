r"""Who a sender is, and which groups follow.

Groups come from ``authentication.identities``; where that does not name the sender, from the LDAP
directory.  With a directory that is a file and no ``identities`` they are assumed, and the sentence
says so: a Kerberos identity that ends in ``$``, which is how Active Directory names computers, counts
as an Exchange server, any other as an Exchange user.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from smtpd_anontls.domain.account_names import AccountName
from smtpd_anontls.domain.authentication import Identity, Mechanism
from smtpd_anontls.domain.directory_value import Unreadable
from smtpd_anontls.domain.flags import PermissionGroups

if TYPE_CHECKING:
    from collections.abc import Mapping

    from smtpd_anontls.domain.membership import Membership

_KEY = "authentication.identities"


class MemberOf(Protocol):
    """A directory that knows who belongs to which group."""

    async def groups_of(self, identity: str) -> Membership:
        r"""Return the PermissionGroups of ``CONTOSO\MBX2$``, or why they cannot be read; never raise."""
        ...


async def identify(
    name: AccountName | str,
    mechanism: str,
    *,
    identities: Mapping[str, PermissionGroups] | None,
    directory: MemberOf | None,
) -> Identity:
    """Return who authenticated as *name*, with its groups.

    *name* may be written in any form; a key of *identities* is the same account as it is in any form and
    case.  *directory* is None where the directory is a file.
    """
    account = AccountName.parse(name) if isinstance(name, str) else name
    shown = str(account)
    if (listed := _listed(account, identities)) is not None:
        names = tuple(listed.names)
        return Identity(shown, mechanism, names, f"{_KEY} says {_said(names)} of {shown}")
    if directory is not None:
        found = await directory.groups_of(shown)
        if isinstance(found, Unreadable):
            detail = f"the groups of {shown} could not be read, so it has none: {found.reason}"
            return Identity(shown, mechanism, (), detail)
        detail = f"the directory says {_said(found.names)} of {shown}: {found.detail}"
        return Identity(shown, mechanism, found.names, detail)
    if identities is not None:
        return Identity(shown, mechanism, (), f"{_KEY} does not name {shown}, so it has no groups")
    groups, why = _assumed(account, mechanism)
    return Identity(shown, mechanism, tuple(groups.names), f"assumed {groups} of {shown}: {why}")


def _listed(
    account: AccountName, identities: Mapping[str, PermissionGroups] | None
) -> PermissionGroups | None:
    for key, groups in (identities or {}).items():
        if AccountName.parse(key).is_same(account):
            return groups
    return None


def _assumed(account: AccountName, mechanism: str) -> tuple[PermissionGroups, str]:
    if mechanism != Mechanism.GSSAPI:
        return PermissionGroups.ExchangeUsers, f"it came by {mechanism}, and {_KEY} is null"
    if account.user.endswith("$"):
        return PermissionGroups.ExchangeServers, f"a Kerberos identity that ends in $, and {_KEY} is null"
    return PermissionGroups.ExchangeUsers, f"a Kerberos identity that does not end in $, and {_KEY} is null"


def _said(groups: tuple[str, ...]) -> str:
    return ", ".join(groups) or "no group"
