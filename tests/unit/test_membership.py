"""Which permission groups follow from the groups of the directory that hold an account."""

from __future__ import annotations

import pytest

from smtpd_anontls.domain.flags import PermissionGroups
from smtpd_anontls.domain.membership import PRINCIPALS, Groups, groups_of_account

SERVERS, LEGACY = "Exchange Servers", "ExchangeLegacyInterop"
HIDDEN = "(an access rule that hides the members looks the same)"


@pytest.mark.parametrize(
    ("held_by", "existing", "names", "detail"),
    [
        ({SERVERS}, {SERVERS, LEGACY}, ("ExchangeServers",), f", in {SERVERS}, not in {LEGACY} {HIDDEN}"),
        ({LEGACY}, {LEGACY}, ("ExchangeLegacyServers",), f", in {LEGACY}, and no group {SERVERS} is shown"),
        (
            {LEGACY, SERVERS},
            {SERVERS, LEGACY},
            ("ExchangeServers", "ExchangeLegacyServers"),
            f", in {SERVERS} and {LEGACY}",
        ),
        (set(), {SERVERS, LEGACY}, (), f", not in {SERVERS} or {LEGACY} {HIDDEN}"),
        (set(), set(), (), f", and no group {SERVERS} is shown, and no group {LEGACY} is shown"),
    ],
    ids=["a server", "a legacy server", "both", "neither", "there are no groups"],
)
def test_groups_of_account(
    held_by: set[str], existing: set[str], names: tuple[str, ...], detail: str
) -> None:
    """Each account that authenticates is an Exchange user; the groups that hold it say what else it is."""
    assert groups_of_account(held_by, existing) == Groups(
        ("ExchangeUsers", *names), f"it is an account of the domain{detail}"
    )


def test_no_principal_makes_an_anonymous_sender_or_a_partner() -> None:
    """What Active Directory has no group for is never granted by one."""
    assert set(PRINCIPALS.values()) == {
        PermissionGroups.ExchangeServers,
        PermissionGroups.ExchangeLegacyServers,
    }
