"""What is wanted of running receivers beside their configurations: a row for each kind, which counts its changes.

Every receiver on the journal looks at the counter in ``journal_state``, and at the rows when that has grown.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import insert, select, update

from smtpd_anontls.journal.schema import overrides, state

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from sqlalchemy import Connection


class Override(NamedTuple):
    """What is wanted since a version, as JSON has it; None: nothing beside the configuration."""

    version: int
    content: Any


def version(connection: Connection) -> int:
    """Return the version of the newest override; 0 where there was none yet."""
    found: int = connection.execute(select(state.c.last_override)).scalar_one()
    return found


def everything(connection: Connection) -> dict[str, Override]:
    """Return all overrides by their kind."""
    rows = connection.execute(select(overrides.c.kind, overrides.c.version, overrides.c.content)).all()
    return {row.kind: Override(row.version, json.loads(row.content)) for row in rows}


def change(connection: Connection, kind: str, changed: Callable[[Any], Any]) -> Override:
    """Put what *changed* makes of the content there is in its place, and return it; the same keeps its version.

    In a transaction that writes: nobody else changes it meanwhile.
    """
    before = everything(connection).get(kind)
    content = changed(None if before is None else before.content)
    if content == (None if before is None else before.content):
        return before or Override(0, None)
    after = Override(version(connection) + 1, content)
    connection.execute(update(state).values(last_override=after.version))
    values = {"version": after.version, "content": json.dumps(content)}
    if before is None:
        connection.execute(insert(overrides), {"kind": kind, **values})
    else:
        connection.execute(update(overrides).where(overrides.c.kind == kind).values(**values))
    return after


def forget(connection: Connection) -> None:
    """Want nothing beside the configuration."""
    for kind in [each for each, found in everything(connection).items() if found.content is not None]:
        change(connection, kind, lambda _: None)
