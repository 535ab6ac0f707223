"""The event log on real files: whole lines, rotation, and sinks that fail without holding anyone up."""

from __future__ import annotations

import json
import os
import queue
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from smtpd_anontls.domain.events import EventDraft, EventId
from smtpd_anontls.eventlog.jsonl import json_line
from smtpd_anontls.eventlog.lines import RotatedFile, lines_to
from smtpd_anontls.eventlog.log import MAX_WAITING, EventLog, EventLogError, Sink
from tests.components.journal_making import event

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpd_anontls.domain.records import EventRecord

LINE = len(json_line(event(1)))


def written(path: Path) -> list[int]:
    """Return the ids of the events in a file; each line must be whole."""
    return [json.loads(line)["id"] for line in path.read_text("ascii").splitlines()]


def log_to(*sinks: Sink) -> tuple[EventLog, queue.Queue[str]]:
    """Return an open log, and where its warnings arrive."""
    warnings: queue.Queue[str] = queue.Queue()
    log = EventLog(sinks, warnings.put)
    log.open()
    return log, warnings


def application_log(folder: Path, *, max_size: int = 100_000_000, keep: int = 5) -> RotatedFile:
    """Return the sink that writes into *folder*."""
    return RotatedFile(folder / "application.jsonl", json_line, max_size=max_size, keep=keep)


def test_one_object_a_line(tmp_path: Path) -> None:
    """The object is the event; a missing folder is made; what is there already stays."""
    folder = tmp_path / "var" / "log"
    for number in (1, 2):
        log, warnings = log_to(application_log(folder))
        log.write(event(number))
        log.close()

    lines = (folder / "application.jsonl").read_text("ascii").splitlines()
    assert [json.loads(line) for line in lines] == [event(1).as_json(), event(2).as_json()]
    assert stat.S_IMODE((folder / "application.jsonl").stat().st_mode) & 0o137 == 0
    assert warnings.empty()


def test_a_terminal_is_safe() -> None:
    """Whatever a peer wrote, a line holds printable ASCII alone, and reads back as it was."""
    odd = "\x1b[2J\x7f\x9b\u202e\n\u2028büro\udcff"
    record = event(1, draft=EventDraft(EventId.NO_STARTTLS_CERTIFICATE, (odd, "b", "c")))

    line = json_line(record)

    assert all(" " <= character <= "~" for character in line[:-1])
    assert json.loads(line)["inserts"][0] == odd


def test_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a path the lines go to standard output."""
    log, _ = log_to(lines_to(None, json_line, max_size=1, keep=0))
    log.write(event(1))
    log.close()

    assert json.loads(capsys.readouterr().out)["id"] == 1


@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        (2, {"application.jsonl": [7], "application.jsonl.1": [5, 6], "application.jsonl.2": [3, 4]}),
        (1, {"application.jsonl": [7], "application.jsonl.1": [5, 6]}),
        (0, {"application.jsonl": [7]}),
    ],
)
def test_rotation(tmp_path: Path, keep: int, expected: dict[str, list[int]]) -> None:
    """A file takes as many lines as fit; so many older files are kept."""
    log, warnings = log_to(application_log(tmp_path, max_size=2 * LINE, keep=keep))
    for number in range(1, 8):
        log.write(event(number))
    log.close()

    assert {path.name: written(path) for path in tmp_path.iterdir()} == expected
    assert warnings.empty()


def test_a_line_larger_than_a_file(tmp_path: Path) -> None:
    """It is written all the same, into a file of its own."""
    log, _ = log_to(application_log(tmp_path, max_size=10, keep=5))
    log.write(event(1))
    log.write(event(2))
    log.close()

    assert written(tmp_path / "application.jsonl") == [2]
    assert written(tmp_path / "application.jsonl.1") == [1]


def test_a_line_that_a_crash_cut_off(tmp_path: Path) -> None:
    """The next line begins on its own."""
    path = tmp_path / "application.jsonl"
    path.write_text('{"id": 1, "ti')
    log, _ = log_to(application_log(tmp_path))
    log.write(event(2))
    log.close()

    assert path.read_text().splitlines()[0] == '{"id": 1, "ti'
    assert json.loads(path.read_text().splitlines()[1])["id"] == 2


def test_moved_by_another_program(tmp_path: Path) -> None:
    """After a rotation by somebody else, or a removal of the folder, the next line is in a new file."""
    sink = application_log(tmp_path / "log")
    sink.open()
    sink.write(event(1))
    (tmp_path / "log").rename(tmp_path / "old")
    sink.write(event(2))
    sink.close()

    assert written(tmp_path / "old" / "application.jsonl") == [1]
    assert written(tmp_path / "log" / "application.jsonl") == [2]


def a_directory(folder: Path) -> Path:
    """Put a directory where the file should be."""
    (folder / "application.jsonl").mkdir()
    return folder / "application.jsonl"


def under_a_file(folder: Path) -> Path:
    """Put a file where the folder should be."""
    (folder / "log").touch()
    return folder / "log" / "application.jsonl"


def not_to_be_made(_folder: Path) -> Path:
    """Name a folder in which the system lets nobody make a file."""
    return Path("/proc/1/application.jsonl")


@pytest.mark.parametrize(
    ("place", "why"),
    [
        (a_directory, "Is a directory"),
        (under_a_file, "Not a directory|File exists"),
        (not_to_be_made, "No such file or directory|Permission denied|Operation not permitted"),
    ],
)
def test_a_path_that_cannot_be_written_at_start(
    tmp_path: Path, place: Callable[[Path], Path], why: str
) -> None:
    """One line names the path and the reason; no sink stays open."""
    bad = RotatedFile(place(tmp_path), json_line, max_size=1000, keep=1)
    good = RotatedFile(tmp_path / "good.jsonl", json_line, max_size=1000, keep=1)

    with pytest.raises(EventLogError, match=rf"jsonl: cannot be written: ({why})$") as failed:
        EventLog([good, bad], print).open()

    assert "\n" not in str(failed.value)
    assert good._descriptor is None


def test_a_pipe_that_nobody_reads(tmp_path: Path) -> None:
    """Neither opening nor writing waits for a reader: once the pipe is full, events are dropped."""
    path = tmp_path / "application.jsonl"
    os.mkfifo(path)
    log, warnings = log_to(application_log(tmp_path))
    for number in range(500):
        log.write(event(number))
    log.close()

    assert warnings.get_nowait().endswith("Resource temporarily unavailable")


def test_a_full_disk() -> None:
    """A device without space: one warning, however many events are dropped, and nothing is raised."""
    log, warnings = log_to(RotatedFile(Path("/dev/full"), json_line, max_size=1, keep=1))
    for number in range(100):
        log.write(event(number))
    log.close()

    assert [warnings.get_nowait()] == [
        "event log /dev/full: cannot be written, events are dropped: No space left on device"
    ]
    assert warnings.empty()


def test_recovery(tmp_path: Path) -> None:
    """A sink that works again says so, with the number of events that it dropped; others never noticed."""
    folder, away = tmp_path / "log", tmp_path / "away"
    log, warnings = log_to(application_log(folder), application_log(tmp_path / "other"))
    folder.rename(away)
    folder.touch()

    log.write(event(1))
    assert "cannot be written, events are dropped" in warnings.get(timeout=20)
    folder.unlink()
    log.write(event(2))
    log.close()

    assert (
        warnings.get_nowait() == f"event log {folder}/application.jsonl: is written again; events dropped: 1"
    )
    assert written(folder / "application.jsonl") == [2]
    assert written(tmp_path / "other" / "application.jsonl") == [1, 2]


SMALL = """
    import resource, signal, sys
    from pathlib import Path
    from smtpd_anontls.eventlog.jsonl import json_line
    from smtpd_anontls.eventlog.lines import RotatedFile
    from tests.components.journal_making import event

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    sink = RotatedFile(Path(sys.argv[1]), json_line, max_size=10**9, keep=1)
    sink.open()
    sink.write(event(1))
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), most))
    try:
        sink.write(event(2))
    except OSError as error:
        print(error.strerror)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    sink.write(event(3))
