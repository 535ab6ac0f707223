"""Instants as text: RFC 3339 in UTC, the only form that records and certificates use."""

from __future__ import annotations

from datetime import UTC, datetime


def rfc3339(instant: datetime) -> str:
    """Return *instant* in UTC with milliseconds: ``2026-11-22T12:00:00.123Z``."""
    if instant.tzinfo is UTC:
        # What clocks give, for each row of the protocol log: three quarters of the time of the way below.
        return instant.isoformat(timespec="milliseconds")[: -len("+00:00")] + "Z"
    return _utc_text(instant, "milliseconds")


def rfc3339_seconds(instant: datetime) -> str:
    """Return *instant* in UTC with whole seconds, as certificates carry them: ``2026-11-22T12:00:00Z``."""
    return _utc_text(instant, "seconds")


def parse_instant(text: str) -> datetime:
    """Read a date or an instant of ISO 8601; without an offset it is UTC; ValueError says what would do."""
    try:
        instant = datetime.fromisoformat(text)
        return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is not a time; write 2027-06-01 or 2027-06-01T12:00:00Z") from None


def _utc_text(instant: datetime, precision: str) -> str:
    # Not strftime: its %Y writes the year 987 with three digits, and certificates may say such things.
    return instant.astimezone(UTC).replace(tzinfo=None).isoformat(timespec=precision) + "Z"
