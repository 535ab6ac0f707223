"""What every mapping of the configuration has in common: known keys, each read by a parser of ours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ConfigDict, PlainValidator
from pydantic_core import PydanticCustomError

from smtpd_anontls.settings.parsers import Mistakes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from smtpd_anontls.settings.parsers import Mistake

MISTAKES = "mistakes"


@dataclass(frozen=True, slots=True)
class NotYetHonoured:
    """Marks a key that is read and checked only; at *harmless* that makes no difference."""

    harmless: object


def says(parse: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Let pydantic carry the mistakes of *parse* together with their places."""

    def parse_for_pydantic(value: Any) -> Any:
        try:
            return parse(value)
        except Mistakes as several:
            raise mistakes_error(several.found) from several

    return parse_for_pydantic


def mistakes_error(found: Iterable[Mistake]) -> PydanticCustomError:
    """Return what carries mistakes of a mapping, at places within it, through pydantic."""
    return PydanticCustomError(MISTAKES, MISTAKES, {"found": tuple(found)})


def read_by(parse: Callable[[Any], Any]) -> PlainValidator:
    """Let *parse*, and nothing of pydantic's own, read a key."""
    return PlainValidator(says(parse))


class Shape(BaseModel):
    """A mapping with known keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


ShapeType = TypeVar("ShapeType", bound=Shape)
