"""The scenarios of the gallery, and when a certificate still shows one."""

from __future__ import annotations

from datetime import timedelta

import pytest

from smtpd_anontls.domain.scenarios import RECIPES, DirectoryEntry, Scenario
from tests.making import DAY, NOW, certificate


def test_the_gallery_in_the_order_of_its_ports() -> None:
    """The names and their order are what users and tests rely on."""
    assert [scenario.value for scenario in Scenario] == [
        "healthy",
        "auth-mechanism",
        "not-set",
        "unreadable",
        "not-in-store",
        "no-private-key",
        "expired",
        "expires-soon",
        "suppressed",
        "starttls-only",
        "anonymous-tls-only",
        "no-tls",
        "exchange-limits",
    ]


def test_every_scenario_has_a_recipe() -> None:
    """A recipe says what directory and store hold; most scenarios are the connector's alone."""
    entries = {s: r.entry for s, r in RECIPES.items() if r.entry is not DirectoryEntry.NAMES_IT}

    assert set(RECIPES) == set(Scenario)
    assert entries == {
        Scenario.NOT_SET: DirectoryEntry.NOT_SET,
        Scenario.UNREADABLE: DirectoryEntry.UNREADABLE,
        Scenario.NOT_IN_STORE: DirectoryEntry.NAMES_ANOTHER,
    }
    assert [s for s, r in RECIPES.items() if not r.private_key] == [Scenario.NO_PRIVATE_KEY]


@pytest.mark.parametrize("scenario", Scenario)
def test_a_certificate_just_made_shows_its_scenario(scenario: Scenario) -> None:
    """What the recipe asks for is what it takes for shown."""
    recipe = RECIPES[scenario]
    made = certificate(not_before=NOW + recipe.valid_from, not_after=NOW + recipe.valid_to)

    assert recipe.is_shown_by(made, has_key=recipe.private_key, now=NOW)
    assert not recipe.is_shown_by(made, has_key=not recipe.private_key, now=NOW)


MADE = certificate(not_before=NOW, not_after=NOW + 100 * DAY)


@pytest.mark.parametrize(
    ("scenario", "days", "shown"),
    [
        pytest.param(Scenario.HEALTHY, 0, True, id="healthy"),
        pytest.param(Scenario.HEALTHY, 69, True, id="healthy, before the warning time"),
        pytest.param(Scenario.HEALTHY, 70, False, id="healthy, in the warning time"),
        pytest.param(Scenario.HEALTHY, 101, False, id="healthy, expired"),
        pytest.param(Scenario.HEALTHY, -1, False, id="healthy, not yet valid"),
        pytest.param(Scenario.EXPIRES_SOON, 89, False, id="expires soon, too early"),
        pytest.param(Scenario.EXPIRES_SOON, 90, True, id="expires soon"),
        pytest.param(Scenario.EXPIRES_SOON, 101, False, id="expires soon, expired"),
        pytest.param(Scenario.EXPIRED, 100, False, id="expired, at Valid to itself"),
        pytest.param(Scenario.EXPIRED, 101, True, id="expired"),
    ],
)
def test_a_scenario_lasts_as_long_as_its_story(scenario: Scenario, days: int, *, shown: bool) -> None:
    """A certificate shows its scenario only while the selection would tell that story."""
    now = NOW + timedelta(days=days)

    assert RECIPES[scenario].is_shown_by(MADE, has_key=True, now=now) is shown
