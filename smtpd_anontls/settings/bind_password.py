"""The password of the account that reads the directory, read where it stands each time it is needed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from smtpd_anontls.domain.printable import printable
from smtpd_anontls.notation.snapshot import UnreadableFileError, take
from smtpd_anontls.settings.values import PasswordInEnvironment, PasswordInFile

if TYPE_CHECKING:
    from pathlib import Path

_MAX_BYTES = 4096


@dataclass(frozen=True, slots=True)
class BindPassword:
    """Reads a password; equal where it would be read from the same place."""

    place: PasswordInEnvironment | PasswordInFile

    def __call__(self) -> str:
        """Return the password as it stands there now; ValueError says why there is none."""
        match self.place:
            case PasswordInEnvironment(name):
                where, octets = f"the environment variable {name}", os.environb.get(os.fsencode(name))
                if octets is None:
                    raise ValueError(f"{where} is not set")
            case PasswordInFile(path):
                where = f"the password file {path}"
                octets = _content(path, where)
        try:
            text = octets.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise ValueError(f"{where} does not hold UTF-8 text; write the password as UTF-8") from None
        if not text:
            # RFC 4513 section 5.1.2: a name without a password would be an unauthenticated bind.
            raise ValueError(f"{where} is empty; write the password")
        return text


def _content(path: Path, where: str) -> bytes:
    try:
        octets = take(path, _MAX_BYTES).content
    except FileNotFoundError:
        raise ValueError(printable(f"{where} does not exist")) from None
    except UnreadableFileError as error:
        raise ValueError(printable(f"{where} {error}")) from None
    return octets.removesuffix(b"\n").removesuffix(b"\r")
