"""The values behind the pages: the line of time, the lines of an event's XML, sizes, and lists."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from smtpd_anontls.web.pages.event_view import indented
from smtpd_anontls.web.pages.lists import number
from smtpd_anontls.web.pages.rendering import clock, octets, shown, verbatim
from smtpd_anontls.web.pages.session_view import SessionView, stretches
from smtpd_anontls.web.pages.timeline import TimeLine

NOW = datetime(2026, 11, 25, tzinfo=UTC)
FAR = datetime(9999, 12, 31, tzinfo=UTC)
YEAR = timedelta(days=365)


def test_the_line_of_time_shows_now_the_moment_and_what_is_valid() -> None:
    """Each lies between the ends, in the order of time."""
    line = TimeLine.around(NOW + YEAR, NOW, [(NOW - YEAR, NOW + 2 * YEAR)])

    bar = line.bar(NOW - YEAR, NOW + 2 * YEAR)
    places = [bar.left, line.place(NOW), line.place(NOW + YEAR), bar.left + bar.width]
    assert places[0] > 0
    assert places == sorted(places)
    assert places[-1] < 100
    assert not bar.begins_before
    assert not bar.ends_behind
    assert [tick.left for tick in line.ticks] == sorted(tick.left for tick in line.ticks)
    assert 2 <= len(line.ticks) <= 8


@pytest.mark.parametrize(
    ("moment", "stretches_of_time"),
    [
        (NOW, []),
        (NOW, [(datetime(1, 1, 1, tzinfo=UTC), FAR)]),
        (FAR, [(NOW, NOW + YEAR)]),
        (datetime(1, 1, 1, tzinfo=UTC), [(NOW, NOW)]),
    ],
)
def test_no_certificate_breaks_the_line_of_time(
    moment: datetime, stretches_of_time: list[tuple[datetime, datetime]]
) -> None:
    """Certificates without an end, and days at the ends of the calendar, have their place."""
    line = TimeLine.around(moment, NOW, stretches_of_time)

    for start, end in stretches_of_time:
        bar = line.bar(start, end)
        assert 0 <= bar.left <= 100
        assert bar.width > 0
    assert 0 <= line.place(NOW) <= 100
    assert 0 <= line.place(moment) <= 100
    assert len(line.ticks) <= 10


def test_a_certificate_without_an_end_leaves_the_line() -> None:
    """The line shows what is near; the bar says that it goes on."""
    bar = TimeLine.around(NOW, NOW, [(datetime(1990, 1, 1, tzinfo=UTC), FAR)]).bar(
        datetime(1990, 1, 1, tzinfo=UTC), FAR
    )

    assert bar.begins_before
    assert bar.ends_behind


def test_xml_is_laid_out_by_its_elements() -> None:
    """An element a line, as deep as it stands; texts stay in one piece."""
    assert indented("<Event><System><Id>1</Id><Correlation/></System><Data>a &lt;b&gt; c</Data></Event>") == (
        "<Event>\n  <System>\n    <Id>1</Id>\n    <Correlation/>\n  </System>\n  <Data>a &lt;b&gt; c</Data>\n</Event>"
    )


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (1, "1 byte"), (1023, "1023 bytes"), (1536, "1.5 KB"), (5 * 1024**2, "5.0 MB")],
)
def test_sizes_are_written_for_people(size: int, text: str) -> None:
    """In the largest unit that fits."""
    assert octets(size) == text


def test_text_of_several_lines_keeps_them() -> None:
    """Line ends and tabs stay; every other control is escaped, and so is what HTML would obey."""
    assert str(verbatim("a\tb\r\n<c>\x1b\u202e\r")) == "a\tb\n&lt;c&gt;\\x1b\\u202e\\x0d"


def test_everything_that_is_printed_is_made_safe() -> None:
    """Texts lose their controls; numbers and nothing pass."""
    assert shown("a\x00b") == "a\\x00b"
    assert shown(7) == 7
    assert clock("2026-11-25T09:00:00.123Z") == "2026-11-25 09:00:00"
    assert clock(None) == ""


@pytest.mark.parametrize(
    ("text", "found"),
    [("7", 7), ("x", None), ("-1", None), ("", None), ("9223372036854775808", None), ("\u0661", None)],
)
def test_an_id_is_a_number_that_a_database_can_have(text: str, found: int | None) -> None:
    """Whatever else stands in an address names nothing."""
    assert number(text) == found


def test_a_transcript_without_tls_is_one_stretch() -> None:
    """A handshake that fails begins no other one."""
    rows = [
        {"offset_ms": 1, "mark": "S", "text": "220 hello"},
        {"offset_ms": 2, "mark": "*", "text": "TLS handshake failed: no ClientHello"},
        {"offset_ms": 3, "mark": "C", "text": "TLS began: a peer may say so"},
    ]

    (stretch,) = stretches(rows)

    assert not stretch.encrypted
    assert [line.who for line in stretch.lines] == ["server", "note", "client"]
    assert [line.fails_tls for line in stretch.lines] == [False, True, False]
    assert stretches([]) == ()


def test_a_session_from_an_older_journal_can_be_shown() -> None:
    """What was not recorded then is empty now."""
    session: dict[str, Any] = {
        "id": "0123456789abcdef",
        "started": "2026-11-25T09:00:00.000Z",
        "ended": "2026-11-25T09:10:00.000Z",
        "outcome": "no_connector",
        "selections": [],
        "tls": None,
        "verb": None,
        "transcript": [],
    }

    view = SessionView.of(session)

    assert view.found["limits"] == view.found["faults"] == []
    assert view.lasted == "0:10:00"
    assert view.badge.tone == "bad"
    assert SessionView.of({**session, "ended": None, "outcome": None}).badge.text == "running"
