"""GSSAPI exchanges of the server MBX1, and MBX2$ as the client that talks to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from smtpd_anontls.authentication.gssapi import GssapiExchange
from smtpd_anontls.domain.authentication import Failed, FailureReason
from smtpd_anontls.domain.flags import ExtendedProtectionPolicy
from tests.initiator import HOST, Initiator

if TYPE_CHECKING:
    from smtpd_anontls.domain.authentication import Step
    from tests.mit_kdc import MitKdc

EITHER = pytest.mark.parametrize("negotiate", [False, True], ids=["Kerberos", "Negotiate"])


def exchange_of(realm: MitKdc, **changed: Any) -> GssapiExchange:
    """Return an exchange of MBX1 as X-EXPS has it, without TLS, with *changed* arguments."""
    arguments: dict[str, Any] = {
        "keytab": realm.keytab,
        "hostname": HOST,
        "binding": None,
        "policy": ExtendedProtectionPolicy.NotUsed,
        "security_layer": False,
    }
    return GssapiExchange(**arguments | changed)


def client(realm: MitKdc, **changed: Any) -> Initiator:
    """Return MBX2$ as it talks to MBX1, with *changed* arguments."""
    return Initiator(**{"keytab": realm.client_keytab} | changed)


def reason_of(step: Step) -> FailureReason | None:
    """Return why it failed; None where it did not."""
    return step.reason if isinstance(step, Failed) else None
