"""Who a sender is: groups from the configuration, from the directory, or assumed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from smtpd_anontls.authentication.identities import identify
from smtpd_anontls.domain.directory_value import Unreadable
from smtpd_anontls.domain.flags import PermissionGroups
from smtpd_anontls.domain.membership import Groups

if TYPE_CHECKING:
    from collections.abc import Mapping

    from smtpd_anontls.domain.authentication import Identity
    from smtpd_anontls.domain.membership import Membership

SERVERS, USERS = PermissionGroups.ExchangeServers, PermissionGroups.ExchangeUsers


@dataclass
class Directory:
    """A directory that answers from memory, and notes whom it was asked for."""

    groups: Membership
    asked: list[str] = field(default_factory=list)

    async def groups_of(self, identity: str) -> Membership:
        """Return what was given."""
        self.asked.append(identity)
        return self.groups


def who(
    name: str,
    mechanism: str = "GSSAPI",
    *,
    identities: Mapping[str, PermissionGroups] | None = None,
    directory: Directory | None = None,
) -> Identity:
    """Identify *name*."""
    return asyncio.run(identify(name, mechanism, identities=identities, directory=directory))


@pytest.mark.parametrize(
    "key", ["CONTOSO\\MBX2$", "contoso\\mbx2$", "MBX2$@CONTOSO.TEST", "mbx2$@contoso.test"]
)
@pytest.mark.parametrize("name", ["CONTOSO\\MBX2$", "MBX2$@CONTOSO.TEST", "Contoso\\Mbx2$"])
def test_the_configuration_names_an_account_in_any_form(key: str, name: str) -> None:
    """Form and case make no difference, and the directory is not asked."""
    directory = Directory(Groups(("ExchangeUsers",), "it is one"))
    found = who(name, identities={"CONTOSO\\other": USERS, key: SERVERS | USERS}, directory=directory)

    assert found.groups == ("ExchangeUsers", "ExchangeServers")
    assert found.detail.startswith(
        "authentication.identities says ExchangeUsers, ExchangeServers of CONTOSO\\M"
    )
    assert directory.asked == []


def test_the_configuration_may_say_that_there_are_no_groups() -> None:
    """An entry without groups is an answer, not a reason to ask further."""
    directory = Directory(Groups(("ExchangeUsers",), "it is one"))
    found = who("CONTOSO\\MBX2$", identities={"CONTOSO\\MBX2$": PermissionGroups(0)}, directory=directory)

    assert (found.groups, directory.asked) == ((), [])
    assert found.detail == "authentication.identities says no group of CONTOSO\\MBX2$"


def test_the_directory_is_asked_for_whom_the_configuration_does_not_name() -> None:
    """It is asked by the one form that identities have."""
    directory = Directory(Groups(("ExchangeServers",), "it is in one"))
    found = who("MBX2$@CONTOSO.TEST", identities={"FABRIKAM\\MBX2$": USERS}, directory=directory)

    assert (found.name, found.groups, directory.asked) == (
        "CONTOSO\\MBX2$",
        ("ExchangeServers",),
        ["CONTOSO\\MBX2$"],
    )
    assert found.detail == "the directory says ExchangeServers of CONTOSO\\MBX2$: it is in one"


def test_a_directory_that_cannot_be_read_grants_nothing() -> None:
    """And what it does not know is not assumed."""
    found = who("CONTOSO\\MBX2$", directory=Directory(Unreadable("server down")))

    assert found.groups == ()
    assert found.detail == "the groups of CONTOSO\\MBX2$ could not be read, so it has none: server down"


def test_a_directory_that_knows_no_groups() -> None:
    """It is an answer like any other."""
    found = who("CONTOSO\\MBX2$", directory=Directory(Groups((), "there is no such account")))

    assert found.groups == ()
    assert found.detail == "the directory says no group of CONTOSO\\MBX2$: there is no such account"


def test_identities_leave_nothing_to_assume() -> None:
    """With a directory that is a file, whom they do not name has no groups."""
    found = who("CONTOSO\\MBX2$", identities={})

    assert found.groups == ()
    assert found.detail == "authentication.identities does not name CONTOSO\\MBX2$, so it has no groups"


@pytest.mark.parametrize(
    ("name", "mechanism", "groups", "why"),
    [
        ("MBX2$@CONTOSO.TEST", "GSSAPI", ("ExchangeServers",), "a Kerberos identity that ends in $"),
        ("alice@CONTOSO.TEST", "GSSAPI", ("ExchangeUsers",), "a Kerberos identity that does not end in $"),
        ("CONTOSO\\MBX2$", "NTLM", ("ExchangeUsers",), "it came by NTLM"),
        ("CONTOSO\\alice", "LOGIN", ("ExchangeUsers",), "it came by LOGIN"),
    ],
)
def test_what_is_assumed_says_so(name: str, mechanism: str, groups: tuple[str, ...], why: str) -> None:
    """Without any source only Kerberos proves that a computer is one."""
    found = who(name, mechanism)

    assert found.groups == groups
    assert (
        found.detail == f"assumed {groups[0]} of {found.name}: {why}, and authentication.identities is null"
    )
    assert found.mechanism == mechanism
