"""What is wanted of a running receiver beside its configuration, shared by all receivers on its journal.

A change holds here at once and is then written as a row of the journal, whose version grows; every receiver
looks at the version twice a second, and as soon as the journal says that another process has committed
something.  What was wanted last holds, wherever it was said.
"""

from __future__ import annotations

import asyncio
import contextlib
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from smtpd_anontls.journal.errors import JournalError
from smtpd_anontls.settings.alteration import AlterationError, altered

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from smtpd_anontls.journal.journal import Journal
    from smtpd_anontls.journal.position import Position
    from smtpd_anontls.settings.values import Settings

_LOOK_EVERY = 0.5  # Seconds.


class Kind(StrEnum):
    """What can be wanted."""

    CONNECTORS = "connectors"  # {server: {connector: {property: value as the YAML has it}}}
    FAULTS = "faults"  # A list of faults, as the YAML has them; an empty one: none.


class Overrides:
    """Writes what is wanted here to *journal*, and lets what is wanted elsewhere hold.

    *apply* gets the contents that are new, by their kind; None: nothing beside the configuration.
    """

    def __init__(
        self,
        journal: Journal,
        apply: Callable[[Mapping[Kind, Any]], Awaitable[None]],
        on_warning: Callable[[str], None],
    ) -> None:
        self._journal = journal
        self._apply = apply
        self._warn = on_warning
        self._unwritten: dict[Kind, Callable[[Any], Any]] = {}
        self._version = 0  # Of the journal, as it was looked at last.
        self._known: dict[Kind, int] = {}  # Versions that hold here.
        self._look = asyncio.Event()
        self._settling = asyncio.Lock()
        self._failing = False
        self._task: asyncio.Task[None] | None = None
        journal.listen(self._committed)

    async def begin(self) -> dict[Kind, Any]:
        """Return what holds from the start on; JournalError."""
        found = await self._journal.overrides_at_start()
        self._known = {Kind(kind): override.version for kind, override in found.items()}
        self._version = max(self._known.values(), default=0)
        return {Kind(kind): override.content for kind, override in found.items()}

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._keep_looking())

    async def stop(self) -> None:
        """End it."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def want(self, kind: Kind, changed: Callable[[Any], Any]) -> None:
        """Want everywhere what *changed* makes of what is wanted; here it holds already."""
        before = self._unwritten.get(kind)
        self._unwritten[kind] = changed if before is None else lambda content: changed(before(content))
        self._look.set()

    async def settle(self) -> None:
        """Return when what was wanted here is written, and what is wanted elsewhere holds; never raise.

        Where the journal cannot be written that is said once, and tried again.
        """
        async with self._settling:
            try:
                await self._write()
                await self._take()
            except JournalError as error:
                if not self._failing:
                    self._warn(f"changes of the running receiver are not shared meanwhile: {error}")
                self._failing = True
            else:
                self._failing = False

    async def _write(self) -> None:
        for kind in list(self._unwritten):
            changed = self._unwritten.pop(kind)
            try:
                override = await self._journal.change_override(kind, changed)
            except JournalError:
                later = self._unwritten.pop(kind, None)
                self._unwritten[kind] = changed
                if later is not None:
                    self.want(kind, later)
                raise
            if kind is Kind.FAULTS:
                # They hold already, and count; connectors may have been changed elsewhere, too.
                self._known[kind] = override.version

    async def _take(self) -> None:
        version = await self._journal.override_version()
        if version == self._version:
            return
        if version < self._version:
            # Another database is in its place.
            self._known.clear()
        found = {Kind(kind): override for kind, override in (await self._journal.overrides()).items()}
        # What is wanted here and not written yet is newer than all that is.
        newer = {
            kind: override
            for kind, override in found.items()
            if override.version > self._known.get(kind, 0) and kind not in self._unwritten
        }
        self._known.update({kind: override.version for kind, override in newer.items()})
        self._version = version
        await self._apply({kind: override.content for kind, override in newer.items()})

    async def _keep_looking(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._look.wait(), _LOOK_EVERY)
            self._look.clear()
            await self.settle()

    def _committed(self, before: Position, now: Position) -> None:
        if now.override != before.override:
            self._look.set()


def with_connector(server: str, connector: str, changes: Mapping[str, Any]) -> Callable[[Any], Any]:
    """Return what adds the changed properties of a connector to a content of Kind.CONNECTORS."""

    def changed(content: dict[str, Any] | None) -> dict[str, Any]:
        of_all = content or {}
        of_server = of_all.get(server, {})
        of_connector = {**of_server.get(connector, {}), **changes}
        return {**of_all, server: {**of_server, connector: of_connector}}

    return changed


def overridden(settings: Settings, content: Any, on_warning: Callable[[str], None]) -> Settings:
    """Return the *settings* of the configuration with a content of Kind.CONNECTORS over them.

    A receiver whose configuration does not take a part of it says so, and goes on without that.
    """
    for server, connectors in (content or {}).items():
        for name, changes in connectors.items():
            try:
                settings = altered(settings, server, name, changes)
            except KeyError:
                on_warning(
                    f"{server}: {name}: is changed at another receiver; there is no such connector here"
                )
            except AlterationError as error:
                on_warning(f"{server}: {name}: was changed at another receiver, and cannot be here: {error}")
    return settings
