"""Extended Protection: whether NTLM was bound to the TLS channel that it came over.

A client hashes what names the channel (RFC 5929 tls-server-end-point, the hash of our certificate) into
MsvAvChannelBindings; a relay in the middle has another certificate and cannot mend the hash.
Source: MS-NLMP section 2.2.2.1; Set-ReceiveConnector, parameter ExtendedProtectionPolicy.
"""

from __future__ import annotations

import hashlib
import hmac
import struct

from smtpd_anontls.domain.authentication import FailureReason
from smtpd_anontls.domain.flags import ExtendedProtectionPolicy

NO_BINDING = bytes(16)  # MS-NLMP section 2.2.2.1: all-zero says that there is none.


def channel_bindings_hash(application_data: bytes) -> bytes:
    """Return the MD5 of the gss_channel_bindings_struct with *application_data* and no addresses."""
    # RFC 2744 section 3.11 and MS-NLMP section 2.2.2.1: two addresses of type 0 and length 0, little-endian.
    struct_octets = struct.pack("<5I", 0, 0, 0, 0, len(application_data)) + application_data
    return hashlib.md5(struct_octets, usedforsecurity=False).digest()


def has_binding(sent: bytes | None) -> bool:
    """Whether the client bound its logon to a channel; *sent* is MsvAvChannelBindings, None without that pair."""
    return sent is not None and sent != NO_BINDING


def binding_failure(
    policy: ExtendedProtectionPolicy, *, binding: bytes | None, sent: bytes | None
) -> tuple[FailureReason, str] | None:
    """Return why *sent* is not what *policy* asks for, and a sentence that says so; None where it is.

    *binding* is the channel's application data, None without TLS; *sent* is MsvAvChannelBindings, None
    where there was no such pair.
    """
    if policy is ExtendedProtectionPolicy.NotUsed:
        return None
    if sent is None or not has_binding(sent):
        if policy is ExtendedProtectionPolicy.Allow:
            return None
        lacks = "the session has no TLS to bind to" if binding is None else "the client sent none"
        detail = f"ExtendedProtectionPolicy is Require, which asks for a channel binding, and {lacks}"
        return FailureReason.MISSING_BINDING, detail
    if binding is None:
        detail = "the client bound its logon to a TLS channel, and this session has none: it may be relayed"
        return FailureReason.WRONG_BINDING, detail
    if not hmac.compare_digest(sent, channel_bindings_hash(binding)):
        detail = "the client bound its logon to another certificate than this session's: it may be relayed"
        return FailureReason.WRONG_BINDING, detail
    return None
