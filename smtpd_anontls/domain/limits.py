"""The limits that sessions of a Receive connector share: how many there are, and how fast they send.

Plain counters without a clock or a lock: whoever holds one says what the time is, and asks from
one thread.  Sources: Set-ReceiveConnector, the parameters MaxInboundConnection,
MaxInboundConnectionPerSource, MaxInboundConnectionPercentagePerSource, MessageRateLimit and
MessageRateSource.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from smtpd_anontls.domain.flags import MessageRateSource

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smtpd_anontls.domain.connectors import ReceiveConnector
    from smtpd_anontls.domain.endpoints import IPAddress

# Server and connector by name: the limits are each connector's own.
Place = tuple[str, str]

# What strikes where the journal cannot be written: no property, as reply 452 4.3.1 calls it.
OUT_OF_RESOURCES = "InsufficientResources"

_ALL = 100
_MINUTE = 60.0
# Sources whose last minute is remembered before those that have been silent are looked for.
_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class Struck:
    """A limit that struck."""

    name: str  # As Set-ReceiveConnector calls it, or OUT_OF_RESOURCES.
    detail: str  # One readable sentence.


class Connections:
    """How many sessions each connector has, and each source of them."""

    def __init__(self) -> None:
        self._all: Counter[Place] = Counter()
        self._of_source: Counter[tuple[Place, IPAddress]] = Counter()

    def enter(self, place: Place, source: IPAddress, connector: ReceiveConnector) -> Struck | None:
        """Count one more session of *source*, unless a limit of *connector* strikes; then nothing is counted."""
        mine = self._of_source[place, source]
        struck = _struck_by_number(self._all[place], mine, source, connector)
        if struck is None:
            self._all[place] += 1
            self._of_source[place, source] = mine + 1
        elif not mine:
            # A look at a Counter leaves nothing behind, a refused source neither.
            self._of_source.pop((place, source), None)
        return struck

    def leave(self, place: Place, source: IPAddress) -> None:
        """Count one session less; a place or source without any is forgotten."""
        self._all[place] -= 1
        self._of_source[place, source] -= 1
        if not self._all[place]:
            del self._all[place]
        if not self._of_source[place, source]:
            del self._of_source[place, source]

    def count(self, place: Place) -> int:
        """Return how many sessions the connector has."""
        return self._all[place]


def _struck_by_number(every: int, mine: int, source: IPAddress, connector: ReceiveConnector) -> Struck | None:
    most = connector.max_inbound_connection
    if most is not None and every >= most:
        return Struck("MaxInboundConnection", f"the connector has {every} sessions of {most}")
    per_source = connector.max_inbound_connection_per_source
    if per_source is not None and mine >= per_source:
        return Struck("MaxInboundConnectionPerSource", f"{source} has {mine} sessions of {per_source}")
    percentage = connector.max_inbound_connection_percentage_per_source
    if most is not None and mine and percentage < _ALL:
        # "The percentage of available remaining connections"; a first session is never too many, and
        # 100 is what a Transport service has, which means no limit.
        allowed = (most - every) * percentage // 100
        if mine >= max(allowed, 1):
            return Struck(
                "MaxInboundConnectionPercentagePerSource",
                f"{source} has {mine} sessions, and {percentage} percent of the {most - every} still free are {allowed}",
            )
    return None


class MessageRates:
    """When each source sent its last messages, as far back as a minute."""

    def __init__(self) -> None:
        self._sent: dict[tuple[Place, str], deque[float]] = {}
        self._crowded = _REMEMBERED

    def admit(
        self, place: Place, connector: ReceiveConnector, *, source: str, sender: str, now: float
    ) -> Struck | None:
        """Count one more message at *now* (seconds), unless MessageRateLimit of *connector* strikes.

        *source* is the peer's address, *sender* the address of MAIL.
        """
        limit = connector.message_rate_limit
        if limit is None:
            return None
        counted = {who: self._last_minute((place, who), now) for who in _who(connector, source, sender)}
        for who, times in counted.items():
            if len(times) >= limit:
                return Struck("MessageRateLimit", f"{who} has sent {len(times)} messages in the last minute")
        for who, times in counted.items():
            times.append(now)
            self._sent[place, who] = times
        if len(self._sent) > self._crowded:
            self._forget(now)
        return None

    def _last_minute(self, key: tuple[Place, str], now: float) -> deque[float]:
        times = self._sent.get(key, deque())
        while times and times[0] <= now - _MINUTE:
            times.popleft()
        return times

    def _forget(self, now: float) -> None:
        """Forget those that have been silent for a minute; next time when there are twice as many as now."""
        self._sent = {key: times for key, times in self._sent.items() if times and times[-1] > now - _MINUTE}
        self._crowded = max(_REMEMBERED, 2 * len(self._sent))


def _who(connector: ReceiveConnector, source: str, sender: str) -> Iterator[str]:
    """Yield what messages are counted by; a host and a user of the same name stay apart."""
    by = connector.message_rate_source
    if by in {MessageRateSource.IPAddress, MessageRateSource.All}:
        yield source
    if by in {MessageRateSource.User, MessageRateSource.All}:
        yield f"<{sender.casefold()}>"
