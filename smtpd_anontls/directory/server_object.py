"""A server object as `transport-service show` presents it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from smtpd_anontls.domain.directory_value import Named, Unreadable

if TYPE_CHECKING:
    from smtpd_anontls.domain.directory_value import Answer, ValueForm


@dataclass(frozen=True, slots=True)
class ServerObject:
    """What the directory holds for a server: readable or why not, and the certificate that it names."""

    server: str
    dn: str
    readable: bool
    reason: str | None = None  # Why it is not readable; or what else it can mean that nothing is set.
    value_form: ValueForm | None = None
    thumbprint: str | None = None
    friendly_name: str | None = None
    source: str | None = None  # Which server answered, how it was bound, how long it took.

    @classmethod
    def of(cls, server: str, dn: str, answer: Answer) -> ServerObject:
        """Return the object of *server*, whose attribute was answered with *answer*."""
        if isinstance(answer, Unreadable):
            return cls(server, dn, readable=False, reason=answer.reason)
        if isinstance(answer, Named):
            return cls(
                server,
                dn,
                readable=True,
                value_form=answer.form,
                thumbprint=answer.thumbprint,
                friendly_name=answer.friendly_name,
            )
        return cls(server, dn, readable=True, reason=answer.note or None)

    def as_json(self) -> dict[str, Any]:
        """Return the object that `transport-service show --json` prints."""
        return {
            "server": self.server,
            "dn": self.dn,
            "readable": self.readable,
            "reason": self.reason,
            "value_form": None if self.value_form is None else self.value_form.value,
            "thumbprint": self.thumbprint,
            "friendly_name": self.friendly_name,
        }
