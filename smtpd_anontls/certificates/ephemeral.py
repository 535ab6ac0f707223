"""Certificates for the moment: self-signed, in the memory of this process alone, gone when it ends.

They stand in where the certificate that the directory names cannot be loaded (event 12024).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from smtpd_anontls.certificates.contents import parse
from smtpd_anontls.certificates.entries import Entry, index
from smtpd_anontls.certificates.issue import issue
from smtpd_anontls.certificates.passwords import Password

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

_FILE = "ephemeral"  # What stands for the name of a file where there is none.


class EphemeralCertificates:
    """One certificate for each server, by its names; the first question makes it."""

    def __init__(self) -> None:
        self._made: dict[tuple[str, ...], Entry] = {}
        self._making = asyncio.Lock()

    async def made_for(self, names: Sequence[str], now: datetime) -> Entry:
        """Return the certificate for *names*; one that is not made yet is valid from *now*."""
        wanted = tuple(names)
        async with self._making:
            if wanted not in self._made:
                self._made[wanted] = await asyncio.to_thread(_make, wanted, now)
        return self._made[wanted]

    def find(self, thumbprint: str) -> Entry | None:
        """Return the certificate with this thumbprint, where it has been made."""
        made = self._made.values()
        return next((entry for entry in made if entry.held.certificate.thumbprint == thumbprint), None)


def _make(names: Sequence[str], now: datetime) -> Entry:
    issued = issue(names, now=now)
    contents = parse(_FILE, issued.certificate_pem + issued.key_pem, Password(""))
    (entry,) = index({_FILE: contents}).values()
    return entry
