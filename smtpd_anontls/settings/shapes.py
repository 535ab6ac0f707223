"""The shape of the configuration: every key with its type, its default and its meaning.

The keys of a Receive connector stand in ``connector_shape``, those of the directory in
``directory_shape``, all others here.  The configuration
reference is made from these models.  What a model cannot say, because it lies between two keys,
is in ``rules``.
"""

from __future__ import annotations

import types
from enum import Enum
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BeforeValidator, Field, model_validator

from smtpd_anontls.domain.authentication import ExchangeAuth
from smtpd_anontls.domain.connectors import Bytes, Seconds, Server
from smtpd_anontls.domain.database_url import shown_database_url
from smtpd_anontls.domain.endpoints import Binding
from smtpd_anontls.domain.flags import PermissionGroups, ServerRole, StartTlsCertificate
from smtpd_anontls.domain.protocol_log import Layout
from smtpd_anontls.domain.scenarios import Scenario
from smtpd_anontls.domain.syslog_address import SyslogAddress
from smtpd_anontls.domain.tls_policy import TlsVersion
from smtpd_anontls.settings.connector_shape import ConnectorShape, connector_of
from smtpd_anontls.settings.directory_shape import DirectoryShape
from smtpd_anontls.settings.fault_shape import FaultShape  # noqa: TC001 - pydantic reads it
from smtpd_anontls.settings.parsers import (
    Mistake,
    WrongValueError,
    boolean,
    byte_size,
    duration,
    enumeration,
    flags,
    from_text,
    host_label,
    host_name,
    listed,
    mapped,
    optional,
    some_text,
    thumbprint,
    whole_number,
)
from smtpd_anontls.settings.shape import Shape, mistakes_error, read_by


class PasswordShape(Shape):
    """Where the password of a PFX file or of a key stands: in an environment variable or in a file."""

    env: Annotated[str | None, read_by(some_text)] = Field(
        default=None, description="Environment variable that holds it."
    )
    file: Annotated[str | None, read_by(some_text)] = Field(default=None, description="File that holds it.")

    @model_validator(mode="after")
    def _one_of_them(self) -> PasswordShape:
        if (self.env is None) == (self.file is None):
            raise WrongValueError("write either env or file")
        return self


class ServerShape(Shape):
    """An Exchange server."""

    name: Annotated[str, read_by(host_label)] = Field(
        description="Host label; the CN of its object in the directory."
    )
    fqdn: Annotated[str | None, read_by(optional(host_name))] = Field(
        default=None, description="Fully qualified domain name. null: this machine's."
    )
    role: Annotated[ServerRole, read_by(enumeration(ServerRole))] = Field(
        default=ServerRole.Mailbox, description="Mailbox, or Edge beside the forest."
    )
    certificate_store: Annotated[str, read_by(some_text)] = Field(
        default="../certs", description="Folder of the local computer store."
    )
    certificate_passwords: dict[str, PasswordShape] = Field(
        {},
        description="Passwords of PFX files and of encrypted keys, by file name in the store: "
        "{mbx1.pfx: {env: NAME}} or {mbx1.key: {file: path}}.",
    )
    expiry_warning_days: Annotated[int, read_by(whole_number(most=36500))] = Field(
        default=30, description="Days before Valid to from which events 12017 and 12018 warn."
    )
    ephemeral_fallback: Annotated[bool, read_by(boolean)] = Field(
        default=False,
        description="Where the certificate that the directory names cannot be loaded, use one made for the "
        "moment, self-signed and kept in memory (12024 in place of 12013).",
    )
    keytab: Annotated[str | None, read_by(optional(some_text))] = Field(
        default=None, description="Kerberos keys of SMTPSVC/<fqdn>."
    )
    scenario: Annotated[Scenario | None, read_by(optional(enumeration(Scenario)))] = Field(
        default=None,
        description="At each start, make the certificate and the directory entry that show this scenario, "
        "where they no longer do.",
    )
    default_certificate: Annotated[bool, read_by(boolean)] = Field(
        default=False,
        description="At start, where the store holds no certificate and the directory has no entry for the "
        "server, make the self-signed certificate that Exchange's setup makes, and its directory entry.",
    )
    connectors: list[ConnectorShape] = Field([], description="Its Receive connectors.")


