"""Direct trust: a client certificate that the directory has for another server is that server.

Presence in the directory is what validates a certificate, whether it signs itself or an authority
issued it, and whichever purposes it names ("TLS functionality and related terminology").  So no
chain is built and no name compared: the thumbprint alone is asked for.

What Exchange does with one that has expired, beyond writing event 12019, no public page says; its
own expired certificate it goes on using.  Here an expired one gives the identity all the same, and
the sentence says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from smtpd_anontls.domain.certificate import Certificate, CertificateError
from smtpd_anontls.domain.directory_value import Unreadable
from smtpd_anontls.domain.events import EventDraft, EventId
from smtpd_anontls.domain.instants import rfc3339_seconds
from smtpd_anontls.domain.printable import printable

if TYPE_CHECKING:
    from datetime import datetime

_ATTRIBUTE = "msExchServerInternalTLSCert"
_SHOWN = 3  # Of more names a sentence gives the number.


@dataclass(frozen=True, slots=True)
class NamedBy:
    """The server objects whose attribute is a certificate, in the order of their names."""

    servers: tuple[str, ...] = ()
    not_understood: tuple[str, ...] = ()  # Those whose attribute could not be compared with it.


Naming = NamedBy | Unreadable


@dataclass(frozen=True, slots=True)
class Trusted:
    """The client is another server of the organization."""

    server_name: str
    detail: str  # A sentence.
    expired: bool = False
    event: EventDraft | None = None


@dataclass(frozen=True, slots=True)
class NotTrusted:
    """The client certificate, or its absence, makes nobody of the client."""

    detail: str  # A sentence.


def presented(der: bytes | None) -> Certificate | NotTrusted:
    """Return the client certificate, or why there is none that the directory could be asked about."""
    if der is None:
        return NotTrusted("the client presented no certificate")
    try:
        return Certificate.from_der(der)
    except CertificateError as error:
        return NotTrusted(f"what the client presented is {error}")


def judge(certificate: Certificate, naming: Naming, *, own: str, now: datetime) -> Trusted | NotTrusted:
    """Return which server presented *certificate* to the server *own*, by what the directory says of it."""
    shown = (
        f"the client certificate {certificate.thumbprint} ({printable(certificate.subject) or 'no subject'})"
    )
    if isinstance(naming, Unreadable):
        return NotTrusted(f"{shown} could not be looked for in the directory: {naming.reason}")
    others = [name for name in naming.servers if name.casefold() != own.casefold()]
    if not others:
        if naming.servers:
            return NotTrusted(f"{shown} is the {_ATTRIBUTE} of {own} itself, and of no other server object")
        return NotTrusted(f"{shown} is the {_ATTRIBUTE} of no server object{_but_for(naming.not_understood)}")
    detail = f"{shown} is the {_ATTRIBUTE} of {_listed(others)}"
    if certificate.is_expired(now):
        # The event's page only reports it; see the module.
        return Trusted(
            others[0],
            f"{detail}; it expired on {rfc3339_seconds(certificate.not_after)} and gives the identity all the same",
            expired=True,
            event=EventDraft(EventId.REMOTE_EXPIRED, (certificate.subject,), certificate.thumbprint),
        )
    if certificate.is_not_yet_valid(now):
        # The documents look at Valid to alone.
        detail = (
            f"{detail}; it is not valid before {rfc3339_seconds(certificate.not_before)} "
            "and gives the identity all the same"
        )
    return Trusted(others[0], detail)


def _but_for(not_understood: tuple[str, ...]) -> str:
    if not not_understood:
        return ""
    return f"; what {_listed(not_understood)} {'has' if len(not_understood) == 1 else 'have'} could not be compared"


def _listed(names: tuple[str, ...] | list[str]) -> str:
    shown = ", ".join(printable(name) for name in names[:_SHOWN])
    more = len(names) - _SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
