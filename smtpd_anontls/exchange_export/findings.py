"""What became of each property of a dump: the key that it is now, or the reason why it is none."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Taken:
    """A property that became a key of the configuration."""

    kind: str  # The cmdlet's object: ReceiveConnector, ExchangeCertificate and so on.
    owner: str  # Which one: a connector's name, a thumbprint, a server's name.
    name: str
    value: str
    key: str


@dataclass(frozen=True, slots=True)
class Dropped:
    """A property that did not, or an object."""

    kind: str
    owner: str
    name: str
    value: str
    reason: str
    matters: bool = False  # Whether it is a property that says something, which the receiver does without.


class NotUnderstoodError(Exception):
    """Something in a dump is not what the cmdlet writes; ``lines`` has one line for each."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = tuple(lines)
        super().__init__("\n".join(lines))
