"""The protocol log on real files: names, rotation, limits, restarts, and disks that fail without holding anyone up."""

from __future__ import annotations

import asyncio
import csv
import queue
import stat
import subprocess
import sys
import threading
from collections import deque
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from smtpd_anontls.domain.protocol_log import Layout
from smtpd_anontls.protocol_log.folder import LogFolder
from smtpd_anontls.protocol_log.log import MAX_WAITING, ProtocolLog, ProtocolLogError
from smtpd_anontls.protocol_log.rows import FIELDS, LONGEST_VALUE, Event, Row, columns, header

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpd_anontls.protocol_log.session import SessionRows

NOW = datetime(2026, 11, 22, 12, 40, tzinfo=UTC)
HOUR = timedelta(hours=1)
HEADER = len(header(NOW))
CONNECTOR = r"MBX1\Default Frontend MBX1"
DEFAULTS: dict[str, Any] = {
    "max_age": timedelta(days=30),
    "max_directory_size": 250 * 1024**2,
    "max_file_size": 10 * 1024**2,
}


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        """Return the time."""
        return self.now


class Opened:
    """An open log, its clock, and where its warnings arrive."""

    def __init__(self, folder: Path, layout: Layout = Layout.CURRENT, **limits: Any) -> None:
        self.clock = Clock()
        self.warnings: queue.Queue[str] = queue.Queue()
        self.log = ProtocolLog(
            folder, layout, clock=self.clock, on_warning=self.warnings.put, **{**DEFAULTS, **limits}
        )
        self.log.open()

    def session(self, number: int = 1) -> SessionRows:
        """Return the rows of a session."""
        return self.log.session(f"{number:016x}", CONNECTOR, "192.0.2.10:25", f"198.51.100.7:{number}")


def read(path: Path) -> list[list[str]]:
    """Return the rows of a file as a CSV reader finds them, behind a header that must be whole."""
    with path.open(encoding="utf-8", newline="") as file:
        lines = list(csv.reader(file))
    assert [line[0].partition(":")[0] for line in lines[:5]] == [
        "#Software",
        "#Version",
        "#Log-type",
        "#Date",
        "#Fields",
    ]
    assert all(len(line) == len(FIELDS) for line in lines[5:])
    return lines[5:]


def data(path: Path) -> list[str]:
    """Return the data of each row of a file."""
    return [each[FIELDS.index("data")] for each in read(path)]


def names(folder: Path) -> list[str]:
    """Return the names of what is in *folder*."""
    return sorted(path.name for path in folder.iterdir())


def folder_of(path: Path, **limits: Any) -> LogFolder:
    """Return the folder that a log writes to, without the thread."""
    return LogFolder(path, **{**DEFAULTS, **limits})


def a_row(text: str, time: datetime = NOW) -> Row:
    """Return a row with that data."""
    ids, endpoints = columns(CONNECTOR, "0" * 16), columns("a", "b")
    return Row(time, ids, 0, endpoints, Event.RECEIVED, text, "")


def wrote(folder: LogFolder, *texts: str, time: datetime = NOW) -> None:
    """Write rows, each at once."""
    for text in texts:
        folder.write(deque([a_row(text, time)]))


