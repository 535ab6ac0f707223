"""The keys of a fault on demand; the configuration and the API read them alike."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, model_validator

from smtpd_anontls.domain.connectors import Seconds  # noqa: TC001 - pydantic reads it
from smtpd_anontls.domain.endpoints import RemoteIPRange
from smtpd_anontls.domain.faults import Fault, Kind, Point, Verb
from smtpd_anontls.domain.tls_policy import TlsVersion
from smtpd_anontls.settings.parsers import (
    Mistake,
    WrongValueError,
    ascii_text,
    duration,
    enumeration,
    from_text,
    listed,
    optional,
    shown,
    some_text,
    whole_number,
)
from smtpd_anontls.settings.parsers import (
    text as one_line,
)
from smtpd_anontls.settings.parsers import (
    thumbprint as forty_digits,
)
from smtpd_anontls.settings.shape import Shape, mistakes_error, read_by

if TYPE_CHECKING:
    from collections.abc import Iterable

# RFC 3463 section 2.
_ENHANCED = re.compile(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}")
# The longest text that fits a reply line (RFC 5321 section 4.5.3.1.5).
_LONGEST_TEXT = 480


def _enhanced(value: Any) -> str:
    if not _ENHANCED.fullmatch(one_line(value)):
        raise WrongValueError(f"{shown(value)} is not an enhanced status code; write one such as '4.7.0'")
    return one_line(value)


def _reply_text(value: Any) -> str:
    if len(ascii_text(value)) > _LONGEST_TEXT:
        raise WrongValueError(f"has more than the {_LONGEST_TEXT} characters that fit a reply line")
    return one_line(value)


def _probability(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= 1:
        raise WrongValueError(f"{shown(value)} is not a probability; write more than 0, and 1 at most")
    return float(value)


class FaultShape(Shape):
    """A fault on demand: where and how the receiver misbehaves, and in which sessions."""

    at: Annotated[Point, read_by(enumeration(Point))] = Field(
        description="connect (instead of a banner, then the end), banner, ehlo (HELO too), tls (either verb), handshake "
        "(behind the ClientHello), auth (X-EXPS too), mail, rcpt, data (BDAT too), end_of_data (nothing is "
        "taken yet), or accepted (the message is durable, its 250 not sent).",
    )
    kind: Annotated[Kind, read_by(enumeration(Kind))] = Field(
        description="reply, delay, throttle (from here on), drop (FIN) or reset (RST); at handshake delay, drop, reset, "
        "garbage, alert, stall, certificate (another one) or version (one version alone).",
    )
    code: Annotated[int | None, read_by(optional(whole_number(least=200, most=599)))] = Field(
        default=None, description="Of a reply, which needs it; 421 ends the session."
    )
    enhanced: Annotated[str | None, read_by(optional(_enhanced))] = Field(
        default=None, description="Of a reply: its enhanced status code, such as '4.7.0'."
    )
    text: Annotated[str | None, read_by(optional(_reply_text))] = Field(
        default=None, description="Of a reply: its text, in ASCII."
    )
    seconds: Annotated[Seconds | None, read_by(optional(duration()))] = Field(
        default=None, description="Of a delay, which needs it; any other kind happens so much later."
    )
    octets_per_second: Annotated[int | None, read_by(optional(whole_number(least=1)))] = Field(
        default=None, description="Of a throttle, which needs it: how fast replies leave from here on."
    )
    alert: Annotated[int | None, read_by(optional(whole_number(most=255)))] = Field(
        default=None, description="Of an alert: its number (RFC 8446). null: 40, handshake_failure."
    )
    thumbprint: Annotated[str | None, read_by(optional(forty_digits))] = Field(
        default=None,
        description="Of certificate: which of the store. null: one made for the moment, self-signed, for another name.",
    )
    version: Annotated[TlsVersion | None, read_by(optional(enumeration(TlsVersion)))] = Field(
        default=None, description="Of version, which needs it: the only one that is spoken."
    )
    probability: Annotated[float, read_by(_probability)] = Field(
        default=1.0, description="How likely it is each time that its other conditions hold."
    )
    count: Annotated[int | None, read_by(optional(whole_number(least=1)))] = Field(
        default=None, description="How often it happens at most, over all sessions."
    )
    every: Annotated[int, read_by(whole_number(least=1))] = Field(
        default=1, description="It happens every so many times that its other conditions hold."
    )
    recipient: Annotated[str | None, read_by(optional(one_line))] = Field(
        default=None, description="A recipient of the message, in any case; * stands for anything."
    )
    sender: Annotated[str | None, read_by(optional(one_line))] = Field(
        default=None, description='The sender, in the same way; "" is the null sender.'
    )
    remote_ip_ranges: Annotated[
        tuple[RemoteIPRange, ...], read_by(listed(from_text(RemoteIPRange.parse)))
    ] = Field(default=(), description="Addresses of the peer; empty: any.")
    server: Annotated[str | None, read_by(optional(some_text))] = Field(
        default=None, description="Name of the server."
    )
    connector: Annotated[str | None, read_by(optional(some_text))] = Field(
        default=None, description="Name of the Receive connector."
    )
    verb: Annotated[Verb | None, read_by(optional(enumeration(Verb)))] = Field(
        default=None,
        description="The command, where a point has two: EHLO or HELO, STARTTLS or X-ANONYMOUSTLS, AUTH or X-EXPS, DATA or "
        "BDAT; or the verb that TLS began with.",
    )

    @model_validator(mode="after")
    def _goes_together(self) -> FaultShape:
        found = [Mistake((key,), message) for key, message in fault_of(self).mistakes()]
        if found:
            raise mistakes_error(found)
        return self


def fault_of(shape: FaultShape) -> Fault:
    """Return the value of a fault whose shape is right."""
    return Fault(**{name: getattr(shape, name) for name in type(shape).model_fields})


def faults_of(shapes: Iterable[FaultShape]) -> tuple[Fault, ...]:
    """Return the values of a list."""
    return tuple(map(fault_of, shapes))
