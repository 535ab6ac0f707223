"""How the protocol log writes what it says: Exchange changed its rows within version 15."""

from __future__ import annotations

from enum import StrEnum


class Layout(StrEnum):
    """Which Exchange the rows are those of."""

    # Public logs of 2020 to 2024: EHLO's answer and a certificate are a row each; permissions are none.
    CURRENT = "current"
    # Public logs of Exchange 2010 and 2013: a row for each line and each fact, and one for permissions.
    EXCHANGE_2013 = "2013"
