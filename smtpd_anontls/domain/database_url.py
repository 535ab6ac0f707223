"""The URL of a PostgreSQL database, as libpq reads it: what of it may be shown, and whether it can be meant."""

from __future__ import annotations

import re

SCHEME = "postgresql://"

_WELL_FORMED = re.compile(
    r"postgresql://(?:(?P<user>[^:/?#@\s]*)(?::[^/?#@\s]*)?@)?(?P<hosts>[^/?#@\s]*)(?P<path>/[^/?#@\s]*)?(?:\?[^#\s]*)?"
)
_HOST = re.compile(r"(?:[^:\[\]]*|\[[0-9A-Fa-f:.%]+\])(?::[0-9]{0,5})?")


def shown_database_url(url: str) -> str:
    """Return *url* without its password and its parameters; ValueError, which repeats nothing of it, if malformed."""
    found = _WELL_FORMED.fullmatch(url)
    if found is None or not all(map(_HOST.fullmatch, found["hosts"].split(","))):
        raise ValueError(
            "not a database URL of the form postgresql://user@host:port/database; "
            "in a name or a password write / as %2F, ? as %3F, # as %23, @ as %40, : as %3A and % as %25"
        )
    who = f"{found['user']}@" if found["user"] else ""
    return f"{SCHEME}{who}{found['hosts']}{found['path'] or ''}"
