"""What EHLO offers: Exchange's lines, in Exchange's order, each only where it holds now.

The order was seen the same in every public capture of Exchange 2010 to 2019 (behaviour
notes, section 1.1): SIZE, PIPELINING, DSN, ENHANCEDSTATUSCODES, STARTTLS, X-ANONYMOUSTLS,
AUTH, X-EXPS, 8BITMIME, BINARYMIME, CHUNKING, SMTPUTF8, XRDST.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from smtpd_anontls.domain.flags import SizeEnabled
from smtpd_anontls.domain.records import TlsVerb
from smtpd_anontls.protocol.replies import Reply

if TYPE_CHECKING:
    from collections.abc import Collection

    from smtpd_anontls.domain.connectors import ReceiveConnector


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
) -> Reply:
    """Return the answer to EHLO; *offered* are the verbs whose selections found a certificate."""
    lines = []
    if connector.size_enabled is SizeEnabled.Enabled:
        lines.append(f"SIZE {connector.max_message_size}")
    elif connector.size_enabled is SizeEnabled.EnabledWithoutValue:
        lines.append("SIZE")
    if connector.pipelining_enabled:
        lines.append("PIPELINING")
    if connector.enhanced_status_codes_enabled:
        lines.append("ENHANCEDSTATUSCODES")
    # Both verbs are gone once either has been used.
    if secured_by is None:
        lines.extend(verb.value for verb in (TlsVerb.STARTTLS, TlsVerb.X_ANONYMOUSTLS) if verb in offered)
    if connector.eight_bit_mime_enabled:
        lines.append("8BITMIME")
    return Reply(250, "", hello(fqdn, peer), tuple(lines))