def in_small_files(folder: Path, bytes_of_a_file: int, *batches: str) -> list[str]:
    """Write batches of rows where no file may be larger, then a row where it may; return what is said.

    The limit is one of a process, so another one does that.
    """
    script = f"""
import resource
from collections import deque
from pathlib import Path
from tests.components.test_protocol_log import a_row, folder_of

folder = folder_of(Path({str(folder)!r}))
_, most = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, ({bytes_of_a_file}, most))
for texts in {batches!r}:
    rows = deque(map(a_row, texts))
    try:
        folder.write(rows)
    except OSError as error:
        print(error.strerror, len(rows), *sorted(path.name for path in folder.path.iterdir()))
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
folder.write(deque([a_row("last")]))
folder.close()
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


# -- names, header, columns


def test_a_file_as_exchange_names_it(tmp_path: Path) -> None:
    """RECVyyyymmddhh-n.LOG with the hour of UTC, in a folder that is made; lines end with CR LF."""
    opened = Opened(tmp_path / "var" / "protocol-log")
    opened.clock.now = datetime(2023, 1, 11, 17, 0, 4, 113000, tzinfo=UTC).astimezone()
    session = opened.session(0x08DB994D2DD18DBF)
    session.connected()
    session.received("EHLO [198.51.100.7]")
    opened.log.close()

    path = tmp_path / "var" / "protocol-log" / "RECV2023011117-1.LOG"
    lines = path.read_bytes().split(b"\r\n")
    assert names(path.parent) == [path.name]
    assert lines[3] == b"#Date: 2023-01-11T17:00:04.113Z"
    assert lines[-1] == b""
    assert b"\n" not in b"".join(lines)
    assert stat.S_IMODE(path.stat().st_mode) & 0o137 == 0
    assert opened.warnings.empty()


def test_columns(tmp_path: Path) -> None:
    """Python's CSV reader finds the columns that the header names."""
    opened = Opened(tmp_path)
    session = opened.session(0xAB)
    session.connected()
    session.sent(['250 "quoted", and, commas'])
    opened.log.close()

    (path,) = tmp_path.iterdir()
    first, second = (dict(zip(FIELDS, each, strict=True)) for each in read(path))
    assert path.read_text("utf-8").splitlines()[4] == f"#Fields: {','.join(FIELDS)}"
    assert first == {
        "date-time": "2026-11-22T12:40:00.000Z",
        "connector-id": CONNECTOR,
        "session-id": "00000000000000AB",
        "sequence-number": "0",
        "local-endpoint": "192.0.2.10:25",
        "remote-endpoint": "198.51.100.7:171",
        "event": "+",
        "data": "",
        "context": "",
    }
    assert second["data"] == '250 "quoted", and, commas'
    assert second["sequence-number"] == "1"


def test_sessions_side_by_side(tmp_path: Path) -> None:
    """Rows of many sessions are mixed as they came; each session's own are all there and in order."""
    opened = Opened(tmp_path, max_file_size=4096)

    async def talk(number: int) -> None:
        session = opened.session(number)
        session.connected()
        for line in range(20):
            await asyncio.sleep(0)
            session.received(f"NOOP {line}")
        session.disconnected("Local")

    async def all_of_them() -> None:
        await asyncio.gather(*(talk(number) for number in range(50)))

    asyncio.run(all_of_them())
    opened.log.close()

    numbered = sorted(tmp_path.iterdir(), key=lambda path: int(path.stem.partition("-")[2]))
    rows = [each for path in numbered for each in read(path)]
    assert len(numbered) > 10
    assert rows[1][2] != rows[0][2]
    for number in range(50):
        own = [each for each in rows if each[2] == f"{number:016X}"]
        assert [each[3] for each in own] == [str(line) for line in range(22)]
        assert [each[6] for each in own] == ["+", *["<"] * 20, "-"]


# -- rotation


def test_a_file_for_each_hour(tmp_path: Path) -> None:
    """A row goes to the file of its hour; a clock that is put back does not lead back."""
    folder = folder_of(tmp_path)
    folder.write(
        deque(
            [
                a_row("a", NOW),
                a_row("b", NOW + timedelta(minutes=19, seconds=59)),
                a_row("c", NOW + timedelta(minutes=20)),
                a_row("d", NOW),
                a_row("e", NOW + 3 * HOUR),
            ]
        )
    )
    folder.close()

    assert {path.name: data(path) for path in tmp_path.iterdir()} == {
        "RECV2026112212-1.LOG": ["a", "b"],
        "RECV2026112213-1.LOG": ["c", "d"],
        "RECV2026112215-1.LOG": ["e"],
    }


@pytest.mark.parametrize("at_once", [True, False])
def test_a_file_that_is_full(tmp_path: Path, at_once: bool) -> None:  # noqa: FBT001 - a column
    """As many rows as fit, then the next number; written one by one or all together."""
    length = len(a_row("0").octets)
    folder = folder_of(tmp_path, max_file_size=HEADER + 2 * length)
    rows = [a_row(str(number)) for number in range(5)]
    for batch in [rows] if at_once else [[each] for each in rows]:
        folder.write(deque(batch))
    folder.close()

    assert {path.name: data(path) for path in tmp_path.iterdir()} == {
        "RECV2026112212-1.LOG": ["0", "1"],
        "RECV2026112212-2.LOG": ["2", "3"],
        "RECV2026112212-3.LOG": ["4"],
    }
    assert all(path.stat().st_size <= HEADER + 2 * length for path in tmp_path.iterdir())


