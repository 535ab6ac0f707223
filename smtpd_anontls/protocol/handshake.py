"""Why a TLS handshake failed, in a sentence that an administrator can act on."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from smtpd_anontls.domain.tls_policy import TlsVersion

if TYPE_CHECKING:
    from collections.abc import Mapping

    from smtpd_anontls.domain.records import ClientHello
    from smtpd_anontls.domain.tls_policy import TlsPolicy

# OpenSSL's reason codes for octets that are no TLS at all.
_NOT_TLS: Mapping[str, str] = MappingProxyType(
    {
        "HTTP_REQUEST": "the peer sent an HTTP request instead of a ClientHello",
        "HTTPS_PROXY_REQUEST": "the peer sent an HTTP request instead of a ClientHello",
        "WRONG_VERSION_NUMBER": "the peer sent something that is not TLS",
        "RECORD_LAYER_FAILURE": "the peer sent something that is not TLS",
        "UNKNOWN_PROTOCOL": "the peer sent something that is not TLS",
        "BAD_RECORD_TYPE": "the peer sent something that is not TLS",
    },
)
_ALERT = "_ALERT_"
# How the sentences below begin, and what they are counted as.
_CLASSES: Mapping[str, str] = MappingProxyType(
    {
        "no common TLS version": "no_common_version",
        "no common cipher suite": "no_common_cipher_suite",
        "the peer ended the handshake with the alert": "alert_from_peer",
        "the peer sent": "not_tls",
        "the peer closed the connection": "connection_lost",
        "no ClientHello came within": "timeout",
        "the handshake was not finished within": "timeout",
    },
)
_REFUSED_VERSION = ("_ALERT_PROTOCOL_VERSION", "WRONG_VERSION_NUMBER")


def describe_failure(reason: str, offered: ClientHello | None, policy: TlsPolicy) -> str:
    """Return the sentence for OpenSSL's *reason* code, such as ``UNSUPPORTED_PROTOCOL``."""
    spoken = (
        str(policy.minimum) if policy.minimum is policy.maximum else f"{policy.minimum} to {policy.maximum}"
    )
    if reason in {"UNSUPPORTED_PROTOCOL", "VERSION_TOO_LOW", "NO_PROTOCOLS_AVAILABLE"}:
        offers = ", ".join(offered.versions if offered else ()) or "no version that is known here"
        return f"no common TLS version: the peer offers {offers}, this receiver speaks {spoken}"
    if reason == "NO_SHARED_CIPHER":
        offers = ", ".join(offered.cipher_suites if offered else ()) or "no suite that is known here"
        return f"no common cipher suite: the peer offers {offers}"
    if offered is None and reason in _NOT_TLS:
        return _NOT_TLS[reason]
    if offered is not None and reason.endswith(_REFUSED_VERSION) and _offers_later(offered, policy):
        # A server answers with its latest version, and a peer that wants a later one breaks off (RFC 5246 E.1).
        # OpenSSL may not know the alert for one, since it comes in a record of the peer's own version.
        return (
            f"no common TLS version: the peer did not take {policy.maximum}, the latest of this receiver, which "
            f"speaks {spoken}; the peer offers {', '.join(offered.versions)}"
        )
    if _ALERT in reason:
        alert = reason.partition(_ALERT)[2].lower().replace("_", " ")
        return f"the peer ended the handshake with the alert '{alert}'"
    return f"OpenSSL reports {reason}"


def failure_class(sentence: str) -> str:
    """Return the one word for the kind of failure that *sentence* tells of."""
    return next((word for beginning, word in _CLASSES.items() if sentence.startswith(beginning)), "other")


def _offers_later(offered: ClientHello, policy: TlsPolicy) -> bool:
    later = {str(version) for version in TlsVersion if version.rank > policy.maximum.rank}
    return not later.isdisjoint(offered.versions)


def describe_loss(offered: ClientHello | None) -> str:
    """Return the sentence for a connection that ended during the handshake."""
    if offered is None:
        return "the peer closed the connection before it sent a ClientHello"
    return "the peer closed the connection during the handshake"


def describe_silence(offered: ClientHello | None, timeout: float) -> str:
    """Return the sentence for a handshake that did not end within *timeout* seconds."""
    waited_for = "no ClientHello came" if offered is None else "the handshake was not finished"
    return f"{waited_for} within {timeout:g} s"
