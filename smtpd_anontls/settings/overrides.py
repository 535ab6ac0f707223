"""Values from the command line and the environment, laid over those of the file.

``--set servers[0].fqdn=mx.test`` and ``SMTPD_ANONTLS__SERVERS__0__FQDN=mx.test`` say the same;
the command line wins.  The value is read as YAML.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from smtpd_anontls.domain.printable import printable
from smtpd_anontls.notation import yaml12
from smtpd_anontls.settings.document import Override

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from smtpd_anontls.settings.document import Document, Keys

PREFIX = "SMTPD_ANONTLS__"

_STEP = re.compile(r"\.?([A-Za-z0-9_-]+)|\[([0-9]{1,6})\]")
_INDEX = re.compile(r"[0-9]{1,6}")


@dataclass(frozen=True, slots=True)
class _Wish:
    """One override as it was written."""

    label: str
    path: Keys
    value: str


class _NotTakenError(ValueError):
    """The override has no place in the document."""


def overridden(
    document: Document, command_line: Sequence[str], environ: Mapping[str, str]
) -> tuple[Document, list[str]]:
    """Return *document* with all overrides applied, and a line for each that could not be."""
    lines: list[str] = []
    content, overrides = document.content, list(document.overrides)
    for wish in (*_from_environment(environ), *_from_command_line(command_line, lines)):
        try:
            content, known = _with(content, wish.path, yaml12.load(wish.value))
        except yaml12.YamlError as error:
            lines.append(f"{wish.label}: {error.problem}")
        except _NotTakenError as error:
            lines.append(f"{wish.label}: {error}")
        else:
            overrides.append(Override(wish.label, wish.path[: known + 1]))
    return replace(document, content=content, overrides=tuple(overrides)), lines


def _from_environment(environ: Mapping[str, str]) -> Iterator[_Wish]:
    wishes = []
    for name, value in environ.items():
        if name.startswith(PREFIX):
            segments = name.removeprefix(PREFIX).lower().split("__")
            path = tuple(int(each) if _INDEX.fullmatch(each) else each for each in segments)
            wishes.append(_Wish(printable(name), path, value))
    # An entry must be there before the next one: 2 goes before 10, and a list before its items.
    return iter(
        sorted(wishes, key=lambda wish: [(isinstance(key, str), str(key).zfill(6)) for key in wish.path])
    )


def _from_command_line(words: Iterable[str], lines: list[str]) -> Iterator[_Wish]:
    for word in words:
        key, equals, value = word.partition("=")
        path = _path(key)
        if not equals or path is None:
            lines.append(f"--set {printable(word)}: write KEY=VALUE, for example servers[0].fqdn=mx.test")
        else:
            # The value is not repeated: it may be long, or hold a password.
            yield _Wish(f"--set {key}=…", path, value)


def _path(key: str) -> Keys | None:
    """Read ``servers[0].fqdn``, or return None where it is nothing of the kind."""
    path: list[str | int] = []
    position = 0
    while position < len(key):
        step = _STEP.match(key, position)
        if step is None or (position == 0) != (step[0][0] not in ".["):
            return None
        path.append(step[1] or int(step[2]))
        position = step.end()
    return tuple(path) or None


def _with(node: Any, path: Keys, value: Any) -> tuple[Any, int]:
    """Return *node* with *value* at *path*, and how many keys of *path* there were before."""
    if not path:
        return value, -1
    key, *rest = path
    if isinstance(node, list):
        if not isinstance(key, int):
            raise _NotTakenError(f"{key!r} is not a position in a list")
        if key > len(node):
            raise _NotTakenError(f"there is no [{key}]; the list ends before [{len(node)}]")
        inner, known = _with(node[key] if key < len(node) else None, tuple(rest), value)
        return [*node[:key], inner, *node[key + 1 :]], known + 1 if key < len(node) else 0
    if node is None and isinstance(key, int):
        return _with([], path, value)
    if isinstance(node, dict) or node is None:
        known_keys = node or {}
        name = str(key)
        inner, known = _with(known_keys.get(name), tuple(rest), value)
        return {**known_keys, name: inner}, known + 1 if name in known_keys else 0
    raise _NotTakenError(f"there is nothing below which {key!r} could stand")
