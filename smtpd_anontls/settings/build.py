"""From a model whose shape is right to the values that the rest of the program gets."""

from __future__ import annotations

from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from smtpd_anontls.domain.retention import Retention
from smtpd_anontls.domain.tls_policy import TlsPolicy
from smtpd_anontls.settings.directory_shape import directory_settings_of
from smtpd_anontls.settings.fault_shape import faults_of
from smtpd_anontls.settings.shape import NotYetHonoured, Shape
from smtpd_anontls.settings.shapes import EventFormat, server_of
from smtpd_anontls.settings.values import (
    AuthenticationSettings,
    CaptureSettings,
    FileSink,
    PasswordInEnvironment,
    PasswordInFile,
    ProtocolLogSettings,
    ServerSettings,
    Settings,
    SyslogSink,
    WebAuthSettings,
    WebSettings,
    WebTlsSettings,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from smtpd_anontls.settings.document import Document, Keys
    from smtpd_anontls.settings.shapes import (
        AuthenticationShape,
        CaptureShape,
        ConfigShape,
        EventSinkShape,
        PasswordShape,
        ProtocolLogShape,
        ServerShape,
        WebShape,
    )
    from smtpd_anontls.settings.values import EventSink

_SQLITE = "sqlite:///"


def settings_of(document: Document, shape: ConfigShape, machine_fqdn: str) -> Settings:
    """Return the values of *shape*, its paths made absolute as *document* says."""
    return Settings(
        path=document.path,
        text_name=document.name,
        servers=tuple(
            _server(document, ("servers", position), server, machine_fqdn)
            for position, server in enumerate(shape.servers)
        ),
        directory=directory_settings_of(document, shape.directory),
        event_log=tuple(
            _sink(document, _event_log_place(document, position), sink)
            for position, sink in enumerate(shape.event_log)
        ),
        capture=_capture(document, shape.capture),
        tls=TlsPolicy(shape.tls.minimum, shape.tls.maximum, shape.tls.ciphers, shape.tls.handshake_timeout),
        authentication=_authentication(document, shape.authentication),
        protocol_log=_protocol_log(document, shape.protocol_log),
        web=_web(document, shape.web),
        faults=faults_of(shape.faults),
        state_folder=_state_folder(document, shape.capture),
    )


def not_yet_honoured(shape: Shape, where: Keys = ()) -> Iterator[Keys]:
    """Yield every key that was written, would make a difference, and makes none yet."""
    for name, declared in type(shape).model_fields.items():
        if name not in shape.model_fields_set:
            continue
        value = getattr(shape, name)
        marks = [mark for mark in declared.metadata if isinstance(mark, NotYetHonoured)]
        if any(value != mark.harmless for mark in marks):
            yield (*where, name)
        elif isinstance(value, Shape):
            yield from not_yet_honoured(value, (*where, name))
        elif isinstance(value, list):
            for position, item in enumerate(value):
                yield from not_yet_honoured(item, (*where, name, position))


def _server(document: Document, where: Keys, shape: ServerShape, machine_fqdn: str) -> ServerSettings:
    keytab = shape.keytab
    return ServerSettings(
        server=server_of(shape, machine_fqdn),
        certificate_store=document.absolute((*where, "certificate_store"), shape.certificate_store),
        certificate_passwords=MappingProxyType(
            {
                name: _password(document, (*where, "certificate_passwords", name), password)
                for name, password in shape.certificate_passwords.items()
            }
        ),
        keytab=None if keytab is None else document.absolute((*where, "keytab"), keytab),
        scenario=shape.scenario,
        default_certificate=shape.default_certificate,
    )


def _password(
    document: Document, where: Keys, shape: PasswordShape
) -> PasswordInEnvironment | PasswordInFile:
    if shape.file is not None:
        return PasswordInFile(document.absolute((*where, "file"), shape.file))
    return PasswordInEnvironment(shape.env or "")


def _event_log_place(document: Document, position: int) -> Keys:
    # One sink may stand there without a list around it.
    return ("event_log", position) if isinstance(document.content.get("event_log"), list) else ("event_log",)


def _sink(document: Document, where: Keys, shape: EventSinkShape) -> EventSink:
    if shape.address is not None:
        return SyslogSink(shape.address)
    written = shape.path
    if shape.format is EventFormat.WINDOWS_XML and "path" not in shape.model_fields_set:
        written = written.replace(".jsonl", ".xml")
    path = None if written == "-" else document.absolute((*where, "path"), written)
    kind: Literal["jsonl", "windows-xml"] = (
        "windows-xml" if shape.format is EventFormat.WINDOWS_XML else "jsonl"
    )
    return FileSink(format=kind, path=path, max_size=shape.max_size, keep=shape.keep)


def _protocol_log(document: Document, shape: ProtocolLogShape) -> ProtocolLogSettings | None:
    if shape.path is None:
        return None
    age = shape.max_age
    return ProtocolLogSettings(
        path=document.absolute(("protocol_log", "path"), shape.path),
        layout=shape.layout,
        # An age that no timedelta can hold is none that a file can have.
        max_age=None if age is None or age >= timedelta.max.total_seconds() else timedelta(seconds=age),
        max_directory_size=shape.max_directory_size,
        max_file_size=shape.max_file_size,
    )


def _capture(document: Document, shape: CaptureShape) -> CaptureSettings:
    url = shape.url
    if url is not None and url.startswith(_SQLITE):
        url = _SQLITE + str(document.absolute(("capture", "url"), url.removeprefix(_SQLITE)))
    kept = shape.retention
    return CaptureSettings(url, Retention() if kept is None else Retention(**kept.model_dump()))


def _authentication(document: Document, shape: AuthenticationShape) -> AuthenticationSettings:
    written, identities = shape.credentials, shape.identities
    return AuthenticationSettings(
        credentials=None
        if written is None
        else document.absolute(("authentication", "credentials"), written),
        ntlmv1=shape.ntlmv1,
        identities=None if identities is None else MappingProxyType(identities),
        exchange_auth=shape.exchange_auth,
    )


def _web(document: Document, shape: WebShape) -> WebSettings:
    auth = None
    if shape.auth is not None:
        written = shape.auth.users_file
        users_file = None if written is None else document.absolute(("web", "auth", "users_file"), written)
        auth = WebAuthSettings(users_file, shape.auth.token_env)
    tls = None if shape.tls is None else WebTlsSettings(shape.tls.server, shape.tls.certificate)
    return WebSettings(bind=shape.bind, auth=auth, tls=tls, allowed_hosts=shape.allowed_hosts)


def _state_folder(document: Document, shape: CaptureShape) -> Path:
    if shape.url is None or not shape.url.startswith(_SQLITE):
        return document.absolute((), "../var")
    return document.absolute(("capture", "url"), shape.url.removeprefix(_SQLITE)).parent
