"""A test SMTP receiver that behaves like a Microsoft Exchange Receive connector, and explains what it did.

The names below are loaded when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smtpd_anontls.receiver import Receiver
    from smtpd_anontls.settings.load import load_config

__all__ = ["Receiver", "__version__", "load_config"]

_HOMES = {"Receiver": "smtpd_anontls.receiver", "load_config": "smtpd_anontls.settings.load"}


def __getattr__(name: str) -> object:
    if name == "__version__":
        return version("smtpd-anontls")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
