"""What was read, before anybody judged it: the values, and where each of them came from."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smtpd_anontls.domain.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from smtpd_anontls.settings.parsers import Mistake

Keys = tuple[str | int, ...]

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")


class ConfigError(Exception):
    """The configuration cannot be used; ``lines`` has one line for each mistake."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.lines = tuple(lines)
        super().__init__("\n".join(self.lines))


@dataclass(frozen=True, slots=True)
class Override:
    """A value that the command line or the environment set."""

    label: str  # As a message names it.
    path: Keys  # The outermost key that is there only because of it.


@dataclass(frozen=True, slots=True)
class Document:
    """The values of one configuration, file and overrides together."""

    name: str  # The file as the user named it.
    path: Path | None  # None: the built-in default.
    folder: Path  # Where its relative paths begin.
    content: Any
    overrides: tuple[Override, ...] = ()

    def line(self, where: Sequence[str | int], message: str) -> str:
        """Return the one line that tells of *message* about the key at *where*."""
        override = self._override_of(where)
        source = self.name if override is None else override.label
        place = self._written(where)
        return f"{source}: {place}: {message}" if place else f"{source}: {message}"

    def lines(self, mistakes: Iterable[Mistake]) -> list[str]:
        """Return a line for each of *mistakes*, none twice."""
        return list(dict.fromkeys(self.line(mistake.path, mistake.message) for mistake in mistakes))

    def absolute(self, where: Keys, path: str) -> Path:
        """Return *path*, found at the key *where*, as an absolute path.

        It begins at the folder of the file that names it; a path that the command line or the
        environment names begins, as every path there, at the working directory.
        """
        folder = self.folder if self._override_of(where) is None else Path.cwd()
        # Not resolve(): a symbolic link in the middle is the administrator's own affair.
        return Path(os.path.abspath(folder / path))  # noqa: PTH100 - see above

    def _override_of(self, where: Sequence[str | int]) -> Override | None:
        """Return the last override that set the key at *where*, if one did."""
        for override in reversed(self.overrides):
            if tuple(where[: len(override.path)]) == override.path:
                return override
        return None

    def _written(self, where: Sequence[str | int]) -> str:
        """Write a path as ``servers[0].name``; what stands for a list has no indices."""
        written, node = "", self.content
        for key in where:
            if isinstance(key, int) and not isinstance(node, list):
                continue
            if isinstance(key, int):
                written += f"[{key}]"
            elif _PLAIN_KEY.fullmatch(key):
                written += f".{key}"
            else:
                written += f"[{printable(repr(key))}]"
            node = _inner(node, key)
        return written.removeprefix(".")


def _inner(node: Any, key: str | int) -> Any:
    if isinstance(node, dict):
        return node.get(key)
    if isinstance(node, list) and isinstance(key, int) and key < len(node):
        return node[key]
    return None
