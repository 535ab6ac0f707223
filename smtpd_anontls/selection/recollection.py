"""What selections came to, for as long as nothing that they asked can have changed.

A selection is a function of its connector, what the directory and the store say, and the moment; of the
moment only which certificates of the store are valid.  So where directory and store are the very ones
that it asked, and no certificate has become valid or expired since, it would come to the same.  Running
both selections and looking at the files took a session 300 microseconds of CPU time; recalling them leaves
35, most of it the looks at the files, which every session takes.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import is_
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from smtpd_anontls.domain.certificate import StoreCertificate

T = TypeVar("T")

# Server and connector by name.
Place = tuple[str, str]
# What was asked, each as an object that is replaced by another when it changes.
Origin = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class _Kept(Generic[T]):
    origin: Origin
    since: datetime
    until: datetime | None  # The next moment at which a certificate becomes valid or expires.
    value: T

    def holds(self, origin: Origin, now: datetime) -> bool:
        if not all(map(is_, self.origin, origin)):
            return False
        # A clock that was set back says nothing of what was valid then.
        return self.since <= now and (self.until is None or now < self.until)


class Recollections(Generic[T]):
    """The last selections of each connector."""

    def __init__(self) -> None:
        self._kept: dict[Place, _Kept[T]] = {}

    def recall(self, place: Place, origin: Origin, now: datetime) -> T | None:
        """Return what was kept of *place*, if it came from *origin* and still holds."""
        kept = self._kept.get(place)
        return kept.value if kept is not None and kept.holds(origin, now) else None

    def keep(
        self,
        place: Place,
        origin: Origin,
        now: datetime,
        value: T,
        *,
        store: Iterable[StoreCertificate],
    ) -> None:
        """Keep *value*, which came from *origin* at *now*; *store* is every certificate that was asked about."""
        limits = (
            limit
            for held in store
            for limit in (held.certificate.not_before, held.certificate.not_after)
            # At Valid from itself a certificate is valid, at Valid to itself it is for the last time.
            if limit > now or limit == held.certificate.not_after == now
        )
        self._kept[place] = _Kept(origin, now, min(limits, default=None), value)
