"""The enumerations of a Receive connector, as words and as Exchange's numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from smtpd_anontls.domain.flags import (
    AuthMechanism,
    ExchangeFlag,
    ExtendedProtectionPolicy,
    MessageRateSource,
    PermissionGroups,
    SizeEnabled,
    TransportRole,
    enum_from_name,
    flag_from_names,
    flag_from_number,
)

if TYPE_CHECKING:
    from enum import Enum

# The numbers beside the names in a dump of an Exchange 2019 server's connectors.
DUMPED: list[tuple[type[ExchangeFlag], int, str]] = [
    (AuthMechanism, 31, "Tls, Integrated, BasicAuth, BasicAuthRequireTLS, ExchangeServer"),
    (AuthMechanism, 15, "Tls, Integrated, BasicAuth, BasicAuthRequireTLS"),
    (PermissionGroups, 2, "ExchangeUsers"),
    (PermissionGroups, 4, "ExchangeServers"),
    (PermissionGroups, 6, "ExchangeUsers, ExchangeServers"),
    (PermissionGroups, 13, "AnonymousUsers, ExchangeServers, ExchangeLegacyServers"),
    (PermissionGroups, 14, "ExchangeUsers, ExchangeServers, ExchangeLegacyServers"),
]


@pytest.mark.parametrize(("kind", "number", "words"), DUMPED)
def test_flags_have_exchange_numbers(kind: type[ExchangeFlag], number: int, words: str) -> None:
    """A number of a real server reads as its words, and the words as the number."""
    assert str(flag_from_number(kind, number)) == words
    assert flag_from_names(kind, words.split(", ")).value == number


@pytest.mark.parametrize("kind", [AuthMechanism, PermissionGroups])
def test_no_option_is_none(kind: type[ExchangeFlag]) -> None:
    """The empty flag prints as None, and None, nothing and zero are the empty flag."""
    assert str(kind(0)) == "None"
    assert kind(0).names == []
    assert flag_from_names(kind, ["none"]) == kind(0)
    assert flag_from_names(kind, []) == kind(0)
    assert flag_from_number(kind, 0) == kind(0)


def test_words_are_read_in_any_case_and_order() -> None:
    """Case, order and repetition of the words do not matter; they print in Exchange's order."""
    flag = flag_from_names(AuthMechanism, iter(["EXCHANGESERVER", "tls", "Tls"]))

    assert str(flag) == "Tls, ExchangeServer"
    assert flag.names == ["Tls", "ExchangeServer"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["Tls", "ExchangeSever"],
            (
                "'ExchangeSever' is not one of None, Tls, Integrated, BasicAuth, BasicAuthRequireTLS, "
                "ExchangeServer, ExternalAuthoritative"
            ),
        ),
        (["Tls", "None"], "'None' goes alone; remove it or the others"),
        (["none", "Tls"], "'none' goes alone; remove it or the others"),
        ([""], "'' is not one of None, Tls"),
    ],
)
def test_a_word_that_is_no_option_is_named(words: list[str], message: str) -> None:
    """The message names the word, and the words that would do."""
    with pytest.raises(ValueError, match=r"is not one of|goes alone") as raised:
        flag_from_names(AuthMechanism, words)

    assert str(raised.value).startswith(message)


@pytest.mark.parametrize("number", [-1, 64, 31 + 64])
def test_a_number_with_unknown_bits_is_refused(number: int) -> None:
    """A number that is no sum of the options' numbers says so."""
    with pytest.raises(
        ValueError, match=rf"^{number} is not a sum of Tls 1, Integrated 2, .*Authoritative 32$"
    ):
        flag_from_number(AuthMechanism, number)


@pytest.mark.parametrize(
    ("kind", "name", "member"),
    [
        (SizeEnabled, "enabledwithoutvalue", SizeEnabled.EnabledWithoutValue),
        (TransportRole, "HUBTRANSPORT", TransportRole.HubTransport),
        (ExtendedProtectionPolicy, "none", ExtendedProtectionPolicy.NotUsed),
        (MessageRateSource, "None", MessageRateSource.NotUsed),
    ],
)
def test_a_value_is_read_in_any_case(kind: type[Enum], name: str, member: Enum) -> None:
    """An enumeration is read by Exchange's spelling, in any case."""
    assert enum_from_name(kind, name) is member


def test_a_value_that_is_none_of_them_is_named() -> None:
    """The message names the value, and those that would do."""
    with pytest.raises(ValueError, match=r"^'Off' is not one of Enabled, EnabledWithoutValue, Disabled$"):
        enum_from_name(SizeEnabled, "Off")
