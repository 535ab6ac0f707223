"""Instants as text: RFC 3339 in UTC, the only form that records and certificates use."""

from __future__ import annotations

from datetime import UTC, datetime


def rfc3339(instant: datetime) -> str:
    """Return *instant* in UTC with milliseconds: ``2026-11-22T12:00:00.123Z``."""
    return f"{instant.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.{instant.microsecond // 1000:03d}Z"


def rfc3339_seconds(instant: datetime) -> str:
    """Return *instant* in UTC with whole seconds, as certificates carry them: ``2026-11-22T12:00:00Z``."""
    return f"{instant.astimezone(UTC):%Y-%m-%dT%H:%M:%S}Z"


def parse_instant(text: str) -> datetime:
    """Read a date or an instant of ISO 8601; without an offset it is UTC; ValueError says what would do."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a time; write 2027-06-01 or 2027-06-01T12:00:00Z") from None
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
