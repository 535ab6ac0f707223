"""The configuration reference in README.md: made from the models, whole, and up to date."""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, Any, get_args

import pytest

from docs.reference import README, Section, rewritten, sections
from smtpd_anontls.settings.load import load_config

if TYPE_CHECKING:
    from pathlib import Path

TEXT = README.read_text(encoding="utf-8")
KEYS = [
    pytest.param(each, name, id=f"{each.where}.{name}".removeprefix("."))
    for each in sections()
    for name in each.model.model_fields
]


def test_the_reference_is_what_the_models_say() -> None:
    """README.md holds the reference as it is written from the models now."""
    assert rewritten(TEXT) == TEXT, "README.md is behind the models; run: make reference"


def test_a_changed_line_does_not_stay() -> None:
    """A line of the reference that was edited by hand is written anew."""
    edited = TEXT.replace("| `require_tls` | boolean | `false` |", "| `require_tls` | boolean | `true` |")

    assert edited != TEXT
    assert rewritten(edited) == TEXT


def test_a_readme_without_place_for_it_is_refused() -> None:
    """Without its two comments nobody knows where the reference belongs."""
    with pytest.raises(ValueError, match=re.escape("README.md has no lines")):
        rewritten("# smtpd-anontls\n")


@pytest.mark.parametrize(("section", "name"), KEYS)
def test_every_key_says_what_it_means(section: Section, name: str) -> None:
    """Every key has a sentence of its own, which gives the names that it takes."""
    declared = section.model.model_fields[name]
    meaning = declared.description or ""
    names = [str(member.value) for member in _enumeration(declared.annotation) if _is_spelled_out(member)]

    assert re.fullmatch(r"\S.*\.", meaning)
    assert [each for each in names if each not in meaning] == []


@pytest.mark.parametrize("example", re.findall(r"```yaml\n(servers:\n.*?)```", TEXT, re.DOTALL))
def test_configurations_in_the_readme_can_be_served(example: str, tmp_path: Path) -> None:
    """A configuration that README.md shows has no mistake and breaks no rule."""
    config = tmp_path / "receive.yaml"
    config.write_text(example)
    loaded = load_config(config, environ={}, machine_fqdn="mbx1.contoso.test")

    assert loaded.findings == ()


def _enumeration(kind: Any) -> list[Enum]:
    """Return the members of the enumeration that a key takes one of."""
    kinds = [each for each in (kind, *get_args(kind)) if isinstance(each, type) and issubclass(each, Enum)]
    return list(kinds[0]) if kinds else []


def _is_spelled_out(member: Enum) -> bool:
    # Flags have names and numbers; the gallery's scenarios and the TLS versions stand in tables of their own.
    return isinstance(member.value, str) and type(member).__name__ not in {"Scenario", "TlsVersion"}
