"""Dumps as Export-Clixml writes them, made of plain text: whole cmdlets for tests that need more than the real ones.

Properties come as Python values; an object that a session did not know the type of has ``Deserialized.`` before it.
"""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape, quoteattr

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

REAL = Path(__file__).parent / "data" / "exchange-export"
REAL_CONNECTORS = REAL / "receive-connectors.xml"
REAL_CERTIFICATES = REAL / "certificates.xml"
REAL_SERVER = "WIN-CTD3L0RGEN4"
# The one that Exchange's setup made; the dump has it enabled for IMAP, POP and IIS.
REAL_THUMBPRINT = "611C687DFC4343A5A03E0005A1EC6E9B6AFF586D"

CONNECTOR = "Microsoft.Exchange.Data.Directory.SystemConfiguration.ReceiveConnector"
CERTIFICATE = "Microsoft.Exchange.Management.SystemConfigurationTasks.ExchangeCertificate"
X509 = "System.Security.Cryptography.X509Certificates.X509Certificate2"
TRANSPORT = "Microsoft.Exchange.Data.Directory.Management.TransportServer"
SERVER = "Microsoft.Exchange.Data.Directory.Management.ExchangeServer"
MAILBOX = "Microsoft.Exchange.Data.Directory.Management.Mailbox"

_HEAD = '<Objs Version="1.1.0.1" xmlns="http://schemas.microsoft.com/powershell/2004/04">'

Property = None | bool | int | str | bytes | list[str]


class Text(str):
    """A property that is an object with a text of its own, as Exchange's own types are."""

    __slots__ = ()


def dump(*objects: str) -> str:
    """Return the text of a file."""
    return f"{_HEAD}{''.join(objects)}</Objs>"


def an_object(kind: str, properties: Mapping[str, Property], *, prefix: str = "", text: str = "") -> str:
    """Return an object of the type *kind*."""
    inner = "".join(_element(name, value) for name, value in properties.items())
    types = f"<TN><T>{prefix}{kind}</T><T>{prefix}System.Object</T></TN>".replace("<TN>", '<TN RefId="0">')
    return f'<Obj RefId="0">{types}<ToString>{escape(text)}</ToString><Props>{inner}</Props></Obj>'


def _element(name: str, value: Property) -> str:
    named = f"N={quoteattr(name)}"
    match value:
        case None:
            return f"<Nil {named} />"
        case bool():
            return f"<B {named}>{str(value).lower()}</B>"
        case int():
            return f"<I32 {named}>{value}</I32>"
        case bytes():
            return f"<BA {named}>{base64.b64encode(value).decode()}</BA>"
        case list():
            items = "".join(f"<S>{escape(item)}</S>" for item in value)
            return f"<Obj {named}><LST>{items}</LST></Obj>"
        case Text():
            return f"<Obj {named}><ToString>{escape(value)}</ToString></Obj>"
    return f"<S {named}>{escape(value)}</S>"


USUAL: Mapping[str, Property] = {
    "Name": "Default Frontend MBX1",
    "Server": Text("MBX1"),
    "AuthMechanism": Text("Tls, Integrated, BasicAuth, BasicAuthRequireTLS, ExchangeServer"),
    "PermissionGroups": Text("AnonymousUsers, ExchangeServers, ExchangeLegacyServers"),
    "Bindings": ["0.0.0.0:25", "[::]:25"],
    "RemoteIPRanges": ["0.0.0.0-255.255.255.255", "::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
    "Fqdn": Text("mbx1.contoso.test"),
    "Enabled": True,
    "TransportRole": Text("FrontendTransport"),
}


def a_connector(changed: Mapping[str, Property] | None = None, *, prefix: str = "", **more: Property) -> str:
    """Return a Receive connector of MBX1, with *changed* properties and *more*."""
    return an_object(CONNECTOR, {**USUAL, **(changed or {}), **more}, prefix=prefix)


def a_certificate(der: bytes, told: Mapping[str, Property] | None = None, **more: Property) -> str:
    """Return a certificate as a session that does not know its type exports it."""
    usual: dict[str, Property] = {
        "RawData": der,
        "Services": Text("SMTP"),
        "Status": Text("Valid"),
        "HasPrivateKey": True,
    }
    return an_object(CERTIFICATE, {**usual, **(told or {}), **more}, prefix="Deserialized.")


def a_transport_service(thumbprint: str | None, name: str = "MBX1") -> str:
    """Return what Get-TransportService says of a server."""
    return an_object(TRANSPORT, {"Name": name, "InternalTransportCertificateThumbprint": thumbprint})


def with_services(text: str, thumbprints: Sequence[str], services: int) -> str:
    """Return a dump of real certificates with other services, which only their binary streams have.

    *services* is the number: IMAP 1, POP 2, UM 4, IIS 8, SMTP 16.
    """
    mark = re.escape(b"AllowedServices\x01\x00\x00\x00\x07value__\x00\x08\x02\x00\x00\x00")

    def changed(found: re.Match[str]) -> str:
        stream = base64.b64decode(found[1])
        if not any(thumbprint.encode() in stream for thumbprint in thumbprints):
            return found[0]
        number = services.to_bytes(4, "little")
        stream, count = re.subn(b"(" + mark + b").{4}", lambda m: m[1] + number, stream, flags=re.DOTALL)
        assert count == 1
        return f'<BA N="SerializationData">{base64.b64encode(stream).decode()}</BA>'

    return re.sub(r'<BA N="SerializationData">([^<]*)</BA>', changed, text)


def write(folder: Path, **files: str | bytes) -> Path:
    """Write files into *folder*, ``a_xml`` as ``a.xml``, and return it."""
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        path = folder / ".".join(name.rsplit("_", 1))
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder
