"""The configuration reference in README.md, written from the models: ``make reference``.

Every key's type, default and meaning is what ``settings.shapes`` and ``domain.connectors`` declare.
"""

# ruff: noqa: INP001 - beside the package, not in it

from __future__ import annotations

import contextlib
import types
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

from pydantic import PlainValidator
from pydantic_core import PydanticUndefined

from smtpd_anontls.domain.connectors import Bytes, Seconds
from smtpd_anontls.domain.endpoints import Binding, RemoteIPRange
from smtpd_anontls.domain.flags import ExchangeFlag
from smtpd_anontls.domain.syslog_address import SyslogAddress
from smtpd_anontls.settings.shape import NotYetHonoured, Shape
from smtpd_anontls.settings.shapes import ConfigShape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

README = Path(__file__).parents[1] / "README.md"
BEGIN = "<!-- The reference begins; `make reference` writes it from the models. -->"
END = "<!-- The reference ends. -->"

_WORDS: dict[Any, str] = {
    str: "text",
    bool: "boolean",
    int: "number",
    float: "number",
    Bytes: "size",
    Seconds: "duration",
    Binding: "binding",
    RemoteIPRange: "range",
    SyslogAddress: "address",
}
_UNITS = (("TB", 1024**4), ("GB", 1024**3), ("MB", 1024**2), ("KB", 1024))
_DAY = 86_400
_NOT_YET = " *Read, but not honoured yet.*"


@dataclass(frozen=True, slots=True)
class Section:
    """A mapping of the configuration."""

    where: str  # The path of its keys; empty for the whole file.
    model: type[Shape]
    later: bool = False  # Whether it is read, but not honoured yet.


def sections(outer: Section = Section("", ConfigShape)) -> Iterator[Section]:
    """Yield every mapping of the configuration, outer ones first."""
    yield outer
    for name, declared in outer.model.model_fields.items():
        inner, marks = _section_in(declared.annotation)
        if inner is not None:
            where = f"{outer.where}.{name}{marks}".removeprefix(".")
            yield from sections(Section(where, inner, _is_for_later(declared)))


def reference() -> str:
    """Return the reference: a table for each mapping."""
    parts = []
    for each in sections():
        title = f"`{each.where}`" if each.where else "The file"
        about = _cell(each.model.__doc__ or "") + (_NOT_YET if each.later else "")
        rows = "".join(map(_row, each.model.model_fields, each.model.model_fields.values()))
        parts.append(
            f"#### {title}\n\n{about}\n\n| Key | Type | Default | Meaning |\n|---|---|---|---|\n{rows}"
        )
    return "\n".join(parts)


def rewritten(readme: str) -> str:
    """Return *readme* with the reference as it has to be."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"README.md has no lines {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n\n{reference()}\n{END}{after}"


def _row(name: str, declared: FieldInfo) -> str:
    meaning = _cell(declared.description or "") + (_NOT_YET if _is_for_later(declared) else "")
    nothing = _word_for_none(declared)
    kind = type_of(declared.annotation) + (f" or `{nothing}`" if nothing else "")
    return f"| `{name}` | {kind} | {_default_of(declared, nothing)} | {meaning} |\n"


def _is_for_later(declared: FieldInfo) -> bool:
    return any(isinstance(mark, NotYetHonoured) for mark in declared.metadata)


def _word_for_none(declared: FieldInfo) -> str | None:
    """Return what a person writes to say None, or None where that can only be said by leaving the key out."""
    parsers: list[Any] = [mark.func for mark in declared.metadata if isinstance(mark, PlainValidator)]
    if not parsers:
        return "null" if declared.default is None or type(None) in get_args(declared.annotation) else None
    for word, value in (("null", None), ("unlimited", "unlimited")):
        with contextlib.suppress(ValueError):
            if parsers[0](value) is None:
                return word
    return None


def type_of(kind: Any) -> str:
    """Return what a key takes, in the words that the reference explains."""
    if inner := [each for each in get_args(kind) if each is not type(None)]:
        origin = get_origin(kind)
        if origin in {Union, types.UnionType, Annotated}:
            return type_of(inner[0])
        if origin is dict:
            return "mapping"
        return f"list of {type_of(inner[0])}{'' if inner[0] is str else 's'}"
    if isinstance(kind, type) and issubclass(kind, Shape):
        return "mapping"
    if isinstance(kind, type) and issubclass(kind, Enum):
        return "list of names" if issubclass(kind, ExchangeFlag) else "name"
    return _WORDS[kind]


def _default_of(declared: FieldInfo, nothing: str | None) -> str:
    default = declared.default
    if default is PydanticUndefined:
        return "required"
    if default is None:
        return f"`{nothing}`" if nothing else "none"
    if _section_in(declared.annotation)[0] is not None:
        return "below" if default else "none"
    return f"`{_in_yaml(declared.annotation, default)}`"


def _in_yaml(kind: Any, value: Any) -> str:
    """Return *value* as a person would write it."""
    match value:
        case bool():
            return str(value).lower()
        case ExchangeFlag():
            return f"[{', '.join(value.names)}]" if value else "None"
        case Enum():
            return str(value.value)
        case tuple():
            return f"[{', '.join(map(str, value))}]"
    if Bytes in (kind, *get_args(kind)):
        return next((f"{value // size}{unit}" for unit, size in _UNITS if value % size == 0), str(value))
    if Seconds in (kind, *get_args(kind)):
        return f"{value // _DAY:.0f}d" if value and value % _DAY == 0 else f"{value:g}"
    return str(value) or '""'


def _section_in(kind: Any) -> tuple[type[Shape] | None, str]:
    """Return the model of the mapping that a key leads to, and what stands between the two."""
    if isinstance(kind, type) and issubclass(kind, Shape):
        return kind, ""
    marks = {list: "[]", dict: ".NAME"}.get(get_origin(kind), "")
    for each in get_args(kind):
        inner, more = _section_in(each)
        if inner is not None:
            return inner, marks + more
    return None, ""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    README.write_text(rewritten(README.read_text(encoding="utf-8")), encoding="utf-8")
