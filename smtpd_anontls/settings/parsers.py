"""One word of the configuration each: what the YAML says in, a value out.

A parser takes what the YAML reader gave and returns a value, or raises ValueError with a
sentence that says what is wrong and what would do, or Mistakes where it can say at which item.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from smtpd_anontls.domain.flags import (
    EnumType,
    FlagType,
    enum_from_name,
    flag_from_names,
    flag_from_number,
)
from smtpd_anontls.domain.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

T = TypeVar("T")

_LONGEST_SHOWN = 80

_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,6})?)\s*(B|KB|MB|GB|TB)", re.IGNORECASE)
# As Exchange counts: 36MB is 37,748,736 bytes.
_SIZE_UNITS = {"B": 1, "KB": 1024, "MB": 1024**2, "GB": 1024**3, "TB": 1024**4}
_CLOCK = re.compile(r"(?:(\d{1,5})\.)?(\d{1,2}):([0-5]\d):([0-5]\d(?:\.\d{1,7})?)")
_SPAN = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)\s*([smhd])", re.IGNORECASE)
_SPAN_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_HOURS_OF_A_DAY = 24
_CONTROL = re.compile("[\x00-\x1f\x7f]")
_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?")
_LONGEST_NAME = 255
_THUMBPRINT = re.compile(r"[0-9A-Fa-f]{40}")


@dataclass(frozen=True, slots=True)
class Mistake:
    """What is wrong, and where: a path of keys and indices."""

    path: tuple[str | int, ...]
    message: str

    def below(self, path: tuple[str | int, ...]) -> Mistake:
        """Return the same mistake as seen from further out."""
        return Mistake((*path, *self.path), self.message)


class WrongValueError(ValueError):
    """The value cannot be taken; the message is a sentence that says what would do."""


class Mistakes(Exception):  # noqa: N818 - it carries them
    """Several things are wrong, or one at an inner place."""

    def __init__(self, found: Iterable[Mistake]) -> None:
        self.found = tuple(found)
        super().__init__("; ".join(mistake.message for mistake in self.found))


def shown(value: object) -> str:
    """Return *value* as a message quotes it, in YAML's words, never longer than a few words."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case dict() | list():
            return kind_of(value)
        case str() if len(value) > _LONGEST_SHOWN:
            return repr(value[:_LONGEST_SHOWN] + "…")
        case int() if abs(value) >= 10**_LONGEST_SHOWN:
            return "a number that long"
    return printable(repr(value))


def kind_of(value: object) -> str:
    """Return what *value* is in YAML's words, and nothing of what it says."""
    if value is None:
        return "null"
    kinds = {bool: "a boolean", str: "text", dict: "a mapping", list: "a list"}
    return kinds.get(type(value), "a number")


def optional(parse: Callable[[Any], T]) -> Callable[[Any], T | None]:
    """Return a parser that also takes null."""
    return lambda value: None if value is None else parse(value)


def boolean(value: Any) -> bool:
    """Read true or false."""
    if not isinstance(value, bool):
        raise WrongValueError(f"{shown(value)} is not true or false")
    return value


def text(value: Any) -> str:
    """Read one line of text."""
    if isinstance(value, str):
        if _CONTROL.search(value):
            raise WrongValueError("a control character or a line break cannot stand here; remove it")
        return value
    if value is None or isinstance(value, (bool, int, float)):
        raise WrongValueError(f"{shown(value)} is not text; put it in quotes if it is meant to be")
    raise WrongValueError(f"{shown(value)} stands where text must be")


def thumbprint(value: Any) -> str:
    """Read the 40 hexadecimal digits of a certificate's SHA-1; return them in upper case."""
    if not _THUMBPRINT.fullmatch(text(value)):
        raise WrongValueError(f"{shown(value)} is not a thumbprint; write its 40 hexadecimal digits")
    return text(value).upper()


def free_text(value: Any) -> str:
    """Read text that may have several lines."""
    if isinstance(value, str) and "\n" in value:
        return "\n".join(text(line) for line in value.split("\n"))
    return text(value)


def some_text(value: Any) -> str:
    """Read one line of text that is not empty."""
    if not text(value).strip():
        raise WrongValueError("cannot be empty")
    return text(value)


def ascii_text(value: Any) -> str:
    """Read one line of ASCII."""
    # RFC 5321 section 4.2: a reply's text is US-ASCII.
    if not text(value).isascii():
        raise WrongValueError(f"{shown(value)} has characters that are not ASCII; a reply cannot carry them")
    return text(value)


def host_label(value: Any) -> str:
    """Read one label of a host name."""
    if not _LABEL.fullmatch(some_text(value)):
        raise WrongValueError(
            f"{shown(value)} is not a host label; write letters, digits and hyphens, such as MBX1"
        )
    return text(value)


def host_name(value: Any) -> str:
    """Read a host name."""
    name = some_text(value)
    if len(name) > _LONGEST_NAME or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        raise WrongValueError(f"{shown(value)} is not a host name; write one such as mbx1.contoso.test")
    return name


