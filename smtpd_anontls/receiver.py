"""The receiver: the one place that joins the rooms.  No rule lives here.

Each session sees the configuration, the directory and the store as they are when it connects:
the files are looked at (a stat each) at every connection, and read again where they changed.
A watcher would be late for the session that follows a change at once.
"""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

from smtpd_anontls.announcing import Announcer
from smtpd_anontls.binding import bind
from smtpd_anontls.deciding import (
    Surroundings,
    refuse_useless_ciphers,
)
from smtpd_anontls.domain.faults import Fault, FaultList, own_tallies
from smtpd_anontls.household import (
    DRAIN_TIMEOUT,
    Household,
    OwnLimits,
    journal_of,
    protocol_log_of,
    utc_now,
)
from smtpd_anontls.journal.journal import MemoryJournal
from smtpd_anontls.journal.waiting import Messages
from smtpd_anontls.overriding import Kind, Overrides, overridden, with_connector
from smtpd_anontls.provisioning import provision
from smtpd_anontls.reloading import LiveSettings
from smtpd_anontls.selection.validity import Moment
from smtpd_anontls.settings.alteration import altered
from smtpd_anontls.settings.document import ConfigError
from smtpd_anontls.settings.faults import read_faults
from smtpd_anontls.smtp.listener import Listener, ListenError
from smtpd_anontls.starting import select_at_start, warnings_of_the_day

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from types import TracebackType

    from smtpd_anontls.binding import Opens
    from smtpd_anontls.certificates.stand_ins import StandIns
    from smtpd_anontls.domain.connectors import ReceiveConnector, Server
    from smtpd_anontls.domain.faults import Tally
    from smtpd_anontls.domain.matching import Bound
    from smtpd_anontls.domain.records import MessageRecord
    from smtpd_anontls.household import Observer
    from smtpd_anontls.reloading import Change
    from smtpd_anontls.selection.outcome import Selection
    from smtpd_anontls.settings.values import Loaded, Settings

log = logging.getLogger("smtpd_anontls")

_DAY = timedelta(days=1)
# Seconds between looks at the configuration and the calendar while no session comes.
_LOOK_INTERVAL = 1.0


class BindingError(Exception):
    """A connector cannot listen on all of its bindings."""


@dataclass(frozen=True, slots=True)
class Workforce:
    """The processes that serve."""

    wanted: int
    running: int
    lost: int  # So far: those that ended without being told to.


