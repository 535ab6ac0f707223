"""The scenarios of the gallery: every outcome that the documents describe, each on purpose.

A scenario is made of a certificate, what the directory says of it, and the connector's own
properties, which stand in the configuration.  A recipe says what the first two must be.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from smtpd_anontls.domain.certificate import Certificate


class Scenario(StrEnum):
    """The names of the gallery, in the order of its ports."""

    HEALTHY = "healthy"
    AUTH_MECHANISM = "auth-mechanism"
    NOT_SET = "not-set"
    UNREADABLE = "unreadable"
    NOT_IN_STORE = "not-in-store"
    NO_PRIVATE_KEY = "no-private-key"
    EXPIRED = "expired"
    EXPIRES_SOON = "expires-soon"
    SUPPRESSED = "suppressed"
    STARTTLS_ONLY = "starttls-only"
    ANONYMOUS_TLS_ONLY = "anonymous-tls-only"
    NO_TLS = "no-tls"
    EXCHANGE_LIMITS = "exchange-limits"


class DirectoryEntry(StrEnum):
    """What the directory says in a scenario."""

    NAMES_IT = "names the certificate"
    NAMES_ANOTHER = "names a certificate that the store does not hold"
    NOT_SET = "is not set"
    UNREADABLE = "cannot be read"


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a scenario needs in the store and in the directory."""

    entry: DirectoryEntry = DirectoryEntry.NAMES_IT
    private_key: bool = True
    valid_from: timedelta = timedelta(0)  # Relative to the day it is made.
    valid_to: timedelta = timedelta(days=5 * 365)  # Exchange's own default: five years.

    def is_shown_by(self, certificate: Certificate, *, has_key: bool, now: datetime) -> bool:
        """Whether *certificate*, with or without its key, still shows the scenario."""
        if has_key is not self.private_key:
            return False
        if self.valid_to < timedelta(0):
            return certificate.is_expired(now)
        if certificate.is_expired(now) or certificate.is_not_yet_valid(now):
            return False
        if self.valid_to <= SOON:
            return certificate.not_after - now <= SOON
        # Nearer to Valid to, events 12017 and 12018 would tell another story.
        return certificate.not_after - now > WARNED


SOON = timedelta(days=10)  # Well inside the warning time.
WARNED = timedelta(days=30)  # expiry_warning_days of the gallery.

RECIPES: Mapping[Scenario, Recipe] = MappingProxyType(
    {
        **dict.fromkeys(Scenario, Recipe()),
        Scenario.NOT_SET: Recipe(DirectoryEntry.NOT_SET),
        Scenario.UNREADABLE: Recipe(DirectoryEntry.UNREADABLE),
        Scenario.NOT_IN_STORE: Recipe(DirectoryEntry.NAMES_ANOTHER),
        Scenario.NO_PRIVATE_KEY: Recipe(private_key=False),
        Scenario.EXPIRED: Recipe(valid_from=timedelta(days=-5 * 365), valid_to=timedelta(days=-1)),
        Scenario.EXPIRES_SOON: Recipe(valid_from=timedelta(days=-5 * 365 + 10), valid_to=SOON),
    },
)
