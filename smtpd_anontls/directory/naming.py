"""Which server objects name a certificate: what direct trust asks of a directory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from smtpd_anontls.domain.direct_trust import NamedBy
from smtpd_anontls.domain.directory_value import Answer, Named, Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True, slots=True)
class Register:
    """The servers of a directory by the thumbprints that their objects name."""

    by_thumbprint: Mapping[str, tuple[str, ...]]
    not_understood: tuple[str, ...]

    @classmethod
    def of(cls, answers: Iterable[tuple[str, Answer]]) -> Register:
        """Return the register of server names and what their objects answer."""
        named: dict[str, list[str]] = {}
        not_understood = []
        for server, answer in sorted(answers, key=lambda each: each[0].casefold()):
            if isinstance(answer, Named):
                named.setdefault(answer.thumbprint, []).append(server)
            elif isinstance(answer, Unreadable):
                not_understood.append(server)
        return cls({each: tuple(servers) for each, servers in named.items()}, tuple(not_understood))

    def naming(self, thumbprint: str) -> NamedBy:
        """Return the servers that name this certificate."""
        return NamedBy(self.by_thumbprint.get(thumbprint.upper(), ()), self.not_understood)
