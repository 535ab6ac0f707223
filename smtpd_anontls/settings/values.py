"""The configuration as the rest of the program gets it: frozen, checked, with absolute paths."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import timedelta
    from pathlib import Path

    from smtpd_anontls.domain.authentication import ExchangeAuth
    from smtpd_anontls.domain.connector_rules import Violation
    from smtpd_anontls.domain.connectors import Server
    from smtpd_anontls.domain.endpoints import Binding
    from smtpd_anontls.domain.faults import Fault
    from smtpd_anontls.domain.flags import PermissionGroups, StartTlsCertificate
    from smtpd_anontls.domain.ldap_access import LdapAccess
    from smtpd_anontls.domain.protocol_log import Layout
    from smtpd_anontls.domain.retention import Retention
    from smtpd_anontls.domain.scenarios import Scenario
    from smtpd_anontls.domain.syslog_address import SyslogAddress
    from smtpd_anontls.domain.tls_policy import TlsPolicy


@dataclass(frozen=True, slots=True)
class PasswordInEnvironment:
    """The password of a PFX file or of a key stands in an environment variable."""

    name: str


@dataclass(frozen=True, slots=True)
class PasswordInFile:
    """The password of a PFX file or of a key stands in another file."""

    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """One Exchange server, and where its certificates and keys are."""

    server: Server
    certificate_store: Path
    certificate_passwords: Mapping[str, PasswordInEnvironment | PasswordInFile]  # By file name in the store.
    keytab: Path | None
    scenario: Scenario | None  # What its certificate and directory entry are made to show at each start.
    default_certificate: bool  # Whether a first certificate is made where there is none.


@dataclass(frozen=True, slots=True)
class FileDirectorySettings:
    """The embedded directory."""

    path: Path


@dataclass(frozen=True, slots=True)
class LdapDirectorySettings:
    """Active Directory, or AD LDS."""

    access: LdapAccess


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSink:
    """Events go to a file, a line each."""

    format: Literal["jsonl", "windows-xml"]
    path: Path | None  # None: standard output.
    max_size: int  # Bytes, after which a new file begins.
    keep: int  # Files kept beside the current one.


@dataclass(frozen=True, slots=True)
class SyslogSink:
    """Events go to a syslog server."""

    address: SyslogAddress


EventSink = FileSink | SyslogSink


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolLogSettings:
    """The protocol log: its folder, how its rows are written, and what is kept."""

    path: Path
    layout: Layout
    max_age: timedelta | None
    max_directory_size: int | None  # Bytes.
    max_file_size: int  # Bytes.


@dataclass(frozen=True, slots=True)
class CaptureSettings:
    """The journal: its database, and what it keeps."""

    # sqlite:/// with an absolute path, or postgresql://, which may hold a password; None: accept and discard.
    url: str | None = field(repr=False)
    retention: Retention


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthenticationSettings:
    """Who a sender is."""

    credentials: Path | None  # The file of the users of NTLM and LOGIN.
    ntlmv1: bool
    identities: Mapping[str, PermissionGroups] | None  # By identity, in any form and case; None: not written.
    exchange_auth: ExchangeAuth


@dataclass(frozen=True, slots=True)
class WebAuthSettings:
    """Who may use the page and the API: at least one of the two is there."""

    users_file: Path | None  # Lines of user:argon2-hash, for HTTP Basic.
    token_env: str | None  # The environment variable that has the bearer token.


@dataclass(frozen=True, slots=True)
class WebTlsSettings:
    """HTTPS for the page and the API."""

    server: str | None  # Whose store has the certificate; None: the first server's.
    certificate: StartTlsCertificate | str  # How it is chosen, or its thumbprint.


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSettings:
    """The page and the API."""

    bind: Binding | None  # None: there is none.
    auth: WebAuthSettings | None  # None: everybody who can reach it, which is this machine alone.
    tls: WebTlsSettings | None  # None: it speaks HTTP.
    allowed_hosts: tuple[str, ...]  # Beside the bind address and localhost.


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """A whole configuration."""

    path: Path | None  # The file; None: the built-in default.
    text_name: str  # The file as messages name it.
    servers: tuple[ServerSettings, ...]
    directory: FileDirectorySettings | LdapDirectorySettings
    event_log: tuple[EventSink, ...]
    capture: CaptureSettings
    tls: TlsPolicy
    authentication: AuthenticationSettings
    protocol_log: ProtocolLogSettings | None  # None: it is off.
    web: WebSettings
    faults: tuple[Fault, ...]  # That are wanted from the start.
    state_folder: Path  # Where the journal is; without one, where it would be by default.


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule between properties that does not hold: what an administrator must mend before it can serve."""

    line: str  # "FILE: servers[0].connectors[1].fqdn: what is wrong, and what would do"
    violation: Violation
    server: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration whose shape is right, with what else there is to say about it."""

    settings: Settings
    findings: tuple[Finding, ...]
    warnings: tuple[str, ...]
    # For a receiver that runs on: which file to look at, and how to read the same configuration again.
    watched: Path | None = None
    octets: bytes = field(default=b"", repr=False)
    again: Callable[[], Loaded] | None = field(default=None, repr=False, compare=False)
