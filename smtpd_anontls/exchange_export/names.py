"""Names that objects of several cmdlets have in common."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from smtpd_anontls.exchange_export.dumped import text_of

if TYPE_CHECKING:
    from smtpd_anontls.exchange_export.dumped import Dumped

POWERSHELL = frozenset(
    {"PSComputerName", "RunspaceId", "PSShowComputerName", "PSSourceJobInstanceId", "SerializationData"}
)
POWERSHELL_OWN = "PowerShell's own note of where the object came from"

_IN_DISTINGUISHED_NAME = re.compile(r"(?:^|,)CN=([^,]+),CN=Servers,", re.IGNORECASE)


def server_of(exported: Dumped) -> str | None:
    """Return the name of the server that an object belongs to, as the object says it; None where it does not."""
    if (server := text_of(exported.get("Server"))) is not None:
        return server.rpartition("/")[2]
    # Its identity is the server's name and its own.
    owner, separator, _ = (text_of(exported.get("Identity")) or "").partition("\\")
    if separator and owner:
        return owner
    found = _IN_DISTINGUISHED_NAME.search(text_of(exported.get("DistinguishedName")) or "")
    return found[1] if found else None


def host_label(name: str) -> str:
    """Return the first label of a host name, which is the server's own name."""
    return name.partition(".")[0]


def is_same_server(name: str, server: str) -> bool:
    """Whether *name*, with a domain or without, is that of *server*."""
    return host_label(name).casefold() == host_label(server).casefold()
