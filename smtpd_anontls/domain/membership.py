r"""Which permission groups of a Receive connector hold an account of the directory.

Source: "Receive connectors", the table of permission groups and the principals behind them.
``NT AUTHORITY\Authenticated Users`` is ExchangeUsers, so every account that has authenticated is one,
computers and servers too.  ``<Domain>\Exchange Servers`` is ExchangeServers, ``<Domain>\ExchangeLegacyInterop``
ExchangeLegacyServers; set-up gives both groups these names in every language.  The other principals (Edge
Transport servers, Partner Servers) are no groups of Active Directory.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from smtpd_anontls.domain.directory_value import Unreadable
from smtpd_anontls.domain.flags import PermissionGroups

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

# By sAMAccountName, which no two objects of a domain share: a group elsewhere of the same CN is another one.
PRINCIPALS: Mapping[str, PermissionGroups] = MappingProxyType(
    {
        "Exchange Servers": PermissionGroups.ExchangeServers,
        "ExchangeLegacyInterop": PermissionGroups.ExchangeLegacyServers,
    }
)


@dataclass(frozen=True, slots=True)
class Groups:
    """The permission groups that hold an account, none where the directory does not know it."""

    names: tuple[str, ...]  # Of PermissionGroups, in Exchange's order.
    detail: str  # Why these, as a clause.


Membership = Groups | Unreadable


def groups_of_account(held_by: Collection[str], existing: Collection[str]) -> Groups:
    """Return the permission groups of an account that is in *held_by*, where the groups *existing* are there.

    Both are keys of PRINCIPALS.
    """
    groups = PermissionGroups.ExchangeUsers
    held, others, missing = [], [], []
    for name, group in PRINCIPALS.items():
        if name in held_by:
            groups |= group
            held.append(name)
        elif name in existing:
            others.append(name)
        else:
            missing.append(name)
    clauses = ["it is an account of the domain"]
    if held:
        clauses.append(f"in {' and '.join(held)}")
    if others:
        # To one who may not read a group's members it has none.
        clauses.append(f"not in {' or '.join(others)} (an access rule that hides the members looks the same)")
    clauses += [f"and no group {name} is shown" for name in missing]
    return Groups(tuple(groups.names), ", ".join(clauses))