def test_a_row_larger_than_a_file(tmp_path: Path) -> None:
    """It is written all the same, into a file of its own."""
    folder = folder_of(tmp_path, max_file_size=1)
    wrote(folder, "a", "b")
    folder.close()

    assert [data(tmp_path / name) for name in names(tmp_path)] == [["a"], ["b"]]


def test_a_restart_within_the_hour(tmp_path: Path) -> None:
    """The next number; what is there stays as it is."""
    (tmp_path / "RECV2026112212-9.LOG").write_text("kept")
    (tmp_path / "RECV2026112211-30.LOG").write_text("of another hour")
    for word in ("a", "b"):
        opened = Opened(tmp_path)
        opened.session().received(word)
        opened.log.close()

    assert data(tmp_path / "RECV2026112212-10.LOG") == ["a"]
    assert data(tmp_path / "RECV2026112212-11.LOG") == ["b"]
    assert (tmp_path / "RECV2026112212-9.LOG").read_text() == "kept"
    assert len(names(tmp_path)) == 4


def test_two_processes_in_one_folder(tmp_path: Path) -> None:
    """Each has files of its own."""
    one, other = folder_of(tmp_path), folder_of(tmp_path)
    wrote(one, "a")
    wrote(other, "b")
    wrote(one, "c")
    one.close()
    other.close()

    assert data(tmp_path / "RECV2026112212-1.LOG") == ["a", "c"]
    assert data(tmp_path / "RECV2026112212-2.LOG") == ["b"]


def test_moved_by_another_program(tmp_path: Path) -> None:
    """After a removal of the file, or of the folder, the next row is in a new file."""
    folder = folder_of(tmp_path / "log")
    wrote(folder, "a")
    (tmp_path / "log" / "RECV2026112212-1.LOG").rename(tmp_path / "moved")
    wrote(folder, "b")
    (tmp_path / "log").rename(tmp_path / "away")
    wrote(folder, "c")
    folder.close()

    assert data(tmp_path / "moved") == ["a"]
    assert data(tmp_path / "away" / "RECV2026112212-1.LOG") == ["b"]
    assert data(tmp_path / "log" / "RECV2026112212-1.LOG") == ["c"]


def test_a_name_that_is_taken(tmp_path: Path) -> None:
    """What has the name of the next file, and is none, is passed over."""
    (tmp_path / "RECV2026112212-1.LOG").mkdir()
    (tmp_path / "RECV2026112212-2.LOG").symlink_to(tmp_path / "elsewhere")
    folder = folder_of(tmp_path)
    wrote(folder, "a")
    folder.close()

    assert data(tmp_path / "RECV2026112212-3.LOG") == ["a"]
    assert not (tmp_path / "elsewhere").exists()


# -- limits


def test_files_that_are_too_old(tmp_path: Path) -> None:
    """Whatever ended longer than max_age ago goes when a file begins, also at the start; nothing else does."""
    old = ["RECV2026102311-1.LOG", "RECV2026102311-2.LOG", "RECV2025010100-1.LOG"]
    kept = [
        "RECV2026102312-1.LOG",  # Its hour ended 30 days less 20 minutes ago.
        "RECV2026102311-1.log",
        "RECV2026102311-01.LOG",
        "RECV2026139911-1.LOG",
        "SEND2026102311-1.LOG",
        "RECV2026102311-1.LOG.gz",
        "notes.txt",
    ]
    for name in (*old, *kept):
        (tmp_path / name).write_text("old")
    (tmp_path / "RECV2024010100-1.LOG").mkdir()
    opened = Opened(tmp_path)
    after_start = names(tmp_path)
    opened.clock.now = NOW + HOUR
    opened.session().connected()
    opened.log.close()

    assert after_start == sorted([*kept, "RECV2024010100-1.LOG"])
    assert names(tmp_path) == sorted([*kept[1:], "RECV2024010100-1.LOG", "RECV2026112213-1.LOG"])


