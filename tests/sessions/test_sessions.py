"""Golden sessions: what a peer sees of the receiver, and what is recorded of it (see README.md)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.lab import CONNECTOR, all_ended
from tests.peer import Peer
from tests.sessions.player import Mismatch, Player, check_record
from tests.sessions.script import Script, ScriptError

if TYPE_CHECKING:
    from tests.lab import Lab

FOLDER = Path(__file__).parent
SCRIPTS = sorted((Script.read(path) for path in FOLDER.glob("[0-9]*.txt")), key=lambda script: script.number)
AS_USUAL = [script for script in SCRIPTS if not script.given]


async def played(player: Player) -> None:
    """Play a file; where it fails, leave what happened beside it."""
    left = player.script.path.with_suffix(".got")
    try:
        await player.play()
    except BaseException:
        left.write_text("\n".join(player.got) + "\n")
        raise
    left.unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("script", "singly"),
    [
        pytest.param(
            script,
            singly,
            id=f"{script.path.stem} {'octet by octet' if singly else 'whole'}",
            marks=[pytest.mark.slow] if singly else [],
        )
        for script in SCRIPTS
        for singly in (False, True)
        if not (singly and script.whole_only)
    ],
)
async def test_session(script: Script, *, singly: bool, lab: Lab, against: tuple[str, int] | None) -> None:
    """The receiver, or the server that ``--against`` names, says what the file says, and records it."""
    if against is not None:
        async with await Peer.connect(against) as peer:
            await played(Player(script, peer, singly))
        return
    async with lab.receiver(**script.given) as receiver:
        async with await Peer.connect(receiver.address(CONNECTOR)) as peer:
            await played(Player(script, peer, singly, lab.name_of))
            remote = peer.remote
        await all_ended(receiver)

    session = lab.session()
    events = [event["event_id"] for event in lab.events if event["session_id"] == session["id"]]
    raw = [lab.raw[number] for number in session["messages"]]
    assert session["remote"] == remote
    check_record(script, session, events, raw)


def test_there_are_enough() -> None:
    """Their names count up without a gap, so that a lost file is noticed."""
    assert [script.number for script in SCRIPTS] == list(range(1, len(SCRIPTS) + 1))


async def test_files_without_given_hold_against_another_server(lab: Lab) -> None:
    """What ``--against`` compares is a part of what the receiver itself does."""
    async with lab.receiver() as receiver:
        for script in AS_USUAL:
            async with await Peer.connect(receiver.address(CONNECTOR)) as peer:
                await Player(script, peer).play()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        pytest.param(
            "C: EHLO x\nS: 250 nobody", "x.txt:4\n  want: S: 250 nobody\n  got:  S: 250-mx1", id="reply"
        ),
        pytest.param("S: 250 OK", "x.txt:3\n  want: S: 250 OK", id="nothing comes"),
        pytest.param("C: NOOP\nCLOSED", "x.txt:4\n  want: CLOSED\n  got:  S: 250", id="not closed"),
        pytest.param("C: NOOP", "x.txt:3\n  want: C: NOOP\n  got:  and then: 250", id="one reply too many"),
        pytest.param(
            "C: EHLO x\nS~ 250-.*\nS~ 250 PIPE.*",
            "x.txt:5\n  want: S~ 250 PIPE.*\n  got:  S: 250-SIZE",
            id="one line",
        ),
        pytest.param(
            "C: HELO x\nS~ 250 .*\nC: X-ANONYMOUSTLS\nS~ 220 .*\nTLS mx1.lab.test",
            "x.txt:7\n  want: TLS mx1.lab.test\n  got:  TLS internal",
            id="certificate",
        ),
    ],
)
async def test_a_failure_tells_where(text: str, complaint: str, lab: Lab, tmp_path: Path) -> None:
    """A session that goes another way fails with file:line, want and got, and leaves what it got."""
    path = tmp_path / "x.txt"
    path.write_text(f"# Wrong on purpose.\nS~ 220 .*\n{text}\n")
    async with lab.receiver() as receiver, await Peer.connect(receiver.address(CONNECTOR)) as peer:
        if text == "S: 250 OK":
            peer.half_close()
        with pytest.raises(Mismatch) as raised:
            await played(Player(Script.read(path), peer, name_of=lab.name_of))

    assert complaint in str(raised.value)
    assert path.with_suffix(".got").read_text().startswith("S: 220 mx1.lab.test Microsoft ESMTP")


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("HELLO", "x.txt:1: no mark begins this line: HELLO"),
        ("S: hello", "x.txt:1: a reply begins with three digits"),
        ("S: 250-hello", "x.txt: the last reply has no last line"),
        ("S: 250-hello\nC: NOOP", "x.txt:2: the reply above has no last line"),
        (r"C\ \q", r"x.txt:1: \q is no escape of these files"),
        ("PLAY: backwards", "x.txt:1: the only choice is PLAY: whole"),
        ("given: connector", "x.txt:1: write given: KEY: VALUE"),
    ],
)
def test_a_broken_file_tells_where(line: str, complaint: str, tmp_path: Path) -> None:
    """A mistake in a file is named with its line."""
    path = tmp_path / "x.txt"
    path.write_text(line)

    with pytest.raises(ScriptError) as raised:
        Script.read(path)

    assert complaint in str(raised.value)