class EventFormat(Enum):
    """How events are written."""

    JSONL = "jsonl"
    WINDOWS_XML = "windows-xml"
    SYSLOG = "syslog"


def _capture_url(value: Any) -> str:
    url = some_text(value)
    scheme, separator, rest = url.partition("://")
    if separator and scheme.casefold().partition("+")[0] in ("postgresql", "postgres"):
        try:
            shown_database_url(url)
        except ValueError as error:
            raise WrongValueError(str(error)) from None
        return url
    # The rest may hold a password, so it is not repeated.
    if scheme != "sqlite" or not rest.startswith("/"):
        raise WrongValueError(
            "not a database URL; write sqlite:///path, postgresql://user@host/database, or null to keep nothing"
        )
    if rest in ("/", "/:memory:") or "?" in rest:
        raise WrongValueError("names no file; write sqlite:///path, or null to keep nothing")
    return url


class EventSinkShape(Shape):
    """A sink of the event log."""

    format: Annotated[EventFormat, read_by(enumeration(EventFormat))] = Field(
        default=EventFormat.JSONL,
        description="jsonl: one JSON object a line; windows-xml: one Event element a line, as Event Viewer "
        "saves it; syslog: RFC 5424.",
    )
    path: Annotated[str, read_by(some_text)] = Field(
        default="../var/application.jsonl",
        description="File; - is standard output. Of windows-xml: ../var/application.xml.",
    )
    max_size: Annotated[Bytes, read_by(byte_size(least=1024))] = Field(
        default=Bytes(100 * 1024**2), description="Size after which a new file begins."
    )
    keep: Annotated[int, read_by(whole_number(most=10_000))] = Field(
        default=5, description="Older files kept beside the current one."
    )
    address: Annotated[SyslogAddress | None, read_by(from_text(SyslogAddress.parse))] = Field(
        default=None,
        description="Of syslog, which needs it and none of the three above: udp://host:514, tcp://host:514 or "
        "unix:///dev/log.",
    )

    @model_validator(mode="after")
    def _keys_of_its_format(self) -> EventSinkShape:
        to_server = self.format is EventFormat.SYSLOG
        needless = self.model_fields_set & ({"path", "max_size", "keep"} if to_server else {"address"})
        belongs = "a sink that writes a file" if to_server else "a sink of format syslog"
        found = [Mistake((key,), f"belongs to {belongs}; remove it") for key in sorted(needless)]
        if to_server and self.address is None:
            found.append(Mistake(("address",), "is missing; write one such as udp://127.0.0.1:514"))
        if found:
            raise mistakes_error(found)
        return self


def _layout(value: Any) -> Layout:
    # YAML reads 2013 as a number.
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return enumeration(Layout)(str(value) if is_number else value)


class ProtocolLogShape(Shape):
    """The protocol log: what Receive connectors with protocol_logging_level Verbose do, as Exchange writes it."""

    path: Annotated[str | None, read_by(optional(some_text))] = Field(
        default="../var/protocol-log", description="Folder of RECVyyyymmddhh-n.LOG files; null turns it off."
    )
    layout: Annotated[Layout, read_by(_layout)] = Field(
        default=Layout.CURRENT,
        description="current: rows as Exchange 2016 and later write them; 2013: as Exchange 2010 and 2013 do, with a "
        "row for each line of a reply, each fact of a certificate, and the session's permissions.",
    )
    max_age: Annotated[Seconds | None, read_by(optional(duration(positive=True)))] = Field(
        default=Seconds(30 * 86400.0), description="Age from which a file is removed. null: no limit."
    )
    max_directory_size: Annotated[Bytes | None, read_by(optional(byte_size(least=1024)))] = Field(
        default=Bytes(250 * 1024**2),
        description="Size of all such files together; the oldest are removed. null: no limit.",
    )
    max_file_size: Annotated[Bytes, read_by(byte_size(least=1024))] = Field(
        default=Bytes(10 * 1024**2), description="Size after which a new file begins, as it does each hour."
    )

    @model_validator(mode="after")
    def _a_file_fits(self) -> ProtocolLogShape:
        # Set-TransportService: a log file is no larger than its directory.
        if self.max_directory_size is not None and self.max_file_size > self.max_directory_size:
            raise mistakes_error(
                [
                    Mistake(
                        ("max_file_size",),
                        "is more than max_directory_size; write a size that is not",
                    )
                ]
            )
        return self


