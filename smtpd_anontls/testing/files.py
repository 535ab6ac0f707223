"""The files of a receiver for a test: its configuration and its users, in one folder."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from smtpd_anontls.authentication.credentials import NtHash, with_user, write_text
from smtpd_anontls.settings.load import ConfigError, load_config
from smtpd_anontls.testing.arrangement import FQDN, USERS_FILE, ArrangementError

if TYPE_CHECKING:
    from pathlib import Path

    from smtpd_anontls.settings.load import Loaded
    from smtpd_anontls.testing.arrangement import Arrangement

CONFIG_FILE = "receive.yaml"


def prepare(arrangement: Arrangement, folder: Path) -> Loaded:
    """Write the files into *folder* and return the configuration; ArrangementError has a line for each mistake."""
    folder.mkdir(parents=True, exist_ok=True)
    if arrangement.users:
        text = ""
        for name, password in arrangement.users.items():
            try:
                text = with_user(text, name, NtHash.of(password))
            except ValueError as error:
                raise ArrangementError(f"users: {error}") from None
        write_text(folder / USERS_FILE, text)
    path = folder / CONFIG_FILE
    # JSON is YAML; str for what a test may well hand over as it has it, a Path.
    path.write_text(json.dumps(arrangement.configuration(), indent=2, default=str) + "\n", encoding="utf-8")
    try:
        # Neither the environment nor the name of the machine changes what a test means.
        loaded = load_config(path, environ={}, machine_fqdn=FQDN)
    except ConfigError as error:
        raise ArrangementError(_without(folder, error.lines)) from None
    if loaded.findings:
        raise ArrangementError(_without(folder, [finding.line for finding in loaded.findings]))
    return loaded


def _without(folder: Path, lines: tuple[str, ...] | list[str]) -> str:
    """Return *lines* without the name of the file, which the test has not written."""
    return "\n".join(line.removeprefix(f"{folder / CONFIG_FILE}: ") for line in lines)
