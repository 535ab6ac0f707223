"""Faults on demand as values: which make sense, when each happens, and what is counted."""

from __future__ import annotations

import json
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpd_anontls.domain.endpoints import RemoteIPRange
from smtpd_anontls.domain.faults import (
    Circumstances,
    Fault,
    FaultList,
    Kind,
    Numbered,
    Point,
    SessionFaults,
    Suffered,
    Verb,
    kinds_at,
)
from smtpd_anontls.domain.tls_policy import TlsVersion

THUMBPRINT = "5C7AF0E1D2C3B4A5968778695A4B3C2D1E0F5C7A"
NEEDS: dict[Kind, dict[str, Any]] = {
    Kind.REPLY: {"code": 451},
    Kind.DELAY: {"seconds": 5.0},
    Kind.THROTTLE: {"octets_per_second": 10},
    Kind.VERSION: {"version": TlsVersion.TLSv1_2},
}
SOMEBODY = ip_address("192.0.2.1")
MAIL = Circumstances(Point.MAIL, "MAIL", None, "a@lab.test")
RCPT = Circumstances(Point.RCPT, "RCPT", "STARTTLS", "a@lab.test", ("b@lab.test",))


def never() -> float:
    """Be asked in vain: no fault here has a probability."""
    raise AssertionError("chance was asked")


def fault(at: Point = Point.MAIL, kind: Kind = Kind.DROP, **keys: Any) -> Fault:
    """Return a fault that makes sense, but for *keys*."""
    return Fault(at=at, kind=kind, **{**NEEDS.get(kind, {}), **keys})


def fires(*faults: Fault, now: Circumstances = MAIL, times: int = 1) -> list[list[int]]:
    """Return the positions of the faults that fire, each time that they are looked for."""
    in_session = SessionFaults(tuple(Numbered(*each) for each in enumerate(faults)), never)
    return [[each.position for each in in_session.at(now)] for _ in range(times)]


# -- which make sense


@pytest.mark.parametrize("point", Point)
def test_every_kind_of_a_point_makes_sense(point: Point) -> None:
    """What can happen at a point has no mistake, and anything else has one that says what can."""
    for kind in Kind:
        found = dict(fault(point, kind).mistakes())

        assert ("kind" in found) is (kind not in kinds_at(point))
        assert set(found) <= {"kind"}
        if found:
            assert found["kind"].endswith(", ".join(kinds_at(point)))


@pytest.mark.parametrize(
    ("wrong", "key", "message"),
    [
        pytest.param(
            fault(kind=Kind.REPLY, code=None),
            "code",
            "is what kind reply needs; write one such as 451",
            id="a reply without a code",
        ),
        pytest.param(
            fault(kind=Kind.DELAY, seconds=0),
            "seconds",
            "is what kind delay needs; write one such as 5",
            id="a delay of nothing",
        ),
        pytest.param(
            fault(kind=Kind.THROTTLE, octets_per_second=None),
            "octets_per_second",
            "is what kind throttle needs; write one such as 10",
            id="a throttle without a rate",
        ),
        pytest.param(
            fault(Point.HANDSHAKE, Kind.VERSION, version=None),
            "version",
            "is what kind version needs; write one such as TLSv1.2",
            id="a version without one",
        ),
        pytest.param(fault(code=451), "code", "belongs to kind reply; remove it", id="a code of a drop"),
        pytest.param(
            fault(thumbprint=THUMBPRINT),
            "thumbprint",
            "belongs to kind certificate; remove it",
            id="a thumbprint of a drop",
        ),
        pytest.param(
            fault(Point.HANDSHAKE, Kind.STALL, seconds=1),
            "seconds",
            "a stall lasts until the peer gives up; remove it",
            id="a stall that waits",
        ),
        pytest.param(
            fault(Point.EHLO, sender="*"),
            "sender",
            "is not known at ehlo; it is at mail, rcpt, data, end_of_data, accepted",
            id="a sender before MAIL",
        ),
        pytest.param(
            fault(recipient="*"),
            "recipient",
            "is not known at mail; it is at rcpt, data, end_of_data, accepted",
            id="a recipient before RCPT",
        ),
        pytest.param(
            fault(verb=Verb.DATA),
            "verb",
            "DATA does not tell sessions apart at mail; choose one of STARTTLS, X-ANONYMOUSTLS",
            id="a verb of another point",
        ),
        pytest.param(
            fault(Point.CONNECT, verb=Verb.STARTTLS),
            "verb",
            "STARTTLS does not tell sessions apart at connect; remove it",
            id="a verb before any",
        ),
    ],
)
def test_what_does_not_go_together(wrong: Fault, key: str, message: str) -> None:
    """The key is named, and what would do."""
    assert list(wrong.mistakes()) == [(key, message)]