"""


def test_a_line_that_does_not_fit(tmp_path: Path) -> None:
    """Of a line that was written in part, nothing is left: the next one stands alone."""
    path = tmp_path / "application.jsonl"
    script = "\n".join(line[4:] for line in SMALL.splitlines())
    said = subprocess.run(
        [sys.executable, "-c", script, str(path), str(LINE + LINE // 2)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )

    assert said.stdout == "File too large\n"
    assert written(path) == [1, 3]


class Stuck:
    """A sink that takes one event and waits for ever, as a pipe that nobody reads does."""

    name = "stuck"

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.released = threading.Event()
        self.seen: list[int] = []

    def open(self) -> None:
        """Do nothing."""

    def write(self, record: EventRecord) -> None:
        """Wait until the test is done."""
        self.reached.set()
        self.released.wait()
        self.seen.append(record.id)

    def close(self) -> None:
        """Do nothing."""


def test_a_sink_that_does_not_get_on(tmp_path: Path) -> None:
    """Writing never waits for it; past the bound events are dropped, with one warning, and others get all."""
    stuck = Stuck()
    log, warnings = log_to(stuck, application_log(tmp_path))
    log.write(event(0))
    assert stuck.reached.wait(20)
    for number in range(1, MAX_WAITING + 100):
        log.write(event(number))

    assert (
        warnings.get_nowait()
        == f"event log stuck: takes no more; events are dropped while {MAX_WAITING} wait"
    )
    stuck.released.set()
    log.close()
    assert len(stuck.seen) == MAX_WAITING + 1
    assert warnings.empty()


@pytest.mark.slow
def test_a_sink_that_keeps_the_end_waiting() -> None:
    """Closing leaves it after a while, and says how much is lost with it."""
    stuck = Stuck()
    log, warnings = log_to(stuck)
    for number in range(3):
        log.write(event(number))
    assert stuck.reached.wait(20)
    log.close()

    assert warnings.get_nowait() == "event log stuck: does not get on; events lost: 2"
    stuck.released.set()


def test_an_event_that_cannot_be_shown(tmp_path: Path) -> None:
    """A mistake of our own in one event is a warning; the next one is written."""
    log, warnings = log_to(application_log(tmp_path))
    log.write(event(1, draft=EventDraft(EventId.EXPIRED, ())))
    log.write(event(2))
    log.close()

    assert "ValueError: event 12015 takes 1 inserts, not 0" in warnings.get_nowait()
    assert written(tmp_path / "application.jsonl") == [2]
