"""Filters as values: how they are read, and the wildcards of their texts."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpd_anontls.domain.filters import (
    EVERYTHING,
    INDEXED_CHARACTERS,
    Filter,
    folded,
    host_of,
    indexed,
    matches,
)
from smtpd_anontls.domain.records import Outcome

PATTERNS = {
    ("", ""): True,
    ("", "a"): False,
    ("a", "a"): True,
    ("a", "ab"): False,
    ("*", ""): True,
    ("*", "anything"): True,
    ("a*", "a"): True,
    ("a*", "ba"): False,
    ("*a", "ba"): True,
    ("*a", "ab"): False,
    ("a*a", "a"): False,
    ("a*a", "aa"): True,
    ("a*b*c", "axxbyyc"): True,
    ("a*b*c", "axxcyyb"): False,
    ("**", "x"): True,
    ("*b*", "abc"): True,
    ("?", "x"): False,
}


@pytest.mark.parametrize(("pattern", "text"), PATTERNS)
def test_wildcards(pattern: str, text: str) -> None:
    """A star stands for any run of characters; all else means itself."""
    assert matches(pattern, text) is PATTERNS[pattern, text]


@given(st.text("ab*", max_size=8), st.text("ab", max_size=12))
def test_wildcards_are_those_of_a_regular_expression(pattern: str, text: str) -> None:
    """The same as the regular expression in which each star is ``.*``."""
    expression = ".*".join(map(re.escape, pattern.split("*")))

    assert matches(pattern, text) is bool(re.fullmatch(expression, text))


@given(st.text())
def test_what_is_compared_is_printable(text: str) -> None:
    """A text to look things up by can stand in a column of any database."""
    for form in (indexed(text), folded(text)):
        form.encode()
        assert "\x00" not in form
        assert len(form) <= INDEXED_CHARACTERS


def test_everything() -> None:
    """A filter that asks nothing is about nothing."""
    about = (EVERYTHING.about_messages, EVERYTHING.about_sessions, EVERYTHING.about_events)

    assert about == (False, False, False)


READ: dict[str, tuple[dict[str, str | None], Filter]] = {
    "server": ({"server": "MBX1", "run": None}, Filter(server="MBX1")),
    "outcome in any case": ({"outcome": "Completed"}, Filter(outcome=Outcome.COMPLETED)),
    "event id": ({"event_id": "12013"}, Filter(event_id=12013)),
    "since a day": ({"since": "2027-06-01"}, Filter(since=datetime(2027, 6, 1, tzinfo=UTC))),
    "since a time": ({"since": "2027-06-01T12:00:00Z"}, Filter(since=datetime(2027, 6, 1, 12, tzinfo=UTC))),
    "since a message": ({"since": "17"}, Filter(since=17)),
    "since an event": ({"since": "1795348800000000"}, Filter(since=1795348800000000)),
    "since a session": ({"since": "00FF00ff00ff00ff"}, Filter(since="00ff00ff00ff00ff")),
}


@pytest.mark.parametrize("name", READ)
def test_reading(name: str) -> None:
    """Texts of a command line or a query become a filter."""
    terms, wanted = READ[name]

    assert Filter.read(terms) == wanted


def test_a_session_whose_id_is_all_digits() -> None:
    """An id of 16 decimal digits is a session's in a list of sessions, leading zeros included."""
    assert Filter.read({"since": "0000000000000017"}).since_session() == "0000000000000017"
    assert Filter.read({"since": "0000000000000017"}).since_number() == 17


MISTAKES = {
    "an unknown filter": ({"color": "red"}, "color: there is no such filter; there are server, connector"),
    "no outcome": ({"outcome": "great"}, "outcome: 'great' is not one of completed, quit_without_mail"),
    "no event id": ({"event_id": "12013a"}, "event_id: '12013a' is not a number such as 12013"),
    "digits that are none": ({"event_id": "\uff11\uff12"}, "event_id: '\uff11\uff12' is not a number"),
    "neither time nor id": ({"since": "yesterday"}, "since: 'yesterday' is neither a time nor an id"),
    "a header without a colon": (
        {"header": "X-Test"},
        "header: 'X-Test' asks for no value; write 'X-Test: [*]'",
    ),
    "a header without a name": ({"header": ": x"}, "header: ': x' names no header; write 'Name: value'"),
    "too long": ({"sender": "x" * 513}, "sender: longer than the 512 characters"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes(name: str) -> None:
    """Each one is named, with what would do."""
    terms, why = MISTAKES[name]

    with pytest.raises(ValueError, match=f"^{why}"):
        Filter.read(terms)


def test_a_time_without_a_zone() -> None:
    """It could be any of 24 instants."""
    with pytest.raises(ValueError, match="since: a time without a time zone"):
        Filter(since=datetime(2027, 6, 1))  # noqa: DTZ001 - the mistake that is meant


@pytest.mark.parametrize(
    ("endpoint", "host"),
    [("192.0.2.7:25", "192.0.2.7"), ("[2001:db8::7]:25", "2001:db8::7"), ("", "")],
)
def test_hosts(endpoint: str, host: str) -> None:
    """The address of an endpoint, without port and brackets."""
    assert host_of(endpoint) == host
