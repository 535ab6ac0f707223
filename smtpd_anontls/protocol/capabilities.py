"""What EHLO offers: Exchange's lines, in Exchange's order, each only where it holds now.

The order was seen the same in every public capture of Exchange 2010 to 2019 (behaviour
notes, section 1.1): SIZE, PIPELINING, DSN, ENHANCEDSTATUSCODES, STARTTLS, X-ANONYMOUSTLS,
AUTH, X-EXPS, X-EXCHANGEAUTH, 8BITMIME, BINARYMIME, CHUNKING, SMTPUTF8, XRDST.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from smtpd_anontls.domain.flags import AuthMechanism, SizeEnabled
from smtpd_anontls.domain.records import TlsVerb
from smtpd_anontls.protocol.replies import Reply

if TYPE_CHECKING:
    from collections.abc import Collection

    from smtpd_anontls.domain.connectors import ReceiveConnector
    from smtpd_anontls.protocol.mechanisms import Mechanisms


def hello(fqdn: str, peer: str) -> str:
    """Return the first line of the answer to EHLO and the whole answer to HELO."""
    return f"{fqdn} Hello [{peer}]"


def ehlo_reply(
    connector: ReceiveConnector,
    *,
    fqdn: str,
    peer: str,
    offered: Collection[TlsVerb],
    secured_by: TlsVerb | None,
    mechanisms: Mechanisms,
) -> Reply:
    """Return the answer to EHLO; *offered* are the verbs whose selections found a certificate."""
    # Both verbs are gone once either has been used.
    verbs = (TlsVerb.STARTTLS, TlsVerb.X_ANONYMOUSTLS) if secured_by is None else ()
    lines = [
        (connector.size_enabled is SizeEnabled.Enabled, f"SIZE {connector.max_message_size}"),
        (connector.size_enabled is SizeEnabled.EnabledWithoutValue, "SIZE"),
        (connector.pipelining_enabled, "PIPELINING"),
        (connector.delivery_status_notification_enabled, "DSN"),
        (connector.enhanced_status_codes_enabled, "ENHANCEDSTATUSCODES"),
        *[(verb in offered, verb.value) for verb in verbs],
        *[(True, line) for line in mechanisms.lines()],
        (connector.eight_bit_mime_enabled, "8BITMIME"),
        (connector.binary_mime_enabled, "BINARYMIME"),
        (connector.chunking_enabled, "CHUNKING"),
        (connector.smtp_utf8_enabled, "SMTPUTF8"),
        # Seen wherever the connector takes Exchange servers, and nowhere else.
        (AuthMechanism.ExchangeServer in connector.auth_mechanism, "XRDST"),
        # Set-ReceiveConnector names both; their place is in no public capture.
        (connector.long_addresses_enabled, "XLONGADDR"),
        (connector.orar_enabled, "XORAR"),
    ]
    return Reply(250, "", hello(fqdn, peer), tuple([line for holds, line in lines if holds]))
