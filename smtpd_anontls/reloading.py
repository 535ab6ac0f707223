"""The configuration of a running receiver: looked at with every session, read again where it changed.

Exchange refuses a change that breaks a rule and goes on with the connector as it was (event 1003,
or 1032 for RequireTLS without Tls).  So does this: a connector that breaks a rule stays as it
was, the others change; a file with mistakes changes nothing.

Reading and taking over are two steps: a thread reads, and what it found holds all at once when
the receiver has made the rest fit.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from smtpd_anontls.deciding import refuse_useless_ciphers
from smtpd_anontls.domain.events import CATALOGUE, EventDraft, EventId
from smtpd_anontls.domain.flags import TransportRole
from smtpd_anontls.notation.snapshot import Snapshot, UnreadableFileError, stamp_of, take
from smtpd_anontls.settings.document import ConfigError
from smtpd_anontls.starting import PlacedEvent

_LARGEST = 16 * 1024**2
# Seconds that a file with mistakes gets, since it may still be being written, and between two looks at it.
_PATIENCE = 0.2
_PAUSE = 0.02

if TYPE_CHECKING:
    from pathlib import Path

    from smtpd_anontls.domain.connectors import ReceiveConnector, Server
    from smtpd_anontls.settings.values import Finding, Loaded, ServerSettings, Settings


@dataclass(frozen=True, slots=True)
class Change:
    """What came of reading the configuration again; nothing of it holds before it is taken."""

    snapshot: Snapshot | None  # The file that it speaks of; None: it has to be read again if there is one.
    settings: Settings | None = None  # None: they stay as they are.
    warnings: tuple[str, ...] = ()
    events: tuple[PlacedEvent, ...] = ()
    noted: tuple[str, ...] = ()  # What the file's own warnings were; they are given once.
    is_of_file: bool = True  # Not where the running receiver alone is changed.


def is_current(watched: Path | None, snapshot: Snapshot | None) -> bool:
    """Whether the file that is watched is still the one of *snapshot*; costs a stat."""
    if watched is None:
        return True
    stamp = stamp_of(watched)
    if snapshot is None:
        return stamp is None
    return snapshot.settled and snapshot.stamp == stamp


class LiveSettings:
    """The settings as they hold now."""

    def __init__(self, loaded: Loaded) -> None:
        """Start from a configuration that has been read."""
        self._read_again = loaded.again
        self.watched = loaded.watched
        # Where the file has changed since it was read, the first look reads it again.
        self.snapshot = self._look()
        if self.snapshot is not None and self.snapshot.content != loaded.octets:
            self.snapshot = None
        self._noted = loaded.warnings
        self.settings: Settings = loaded.settings
        self.of_file: Settings = loaded.settings

    def is_current(self) -> bool:
        """Whether the file is still the one that was read; costs a stat."""
        return is_current(self.watched, self.snapshot)

    def read(self, *, force: bool = False) -> Change:
        """Read the file again and say what would change; never raise, and change nothing: a thread may do it.

        A file with mistakes that was changed just now gets a moment to become whole.
        """
        until = time.monotonic() + _PATIENCE
        while True:
            found = self._look()
            if self._read_again is None or not (force or _differ(self.snapshot, found)):
                return Change(found, noted=self._noted)
            try:
                loaded = self._read_again()
                refuse_useless_ciphers(loaded.settings)
                return self._change(loaded, found)
            except ConfigError as error:
                if _is_at_rest(found) or time.monotonic() >= until:
                    return self._refusal(error, found)
            time.sleep(_PAUSE)

    def _change(self, loaded: Loaded, found: Snapshot | None) -> Change:
        if found is not None and found.content != loaded.octets:
            # It changed between the two readings.
            found = None
        warnings = (
            *(finding.line for finding in loaded.findings),
            *(warning for warning in loaded.warnings if warning not in self._noted),
            *_at_next_start(self.settings, loaded.settings),
        )
        events = tuple(_event(finding, loaded.settings) for finding in loaded.findings)
        return Change(found, self._without_violations(loaded), warnings, events, loaded.warnings)

    def _refusal(self, error: ConfigError, found: Snapshot | None) -> Change:
        broken = PlacedEvent(
            _draft(EventId.INVALID_CONNECTOR, error.lines[0]), TransportRole.HubTransport, None, None
        )
        # What has changed meanwhile is read again.
        judged = found if _same(found, self._look()) else None
        return Change(judged, warnings=error.lines, events=(broken,), noted=self._noted)

    def altered(self, settings: Settings) -> Change:
        """Return the change to *settings* that come from elsewhere; the file still says what it said."""
        return Change(self.snapshot, settings, noted=self._noted, is_of_file=False)

    def take(self, change: Change) -> None:
        """Let *change* hold."""
        self.snapshot, self._noted = change.snapshot, change.noted
        if change.settings is not None:
            self.settings = change.settings
            if change.is_of_file:
                self.of_file = change.settings

    def _look(self) -> Snapshot | None:
        """Return the file's octets and stamp; None where it cannot be read, which the loader explains."""
        if self.watched is None:
            return None
        try:
            return take(self.watched, _LARGEST)
        except (FileNotFoundError, UnreadableFileError):
            return None

    def _without_violations(self, loaded: Loaded) -> Settings:
        """Return the new settings, with connectors that break a rule as they were before, or left out."""
        broken = {(finding.server, finding.violation.connector) for finding in loaded.findings}
        if not broken:
            return loaded.settings
        before = {(s.server.name, c.name): c for s in self.settings.servers for c in s.server.connectors}
        servers = []
        for each in loaded.settings.servers:
            connectors = [
                _kept(connector, each.server, broken, before) for connector in each.server.connectors
            ]
            # Two connectors of one name both break the rule, and stay the one that there was.
            kept = dict.fromkeys(c for c in connectors if c is not None)
            server = replace(each.server, connectors=tuple(kept))
            servers.append(replace(each, server=server))
        return replace(loaded.settings, servers=tuple(servers))


