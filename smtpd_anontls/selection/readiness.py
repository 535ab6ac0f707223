"""What a connector was asked for by its AuthMechanism and cannot do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smtpd_anontls.domain.flags import AuthMechanism
from smtpd_anontls.domain.records import TlsVerb

if TYPE_CHECKING:
    from smtpd_anontls.domain.connectors import ReceiveConnector
    from smtpd_anontls.selection.outcome import Selection

_ASKED_BY = {TlsVerb.X_ANONYMOUSTLS: AuthMechanism.ExchangeServer, TlsVerb.STARTTLS: AuthMechanism.Tls}


def problem(selection: Selection, connector: ReceiveConnector) -> str | None:
    """Return the sentence for a verb that AuthMechanism asks for and EHLO cannot offer; None where all is well.

    A suppressed verb is not asked for; an expired certificate is offered all the same.
    """
    if selection.advertised or _ASKED_BY[selection.verb] not in connector.auth_mechanism:
        return None
    last = selection.steps[-1]
    if last.step == "suppression":
        return None
    return (
        f"{selection.server}: {selection.connector}: {selection.verb.value} is not advertised: {last.detail}"
    )