class Receiver(Household):
    """A running receiver: ``async with Receiver(load_config("config/receive.yaml")) as receiver``."""

    def __init__(
        self,
        loaded: Loaded,
        *,
        on_warning: Callable[[str], None] = log.warning,
        on_made: Callable[[str], None] = log.info,
        clock: Callable[[], datetime] = utc_now,
        chance: Callable[[], float] = random.random,
        stand_ins: StandIns | None = None,  # What stands in for keys that are elsewhere; None: nothing.
    ) -> None:
        """Take a configuration; nothing is opened before the receiver is entered, which is done once."""
        settings = loaded.settings
        self._warn = on_warning
        self._on_made = on_made
        self._live = LiveSettings(loaded)
        self.journal = journal_of(settings.capture, clock=clock, on_warning=on_warning)
        self.messages = Messages(self.journal)
        self._overrides = (
            None
            if isinstance(self.journal, MemoryJournal)
            else Overrides(self.journal, self._take_overrides, on_warning)
        )
        self._announcer = Announcer(
            settings.event_log, self.journal, clock=clock, computer=self._computer, on_warning=on_warning
        )
        self.protocol_log = protocol_log_of(settings.protocol_log, clock=clock, on_warning=on_warning)
        super().__init__(
            surroundings=Surroundings.of(settings, on_warning=on_warning, stand_ins=stand_ins),
            faults=FaultList(settings.faults, chance, self._tallies),
            limits=OwnLimits(),
            journal=self.journal,
            announcer=self._announcer,
            protocol_log=self.protocol_log,
            clock=clock,
        )
        self.listener = Listener(self, on_warning=on_warning)
        self._opens: Opens = self.listener
        self.selections_at_start: list[tuple[ReceiveConnector, Selection]] = []
        self._watch: asyncio.Task[None] | None = None
        self._refreshing = asyncio.Lock()
        self._stopping = False
        self._warnings_due = self.now() + _DAY

    # -- life

    async def __aenter__(self) -> Self:
        """Open everything, write the events of a start, and listen; one clear error where that cannot be."""
        settings = self._live.settings
        async with AsyncExitStack() as opened:
            opened.push_async_callback(self._close_directories)
            refuse_useless_ciphers(settings)
            await provision(settings, now=self.now(), on_made=self._on_made)
            await asyncio.to_thread(self.surroundings.load, [each.server for each in settings.servers])
            await asyncio.to_thread(self.surroundings.authentication.load)
            await self.journal.open()
            opened.push_async_callback(self.journal.close)
            await self._begin_with_overrides()
            await asyncio.to_thread(self._announcer.event_log.open)
            # In a thread: a pipe that nobody reads takes its time to close.
            opened.push_async_callback(asyncio.to_thread, self._announcer.event_log.close)
            if self.protocol_log is not None:
                await asyncio.to_thread(self.protocol_log.open)
                opened.push_async_callback(asyncio.to_thread, self.protocol_log.close)
            await self._announcer.continue_ids()
            servers = [each.server for each in self._live.settings.servers]
            moment = Moment(self.now(), at_start=True)
            self._warnings_due = moment.now + _DAY
            self.selections_at_start, events = await select_at_start(self.surroundings, servers, moment)
            await self.surroundings.refuse_keys_elsewhere(self.selections_at_start, settings.text_name)
            for event in events:
                self._announcer.write_placed(event)
            await self._begin(servers, opened)
            if self._overrides is not None:
                self._overrides.start()
                opened.push_async_callback(self._overrides.stop)
            self._watch = asyncio.create_task(self._keep_watch())
            self._opened = opened.pop_all()
        return self

    async def _begin(self, servers: Sequence[Server], opened: AsyncExitStack) -> None:
        """Listen; *opened* closes what is open, the newest first."""
        opened.push_async_callback(self.listener.close, DRAIN_TIMEOUT)
        self._bindings = await bind(self._opens, servers, self._bindings)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Drain the sessions, then close everything; what was acknowledged is durable."""
        async with self._refreshing:
            # From here on no change of the configuration opens anything.
            self._stopping = True
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.wait([self._watch])
        await self._opened.aclose()

    def address(self, connector: str, server: str | None = None) -> tuple[str, int]:
        """Return host and port on which *connector* listens; KeyError where it does not."""
        return self._bindings.address(connector, server)

    @property
    def bound(self) -> tuple[Bound, ...]:
        """The connectors with the bindings under which they really listen."""
        return self._bindings.bound

    @property
    def settings(self) -> Settings:
        """The settings as they hold now; what only a start changes is in them as the file has it."""
        return self._live.settings

    @property
    def running(self) -> int:
        """How many sessions run now."""
        return len(self.listener.sessions)

    @property
    def workforce(self) -> Workforce:
        """How many processes serve."""
        return Workforce(1, 1, 0)

    def ailments(self) -> list[str]:
        """Return a sentence for each thing that keeps mail from being taken, beside what others can see."""
        return []

    async def applied(self) -> None:
        """Return when what was wanted last holds for every session that begins here, and others can know of it."""
        if self._overrides is not None:
            await self._overrides.settle()

    def observe(self, observer: Observer) -> None:
        """Let *observer* be told of each session that ends, each message that is durable and each event.

        It is called in the loop, must not raise, and must not take its time.
        """
        self._observers.append(observer)
        self._announcer.observers.append(observer)

    # -- faults on demand

    @property
    def faults(self) -> FaultList:
        """The faults that are wanted now, with their counts."""
        return self._faults

    def _tallies(self, number: int) -> Sequence[Tally]:
        """Return so many counts of faults that have counted nothing yet."""
        return own_tallies(number)

    def put_faults(self, faults: Iterable[Fault | dict[str, Any]]) -> int:
        """Want exactly *faults* in sessions that begin from now on; return the number of the list.

        Dictionaries have the keys of the configuration; ConfigError says what is wrong with them.
        """
        items = [each.as_json() if isinstance(each, Fault) else each for each in faults]
        number = self._replace_faults(wanted := read_faults(items))
        shared = [each.as_json() for each in wanted]
        self._share(Kind.FAULTS, lambda _: shared)
        return number

    def delete_faults(self) -> None:
        """Want none, those of the configuration included."""
        self.put_faults(())

    def _replace_faults(self, faults: Iterable[Fault]) -> int:
        """Want exactly *faults* here; return the number of the list."""
        return self._faults.replace(faults)

    # -- what receivers on one journal share

    def _share(self, kind: Kind, changed: Callable[[Any], Any]) -> None:
        """Want everywhere what *changed* makes of what is wanted; here it holds already."""
        if self._overrides is not None:
            self._overrides.want(kind, changed)

    async def _begin_with_overrides(self) -> None:
        if self._overrides is None:
            return
        wanted = await self._overrides.begin()
        settings = overridden(self._live.of_file, wanted.get(Kind.CONNECTORS), self._warn)
        self._live.take(self._live.altered(settings))
        if wanted.get(Kind.FAULTS) is not None:
            self._take_faults(wanted[Kind.FAULTS])

    async def _take_overrides(self, wanted: Mapping[Kind, Any]) -> None:
        """Let what another receiver was told hold here, too; None: what the configuration has."""
        if Kind.CONNECTORS in wanted:
            async with self._refreshing:
                settings = overridden(self._live.of_file, wanted[Kind.CONNECTORS], self._warn)
                if settings != self._live.settings and not self._stopping:
                    await self._take_over(self._live.altered(settings))
        if Kind.FAULTS in wanted:
            self._take_faults(wanted[Kind.FAULTS])

    def _take_faults(self, content: Any) -> None:
        try:
            self._replace_faults(
                self._live.of_file.faults if content is None else read_faults(content, "another receiver")
            )
        except ConfigError as error:
            for line in error.lines:
                self._warn(line)

    def _acknowledged(self, message_id: int, message: MessageRecord) -> None:
        """Wake those who wait for a message that has become durable, and tell the observers."""
        self.messages.arrived(message)
        super()._acknowledged(message_id, message)

    # -- configuration that changes while it runs

    async def refresh(self, *, force: bool = False) -> bool:
        """Take over a configuration file that has changed, and return whether there was anything to take.

        Never raise: what cannot be taken stays as it was.
        """
        if self._live.is_current() and not force:
            return False
        async with self._refreshing:
            # Another session may have done it meanwhile.
            if self._stopping or (self._live.is_current() and not force):
                return False
            try:
                change = await asyncio.to_thread(self._live.read, force=force)
                await self._take_over(change)
            except Exception:
                log.exception("the configuration could not be taken over")
                return False
            return change.settings is not None

    async def reload(self) -> None:
        """Read the configuration again, whether it has changed or not."""
        await self.refresh(force=True)

    async def alter(self, server: str, connector: str, changes: Mapping[str, Any]) -> None:
        """Let properties of a connector, as the YAML has them, hold from the next session on.

        They do, at every receiver on the journal, until the file of one changes or is read again.  KeyError
        where there is no such connector; AlterationError where a value or a rule is broken, or BindingError
        where it cannot listen so: nothing has changed.
        """
        async with self._refreshing:
            before = self._live.settings
            await self._take_over(self._live.altered(altered(before, server, connector, changes)))
            moved = not {"bindings", "enabled"}.isdisjoint(changes)
            if moved and not self._bindings.are_whole(self._live.settings, server, connector):
                await self._take_over(self._live.altered(before))
                raise BindingError
        self._share(Kind.CONNECTORS, with_connector(server, connector, changes))

    async def _take_over(self, change: Change) -> None:
        """Make everything fit *change*, then let it hold all at once: a session sees all of it or nothing."""
        for warning in change.warnings:
            self._warn(warning)
        settings = change.settings
        if settings is None:
            self._live.take(change)
        else:
            surroundings = self.surroundings.adapted_to(settings, on_warning=self._warn)
            servers = [each.server for each in settings.servers]
            bindings = await bind(self._opens, servers, self._bindings, on_failure=self._warn_of_binding)
            if change.is_of_file:
                self._take_back(settings)
            self._live.take(change)
            self._hold(surroundings, bindings)
        for event in change.events:
            self._announcer.write_placed(event)

    def _take_back(self, settings: Settings) -> None:
        """Want no more than *settings*, which the file has now, where something else was wanted."""
        if self._live.settings != self._live.of_file:
            self._share(Kind.CONNECTORS, lambda _: None)
        if settings.faults != self._live.of_file.faults:
            self._faults.replace(settings.faults)
            self._share(Kind.FAULTS, lambda _: None)

    def _warn_of_binding(self, error: ListenError) -> None:
        self._warn(f"{error}; until the next change or SIGHUP the connector goes without it")

    # -- time that passes

    async def _keep_watch(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_INTERVAL)
            await self.refresh()
            try:
                await self._warn_once_a_day()
            except Exception:
                # The edge: a fault of ours today must not be the end of tomorrow's warnings.
                log.exception("the daily check of the certificates failed")

    async def _warn_once_a_day(self) -> None:
        now = self.now()
        # The clock of the world, since that is what certificates go by, and a machine may sleep;
        # one that was set back must not postpone the warnings by more than a day.
        self._warnings_due = min(self._warnings_due, now + _DAY)
        if now < self._warnings_due:
            return
        self._warnings_due = now + _DAY
        servers = [each.server for each in self._live.settings.servers]
        for event in await warnings_of_the_day(self.surroundings, servers, now):
            self._announcer.write_placed(event)

    def _computer(self, server: str | None) -> str:
        """Return the FQDN of *server*, or of the first one for an event that belongs to none."""
        servers = [each.server for each in self._live.settings.servers]
        return next((each.fqdn for each in servers if each.name == server), servers[0].fqdn)
