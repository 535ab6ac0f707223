"""Playing a golden session against a server, over real sockets and real TLS."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.sessions.script import Closed, HalfClose, Hear, Say, Secure

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.peer import Peer
    from tests.sessions.script import Mark, Script, Step

# What a client sees of TLS at any server; other keywords may be more elsewhere.
_TLS_KEYWORDS = {"STARTTLS", "X-ANONYMOUSTLS"}


class Mismatch(AssertionError):  # noqa: N818 - what it is, to whoever reads the failure
    """The session went otherwise than the file says; the text has file:line, want and got."""

    def __init__(self, script: Script, mark: Mark, got: str) -> None:
        super().__init__(f"\n{script.path.name}:{mark.number}\n  want: {mark.line}\n  got:  {got}")


@dataclass
class Player:
    """Plays one file; *name_of* gives the store's name for a certificate, None where names mean nothing."""

    script: Script
    peer: Peer
    singly: bool = False
    name_of: Callable[[bytes | None], str] | None = None
    # What really happened, in the marks of the file.
    got: list[str] = field(default_factory=list)
    _said: bytes = b""

    async def play(self) -> None:
        """Go through the file; Mismatch tells the first line at which the server went another way."""
        for step in self.script.steps:
            await self._take(step)
        if not isinstance(self.script.steps[-1], Closed):
            # Nothing more may come, however long one listens.
            self.peer.half_close()
            surplus = await self.peer.rest()
            self._note_lines(surplus)
            if surplus:
                last = self.script.steps[-1]
                mark = last.marks[-1] if isinstance(last, Hear) else last.mark
                raise Mismatch(self.script, mark, f"and then: {surplus[0]}")

    async def _take(self, step: Step) -> None:
        match step:
            case Say(mark, octets):
                self.got.append(mark.line)
                self._said = octets
                await self.peer.send(octets, singly=self.singly)
            case Hear(marks):
                reply = await self.peer.reply()
                self._note_lines(reply)
                self._compare(marks, reply)
            case Secure(mark):
                await self.peer.upgrade()
                name = mark.text if self.name_of is None else self.name_of(self.peer.presented())
                self.got.append(f"TLS {name}")
                if name != mark.text:
                    raise Mismatch(self.script, mark, f"TLS {name}")
            case HalfClose(mark):
                self.got.append(mark.line)
                self.peer.half_close()
            case Closed(mark):
                line = await self.peer.line()
                self.got.append("CLOSED" if line is None else f"S: {line}")
                if line is not None:
                    raise Mismatch(self.script, mark, f"S: {line}")

    def _note_lines(self, lines: list[str]) -> None:
        self.got.extend(f"S: {line}" for line in lines)

    def _compare(self, marks: tuple[Mark, ...], reply: list[str]) -> None:
        """Hold each line to its mark; where the server is another, the code and the keywords of TLS."""
        if self.name_of is None:
            self._compare_loosely(marks, reply)
            return
        for mark, line in zip(marks, reply, strict=False):
            if not _fits(mark, line):
                raise Mismatch(self.script, mark, f"S: {line}")
        if len(reply) < len(marks):
            raise Mismatch(self.script, marks[len(reply)], "no such line" if reply else "CLOSED")
        if len(reply) > len(marks):
            raise Mismatch(self.script, marks[-1], f"and then: S: {reply[len(marks)]}")

    def _compare_loosely(self, marks: tuple[Mark, ...], reply: list[str]) -> None:
        code = marks[0].text[:3]
        if not reply or reply[0][:3] != code:
            raise Mismatch(self.script, marks[0], f"S: {reply[0]}" if reply else "CLOSED")
        if not (self._said.upper().startswith(b"EHLO") and code == "250"):
            return
        offered = _keywords(reply)
        for mark in marks[1:]:
            keyword = mark.text[4:].split(" ")[0]
            if keyword not in offered:
                raise Mismatch(self.script, mark, f"no {keyword} among {', '.join(sorted(offered))}")
        surplus = offered & _TLS_KEYWORDS - _keywords([mark.text for mark in marks])
        if surplus:
            raise Mismatch(self.script, marks[-1], f"also {', '.join(sorted(surplus))}")


def _fits(mark: Mark, line: str) -> bool:
    return line == mark.text if mark.mark == "S:" else re.fullmatch(mark.text, line) is not None


def _keywords(lines: list[str]) -> set[str]:
    return {line[4:].split(" ")[0] for line in lines[1:]}


def check_record(script: Script, session: dict[str, Any], events: list[int], raw: list[bytes]) -> None:
    """Hold what was recorded of the session to the file: outcome, sender, exactly its events, transcript, messages."""
    if script.outcome is not None and session["outcome"] != script.outcome.text:
        raise Mismatch(script, script.outcome, f"OUTCOME: {session['outcome']} ({session['outcome_detail']})")
    if script.sender is not None and session["authenticated_as"] != (script.sender.text or None):
        raise Mismatch(script, script.sender, f"AS: {session['authenticated_as'] or ''}".rstrip())
    wanted = [int(mark.text) for mark in script.events]
    got = f"events {session['event_ids']} in the record, {events} in the log"
    for mark in script.events:
        if int(mark.text) not in session["event_ids"] or int(mark.text) not in events:
            raise Mismatch(script, mark, got)
    if sorted(wanted) != sorted(events) or sorted(wanted) != sorted(session["event_ids"]):
        raise AssertionError(f"{script.path.name}: the file has events {wanted}; got {got}")
    _check_transcript(script, session)
    for wanted_message, message in zip(script.messages, raw, strict=False):
        if wanted_message.octets != message:
            raise Mismatch(script, wanted_message.mark, repr(message))
    if len(script.messages) != len(raw):
        raise AssertionError(
            f"{script.path.name}: the file has {len(script.messages)} messages; got {len(raw)}"
        )


def _check_transcript(script: Script, session: dict[str, Any]) -> None:
    rows = [f"{row['mark']} {row['text']}" for row in session["transcript"]]
    for mark in script.transcript:
        if mark.text not in rows:
            raise Mismatch(script, mark, "\n".join(["a transcript without it:", *rows]))
    for mark in script.nowhere:
        if mark.text in repr(session):
            raise Mismatch(script, mark, "a record that has it")
