"""What EHLO offers, and in which order."""

from __future__ import annotations

from itertools import combinations, product

import pytest

from smtpd_anontls.domain.connectors import Bytes, ReceiveConnector
from smtpd_anontls.domain.flags import SizeEnabled
from smtpd_anontls.domain.records import TlsVerb
from smtpd_anontls.protocol.capabilities import ehlo_reply, hello

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
]
CONNECTOR = ReceiveConnector(name="Default Frontend MBX1", max_message_size=Bytes(37748736))
SUBSETS = [frozenset(some) for size in range(3) for some in combinations(TlsVerb, size)]


def lines(
    connector: ReceiveConnector, offered: frozenset[TlsVerb], secured_by: TlsVerb | None = None
) -> list[str]:
    """Return the lines of the answer to EHLO."""
    reply = ehlo_reply(
        connector, fqdn="mbx1.contoso.test", peer="192.0.2.1", offered=offered, secured_by=secured_by
    )
    return reply.lines()


@pytest.mark.parametrize("secured_by", [None, *TlsVerb])
@pytest.mark.parametrize("offered", SUBSETS, ids=lambda some: "+".join(sorted(some)) or "no verb")
def test_every_combination_keeps_exchange_s_order(
    offered: frozenset[TlsVerb], secured_by: TlsVerb | None
) -> None:
    """Whatever is switched on: each extension once, where it holds, in the order of the captures."""
    either = (False, True)
    for size, pipelining, status_codes, eight_bit in product(SizeEnabled, either, either, either):
        connector = ReceiveConnector(
            name="any",
            max_message_size=CONNECTOR.max_message_size,
            size_enabled=size,
            pipelining_enabled=pipelining,
            enhanced_status_codes_enabled=status_codes,
            eight_bit_mime_enabled=eight_bit,
        )
        expected = {
            "SIZE": size is not SizeEnabled.Disabled,
            "PIPELINING": pipelining,
            "ENHANCEDSTATUSCODES": status_codes,
            "STARTTLS": TlsVerb.STARTTLS in offered and secured_by is None,
            "X-ANONYMOUSTLS": TlsVerb.X_ANONYMOUSTLS in offered and secured_by is None,
            "8BITMIME": eight_bit,
        }

        first, *rest = lines(connector, offered, secured_by)

        assert first[4:] == "mbx1.contoso.test Hello [192.0.2.1]"
        assert [line[4:].split()[0] for line in rest] == [k for k in EXCHANGE_ORDER if expected.get(k)]
        assert [line[3] for line in [first, *rest]] == ["-"] * len(rest) + [" "]


def test_defaults_before_tls_look_like_a_capture() -> None:
    """An Exchange 2019 front end before TLS, less what is not supported here."""
    assert lines(CONNECTOR, frozenset(TlsVerb)) == [
        "250-mbx1.contoso.test Hello [192.0.2.1]",
        "250-SIZE 37748736",
        "250-PIPELINING",
        "250-ENHANCEDSTATUSCODES",
        "250-STARTTLS",
        "250-X-ANONYMOUSTLS",
        "250 8BITMIME",
    ]


@pytest.mark.parametrize("verb", list(TlsVerb))
def test_both_verbs_are_gone_after_either(verb: TlsVerb) -> None:
    """As in a session of Exchange behind STARTTLS: neither verb is offered a second time."""
    assert lines(CONNECTOR, frozenset(TlsVerb), verb) == [
        "250-mbx1.contoso.test Hello [192.0.2.1]",
        "250-SIZE 37748736",
        "250-PIPELINING",
        "250-ENHANCEDSTATUSCODES",
        "250 8BITMIME",
    ]


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
    )

    assert lines(bare, frozenset()) == ["250 mbx1.contoso.test Hello [192.0.2.1]"]


def test_hello_names_both_sides() -> None:
    """The receiver's name and the peer's address, IPv6 too."""
    assert hello("mbx1.contoso.test", "2001:db8::1") == "mbx1.contoso.test Hello [2001:db8::1]"