@pytest.mark.parametrize(
    "right",
    [
        fault(Point.RCPT, recipient="*@b.test", sender=""),
        fault(Point.DATA, verb=Verb.BDAT),
        fault(Point.AUTH, verb=Verb.X_EXPS),
        fault(Point.MAIL, verb=Verb.X_ANONYMOUSTLS),
        fault(Point.HANDSHAKE, Kind.ALERT, alert=0, seconds=1),
        fault(Point.HANDSHAKE, Kind.CERTIFICATE, thumbprint=THUMBPRINT),
    ],
)
def test_what_goes_together(right: Fault) -> None:
    """Conditions that a point can answer, and what belongs to the kind."""
    assert list(right.mistakes()) == []


# -- in which sessions


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        pytest.param({}, True, id="none"),
        pytest.param({"server": "MX1", "connector": "Relay"}, True, id="both"),
        pytest.param({"server": "MX2"}, False, id="another server"),
        pytest.param({"connector": "Default"}, False, id="another connector"),
        pytest.param({"remote_ip_ranges": ("192.0.2.0/24",)}, True, id="a range"),
        pytest.param({"remote_ip_ranges": ("::1", "192.0.2.2-192.0.2.9")}, False, id="other ranges"),
    ],
)
def test_where_a_fault_can_happen(condition: dict[str, Any], *, holds: bool) -> None:
    """Server, connector and peer have to be those that it names."""
    if "remote_ip_ranges" in condition:
        ranges = tuple(RemoteIPRange.parse(each) for each in condition["remote_ip_ranges"])
        condition = {"remote_ip_ranges": ranges}
    wanted = FaultList([fault(**condition)], never)

    assert (wanted.for_session("MX1", "Relay", SOMEBODY) is not None) is holds


def test_without_faults_a_session_has_none() -> None:
    """Nothing is left for a session to ask."""
    assert FaultList((), never).for_session("MX1", "Relay", SOMEBODY) is None


@pytest.mark.parametrize(
    ("condition", "now", "holds"),
    [
        pytest.param({}, RCPT, True, id="none"),
        pytest.param({}, MAIL, False, id="another point"),
        pytest.param({"recipient": "B@*"}, RCPT, True, id="a recipient in any case"),
        pytest.param({"recipient": "c@*"}, RCPT, False, id="another recipient"),
        pytest.param({"sender": "*@lab.test"}, RCPT, True, id="a sender"),
        pytest.param({"sender": ""}, RCPT, False, id="the null sender, and there is one"),
        pytest.param({"sender": ""}, Circumstances(Point.RCPT, sender=""), True, id="the null sender"),
        pytest.param({"sender": "*"}, Circumstances(Point.RCPT), False, id="no sender at all"),
        pytest.param({"verb": Verb.STARTTLS}, RCPT, True, id="TLS by this verb"),
        pytest.param({"verb": Verb.X_ANONYMOUSTLS}, RCPT, False, id="TLS by the other"),
    ],
)
def test_when_a_fault_is_met(condition: dict[str, Any], now: Circumstances, *, holds: bool) -> None:
    """Point, addresses and verb have to be those that it asks for."""
    assert fires(fault(Point.RCPT, **condition), now=now) == [[0] if holds else []]


def test_any_recipient_will_do() -> None:
    """Behind RCPT the pattern is held against all recipients."""
    now = Circumstances(Point.DATA, "BDAT", None, "a@lab.test", ("b@lab.test", "c@lab.test"))

    assert fires(fault(Point.DATA, recipient="c@*", verb=Verb.BDAT), now=now) == [[0]]


# -- how often


def test_the_first_times() -> None:
    """A count is a count of firings."""
    assert fires(fault(count=2), times=4) == [[0], [0], [], []]


def test_every_so_many_times() -> None:
    """Every third time fires, and the first two do not."""
    assert fires(fault(every=3), times=7) == [[], [], [0], [], [], [0], []]


def test_every_and_count_together() -> None:
    """The count is used up by what fires alone."""
    assert fires(fault(every=2, count=1), times=5) == [[], [0], [], [], []]


@pytest.mark.parametrize(("chance", "fired"), [(0.0, True), (0.2499, True), (0.25, False), (0.9, False)])
def test_a_probability(chance: float, *, fired: bool) -> None:
    """It happens where the number is below the probability, and only what happens is counted against a count."""
    one = Numbered(0, fault(probability=0.25, count=1))

    assert one.fires(MAIL, lambda: chance) is fired
    assert (one.met, one.fired) == (1, int(fired))
    assert one.fires(MAIL, lambda: 0.0) is not fired


def test_the_last_that_is_looked_at() -> None:
    """Delays and throttles go on to the next; what stands behind another kind is not even counted."""
    delay, throttle = fault(kind=Kind.DELAY), fault(kind=Kind.THROTTLE)
    behind = Numbered(3, fault(kind=Kind.DELAY))
    found = SessionFaults(
        (*(Numbered(*each) for each in enumerate((delay, throttle, fault()))), behind), never
    )

    assert [each.position for each in found.at(MAIL)] == [0, 1, 2]
    assert behind.met == 0


