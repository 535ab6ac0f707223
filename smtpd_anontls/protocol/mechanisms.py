"""Which mechanisms AUTH and X-EXPS offer now.

Read off the public EHLO captures (behaviour notes, section 1.1) and Set-ReceiveConnector, parameters
AuthMechanism and EnableAuthGSSAPI: AUTH belongs to Integrated and BasicAuth, X-EXPS to ExchangeServer;
LOGIN waits for TLS where BasicAuthRequireTLS says so, and the keyword AUTH then stands alone; EXCHANGEAUTH
was only ever seen inside an X-ANONYMOUSTLS session.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
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
    # GSSAPI has to be enabled for AUTH, while X-EXPS asks for the keytab alone.
    can_gssapi = connector.enable_auth_gssapi and has_keytab
    return _offered(
        connector.auth_mechanism,
        secured_by,
        can_gssapi=can_gssapi,
        has_keytab=has_keytab,
        observes=observes,
    )


# Each EHLO asks, and there are few answers.
@lru_cache(maxsize=100)
def _offered(
    mechanism: AuthMechanism,
    secured_by: TlsVerb | None,
    *,
    can_gssapi: bool,
    has_keytab: bool,
    observes: bool,
) -> Mechanisms:
    anonymous = secured_by is TlsVerb.X_ANONYMOUSTLS
    return Mechanisms(
        _auth(mechanism, secured=secured_by is not None, can_gssapi=can_gssapi),
        _exps(mechanism, anonymous=anonymous, has_keytab=has_keytab, observes=observes),
    )


def _auth(mechanism: AuthMechanism, *, secured: bool, can_gssapi: bool) -> tuple[Mechanism, ...] | None:
    if not mechanism & (AuthMechanism.Integrated | AuthMechanism.BasicAuth):
        return None
    offered = []
    if AuthMechanism.Integrated in mechanism:
        if can_gssapi:
            offered.append(Mechanism.GSSAPI)
        offered.append(Mechanism.NTLM)
    if AuthMechanism.BasicAuth in mechanism and (
        secured or AuthMechanism.BasicAuthRequireTLS not in mechanism
    ):
        offered.append(Mechanism.LOGIN)
    return tuple(offered)


def _exps(
    mechanism: AuthMechanism, *, anonymous: bool, has_keytab: bool, observes: bool
) -> tuple[Mechanism, ...] | None:
    if AuthMechanism.ExchangeServer not in mechanism:
        return None
    offered = []
    if anonymous and observes:
        offered.append(Mechanism.EXCHANGEAUTH)
    if has_keytab:
        offered.append(Mechanism.GSSAPI)
    offered.append(Mechanism.NTLM)
    return tuple(offered)
