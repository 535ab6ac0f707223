"""Events as JSON lines: one object a line, in ASCII, so that any terminal can show it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smtpd_anontls.domain.records import EventRecord


def json_line(record: EventRecord) -> str:
    r"""Return *record* as one line; what is not ASCII, and every control, is escaped as ``\uXXXX``."""
    return json.dumps(record.as_json()).replace("\x7f", "\\u007f") + "\n"