def whole_number(*, least: int = 0, most: int | None = None) -> Callable[[Any], int]:
    """Return a parser of whole numbers from *least* to *most*."""
    wanted = (
        f"a whole number from {least} to {most}"
        if most is not None
        else f"a whole number of at least {least}"
    )

    def parse(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise WrongValueError(f"{shown(value)} is not a whole number; write {wanted}")
        if value < least or (most is not None and value > most):
            raise WrongValueError(f"{shown(value)} is out of range; write {wanted}")
        return value

    return parse


def limit(*, least: int = 0) -> Callable[[Any], int | None]:
    """Return a parser of whole numbers and ``unlimited``, which is None."""
    number = whole_number(least=least)

    def parse(value: Any) -> int | None:
        if isinstance(value, str) and value.casefold() == "unlimited":
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            raise WrongValueError(f"{shown(value)} is not a limit; write a whole number or unlimited")
        return number(value)

    return parse


def byte_size(*, least: int = 0) -> Callable[[Any], int]:
    """Return a parser of sizes in bytes: a number, or one with KB, MB, GB or TB."""

    def parse(value: Any) -> int:
        octets = None
        if isinstance(value, int) and not isinstance(value, bool):
            octets = value
        elif isinstance(value, str) and (found := _SIZE.fullmatch(value.strip())):
            octets = int(float(found[1]) * _SIZE_UNITS[found[2].upper()])
        if octets is None:
            raise WrongValueError(
                f"{shown(value)} is not a size; write bytes, or a number with KB, MB, GB or TB"
            )
        if octets < least:
            raise WrongValueError(f"{shown(value)} is out of range; the least is {least}")
        return octets

    return parse


def duration(*, positive: bool = False) -> Callable[[Any], float]:
    """Return a parser of durations in seconds: a number, ``HH:MM:SS``, ``D.HH:MM:SS`` or ``30d``."""

    def parse(value: Any) -> float:
        seconds = _seconds(value)
        if seconds is None:
            raise WrongValueError(
                f"{shown(value)} is not a duration; write seconds, HH:MM:SS, or a number with s, m, h or d"
            )
        if seconds < 0 or (positive and seconds == 0) or not math.isfinite(seconds):
            raise WrongValueError(
                f"{shown(value)} is out of range; write {'more than 0' if positive else '0 or more'} seconds"
            )
        return seconds

    return parse


def _seconds(value: Any) -> float | None:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            return math.inf
    if not isinstance(value, str):
        return None
    if found := _CLOCK.fullmatch(value.strip()):
        if found[1] and int(found[2]) >= _HOURS_OF_A_DAY:
            return None
        days, hours, minutes = (int(part or 0) for part in found.group(1, 2, 3))
        return float(((days * 24 + hours) * 60 + minutes) * 60) + float(found[4])
    if found := _SPAN.fullmatch(value.strip()):
        return float(found[1]) * _SPAN_UNITS[found[2].lower()]
    return None


def enumeration(kind: type[EnumType]) -> Callable[[Any], EnumType]:
    """Return a parser of the names of *kind*, in any case."""

    def parse(value: Any) -> EnumType:
        if not isinstance(value, str):
            allowed = ", ".join(str(member.value) for member in kind)
            raise WrongValueError(f"{shown(value)} is not one of {allowed}")
        return enum_from_name(kind, value)

    return parse


def flags(kind: type[FlagType]) -> Callable[[Any], FlagType]:
    """Return a parser of options: a list, one name, several between commas, or Exchange's integer."""

    def one(name: Any) -> FlagType:
        if not isinstance(name, str):
            allowed = ", ".join(["None", *(str(member.name) for member in kind)])
            raise WrongValueError(f"{shown(name)} is not one of {allowed}")
        return flag_from_names(kind, [name])

    def parse(value: Any) -> FlagType:
        if isinstance(value, int) and not isinstance(value, bool):
            return flag_from_number(kind, value)
        options = listed(one)(value)
        for position, option in enumerate(options):
            # Set-ReceiveConnector: None cannot be combined with other values.
            if not option and len(options) > 1:
                message = "None goes only alone; remove it, or the others"
                raise Mistakes([Mistake((position,) if isinstance(value, list) else (), message)])
        found = kind(0)
        for option in options:
            found |= option
        return found

    return parse


def listed(one: Callable[[Any], T]) -> Callable[[Any], tuple[T, ...]]:
    """Return a parser of lists whose items *one* reads; text stands for one item, or for several between commas."""

    def parse(value: Any) -> tuple[T, ...]:
        if isinstance(value, str):
            return tuple(one(item.strip()) for item in value.split(","))
        if not isinstance(value, list):
            raise WrongValueError(f"{shown(value)} is not a list")
        items, mistakes = [], []
        for position, item in enumerate(value):
            try:
                items.append(one(item))
            except ValueError as error:
                mistakes.append(Mistake((position,), str(error)))
        if mistakes:
            raise Mistakes(mistakes)
        return tuple(items)

    return parse


def from_text(parse: Callable[[str], T]) -> Callable[[Any], T]:
    """Return a parser that hands text, and nothing else, to *parse*."""
    return lambda value: parse(some_text(value))


def mapped(one: Callable[[Any], T]) -> Callable[[Any], dict[str, T]]:
    """Return a parser of mappings whose values *one* reads."""

    def parse(value: Any) -> dict[str, T]:
        if not isinstance(value, dict):
            raise WrongValueError(f"{shown(value)} is not a mapping")
        items: dict[str, T] = {}
        mistakes: list[Mistake] = []
        for key, item in value.items():
            try:
                items[some_text(key)] = one(item)
            except ValueError as error:
                mistakes.append(Mistake((str(key),), str(error)))
            except Mistakes as several:
                mistakes.extend(mistake.below((str(key),)) for mistake in several.found)
        if mistakes:
            raise Mistakes(mistakes)
        return items

    return parse
