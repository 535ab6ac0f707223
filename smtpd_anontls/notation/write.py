"""A value as YAML on one line."""

from __future__ import annotations

import io
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.representer import RoundTripRepresenter
from ruamel.yaml.scalarstring import DoubleQuotedScalarString, SingleQuotedScalarString

from smtpd_anontls.notation import yaml12

_ENDLESS = 2**31  # No line of ours is ever broken.


class _Representer(RoundTripRepresenter):
    """ruamel's representer, which quotes what our own reader would take for something else."""

    def represent_plain(self, value: str) -> Any:
        # Only double quotes have escapes for what cannot be seen.
        quote = "'" if value.isprintable() else '"'
        style = None if _stands_for_itself(value) else quote
        return self.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    def represent_null(self, value: None) -> Any:  # noqa: ARG002 - ruamel hands it over
        # ruamel writes nothing for null inside a mapping; a person wants to see it.
        return self.represent_scalar("tag:yaml.org,2002:null", "null")


_Representer.add_representer(str, _Representer.represent_plain)
_Representer.add_representer(type(None), _Representer.represent_null)


def _stands_for_itself(word: str) -> bool:
    """Whether our reader takes *word*, without quotes and inside brackets, for that very text."""
    try:
        return bool(yaml12.load(f"[{word}]") == [word])
    except yaml12.YamlError:
        return False


def one_line(value: Any, quote: str | None = None) -> str:
    """Return *value* on one line, text in the quotes of what it replaces."""
    writer = YAML()
    writer.Representer = _Representer
    writer.width = _ENDLESS
    writer.allow_unicode = True
    stream = io.StringIO()
    if isinstance(value, (list, dict)):
        writer.dump(_flow(value), stream)
        return stream.getvalue().rstrip("\n")
    # A bare scalar would be followed by an end mark, so it travels in a list.
    writer.dump(_flow([_quoted(value, quote)]), stream)
    return stream.getvalue().rstrip("\n")[1:-1]


def _quoted(value: Any, quote: str | None) -> Any:
    if not isinstance(value, str) or quote is None:
        return value
    kind = SingleQuotedScalarString if quote == "'" and value.isprintable() else DoubleQuotedScalarString
    return kind(value)


def _flow(value: Any) -> Any:
    """Return lists and mappings marked to be written in brackets."""
    if isinstance(value, list):
        items = CommentedSeq(_flow(item) for item in value)
        items.fa.set_flow_style()
        return items
    if isinstance(value, dict):
        pairs = CommentedMap((key, _flow(item)) for key, item in value.items())
        pairs.fa.set_flow_style()
        return pairs
    return value