def test_a_folder_that_is_too_large(tmp_path: Path) -> None:
    """The oldest go first, by hour and number, until all fit, the one in use included, and while it grows."""
    for name in ("RECV2026112210-2.LOG", "RECV2026112210-10.LOG", "RECV2026112211-1.LOG"):
        (tmp_path / name).write_bytes(b"x" * 1000)
    (tmp_path / "large.txt").write_bytes(b"x" * 100_000)
    length = len(a_row("a").octets)
    folder = folder_of(tmp_path, max_directory_size=HEADER + length + 2000, max_file_size=1500)
    folder.prepare(NOW)
    before = names(tmp_path)
    wrote(folder, "a")
    with_one_row = names(tmp_path)
    wrote(folder, "b")
    folder.close()

    assert before == ["RECV2026112210-10.LOG", "RECV2026112211-1.LOG", "large.txt"]
    assert with_one_row == [
        "RECV2026112210-10.LOG",
        "RECV2026112211-1.LOG",
        "RECV2026112212-1.LOG",
        "large.txt",
    ]
    assert names(tmp_path) == ["RECV2026112211-1.LOG", "RECV2026112212-1.LOG", "large.txt"]


def test_the_limit_holds_however_much_is_written(tmp_path: Path) -> None:
    """After each batch the files together are no larger than the limit; the newest rows are there."""
    folder = folder_of(tmp_path, max_directory_size=8000, max_file_size=2000)
    for number in range(300):
        wrote(folder, f"NOOP {number}", time=NOW + number * timedelta(minutes=1))
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 8000
    folder.close()

    assert data(max(tmp_path.iterdir()))[-1] == "NOOP 299"


def test_without_limits(tmp_path: Path) -> None:
    """None keeps everything."""
    (tmp_path / "RECV1999010100-1.LOG").write_bytes(b"x" * 100_000)
    opened = Opened(tmp_path, max_age=None, max_directory_size=None)
    opened.session().connected()
    opened.log.close()

    assert names(tmp_path) == ["RECV1999010100-1.LOG", "RECV2026112212-1.LOG"]


# -- what fails


def a_file(folder: Path) -> Path:
    """Put a file where the folder should be."""
    (folder / "log").touch()
    return folder / "log"


def under_a_file(folder: Path) -> Path:
    """Put a file above it."""
    (folder / "log").touch()
    return folder / "log" / "below"


def not_to_be_written(_folder: Path) -> Path:
    """Name a folder in which the system lets nobody make a file."""
    return Path("/proc/self")


@pytest.mark.parametrize(
    ("place", "why"),
    [
        (a_file, "File exists"),
        (under_a_file, "Not a directory"),
        (not_to_be_written, "No such file or directory|Permission denied|Operation not permitted"),
    ],
)
def test_a_folder_that_cannot_be_written_at_start(
    tmp_path: Path, place: Callable[[Path], Path], why: str
) -> None:
    """One line names the folder and the reason; closing is harmless then."""
    folder = place(tmp_path)
    log = ProtocolLog(folder, Layout.CURRENT, clock=Clock(), on_warning=print, **DEFAULTS)

    with pytest.raises(
        ProtocolLogError, match=rf"^protocol log {folder}: cannot be written: ({why})$"
    ) as failed:
        log.open()
    log.close()

    assert "\n" not in str(failed.value)


def test_opening_leaves_nothing_behind(tmp_path: Path) -> None:
    """Where no session comes there is no file."""
    Opened(tmp_path).log.close()

    assert names(tmp_path) == []


def test_recovery(tmp_path: Path) -> None:
    """A folder that cannot be written is one warning, and one more with the number of rows when it can be again."""
    folder, away = tmp_path / "log", tmp_path / "away"
    opened = Opened(folder)
    folder.rename(away)
    folder.touch()
    session = opened.session()
    session.connected()

    assert (
        opened.warnings.get(timeout=20)
        == f"protocol log {folder}: cannot be written, rows are dropped: File exists"
    )
    folder.unlink()
    session.received("NOOP")
    opened.log.close()

    assert opened.warnings.get_nowait() == f"protocol log {folder}: is written again; rows dropped: 1"
    assert opened.warnings.empty()
    assert data(folder / "RECV2026112212-1.LOG") == ["NOOP"]


