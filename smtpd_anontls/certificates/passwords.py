"""Passwords of PFX files and encrypted keys: where they stand, and what stood there when it was looked.

A password never leaves this room, and is in no ``repr``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from smtpd_anontls.notation.snapshot import Stamp, UnreadableFileError, stamp_of, take

if TYPE_CHECKING:
    from pathlib import Path

_MAX_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Password:
    """A password as it was found; without one *problem*, a clause, says why there is none.

    Two are equal where the same password, or the same problem, was found in the same place.
    """

    place: str  # "the environment variable NAME"
    octets: bytes | None = field(default=None, repr=False)  # UTF-8, without NUL.
    problem: str = ""


class PasswordSource(Protocol):
    """Where the password of one file stands."""

    def read(self) -> FoundPassword:
        """Return what stands there now; never raise."""
        ...


@dataclass(frozen=True, slots=True)
class FoundPassword:
    """A password, and how to tell whether it is still what its source holds."""

    password: Password
    source: PasswordSource | None = None  # None: it cannot change.
    stamp: Stamp | None = None  # Of the password file; None where it has none.
    settled: bool = True  # False: another write may have left the same stamp.

    def is_current(self) -> bool:
        """Whether reading it again would find the same; costs a stat at most."""
        match self.source:
            case PasswordInFile(path):
                return self.settled and stamp_of(path) == self.stamp
            case None:
                return True
            case source:
                return source.read().password == self.password


@dataclass(frozen=True, slots=True)
class PasswordInEnvironment:
    """A password in an environment variable."""

    name: str

    def read(self) -> FoundPassword:
        """Return the variable's value."""
        place = f"the environment variable {self.name}"
        octets = os.environb.get(os.fsencode(self.name))
        if octets is None:
            return FoundPassword(Password(place, problem=f"{place} is not set"), self)
        return FoundPassword(_password(place, octets), self)


@dataclass(frozen=True, slots=True)
class PasswordInFile:
    """A password in a file, on one line."""

    path: Path

    def read(self) -> FoundPassword:
        """Return the file's content without the end of its line."""
        place = f"the password file {self.path}"
        try:
            snapshot = take(self.path, _MAX_BYTES)
        except FileNotFoundError:
            return FoundPassword(Password(place, problem=f"{place} does not exist"), self)
        except UnreadableFileError as error:
            return FoundPassword(Password(place, problem=f"{place} {error}"), self, stamp_of(self.path))
        octets = snapshot.content.removesuffix(b"\n").removesuffix(b"\r")
        return FoundPassword(_password(place, octets), self, snapshot.stamp, snapshot.settled)


def no_password(advice: str) -> FoundPassword:
    """Return what stands for a password that nobody gave; *advice* is a clause."""
    return FoundPassword(Password("", problem=advice))


def _password(place: str, octets: bytes) -> Password:
    # What PowerShell's > writes is UTF-16, which PKCS #12 (RFC 7292) makes of UTF-8 by itself.
    try:
        text = octets.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        return Password(place, problem=f"{place} does not hold UTF-8 text; write the password as UTF-8")
    return Password(place, text.encode())
