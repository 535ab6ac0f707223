"""Faults on demand from elsewhere than a configuration: the API, or Python; read and judged as its are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, ValidationError

from smtpd_anontls.settings.document import ConfigError, Document
from smtpd_anontls.settings.fault_shape import FaultShape, faults_of
from smtpd_anontls.settings.shape import Shape
from smtpd_anontls.settings.validate import mistakes_of

if TYPE_CHECKING:
    from smtpd_anontls.domain.faults import Fault


class _FaultsShape(Shape):
    faults: list[FaultShape] = Field([])


def read_faults(items: Any, source: str = "request") -> tuple[Fault, ...]:
    """Return the faults of a list of mappings, as JSON has it; ConfigError has a line for each mistake.

    *source* is what the lines begin with, where a configuration's have the name of the file.
    """
    content = {"faults": items}
    try:
        shape = _FaultsShape.model_validate(content)
    except ValidationError as error:
        document = Document(source, None, Path(), content)
        raise ConfigError(document.lines(mistakes_of(error, _FaultsShape))) from None
    return faults_of(shape.faults)
