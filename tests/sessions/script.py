"""Reading a golden session: plain text, one mark a line (see README.md)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from smtpd_anontls.notation import yaml12

if TYPE_CHECKING:
    from pathlib import Path

_LINE = re.compile(
    r"(?P<mark>S:|S~|C:|C\\|C\*|E:|M\\|T:|T!:|TLS|AS:|OUTCOME:|PLAY:|given:|CLOSED|EOF)(?: (?P<text>.*))?"
)
# Every reply line begins so; the fourth character says whether it is the last (RFC 5321 section 4.2).
_REPLY = re.compile(r"[2-5][0-9]{2}[ -]")
_ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{2}|.)")
_ESCAPED = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0", b"\\": b"\\"}


class ScriptError(Exception):
    """The file is no golden session; the text says where and why."""


@dataclass(frozen=True, slots=True)
class Mark:
    """One line of the file."""

    number: int
    mark: str
    text: str

    @property
    def line(self) -> str:
        """The line as it is written."""
        return f"{self.mark} {self.text}".rstrip()


@dataclass(frozen=True, slots=True)
class Say:
    """The client sends octets."""

    mark: Mark
    octets: bytes


@dataclass(frozen=True, slots=True)
class Hear:
    """The server gives one whole reply."""

    marks: tuple[Mark, ...]


@dataclass(frozen=True, slots=True)
class Secure:
    """Both upgrade, and the server presents the certificate that the store calls so."""

    mark: Mark


@dataclass(frozen=True, slots=True)
class HalfClose:
    """The client says that it will send no more."""

    mark: Mark


@dataclass(frozen=True, slots=True)
class Closed:
    """The server has closed, and has said nothing more."""

    mark: Mark


Step = Say | Hear | Secure | HalfClose | Closed


@dataclass
class Script:
    """A golden session."""

    path: Path
    given: dict[str, Any] = field(default_factory=dict)  # Arguments of Lab.write.
    whole_only: bool = False
    steps: list[Step] = field(default_factory=list)
    # What was recorded of it.
    outcome: Mark | None = None
    sender: Mark | None = None
    events: list[Mark] = field(default_factory=list)
    transcript: list[Mark] = field(default_factory=list)
    nowhere: list[Mark] = field(default_factory=list)
    messages: list[Say] = field(default_factory=list)

    @property
    def number(self) -> int:
        """The number that its name begins with."""
        return int(self.path.name.partition("-")[0])

    @classmethod
    def read(cls, path: Path) -> Script:
        """Read a file; ScriptError says where it is wrong."""
        script = cls(path)
        reply: list[Mark] = []
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if not line or line.startswith("#"):
                continue
            found = _LINE.fullmatch(line)
            if found is None:
                raise ScriptError(f"{path.name}:{number}: no mark begins this line: {line}")
            mark = Mark(number, found["mark"], found["text"] or "")
            try:
                script._take(mark, reply)
            except ValueError as error:
                raise ScriptError(f"{path.name}:{number}: {error}") from error
        if reply:
            raise ScriptError(f"{path.name}: the last reply has no last line")
        return script

    def _take(self, mark: Mark, reply: list[Mark]) -> None:
        if reply and mark.mark not in {"S:", "S~"}:
            raise ValueError("the reply above has no last line")
        match mark.mark:
            case "S:" | "S~":
                if not _REPLY.match(mark.text):
                    raise ValueError("a reply begins with three digits and a space or hyphen")
                reply.append(mark)
                if mark.text[3] == " ":
                    self.steps.append(Hear(tuple(reply)))
                    reply.clear()
            case "C:" | "C\\" | "C*":
                self.steps.append(Say(mark, _octets(mark)))
            case "TLS":
                self.steps.append(Secure(mark))
            case "EOF":
                self.steps.append(HalfClose(mark))
            case "CLOSED":
                self.steps.append(Closed(mark))
            case _:
                self._take_surroundings(mark)

    def _take_surroundings(self, mark: Mark) -> None:
        match mark.mark:
            case "given:":
                _overlay(self.given, mark.text)
            case "PLAY:":
                if mark.text != "whole":
                    raise ValueError("the only choice is PLAY: whole")
                self.whole_only = True
            case "OUTCOME:":
                self.outcome = mark
            case "AS:":
                self.sender = mark
            case "E:":
                self.events.append(mark)
            case "T:":
                self.transcript.append(mark)
            case "T!:":
                self.nowhere.append(mark)
            case "M\\":
                self.messages.append(Say(mark, _unescaped(mark.text)))


def _octets(mark: Mark) -> bytes:
    if mark.mark == "C:":
        return mark.text.encode() + b"\r\n"
    if mark.mark == "C\\":
        return _unescaped(mark.text)
    count, _, text = mark.text.partition(" ")
    return _unescaped(text) * int(count)


def _unescaped(text: str) -> bytes:
    def one(found: re.Match[bytes]) -> bytes:
        name = found[1]
        if name[:1] == b"x" and len(name) == 3:
            return bytes([int(name[1:], 16)])
        if name not in _ESCAPED:
            raise ValueError(f"\\{name.decode(errors='replace')} is no escape of these files")
        return _ESCAPED[name]

    return _ESCAPE.sub(one, text.encode())


def _overlay(given: dict[str, Any], text: str) -> None:
    """Put ``connector.banner: hello`` where ``Lab.write`` takes it."""
    path, separator, value = text.partition(": ")
    if not separator:
        raise ValueError("write given: KEY: VALUE")
    *above, last = path.split(".")
    for key in above:
        given = given.setdefault(key, {})
    given[last] = yaml12.load(value)
