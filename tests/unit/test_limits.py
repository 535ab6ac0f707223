"""The limits that sessions share: sessions at once, and messages a minute."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpd_anontls.domain.connectors import ReceiveConnector
from smtpd_anontls.domain.flags import MessageRateSource
from smtpd_anontls.domain.limits import Connections, MessageRates

PLACE = ("MX1", "Default Frontend MX1")
ELSEWHERE = ("MX1", "Relay")
ONE, OTHER = ip_address("192.0.2.1"), ip_address("192.0.2.2")
NO_LIMIT = {
    "max_inbound_connection": None,
    "max_inbound_connection_per_source": None,
    "max_inbound_connection_percentage_per_source": 100,
}


def connector(**properties: Any) -> ReceiveConnector:
    """Return a connector without limits but *properties*."""
    return ReceiveConnector(name=PLACE[1], **{**NO_LIMIT, **properties})


@pytest.mark.parametrize(
    ("limits", "inside", "name"),
    [
        pytest.param({"max_inbound_connection": 2}, [ONE, OTHER], "MaxInboundConnection", id="all"),
        pytest.param(
            {"max_inbound_connection_per_source": 2}, [ONE, ONE], "MaxInboundConnectionPerSource", id="source"
        ),
        pytest.param(
            # 100 less 2 are free; 2 percent of them are 1 session.
            {"max_inbound_connection": 100, "max_inbound_connection_percentage_per_source": 2},
            [OTHER, ONE],
            "MaxInboundConnectionPercentagePerSource",
            id="percentage",
        ),
    ],
)
def test_a_session_over_the_limit_is_not_counted(
    limits: dict[str, int], inside: list[Any], name: str
) -> None:
    """The session over the limit is refused with the limit's name; when another has left it comes in."""
    limited, connections = connector(**limits), Connections()
    for source in inside:
        assert connections.enter(PLACE, source, limited) is None

    struck = connections.enter(PLACE, ONE, limited)
    assert struck is not None
    assert struck.name == name
    assert connections.count(PLACE) == len(inside)
    connections.leave(PLACE, ONE)
    assert connections.enter(PLACE, ONE, limited) is None


def test_limits_are_of_each_connector() -> None:
    """Sessions of one connector do not count at another, nor those of one source for another."""
    limited, connections = connector(max_inbound_connection_per_source=1), Connections()

    assert connections.enter(PLACE, ONE, limited) is None
    assert connections.enter(PLACE, OTHER, limited) is None
    assert connections.enter(ELSEWHERE, ONE, limited) is None


def test_the_first_session_of_a_source_is_never_too_many_by_percentage() -> None:
    """Where two percent of what is free are less than one session, one is allowed all the same."""
    small, connections = (
        connector(max_inbound_connection=10, max_inbound_connection_percentage_per_source=2),
        Connections(),
    )

    assert connections.enter(PLACE, ONE, small) is None
    assert connections.enter(PLACE, OTHER, small) is None
    assert connections.enter(PLACE, ONE, small) is not None


def test_a_refused_stranger_leaves_nothing_behind() -> None:
    """Sources that were refused, or have left, are forgotten: a flood of addresses takes no memory."""
    full, connections = connector(max_inbound_connection=1), Connections()
    connections.enter(PLACE, ONE, full)
    for number in range(100):
        assert connections.enter(PLACE, ip_address(number), full) is not None
    connections.leave(PLACE, ONE)

    assert not connections._of_source
    assert not connections._all


@given(st.lists(st.tuples(st.sampled_from([ONE, OTHER]), st.booleans())))
def test_counts_follow_entering_and_leaving(moves: list[tuple[Any, bool]]) -> None:
    """However sessions come and go, as many are counted as are inside."""
    free, connections, inside = connector(), Connections(), []
    for source, enters in moves:
        if enters:
            assert connections.enter(PLACE, source, free) is None
            inside.append(source)
        elif inside:
            connections.leave(PLACE, inside.pop())

    assert connections.count(PLACE) == len(inside)


@pytest.mark.parametrize(
    ("by", "second", "taken"),
    [
        pytest.param(
            MessageRateSource.IPAddress, ("192.0.2.1", "b@x.test"), False, id="by address, the same"
        ),
        pytest.param(MessageRateSource.IPAddress, ("192.0.2.2", "a@x.test"), True, id="by address, another"),
        pytest.param(MessageRateSource.User, ("192.0.2.2", "A@x.test"), False, id="by sender, in any case"),
        pytest.param(MessageRateSource.User, ("192.0.2.1", "b@x.test"), True, id="by sender, another"),
        pytest.param(MessageRateSource.All, ("192.0.2.2", "a@x.test"), False, id="by both, the same sender"),
        pytest.param(MessageRateSource.All, ("192.0.2.1", "b@x.test"), False, id="by both, the same address"),
        pytest.param(MessageRateSource.NotUsed, ("192.0.2.1", "a@x.test"), True, id="by nothing"),
    ],
)
def test_the_rate_is_counted_by_its_source(
    by: MessageRateSource, second: tuple[str, str], *, taken: bool
) -> None:
    """MessageRateSource says whether host, sender or both are counted."""
    limited, rates = connector(message_rate_limit=1, message_rate_source=by), MessageRates()
    assert rates.admit(PLACE, limited, source="192.0.2.1", sender="a@x.test", now=0.0) is None

    struck = rates.admit(PLACE, limited, source=second[0], sender=second[1], now=1.0)
    assert (struck is None) is taken
    if struck is not None:
        assert struck.name == "MessageRateLimit"


def test_a_minute_later_there_is_room_again() -> None:
    """Only the last minute counts, and a refused message does not."""
    limited, rates = connector(message_rate_limit=2), MessageRates()

    def sent(now: float) -> bool:
        return rates.admit(PLACE, limited, source="192.0.2.1", sender="", now=now) is None

    assert [sent(0.0), sent(30.0), sent(59.0), sent(60.0), sent(61.0), sent(90.0)] == [
        True,
        True,
        False,
        True,
        False,
        True,
    ]


def test_without_a_limit_nothing_is_remembered() -> None:
    """Unlimited is the default, and costs nothing."""
    rates = MessageRates()
    assert rates.admit(PLACE, connector(), source="192.0.2.1", sender="", now=0.0) is None

    assert not rates._sent


def test_many_sources_are_forgotten_after_a_minute() -> None:
    """The memory of sources is bounded by those of the last minute."""
    limited, rates = connector(message_rate_limit=1), MessageRates()
    for number in range(10_001):
        rates.admit(PLACE, limited, source=str(number), sender="", now=0.0)
    rates.admit(PLACE, limited, source="later", sender="", now=61.0)
    for number in range(10_002):
        rates.admit(PLACE, limited, source=f"later still {number}", sender="", now=61.0)

    assert len(rates._sent) <= 10_003