class RetentionShape(Shape):
    """What the journal keeps; nothing else removes acknowledged mail. null: no limit."""

    messages: Annotated[int | None, read_by(optional(whole_number()))] = Field(
        default=100_000, description="Messages kept, the newest."
    )
    sessions: Annotated[int | None, read_by(optional(whole_number()))] = Field(
        default=200_000, description="Sessions kept, the newest."
    )
    age: Annotated[Seconds | None, read_by(optional(duration()))] = Field(
        default=Seconds(30 * 86400.0), description="Age up to which messages, sessions and events are kept."
    )
    size: Annotated[Bytes | None, read_by(optional(byte_size()))] = Field(
        default=Bytes(10 * 1024**3), description="Size of all messages together."
    )


class CaptureShape(Shape):
    """The journal: sessions, messages and events."""

    url: Annotated[str | None, read_by(optional(_capture_url))] = Field(
        default="sqlite:///../var/capture.db",
        description="sqlite:///path, or postgresql://user@host:port/database, which several receivers may share "
        "(extra: postgres). null: accept and discard; the last 1,000 sessions and events stay in memory.",
    )
    retention: RetentionShape | None = Field(
        default=RetentionShape(), description="What is kept; null: everything."
    )


class TlsShape(Shape):
    """TLS, for both verbs, on every connector."""

    minimum: Annotated[TlsVersion, read_by(enumeration(TlsVersion))] = Field(
        default=TlsVersion.TLSv1_2, description="Oldest version: TLSv1, TLSv1.1, TLSv1.2 or TLSv1.3."
    )
    maximum: Annotated[TlsVersion, read_by(enumeration(TlsVersion))] = Field(
        default=TlsVersion.TLSv1_2, description="Newest version; Exchange speaks no TLS 1.3 on SMTP."
    )
    ciphers: Annotated[str | None, read_by(optional(some_text))] = Field(
        default=None, description="OpenSSL cipher string; null: Exchange's list."
    )
    handshake_timeout: Annotated[Seconds, read_by(duration(positive=True))] = Field(
        default=Seconds(30.0), description="Longest handshake."
    )


class AuthenticationShape(Shape):
    """Who a sender is."""

    credentials: Annotated[str | None, read_by(optional(some_text))] = Field(
        default=None, description="File of the users of NTLM and LOGIN, made by `credential add`."
    )
    ntlmv1: Annotated[bool, read_by(boolean)] = Field(default=False, description="Take NTLM version 1.")
    identities: Annotated[
        dict[str, PermissionGroups] | None, read_by(optional(mapped(flags(PermissionGroups))))
    ] = Field(default=None, description="Groups by identity: {'CONTOSO\\MBX2$': [ExchangeServers]}.")
    exchange_auth: Annotated[ExchangeAuth, read_by(enumeration(ExchangeAuth))] = Field(
        default=ExchangeAuth.OFF, description="What X-EXPS EXCHANGEAUTH meets: off or observe."
    )


class WebAuthShape(Shape):
    """Who may see the page."""

    users_file: Annotated[str | None, read_by(optional(some_text))] = Field(
        default=None, description="File of users for HTTP Basic, one user:argon2-hash a line."
    )
    token_env: Annotated[str | None, read_by(optional(some_text))] = Field(
        default=None, description="Environment variable with the token of HTTP Bearer."
    )


