"""The validity of certificates on one line of time, in percent of its width."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# Certificates that Exchange makes live five years; a line that shows more says less.
_BEFORE, _BEHIND = timedelta(days=2 * 365), timedelta(days=6 * 365)
_LEAST = timedelta(days=60)
_MARGIN = 0.04
_TICKS = 8
# Steps between the ticks in months.
_STEPS = (1, 2, 3, 6, 12, 24, 60)


@dataclass(frozen=True, slots=True)
class Bar:
    """A stretch of the line; an end that lies outside is cut."""

    left: float
    width: float
    begins_before: bool
    ends_behind: bool


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on the line."""

    left: float
    text: str


@dataclass(frozen=True, slots=True)
class TimeLine:
    """A line of time that shows a moment and what lies around it."""

    first: datetime
    last: datetime
    moment: datetime
    now: datetime

    @classmethod
    def around(
        cls, moment: datetime, now: datetime, stretches: Iterable[tuple[datetime, datetime]]
    ) -> TimeLine:
        """Return the line that shows *moment*, *now*, and as much of the stretches as is sensible."""
        ends = [instant for stretch in stretches for instant in stretch]
        earliest, latest = min(moment, now), max(moment, now)
        first = max([min([*ends, earliest]), _shifted(earliest, -_BEFORE)])
        last = min([max([*ends, latest]), _shifted(latest, _BEHIND)])
        first, last = min(first, earliest), max(last, latest)
        margin = max((last - first) * _MARGIN, _LEAST / 2)
        return cls(_shifted(first, -margin), _shifted(last, margin), moment, now)

    def place(self, instant: datetime) -> float:
        """Return where *instant* lies, in percent; what is outside lies at its end."""
        share = (instant - self.first) / (self.last - self.first)
        return round(100 * min(1.0, max(0.0, share)), 2)

    def bar(self, start: datetime, end: datetime) -> Bar:
        """Return the stretch from *start* to *end*."""
        left, right = self.place(start), self.place(end)
        return Bar(left, round(max(0.4, right - left), 2), start < self.first, end > self.last)

    @property
    def ticks(self) -> tuple[Tick, ...]:
        """Beginnings of months or years, few enough to be read."""
        months = (self.last - self.first) / timedelta(days=30.4)
        step = next(
            (each for each in _STEPS if months / each <= _TICKS), 12 * math.ceil(months / 12 / _TICKS)
        )
        ticks = []
        at = self.first.year * 12
        while (instant := _month(at)) is not None and instant < self.last:
            place = self.place(instant)
            # At the very ends there is no room for the text.
            if instant > self.first and 3 <= place <= 94:  # noqa: PLR2004 - percent
                year = f"{instant.year:04}"
                ticks.append(Tick(place, year if step % 12 == 0 else f"{year}-{instant.month:02}"))
            at += step
        return tuple(ticks)


def _month(number: int) -> datetime | None:
    year, month = divmod(number, 12)
    try:
        return datetime(year, month + 1, 1, tzinfo=UTC)
    except ValueError:
        # Certificates may say 9999, and behind that there is no time.
        return None


def _shifted(instant: datetime, by: timedelta) -> datetime:
    try:
        return instant + by
    except OverflowError:
        return instant
