"""Which file is the configuration, and its text."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from smtpd_anontls.domain.printable import printable
from smtpd_anontls.notation import yaml12
from smtpd_anontls.notation.edit import write_atomically
from smtpd_anontls.notation.snapshot import reason_of
from smtpd_anontls.settings.document import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

CONFIG_VARIABLE = "SMTPD_ANONTLS_CONFIG"
BUILT_IN_NAME = "built-in default"

_USUAL = Path("config/receive.yaml")
_LARGEST = 16 * 1024**2


@dataclass(frozen=True, slots=True)
class Source:
    """A configuration's text, and what it is called."""

    name: str  # As the user named it.
    path: Path | None  # None: the built-in default.
    folder: Path  # Where its relative paths begin.
    text: str
    octets: bytes = field(default=b"", repr=False)  # The file's own; empty for the built-in default.


def find(path: Path | str | None, environ: Mapping[str, str]) -> Source:
    """Return the configuration that is meant: *path*, the environment's, the usual file, or the built-in default."""
    found = _file(path, environ)
    if found is not None:
        return read_source(found)
    built_in = read_source(_built_in())
    return Source(BUILT_IN_NAME, None, own_copy(environ).parent, built_in.text)


def editable_config(path: Path | None, environ: Mapping[str, str]) -> Path:
    """Return the file to edit: the one that ``find`` finds; of the built-in default, a copy that is found from now on."""
    found = _file(path, environ)
    if found is not None:
        return found
    copy = own_copy(environ)
    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(copy, read_source(_built_in()).text)
    except OSError as error:
        raise ConfigError([f"{printable(str(copy))}: cannot be written ({reason_of(error)})"]) from error
    return copy


def read_source(path: Path) -> Source:
    """Return the text of the file at *path*; ConfigError says in one line why not."""
    name = printable(str(path))
    try:
        with path.open("rb") as file:
            octets = file.read(_LARGEST + 1)
        if len(octets) > _LARGEST:
            raise ConfigError([f"{name}: is larger than {_LARGEST // 1024**2} MB"])
        return Source(name, path, Path.cwd() / path.parent, yaml12.decode(octets), octets)
    except IsADirectoryError:
        raise ConfigError([f"{name}: is a directory; name the file in it"]) from None
    except FileNotFoundError:
        raise ConfigError([f"{name}: there is no such file"]) from None
    except OSError as error:
        raise ConfigError([f"{name}: cannot be read ({reason_of(error)})"]) from None
    except yaml12.YamlError as error:
        raise ConfigError([f"{name}: {error}"]) from None
    except ValueError:
        raise ConfigError([f"{name}: is not a file name"]) from None  # It holds a NUL.


def _file(path: Path | str | None, environ: Mapping[str, str]) -> Path | None:
    """Return the file that is meant, or None for the built-in default."""
    if path is not None:
        return Path(path)
    if named := environ.get(CONFIG_VARIABLE):
        return Path(named)
    # Not Path.exists(): it raises where a folder above may not be looked into.
    return next((each for each in (_USUAL, own_copy(environ)) if os.path.exists(each)), None)  # noqa: PTH110


def own_copy(environ: Mapping[str, str]) -> Path:
    """Return where the built-in default lies once it has been edited; its state lies around it."""
    # XDG Base Directory Specification: a relative path counts as not set.
    state = Path(environ.get("XDG_STATE_HOME", ""))
    if not state.is_absolute():
        state = Path(environ.get("HOME") or Path.home()) / ".local" / "state"
    return state / "smtpd-anontls" / "config" / "receive.yaml"


def _built_in() -> Path:
    """Return the built-in default: package data, or in a source checkout the repository's own file."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "config" / "receive.yaml"
    return installed if installed.exists() else package.parent / "config" / "receive.yaml"
