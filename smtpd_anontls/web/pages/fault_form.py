"""The form that adds a fault: a field for every key that the configuration and the API know."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from smtpd_anontls.domain.faults import Kind, Point, Verb
from smtpd_anontls.domain.tls_policy import TlsVersion
from smtpd_anontls.web.pages.lists import NULL_SENDER, Choice, Field, connectors, number, servers
from smtpd_anontls.web.pages.rendering import words

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from enum import Enum

    from smtpd_anontls.settings.values import Settings

_WHOLE = {"code", "octets_per_second", "alert", "count", "every"}
_BROKEN = {"seconds", "probability"}


@dataclass(frozen=True, slots=True)
class Group:
    """Fields that belong together."""

    title: str
    fields: tuple[Field, ...]


def _choices(kind: Iterable[Enum]) -> tuple[Choice, ...]:
    return tuple(Choice(each.value, words(each.value)) for each in kind)


_GROUPS = (
    Group(
        "Where, and what happens",
        (
            Field("at", "At", choices=_choices(Point), nothing="choose"),
            Field("kind", "Kind", choices=_choices(Kind), nothing="choose"),
        ),
    ),
    Group(
        "What its kind needs",
        (
            Field("code", "Reply code", example="451"),
            Field("enhanced", "Enhanced code", example="4.7.0"),
            Field("text", "Reply text", example="Try again later"),
            Field("seconds", "Seconds", example="5"),
            Field("octets_per_second", "Octets a second", example="10"),
            Field("alert", "TLS alert", example="40"),
            Field("thumbprint", "Thumbprint", example="one made now"),
            Field("version", "TLS version", choices=_choices(TlsVersion), nothing="none"),
        ),
    ),
    Group(
        "When: all of these hold",
        (
            Field("probability", "Probability", example="0.5"),
            Field("count", "At most so often", example="2"),
            Field("every", "Every so many times", example="3"),
            Field("sender", "Sender", example="*@contoso.test"),
            Field("recipient", "Recipient", example="*@contoso.test"),
            Field("remote_ip_ranges", "Peers", example="192.0.2.0/24"),
            Field("verb", "Verb", choices=_choices(Verb), nothing="any"),
        ),
    ),
)
_PLACED = ("server", "connector")


def filled_groups(settings: Settings, given: Mapping[str, str]) -> tuple[Group, ...]:
    """Return the form with what was given in its fields."""
    *most, last = _GROUPS
    groups = (*most, Group(last.title, (*last.fields, servers(settings), connectors(settings))))
    return tuple(
        Group(group.title, tuple(each.filled(given.get(each.name, "")) for each in group.fields))
        for group in groups
    )


def labels() -> dict[str, str]:
    """Return what each key is called in the form."""
    named = {field.name: field.label for group in _GROUPS for field in group.fields}
    return named | {name: name.capitalize() for name in _PLACED}


def typed(given: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields as JSON would have them; what is no number stays as it is, and is a mistake."""
    fault: dict[str, Any] = dict(given)
    for name in _WHOLE & fault.keys():
        whole = number(fault[name])
        fault[name] = fault[name] if whole is None else whole
    for name in _BROKEN & fault.keys():
        try:
            fault[name] = float(fault[name])
        except ValueError:
            # HH:MM:SS is a duration, too.
            continue
    if fault.get("sender") == NULL_SENDER:
        fault["sender"] = ""
    if "remote_ip_ranges" in fault:
        fault["remote_ip_ranges"] = re.findall(r"[^,\s]+", fault["remote_ip_ranges"])
    return fault