def _kept(
    connector: ReceiveConnector,
    server: Server,
    broken: set[tuple[str, str]],
    before: dict[tuple[str, str], ReceiveConnector],
) -> ReceiveConnector | None:
    key = (server.name, connector.name)
    return before.get(key) if key in broken else connector


def _event(finding: Finding, settings: Settings) -> PlacedEvent:
    violation = finding.violation
    role = next(
        (
            c.transport_role
            for each in settings.servers
            for c in _of(each, finding)
            if c.name == violation.connector
        ),
        TransportRole.HubTransport,
    )
    return PlacedEvent(
        _draft(violation.event_id, violation.message), role, finding.server, violation.connector
    )


def _of(each: ServerSettings, finding: Finding) -> tuple[ReceiveConnector, ...]:
    return each.server.connectors if each.server.name == finding.server else ()


def _draft(event_id: EventId, description: str) -> EventDraft:
    # 1003 takes the description of the error, 1032 says all by itself.
    return EventDraft(event_id, (description,) if CATALOGUE[event_id].insert_count else ())


def _at_next_start(before: Settings, after: Settings) -> list[str]:
    """Return a line for each part that a running receiver does not change."""
    parts = ("event_log", "capture", "protocol_log", "web")
    return [
        f"{after.text_name}: {part}: the change takes effect at the next start"
        for part in parts
        if getattr(before, part) != getattr(after, part)
    ]


def _differ(before: Snapshot | None, after: Snapshot | None) -> bool:
    return (None if before is None else before.content) != (None if after is None else after.content)


def _is_at_rest(found: Snapshot | None) -> bool:
    return found is not None and abs(time.time_ns() - found.stamp.changed_ns) > _PATIENCE * 1e9


def _same(before: Snapshot | None, after: Snapshot | None) -> bool:
    return (None if before is None else before.stamp) == (None if after is None else after.stamp)
