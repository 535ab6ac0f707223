"""The shape of a document judged: a model, or every mistake in our own words."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from smtpd_anontls.settings.parsers import Mistake, kind_of, shown
from smtpd_anontls.settings.shape import MISTAKES
from smtpd_anontls.settings.shapes import ConfigShape, shape_at

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic_core import ErrorDetails

    from smtpd_anontls.settings.document import Keys
    from smtpd_anontls.settings.shape import Shape

_FEW = 12

# What pydantic itself may find: all values are read by parsers of ours.  The values are not
# repeated: where a mapping with a password's place should be, the password may stand.
_PLAIN = {
    "missing": "is missing; add it",
    "too_short": "is empty; there must be at least one",
    "model_type": "must be a mapping, not {kind}; write its keys below it, or leave it out",
    "dict_type": "must be a mapping, not {kind}; write its keys below it, or leave it out",
    "list_type": "must be a list, not {kind}; begin each entry with '- '",
}
# And how much of its place then stands for the key itself.
_KEY_IS_NOT_TEXT = {"invalid_key": 1, "string_type": 2}


def validate(content: Mapping[Any, Any]) -> tuple[ConfigShape | None, list[Mistake]]:
    """Return the model of *content* where its shape is right, and every mistake where it is not."""
    try:
        return ConfigShape.model_validate(content), []
    except ValidationError as error:
        return None, list(mistakes_of(error, ConfigShape))


def mistakes_of(error: ValidationError, model: type[Shape]) -> Iterator[Mistake]:
    """Yield every mistake that *error* tells of, in our own words; *model* is what was to be read."""
    for details in error.errors(include_url=False):
        yield from _mistakes(details, model)


def _mistakes(details: ErrorDetails, model: type[Shape]) -> Iterator[Mistake]:
    place: Keys = details["loc"]
    context = details.get("ctx", {})
    kind = details["type"]
    if kind == MISTAKES:
        yield from (mistake.below(place) for mistake in context["found"])
    elif kind == "value_error":
        yield Mistake(place, str(context["error"]))
    elif kind == "extra_forbidden":
        yield Mistake(place, _unknown(place, model))
    elif kind in _KEY_IS_NOT_TEXT:
        outer = place[: -_KEY_IS_NOT_TEXT[kind]]
        yield Mistake(outer, f"the key {shown(details['input'])} is not text; put it in quotes")
    else:
        yield Mistake(place, _PLAIN[kind].format(kind=kind_of(details["input"])))


def _unknown(place: Keys, model: type[Shape]) -> str:
    known = list(shape_at(tuple(key for key in place[:-1] if isinstance(key, str)), model).model_fields)
    if place[-1] == "<<":
        return "YAML 1.2 has no merge key; write the keys out"
    if meant := misspelt(str(place[-1]), known):
        return f"unknown key; did you mean {meant}?"
    if len(known) <= _FEW:
        return f"unknown key; there are {', '.join(known)}"
    return "unknown key; remove it"


def misspelt(key: str, known: list[str]) -> str | None:
    """Return the key that *key* was probably meant to be; MaxMessageSize is max_message_size."""
    folded = {_folded(name): name for name in known}
    close = difflib.get_close_matches(_folded(key), folded, n=1, cutoff=0.6)
    return folded[close[0]] if close else None


def _folded(key: str) -> str:
    return key.replace("_", "").replace("-", "").casefold()
