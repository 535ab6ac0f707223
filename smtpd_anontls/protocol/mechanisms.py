"""Which mechanisms AUTH and X-EXPS offer now.

Read off the public EHLO captures (behaviour notes, section 1.1) and Set-ReceiveConnector, parameters
AuthMechanism and EnableAuthGSSAPI: AUTH belongs to Integrated and BasicAuth, X-EXPS to ExchangeServer;
LOGIN waits for TLS where BasicAuthRequireTLS says so, and the keyword AUTH then stands alone; EXCHANGEAUTH
was only ever seen inside an X-ANONYMOUSTLS session.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from smtpd_anontls.domain.authentication import Mechanism
from smtpd_anontls.domain.flags import AuthMechanism
from smtpd_anontls.domain.records import TlsVerb

if TYPE_CHECKING:
    from smtpd_anontls.domain.connectors import ReceiveConnector


@dataclass(frozen=True, slots=True)
class Mechanisms:
    """What both verbs offer, in the order of their lines; None: the verb is not there."""

    auth: tuple[Mechanism, ...] | None
    exps: tuple[Mechanism, ...] | None

    def lines(self) -> list[str]:
        """Return the lines of EHLO."""
        lines = []
        if self.auth is not None:
            lines.append(" ".join(["AUTH", *self.auth]))
        if self.exps is not None:
            lines.append(" ".join(["X-EXPS", *self.exps]))
            if Mechanism.EXCHANGEAUTH in self.exps:
                lines.append("X-EXCHANGEAUTH SHA256")
        return lines


NO_MECHANISMS = Mechanisms(None, None)


def offered_mechanisms(
    connector: ReceiveConnector, *, secured_by: TlsVerb | None, has_keytab: bool, observes: bool
) -> Mechanisms:
    """Return what is offered; *has_keytab*: GSSAPI can be answered, *observes*: EXCHANGEAUTH is looked at."""
    return Mechanisms(
        _auth(connector, secured=secured_by is not None, has_keytab=has_keytab),
        _exps(
            connector,
            anonymous=secured_by is TlsVerb.X_ANONYMOUSTLS,
            has_keytab=has_keytab,
            observes=observes,
        ),
    )


def _auth(connector: ReceiveConnector, *, secured: bool, has_keytab: bool) -> tuple[Mechanism, ...] | None:
    mechanism = connector.auth_mechanism
    if not mechanism & (AuthMechanism.Integrated | AuthMechanism.BasicAuth):
        return None
    offered = []
    if AuthMechanism.Integrated in mechanism:
        if connector.enable_auth_gssapi and has_keytab:
            offered.append(Mechanism.GSSAPI)
        offered.append(Mechanism.NTLM)
    if AuthMechanism.BasicAuth in mechanism and (
        secured or AuthMechanism.BasicAuthRequireTLS not in mechanism
    ):
        offered.append(Mechanism.LOGIN)
    return tuple(offered)


def _exps(
    connector: ReceiveConnector, *, anonymous: bool, has_keytab: bool, observes: bool
) -> tuple[Mechanism, ...] | None:
    if AuthMechanism.ExchangeServer not in connector.auth_mechanism:
        return None
    offered = []
    if anonymous and observes:
        offered.append(Mechanism.EXCHANGEAUTH)
    if has_keytab:
        offered.append(Mechanism.GSSAPI)
    offered.append(Mechanism.NTLM)
    return tuple(offered)