def _page_certificate(value: Any) -> StartTlsCertificate | str:
    try:
        return enumeration(StartTlsCertificate)(value)
    except ValueError as error:
        try:
            return thumbprint(value)
        except WrongValueError:
            raise WrongValueError(f"{error}, or a thumbprint of 40 hexadecimal digits") from None


class WebTlsShape(Shape):
    """The page and the API over HTTPS."""

    server: Annotated[str | None, read_by(optional(host_label))] = Field(
        default=None, description="Whose local computer store has the certificate; null: the first server's."
    )
    certificate: Annotated[StartTlsCertificate | str, read_by(_page_certificate)] = Field(
        default=StartTlsCertificate.by_name,
        description="by_name: the one that STARTTLS would present by the server's FQDN. internal_transport: the "
        "X-ANONYMOUSTLS certificate. Or a thumbprint.",
    )


class WebShape(Shape):
    """The page and the API."""

    bind: Annotated[Binding | None, read_by(optional(from_text(Binding.parse)))] = Field(
        default=Binding.parse("127.0.0.1:8025"), description="Address and port; null turns it off."
    )
    auth: WebAuthShape | None = Field(
        default=None, description="Who may use it; needed for any address that is not loopback."
    )
    tls: WebTlsShape | None = Field(
        default=None, description="HTTPS, with a certificate of a local computer store; null: HTTP."
    )
    allowed_hosts: Annotated[tuple[str, ...], read_by(listed(host_name))] = Field(
        default=(), description="Host names beside the bind address and localhost."
    )


class ConfigShape(Shape):
    """A configuration file."""

    servers: Annotated[list[ServerShape], Field(min_length=1)] = Field(
        description="The Exchange servers that this process stands for."
    )
    directory: DirectoryShape = Field(
        default=DirectoryShape(), description="Where msExchServerInternalTLSCert is read."
    )
    event_log: Annotated[
        list[EventSinkShape],
        BeforeValidator(lambda sinks: [sinks] if isinstance(sinks, dict) else sinks),
    ] = Field([EventSinkShape()], description="A list of sinks, or one.")
    protocol_log: ProtocolLogShape = Field(default=ProtocolLogShape(), description="The protocol log.")
    capture: CaptureShape = Field(
        default=CaptureShape(), description="The journal: sessions, messages and events."
    )
    tls: TlsShape = Field(default=TlsShape(), description="TLS, for both verbs, on every connector.")
    authentication: AuthenticationShape = Field(default=AuthenticationShape(), description="Who a sender is.")
    web: WebShape = Field(default=WebShape(), description="The page and the API.")
    faults: list[FaultShape] = Field([], description="Faults on demand, so that senders can be tested.")


def server_of(shape: ServerShape, machine_fqdn: str) -> Server:
    """Return the value of a server whose shape is right."""
    return Server(
        name=shape.name,
        fqdn=shape.fqdn or machine_fqdn,
        role=shape.role,
        connectors=tuple(map(connector_of, shape.connectors)),
        expiry_warning_days=shape.expiry_warning_days,
        ephemeral_fallback=shape.ephemeral_fallback,
    )


def shape_at(keys: tuple[str, ...], model: type[Shape] = ConfigShape) -> type[Shape]:
    """Return the model of the mapping at *keys* of *model*, list positions left out."""
    for key in keys:
        # Else it is a name of the user's own, as in certificate_passwords.
        if key in model.model_fields:
            model = _model_in(model.model_fields[key].annotation) or model
    return model


def _model_in(annotation: Any) -> type[Shape] | None:
    if isinstance(annotation, type) and issubclass(annotation, Shape):
        return annotation
    if get_origin(annotation) in (list, tuple, dict, Union, types.UnionType, Annotated):
        return next(filter(None, map(_model_in, get_args(annotation))), None)
    return None
