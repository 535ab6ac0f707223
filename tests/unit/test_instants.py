"""Instants as text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpd_anontls.domain.instants import parse_instant, rfc3339, rfc3339_seconds

MOSCOW = timezone(timedelta(hours=3))


@pytest.mark.parametrize(
    ("instant", "milliseconds"),
    [
        (datetime(2026, 11, 22, 12, 0, 0, 123999, UTC), "2026-11-22T12:00:00.123Z"),
        (datetime(2026, 11, 22, 12, 0, 0, 0, UTC), "2026-11-22T12:00:00.000Z"),
        (datetime(2026, 11, 22, 1, 30, 0, 0, MOSCOW), "2026-11-21T22:30:00.000Z"),
        (datetime(987, 1, 2, 3, 4, 5, 0, UTC), "0987-01-02T03:04:05.000Z"),
        (datetime(9999, 12, 31, 23, 59, 59, 999999, UTC), "9999-12-31T23:59:59.999Z"),
    ],
)
def test_an_instant_is_written_in_utc(instant: datetime, milliseconds: str) -> None:
    """Milliseconds are cut, not rounded; the seconds form leaves them out; years have four digits."""
    assert rfc3339(instant) == milliseconds
    assert rfc3339_seconds(instant) == milliseconds[:-5] + "Z"


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2027-06-01", datetime(2027, 6, 1, tzinfo=UTC)),
        ("2027-06-01T12:00:00Z", datetime(2027, 6, 1, 12, tzinfo=UTC)),
        ("2027-06-01T12:00:00", datetime(2027, 6, 1, 12, tzinfo=UTC)),
        ("2027-06-01T12:00:00+03:00", datetime(2027, 6, 1, 9, tzinfo=UTC)),
        ("2027-06-01 12:00", datetime(2027, 6, 1, 12, tzinfo=UTC)),
    ],
)
def test_an_instant_is_read(text: str, instant: datetime) -> None:
    """A date or an instant of ISO 8601 is read; without an offset it is UTC."""
    read = parse_instant(text)

    assert read == instant
    assert read.tzinfo is UTC


@pytest.mark.parametrize(
    "text", ["", "tomorrow", "2027-13-01", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"]
)
def test_what_is_no_time_says_so(text: str) -> None:
    """The message repeats the text and says what would do; out of range counts as no time."""
    with pytest.raises(ValueError, match="write 2027-06-01 or 2027-06-01T12:00:00Z") as raised:
        parse_instant(text)

    assert str(raised.value).startswith(repr(text))


@given(st.datetimes(timezones=st.just(UTC)))
def test_what_is_written_is_read_again(instant: datetime) -> None:
    """Writing and reading an instant loses less than a millisecond."""
    assert timedelta(0) <= instant - parse_instant(rfc3339(instant)) < timedelta(milliseconds=1)
