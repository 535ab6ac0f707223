"""A start that fails: one clear error, and nothing stays open."""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from smtpd_anontls.certificates.store import StoreError
from smtpd_anontls.directory.file import DirectoryError
from smtpd_anontls.eventlog.log import EventLogError
from smtpd_anontls.journal.errors import JournalError
from smtpd_anontls.provisioning import ProvisioningError
from smtpd_anontls.smtp.listener import ListenError
from tests.components.journal_making import eventually
from tests.running import answered, connector, running, visit

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.lab import Lab

pytestmark = pytest.mark.slow

Json = dict[str, Any]


def port_in_use(lab: Lab) -> socket.socket:
    """Let the second of two connectors want a port that somebody has."""
    taken = socket.create_server(("127.0.0.1", 0))
    want = [
        connector("first", auth_mechanism=["Tls"]),
        connector("second", auth_mechanism=["Tls"], bindings=[f"127.0.0.1:{taken.getsockname()[1]}"]),
    ]
    lab.write(server={"connectors": want})
    return taken


def store_missing(lab: Lab) -> None:
    """Let there be no store."""
    lab.write(server={"certificate_store": str(lab.folder / "nowhere")})


def store_is_a_file(lab: Lab) -> None:
    """Let a file have the store's place."""
    lab.write(server={"certificate_store": str(lab.folder / "file")})
    (lab.folder / "file").touch()


def certificate_cannot_be_made(lab: Lab) -> None:
    """Let a file have the place of a store in which a first certificate is to be made."""
    lab.write(
        server={"certificate_store": str(lab.folder / "file"), "default_certificate": True}, directory={}
    )
    (lab.folder / "file").touch()
    (lab.config.parent / "directory.yaml").unlink()


def directory_missing(lab: Lab) -> None:
    """Let there be no directory."""
    lab.write()
    (lab.config.parent / "directory.yaml").unlink()


def directory_broken(lab: Lab) -> None:
    """Let the directory be no YAML."""
    lab.write()
    (lab.config.parent / "directory.yaml").write_text("MX1: {")


def journal_below_a_file(lab: Lab) -> None:
    """Let the journal's folder be one that cannot be made."""
    (lab.folder / "file").touch()
    lab.write(settings={"capture": {"url": f"sqlite:///{lab.folder / 'file' / 'capture.db'}"}})


def journal_of_another_program(lab: Lab) -> None:
    """Let the journal be no database."""
    lab.write()
    lab.database.write_text("a text of some length that is surely no database" * 100)


def event_log_is_a_folder(lab: Lab) -> None:
    """Let the second of two sinks be a folder."""
    sinks = [{"format": "jsonl", "path": str(lab.folder / name)} for name in ("first.jsonl", "folder")]
    (lab.folder / "folder").mkdir()
    lab.write(settings={"event_log": sinks})


@pytest.mark.parametrize(
    ("spoil", "expected", "says"),
    [
        (port_in_use, ListenError, "the port is in use; stop the program that has it"),
        (store_missing, StoreError, "nowhere: does not exist; make the folder"),
        (store_is_a_file, StoreError, "file: is not a folder"),
        (certificate_cannot_be_made, ProvisioningError, "MX1: no certificate could be made: "),
        (directory_missing, DirectoryError, "directory.yaml: does not exist; "),
        (directory_broken, DirectoryError, "directory.yaml: line 1: "),
        (journal_below_a_file, JournalError, "capture.db: cannot be written: "),
        (journal_of_another_program, JournalError, "capture.db: file is not a database; choose another path"),
        (event_log_is_a_folder, EventLogError, "folder: cannot be written: "),
    ],
)
async def test_a_start_that_fails_leaves_nothing_open(
    lab: Lab, spoil: Callable[[Lab], socket.socket | None], expected: type[Exception], says: str
) -> None:
    """One error of one line says why; no file, socket, thread or task stays behind."""
    taken = spoil(lab)
    # What the loop and its threads keep is made beforehand.
    await asyncio.gather(*(asyncio.to_thread(threading.get_ident) for _ in range(40)))
    files, threads, tasks = open_files(), set(threading.enumerate()), asyncio.all_tasks()

    with pytest.raises(expected) as failed:
        async with running(lab):
            pass

    assert says in str(failed.value)
    assert "\n" not in str(failed.value)
    assert asyncio.all_tasks() == tasks
    await eventually(lambda: answered(set(threading.enumerate()) <= threads | pool_threads()))
    gc.collect()
    assert open_files() == files
    if taken is not None:
        taken.close()


def open_files() -> list[str]:
    """Return what this process has open, the folder that lists it aside."""
    found = []
    for number in Path("/proc/self/fd").iterdir():
        # The descriptor by which the folder is listed is gone by now.
        with suppress(FileNotFoundError):
            found.append(str(number.readlink()))
    return sorted(found)


def pool_threads() -> set[threading.Thread]:
    """Return the threads of the loop's own pool, which last as long as it does."""
    return {thread for thread in threading.enumerate() if thread.name.startswith("asyncio_")}


async def test_what_asks_no_directory_starts_without_one(lab: Lab) -> None:
    """A server whose connectors offer no X-ANONYMOUSTLS needs no directory file."""
    lab.write(connector={"auth_mechanism": ["Tls"]})
    (lab.config.parent / "directory.yaml").unlink()

    async with running(lab) as receiver:
        await visit(receiver)

    assert lab.warnings == []