def test_sessions_share_their_counts_until_the_list_is_another() -> None:
    """A count is over all sessions; a new list counts anew, has a number of its own, and leaves old sessions alone."""
    wanted = FaultList([fault(count=1)], never)
    first, second = (wanted.for_session("MX1", "Relay", SOMEBODY) for _ in range(2))
    assert first is not None
    assert second is not None

    assert [each.position for each in first.at(MAIL)] == [0]
    assert list(second.at(MAIL)) == []
    assert wanted.as_json() == {
        "version": 0,
        "items": [{"fault": {"at": "mail", "kind": "drop", "count": 1}, "met": 2, "fired": 1}],
    }
    assert wanted.replace([fault(count=1)]) == 1
    assert wanted.as_json()["items"][0]["fired"] == 0
    third = wanted.for_session("MX1", "Relay", SOMEBODY)
    assert third is not None
    assert [each.position for each in third.at(MAIL)] == [0]
    assert list(second.at(MAIL)) == []
    assert wanted.replace(()) == 2
    assert wanted.for_session("MX1", "Relay", SOMEBODY) is None


# -- how it is shown


@pytest.mark.parametrize(
    ("one", "detail", "ends"),
    [
        (fault(kind=Kind.REPLY, enhanced="4.7.0", text="Later"), "reply 451 4.7.0 Later", False),
        (fault(kind=Kind.REPLY, code=421), "reply 421", True),
        (fault(Point.BANNER, Kind.REPLY, code=554), "reply 554", False),
        (fault(Point.CONNECT, Kind.REPLY, code=554), "reply 554", True),
        (fault(kind=Kind.DELAY), "delay of 5 s", False),
        (fault(kind=Kind.THROTTLE), "throttle to 10 octets a second", False),
        (fault(kind=Kind.DROP), "drop of the connection (FIN)", True),
        (fault(kind=Kind.RESET, seconds=0.5), "reset of the connection (RST), 0.5 s late", True),
        (fault(Point.HANDSHAKE, Kind.GARBAGE), "garbage in place of the ServerHello", True),
        (fault(Point.HANDSHAKE, Kind.ALERT), "fatal alert 40", True),
        (fault(Point.HANDSHAKE, Kind.ALERT, alert=0), "fatal alert 0", True),
        (fault(Point.HANDSHAKE, Kind.STALL), "stall: nothing comes behind the ClientHello", True),
        (fault(Point.HANDSHAKE, Kind.CERTIFICATE), "another certificate: one made for the moment", False),
        (
            fault(Point.HANDSHAKE, Kind.CERTIFICATE, thumbprint=THUMBPRINT),
            f"another certificate: {THUMBPRINT}",
            False,
        ),
        (fault(Point.HANDSHAKE, Kind.VERSION), "TLSv1.2 alone", False),
    ],
)
def test_what_a_fault_does(one: Fault, detail: str, *, ends: bool) -> None:
    """In the words of the record, and whether the session is over with it."""
    assert one.detail == detail
    assert one.ends_session is ends


def test_a_fault_is_shown_as_it_was_written() -> None:
    """The object has what differs from its default, as JSON."""
    ranges = (RemoteIPRange.parse("192.0.2.0/24"), RemoteIPRange.parse("::1"))
    one = fault(
        Point.HANDSHAKE,
        Kind.VERSION,
        probability=0.5,
        remote_ip_ranges=ranges,
        verb=Verb.X_ANONYMOUSTLS,
    )

    assert json.loads(json.dumps(one.as_json())) == {
        "at": "handshake",
        "kind": "version",
        "version": "TLSv1.2",
        "probability": 0.5,
        "remote_ip_ranges": ["192.0.2.0/24", "::1"],
        "verb": "X-ANONYMOUSTLS",
    }


def test_a_firing_is_shown() -> None:
    """The record names the fault by its position, and says where it was and what it did."""
    assert Suffered(3, Point.MAIL, Kind.DROP, "drop").as_json() == {
        "fault": 3,
        "at": "mail",
        "kind": "drop",
        "detail": "drop",
    }


@given(
    st.lists(st.builds(fault, kind=st.sampled_from(kinds_at(Point.MAIL)), every=st.integers(1, 3))),
    st.integers(1, 20),
)
def test_whatever_the_list_at_most_one_stands_in_place(faults: list[Fault], times: int) -> None:
    """All but the last that fires go on, positions rise, and no more fire than are met."""
    for fired in fires(*faults, times=times):
        assert fired == sorted(set(fired))
        assert all(faults[position].kind.goes_on for position in fired[:-1])
