"""The fuzzing targets, their seeds and what they have found."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Target:
    """One target: a module whose ``target`` takes any octets and asserts what has to hold."""

    name: str

    def load(self) -> Callable[[bytes], None]:
        """Import the module and return what takes the octets."""
        target: Callable[[bytes], None] = self._module.target
        return target

    @property
    def runs(self) -> int:
        """How many executions ``make fuzz`` gives it."""
        return int(self._module.RUNS)

    @property
    def max_length(self) -> int:
        """How many octets an input has at most."""
        return int(self._module.MAX_LENGTH)

    @property
    def words(self) -> tuple[bytes, ...]:
        """Octets that mean something here."""
        words: tuple[bytes, ...] = self._module.WORDS
        return words

    @property
    def corpus(self) -> Path:
        """The folder of its seeds."""
        return FOLDER / "corpus" / self.name

    @property
    def finds(self) -> Path:
        """The folder of what it has found."""
        return FOLDER / "finds" / self.name

    def inputs(self) -> list[Path]:
        """Return its seeds and finds."""
        return sorted([*self.corpus.glob("*"), *self.finds.glob("*")])

    @property
    def _module(self) -> Any:
        return import_module(f"tests.fuzz.targets.{self.name}")


TARGETS = tuple(Target(path.stem) for path in sorted((FOLDER / "targets").glob("*.py")))
