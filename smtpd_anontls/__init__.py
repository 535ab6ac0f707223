"""A test SMTP receiver that behaves like a Microsoft Exchange Receive connector, and explains what it did.

The names below are loaded when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smtpd_anontls.journal.waiting import Message
    from smtpd_anontls.receiver import Receiver
    from smtpd_anontls.settings.load import ConfigError, load_config

    __version__: str

__all__ = ["ConfigError", "Message", "Receiver", "__version__", "load_config"]

_HOMES = {
    "ConfigError": "smtpd_anontls.settings.load",
    "Message": "smtpd_anontls.journal.waiting",
    "Receiver": "smtpd_anontls.receiver",
    "load_config": "smtpd_anontls.settings.load",
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        return version("smtpd-anontls")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
