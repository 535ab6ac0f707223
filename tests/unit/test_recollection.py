"""What selections came to is recalled for as long as it holds, and no longer."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpd_anontls.domain.certificate import Certificate, KeyState, StoreCertificate
from smtpd_anontls.selection.recollection import Recollections

PLACE = ("MX1", "Default Frontend MX1")
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
ANY = Certificate(
    der=b"",
    thumbprint="AB" * 20,
    subject="CN=mx1",
    issuer="CN=mx1",
    serial_number="01",
    not_before=NOW - HOUR,
    not_after=NOW + HOUR,
    subject_alternative_names=(),
    common_names=(),
    self_signed=True,
    version=3,
)


def held(not_before: datetime, not_after: datetime) -> StoreCertificate:
    """Return a certificate of the store that is valid so long."""
    certificate = replace(ANY, not_before=not_before, not_after=not_after)
    return StoreCertificate(certificate, KeyState.USABLE, frozenset({"SMTP"}), "mx1.pem")


def kept(*store: StoreCertificate, origin: tuple[object, ...] = ()) -> Recollections[str]:
    """Return what remembers ``value``, as it came from *store* at NOW."""
    recollections = Recollections[str]()
    recollections.keep(PLACE, origin, NOW, "value", store=store)
    return recollections


def test_what_was_never_kept() -> None:
    """Nothing is recalled of a connector that nothing was kept of."""
    assert kept().recall(("MX1", "another"), (), NOW) is None


def test_only_the_very_same_origin_counts() -> None:
    """What is equal and another object may have been read anew."""
    first, second = ["same"], ["same"]
    recollections = kept(origin=(first,))

    assert recollections.recall(PLACE, (first,), NOW) == "value"
    assert recollections.recall(PLACE, (second,), NOW) is None


@pytest.mark.parametrize(
    ("not_before", "not_after", "asked", "expected"),
    [
        pytest.param(NOW - HOUR, NOW + 2 * HOUR, NOW + HOUR, "value", id="valid, and so it stays"),
        pytest.param(NOW - HOUR, NOW + HOUR, NOW + 2 * HOUR, None, id="has expired since"),
        pytest.param(NOW + HOUR, NOW + 9 * HOUR, NOW + 2 * HOUR, None, id="has become valid since"),
        pytest.param(NOW - 2 * HOUR, NOW - HOUR, NOW + HOUR, "value", id="had expired before"),
        pytest.param(NOW - HOUR, NOW, NOW + HOUR, None, id="expired at the very moment"),
        pytest.param(NOW - HOUR, NOW + HOUR, NOW - timedelta(seconds=1), None, id="the clock was set back"),
    ],
)
def test_validity_that_changes(
    not_before: datetime, not_after: datetime, asked: datetime, expected: str | None
) -> None:
    """A certificate that becomes valid or expires ends what was kept, and a clock that is set back does."""
    assert kept(held(not_before, not_after)).recall(PLACE, (), asked) == expected


MOMENTS = st.integers(-3, 3).map(lambda hours: NOW + hours * HOUR)


@given(st.lists(st.tuples(MOMENTS, MOMENTS), max_size=4), MOMENTS)
def test_what_is_recalled_would_be_decided_again(
    spans: list[tuple[datetime, datetime]], asked: datetime
) -> None:
    """Wherever something is recalled, each certificate is as valid as it was when it was kept."""
    store = [held(*span) for span in spans]
    if kept(*store).recall(PLACE, (), asked) is not None:
        for each in store:
            certificate = each.certificate
            assert certificate.is_expired(asked) == certificate.is_expired(NOW)
            assert certificate.is_not_yet_valid(asked) == certificate.is_not_yet_valid(NOW)
