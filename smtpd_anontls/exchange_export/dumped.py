"""What a dump holds, in plain values, and the questions that its readers ask of them.

PowerShell writes one property in several ways, as the session that exported it knew the type: an
enumeration as an object with a number and a text, a duration as text or as a duration, an address as an
object or as text.  Each question takes all of them, and raises ValueError where none fits.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

# A session that did not know the type, and Select-Object, put these before its name.
_PREFIXES = re.compile(r"(?:Deserialized\.|Selected\.)+")
_SPAN = re.compile(r"(?:(\d{1,5})\.)?(\d{1,2}):([0-5]\d):([0-5]\d(?:\.\d{1,7})?)")
_QUANTIFIED = re.compile(r".*\((.*) bytes\)", re.DOTALL)
_LONGEST_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Dumped:
    """An object of a dump; also what has a text, a number or items beside its type."""

    types: tuple[str, ...] = ()  # Its type first, then what that derives from.
    text: str | None = None  # What ToString said of it.
    number: int | None = None
    items: tuple[Value, ...] | None = None
    properties: Mapping[str, Value] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def kind(self) -> str:
        """The last word of its type, such as ReceiveConnector."""
        return self.type_name.rpartition(".")[2]

    @property
    def type_name(self) -> str:
        """Its type, without what PowerShell put before the name."""
        return _PREFIXES.sub("", self.types[0]) if self.types else ""

    def get(self, name: str) -> Value:
        """Return a property; None where there is none, as for one that is null."""
        return self.properties.get(name)


Value = None | bool | int | float | str | bytes | Dumped


def text_of(value: Value) -> str | None:
    """Return what a property says; None where it says nothing."""
    match value:
        case Dumped(text=text):
            return text or None
        case str():
            return value or None
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
    return None


def shown(value: Value) -> str:
    """Return *value* as a table and a message show it, no longer than a few words; empty where it says nothing."""
    if isinstance(value, bytes):
        return f"{len(value)} octets"
    if isinstance(value, Dumped) and value.items is not None:
        whole = ", ".join(shown(item) for item in value.items)
    else:
        whole = text_of(value) or ""
    return whole if len(whole) <= _LONGEST_SHOWN else whole[:_LONGEST_SHOWN] + "…"


def boolean(value: Value) -> bool:
    """Return true or false."""
    if isinstance(value, bool):
        return value
    word = (text_of(value) or "").casefold()
    if word not in ("true", "false"):
        raise ValueError(f"{shown(value)!r} is neither true nor false")
    return word == "true"


def whole_number(value: Value) -> int:
    """Return a whole number."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, Dumped) and value.number is not None:
        return value.number
    try:
        return int(text_of(value) or "")
    except ValueError:
        raise ValueError(f"{shown(value)!r} is not a whole number") from None


def limit(value: Value) -> int | None:
    """Return a whole number, or None for Unlimited."""
    return None if (text_of(value) or "").casefold() == "unlimited" else whole_number(value)


def size(value: Value) -> int:
    """Return bytes, from a number or from ``36 MB (37,748,736 bytes)``."""
    quantified = _QUANTIFIED.fullmatch(text_of(value) or "")
    if quantified is None:
        return whole_number(value)
    # How thousands are kept apart is the exporting machine's affair.
    digits = re.sub(r"[^0-9]", "", quantified[1])
    if not digits:
        raise ValueError(f"{shown(value)!r} is not a size")
    return int(digits)


def seconds(value: Value) -> float:
    """Return seconds, from a duration or from ``00:10:00``, with days ``1.00:00:00``."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    found = _SPAN.fullmatch(text_of(value) or "")
    if found is None:
        raise ValueError(f"{shown(value)!r} is not a duration")
    days, hours, minutes = (int(part or 0) for part in found.group(1, 2, 3))
    return float(((days * 24 + hours) * 60 + minutes) * 60) + float(found[4])


def words(value: Value) -> list[str]:
    """Return the names of a set of options, which stand between commas or in a list."""
    if isinstance(value, Dumped) and value.items is not None:
        return [word for item in value.items for word in words(item)]
    return [word.strip() for word in (text_of(value) or "").split(",") if word.strip()]


def listed(value: Value) -> tuple[Value, ...]:
    """Return the items of a list; what is no list is its only item, and null has none."""
    if isinstance(value, Dumped) and value.items is not None:
        return value.items
    return () if value is None else (value,)
