"""Commands of the Exchange Management Shell, as they can be pasted there."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smtpd_anontls.domain.connectors import ReceiveConnector, Server

# Parameters that are not simply the property in camel case.
_SPELLED = {
    "remote_ip_ranges": "RemoteIPRanges",
    "suppress_x_anonymous_tls": "SuppressXAnonymousTls",
    "require_ehlo_domain": "RequireEHLODomain",
    "require_tls": "RequireTLS",
    "enable_auth_gssapi": "EnableAuthGSSAPI",
    "smtp_utf8_enabled": "SmtpUtf8Enabled",
    "binary_mime_enabled": "BinaryMimeEnabled",
}
# What there is no parameter for, since it is this receiver's own.
_OWN = frozenset({"proxy_protocol", "trusted_proxies", "request_client_certificate"})


def quoted(text: str) -> str:
    """Return *text* as a literal of PowerShell; a quotation mark in it is doubled."""
    # PowerShell takes the typographic ones for the plain one.
    for mark in "'\u2018\u2019\u201a\u201b":
        text = text.replace(mark, mark * 2)
    return f"'{text}'"


def identity(server: Server, connector: ReceiveConnector) -> str:
    r"""Return what names a connector: ``'MBX1\Default Frontend MBX1'``."""
    return quoted(f"{server.name}\\{connector.name}")


def certificate_command(cmdlet: str, server: Server, thumbprint: str, more: str = "") -> str:
    """Return *cmdlet* for one certificate of *server*."""
    return f"{cmdlet} -Server {quoted(server.name)} -Thumbprint {thumbprint} {more}".rstrip()


def new_internal_certificate(server: Server) -> str:
    """Return what makes a self-signed certificate the internal transport certificate; Yes to its question does it."""
    return f"New-ExchangeCertificate -Server {quoted(server.name)} -Services SMTP"


def property_command(server: Server, connector: ReceiveConnector, name: str) -> str:
    """Return what sets the property *name* (in snake case); the value is the administrator's to say.

    A connector's FQDN can only be one of three names, so it is said.
    """
    if name in _OWN:
        return f"smtpd-anontls connector set {quoted(connector.name)} --{name.replace('_', '-')} …"
    parameter = _SPELLED.get(name, "".join(part.capitalize() for part in name.split("_")))
    value = quoted(server.fqdn) if name == "fqdn" else "…"
    return f"Set-ReceiveConnector {identity(server, connector)} -{parameter} {value}"