def test_a_full_disk(tmp_path: Path) -> None:
    """Rows that do not fit are left, none is there in part; when there is room the same file goes on."""
    length = len(a_row("a").octets)
    said = in_small_files(tmp_path, HEADER + 2 * length + length // 2, "abcd", "e")

    assert said == ["File too large 2 RECV2026112212-1.LOG", "File too large 1 RECV2026112212-1.LOG"]
    assert data(tmp_path / "RECV2026112212-1.LOG") == ["a", "b", "last"]
    assert len(names(tmp_path)) == 1


def test_a_disk_without_room_for_a_header(tmp_path: Path) -> None:
    """A file that could not even begin is removed again, so that no try leaves one."""
    said = in_small_files(tmp_path, HEADER // 2, "a", "b")

    assert said == ["File too large 1", "File too large 1"]
    assert data(tmp_path / "RECV2026112212-1.LOG") == ["last"]


def test_a_writer_that_does_not_get_on(tmp_path: Path) -> None:
    """No session waits: past the bound rows are dropped with one warning, and counted when it goes on."""
    reached, released = threading.Event(), threading.Event()
    warnings: queue.Queue[str] = queue.Queue()

    def hold_up(warning: str) -> None:
        warnings.put(warning)
        if "cannot be written" in warning:
            # In the thread that writes, which waits here as it would for a disk.
            reached.set()
            released.wait()

    folder = tmp_path / "log"
    log = ProtocolLog(folder, Layout.CURRENT, clock=Clock(), on_warning=hold_up, **DEFAULTS)
    log.open()
    folder.rmdir()
    folder.touch()
    session = log.session("0" * 16, CONNECTOR, "a", "b")
    session.connected()
    assert reached.wait(20)
    folder.unlink()
    long = "x" * LONGEST_VALUE
    fitting = MAX_WAITING // len(a_row(long).octets)
    for _ in range(fitting + 1000):
        session.received(long)
    before = [warnings.get_nowait() for _ in range(warnings.qsize())]
    released.set()
    log.close()

    prefix = f"protocol log {folder}: "
    written = sum(len(read(path)) for path in folder.iterdir())
    after = [warnings.get_nowait() for _ in range(warnings.qsize())]
    assert before == [
        f"{prefix}cannot be written, rows are dropped: File exists",
        f"{prefix}takes no more; rows are dropped while {MAX_WAITING} bytes wait",
    ]
    assert after == [
        f"{prefix}takes rows again; rows dropped: {fitting + 1000 - written}",
        f"{prefix}is written again; rows dropped: 1",
    ]
    # Their numbers, and with them the rows, get longer.
    assert fitting - 10 < written <= fitting


@pytest.mark.slow
def test_a_writer_that_keeps_the_end_waiting(tmp_path: Path) -> None:
    """Closing leaves it after a while, and says so."""
    reached, released = threading.Event(), threading.Event()
    warnings: queue.Queue[str] = queue.Queue()

    def hold_up(warning: str) -> None:
        warnings.put(warning)
        if "cannot be written" in warning:
            reached.set()
            released.wait()

    folder = tmp_path / "log"
    log = ProtocolLog(folder, Layout.CURRENT, clock=Clock(), on_warning=hold_up, **DEFAULTS)
    log.open()
    folder.rmdir()
    folder.touch()
    log.session("0" * 16, CONNECTOR, "a", "b").connected()
    assert reached.wait(20)
    log.close()
    released.set()

    assert warnings.get_nowait().endswith("cannot be written, rows are dropped: File exists")
    assert warnings.get_nowait() == f"protocol log {folder}: does not get on; rows that wait are lost"


def test_a_row_behind_the_end(tmp_path: Path) -> None:
    """A session that outlives the log is not held up, and nothing is written any more."""
    opened = Opened(tmp_path)
    session = opened.session()
    session.connected()
    opened.log.close()
    session.disconnected("Local")
    opened.log.close()

    assert [each[6] for each in read(tmp_path / "RECV2026112212-1.LOG")] == ["+"]
    assert opened.warnings.empty()
