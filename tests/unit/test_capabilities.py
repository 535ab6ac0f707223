"""What EHLO offers, and in which order."""

from __future__ import annotations

from itertools import combinations, product
from typing import Any

import pytest

from smtpd_anontls.domain.authentication import Mechanism
from smtpd_anontls.domain.connectors import Bytes, ReceiveConnector
from smtpd_anontls.domain.flags import AuthMechanism, SizeEnabled
from smtpd_anontls.domain.records import TlsVerb
from smtpd_anontls.protocol.capabilities import ehlo_reply, hello
from smtpd_anontls.protocol.mechanisms import NO_MECHANISMS, Mechanisms

# The order in every public capture of Exchange 2010 to 2019.
EXCHANGE_ORDER = [
    "SIZE",
    "PIPELINING",
    "DSN",
    "ENHANCEDSTATUSCODES",
    "STARTTLS",
    "X-ANONYMOUSTLS",
    "AUTH",
    "X-EXPS",
    "X-EXCHANGEAUTH",
    "8BITMIME",
    "BINARYMIME",
    "CHUNKING",
    "SMTPUTF8",
    "XEXCH50",
    "XRDST",
    "XLONGADDR",
    "XORAR",
]
CONNECTOR = ReceiveConnector(name="Default Frontend MBX1", max_message_size=Bytes(37748736))
SWITCHES = {
    "pipelining_enabled": "PIPELINING",
    "delivery_status_notification_enabled": "DSN",
    "enhanced_status_codes_enabled": "ENHANCEDSTATUSCODES",
    "eight_bit_mime_enabled": "8BITMIME",
    "binary_mime_enabled": "BINARYMIME",
    "chunking_enabled": "CHUNKING",
    "smtp_utf8_enabled": "SMTPUTF8",
    "exchange": "XRDST",
    "long_addresses_enabled": "XLONGADDR",
    "orar_enabled": "XORAR",
}
SUBSETS = [frozenset(some) for size in range(3) for some in combinations(TlsVerb, size)]


def lines(
    connector: ReceiveConnector,
    offered: frozenset[TlsVerb],
    secured_by: TlsVerb | None = None,
    mechanisms: Mechanisms = NO_MECHANISMS,
) -> list[str]:
    """Return the lines of the answer to EHLO."""
    reply = ehlo_reply(
        connector,
        fqdn="mbx1.contoso.test",
        peer="192.0.2.1",
        offered=offered,
        secured_by=secured_by,
        mechanisms=mechanisms,
    )
    return list(reply.lines())


@pytest.mark.parametrize("secured_by", [None, *TlsVerb])
@pytest.mark.parametrize("offered", SUBSETS, ids=lambda some: "+".join(sorted(some)) or "no verb")
def test_every_combination_keeps_exchange_s_order(
    offered: frozenset[TlsVerb], secured_by: TlsVerb | None
) -> None:
    """Whatever is switched on: each extension once, where it holds, in the order of the captures."""
    every = Mechanisms((Mechanism.NTLM,), (Mechanism.EXCHANGEAUTH, Mechanism.NTLM))
    for size, mechanisms, switched_on in product(
        SizeEnabled, (NO_MECHANISMS, every), range(2 ** len(SWITCHES))
    ):
        switches: dict[str, Any] = {name: bool(switched_on >> bit & 1) for bit, name in enumerate(SWITCHES)}
        exchange = switches.pop("exchange")
        connector = ReceiveConnector(
            name="any",
            max_message_size=CONNECTOR.max_message_size,
            size_enabled=size,
            auth_mechanism=AuthMechanism.ExchangeServer if exchange else AuthMechanism.Tls,
            **switches,
        )
        expected = {
            "SIZE": size is not SizeEnabled.Disabled,
            "STARTTLS": TlsVerb.STARTTLS in offered and secured_by is None,
            "X-ANONYMOUSTLS": TlsVerb.X_ANONYMOUSTLS in offered and secured_by is None,
            "XRDST": exchange,
            **{SWITCHES[name]: on for name, on in switches.items()},
            **dict.fromkeys(("AUTH", "X-EXPS", "X-EXCHANGEAUTH"), mechanisms is every),
        }

        first, *rest = lines(connector, offered, secured_by, mechanisms)

        assert first[4:] == "mbx1.contoso.test Hello [192.0.2.1]"
        assert [line[4:].split()[0] for line in rest] == [k for k in EXCHANGE_ORDER if expected.get(k)]
        assert [line[3] for line in [first, *rest]] == ["-"] * len(rest) + [" "]


@pytest.mark.parametrize(
    ("size", "line"),
    [
        (SizeEnabled.Enabled, "250-SIZE 37748736"),
        (SizeEnabled.EnabledWithoutValue, "250-SIZE"),
        (SizeEnabled.Disabled, "250-PIPELINING"),
    ],
)
def test_size_is_offered_in_three_ways(size: SizeEnabled, line: str) -> None:
    """With the limit, without it (the default of the Transport service), or not at all."""
    connector = ReceiveConnector(name="any", max_message_size=Bytes(37748736), size_enabled=size)

    assert lines(connector, frozenset())[1] == line


def test_nothing_to_offer_is_one_line() -> None:
    """With every switch off the greeting is the whole answer, and it is the last line."""
    bare = ReceiveConnector(
        name="any",
        size_enabled=SizeEnabled.Disabled,
        pipelining_enabled=False,
        enhanced_status_codes_enabled=False,
        eight_bit_mime_enabled=False,
        delivery_status_notification_enabled=False,
        chunking_enabled=False,
        binary_mime_enabled=False,
        smtp_utf8_enabled=False,
    )

    assert lines(bare, frozenset()) == ["250 mbx1.contoso.test Hello [192.0.2.1]"]


def test_hello_names_both_sides() -> None:
    """The receiver's name and the peer's address, IPv6 too."""
    assert hello("mbx1.contoso.test", "2001:db8::1") == "mbx1.contoso.test Hello [2001:db8::1]"
