"""What an attribute held before it was written, in a file that its owner alone can read.

::

    {"server": "MBX1", "dn": "CN=MBX1,…", "attribute": "msExchServerInternalTLSCert",
     "time": "2026-11-22T14:30:00.123Z", "old": "MIIC…", "written": "MIID…"}

Values are base64, null where the attribute was not set.  ``written`` is what a restore expects to find.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from smtpd_anontls.directory.file import ATTRIBUTE, DirectoryError
from smtpd_anontls.domain.directory_value import MAX_VALUE_BYTES
from smtpd_anontls.domain.instants import parse_instant, rfc3339
from smtpd_anontls.domain.printable import printable
from smtpd_anontls.notation.snapshot import UnreadableFileError, reason_of, take

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

_MAX_FILE_BYTES = 4 * MAX_VALUE_BYTES
_FOLDER = "directory-backup"


class BackupError(DirectoryError):
    """A backup cannot be written or read; one line says why."""


@dataclass(frozen=True, slots=True)
class Backup:
    """One write to the attribute of one server object: what was there, and what was put there."""

    server: str
    dn: str
    time: datetime
    old: bytes | None
    written: bytes | None

    def save(self, state_folder: Path) -> Path:
        """Write a file of its own below *state_folder*, on disk when this returns, and return its path."""
        folder = state_folder / _FOLDER
        name = f"{self.server}-{self.time:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}.json"
        path = folder / name
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor, not a path
                file.write(self._as_json().encode())
                file.flush()
                os.fsync(descriptor)
            _on_disk(folder)
        except OSError as error:
            raise BackupError(
                printable(
                    f"{path}: the old value cannot be saved there ({reason_of(error)}); nothing was written"
                )
            ) from error
        return path

    @classmethod
    def read(cls, path: Path) -> Backup:
        """Return the backup in the file at *path*; BackupError where it is none."""
        try:
            content = json.loads(take(path, _MAX_FILE_BYTES).content)
            return cls(
                str(content["server"]),
                str(content["dn"]),
                parse_instant(str(content["time"])),
                _octets(content["old"]),
                _octets(content["written"]),
            )
        except FileNotFoundError:
            raise BackupError(printable(f"{path}: there is no such file")) from None
        except UnreadableFileError as error:
            raise BackupError(printable(f"{path}: {error}")) from None
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise BackupError(
                printable(f"{path}: is not a backup of {ATTRIBUTE} that this program wrote")
            ) from error

    def _as_json(self) -> str:
        content = {
            "server": self.server,
            "dn": self.dn,
            "attribute": ATTRIBUTE,
            "time": rfc3339(self.time),
            "old": _base64(self.old),
            "written": _base64(self.written),
        }
        return json.dumps(content, ensure_ascii=False, indent=2) + "\n"


def _base64(octets: bytes | None) -> str | None:
    return None if octets is None else base64.b64encode(octets).decode()


def _octets(written: str | None) -> bytes | None:
    if written is None:
        return None
    try:
        return base64.b64decode(written, validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error


def _on_disk(folder: Path) -> None:
    # The new name lasts only once the folder is on disk too.
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
