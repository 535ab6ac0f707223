"""The shape of the section ``directory``: the embedded directory, or Active Directory over LDAP."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, model_validator

from smtpd_anontls.domain.connectors import Seconds
from smtpd_anontls.domain.ldap_access import BindMethod, LdapAccess, LdapBind, ldap_url
from smtpd_anontls.settings.bind_password import BindPassword
from smtpd_anontls.settings.parsers import (
    Mistake,
    boolean,
    duration,
    enumeration,
    from_text,
    listed,
    optional,
    some_text,
)
from smtpd_anontls.settings.shape import Shape, mistakes_error, read_by
from smtpd_anontls.settings.values import (
    FileDirectorySettings,
    LdapDirectorySettings,
    PasswordInEnvironment,
    PasswordInFile,
)

if TYPE_CHECKING:
    from smtpd_anontls.settings.document import Document

_SECTION = "directory"


class DirectoryType(Enum):
    """What kind of directory there is."""

    FILE = "file"
    LDAP = "ldap"


class BindShape(Shape):
    """Who reads the directory."""

    method: Annotated[BindMethod, read_by(enumeration(BindMethod))] = Field(
        default=BindMethod.SIMPLE,
        description="simple: user and password; gssapi: Kerberos, with the process's keytab or credential cache; "
        "anonymous.",
    )
    user: Annotated[str | None, read_by(some_text)] = Field(
        default=None,
        description="UPN such as reader@contoso.test, or DN; of gssapi a principal, null: the default one.",
    )
    password_file: Annotated[str | None, read_by(some_text)] = Field(
        default=None, description="File that holds the password, on one line; read at each bind."
    )
    password_env: Annotated[str | None, read_by(some_text)] = Field(
        default=None, description="Environment variable that holds it."
    )
    allow_clear: Annotated[bool, read_by(boolean)] = Field(
        default=False, description="Let a simple bind send the password without TLS."
    )

    @model_validator(mode="after")
    def _one_password(self) -> BindShape:
        if self.password_file is not None and self.password_env is not None:
            raise mistakes_error(
                [Mistake(("password_env",), "goes without password_file; write one of them")]
            )
        return self


class DirectoryShape(Shape):
    """Where msExchServerInternalTLSCert is read."""

    type: Annotated[DirectoryType, read_by(enumeration(DirectoryType))] = Field(
        default=DirectoryType.FILE,
        description="file: the embedded directory; ldap: Active Directory, or AD LDS of an Edge server.",
    )
    path: Annotated[str, read_by(some_text)] = Field(
        default="directory.yaml", description="Of file: the file of the embedded directory."
    )
    urls: Annotated[tuple[str, ...], read_by(listed(from_text(ldap_url)))] = Field(
        default=(),
        description="Of ldap, which needs it: domain controllers, the preferred one first: "
        "[ldaps://dc1.contoso.test, ldaps://dc2.contoso.test].",
    )
    bind: BindShape = Field(default=BindShape(), description="Of ldap: who reads.")
    ca_file: Annotated[str | None, read_by(optional(some_text))] = Field(
        default=None,
        description="Of ldap: PEM file of the authorities that issued the servers' certificates; "
        "null: those that this machine trusts.",
    )
    start_tls: Annotated[bool, read_by(boolean)] = Field(
        default=False, description="Of ldap: begin TLS on ldap:// before the bind."
    )
    configuration_dn: Annotated[str | None, read_by(optional(some_text))] = Field(
        default=None,
        description="Of ldap: DN of the configuration naming context; null: what rootDSE names.",
    )
    organization: Annotated[str | None, read_by(optional(some_text))] = Field(
        default=None, description="Of ldap: name of the Exchange organization; null: the only one there is."
    )
    edge: Annotated[bool, read_by(boolean)] = Field(
        default=False, description="Of ldap: the server is AD LDS on an Edge Transport server."
    )
    connect_timeout: Annotated[Seconds, read_by(duration(positive=True))] = Field(
        default=Seconds(5.0), description="Of ldap: longest connect, TLS and bind."
    )
    search_timeout: Annotated[Seconds, read_by(duration(positive=True))] = Field(
        default=Seconds(5.0), description="Of ldap: longest search."
    )
    cache_seconds: Annotated[Seconds, read_by(duration())] = Field(
        default=Seconds(0.0), description="Of ldap: how old an answer may be; 0: every session asks."
    )
    change_notification: Annotated[bool, read_by(boolean)] = Field(
        default=False,
        description="Of ldap, with cache_seconds: forget a kept answer as soon as Active Directory tells of a change.",
    )

    @model_validator(mode="after")
    def _keys_of_its_type(self) -> DirectoryShape:
        if self.type is DirectoryType.FILE:
            needless = self.model_fields_set - {"type", "path"}
            belongs = "a directory of type ldap"
        else:
            needless = self.model_fields_set & {"path"}
            belongs = "a directory of type file"
        # In the order in which the reference has them.
        found = [
            Mistake((key,), f"belongs to {belongs}; remove it")
            for key in type(self).model_fields
            if key in needless
        ]
        if self.type is DirectoryType.LDAP:
            found += [Mistake(place, wrong) for place, wrong in _access(self, None).mistakes()]
        if found:
            raise mistakes_error(found)
        return self


def directory_settings_of(
    document: Document, shape: DirectoryShape
) -> FileDirectorySettings | LdapDirectorySettings:
    """Return the values of *shape*, its paths made absolute as *document* says."""
    if shape.type is DirectoryType.FILE:
        return FileDirectorySettings(document.absolute((_SECTION, "path"), shape.path))
    return LdapDirectorySettings(_access(shape, document))


def _access(shape: DirectoryShape, document: Document | None) -> LdapAccess:
    """Return how the directory is reached; without *document* paths stay as they are written."""
    ca_file = shape.ca_file
    if ca_file is not None and document is not None:
        ca_file = str(document.absolute((_SECTION, "ca_file"), ca_file))
    return LdapAccess(
        urls=shape.urls,
        bind=LdapBind(
            shape.bind.method, shape.bind.user, _password(shape.bind, document), shape.bind.allow_clear
        ),
        ca_file=ca_file,
        start_tls=shape.start_tls,
        configuration_dn=shape.configuration_dn,
        organization=shape.organization,
        edge=shape.edge,
        connect_timeout=shape.connect_timeout,
        search_timeout=shape.search_timeout,
        cache_seconds=shape.cache_seconds,
        change_notification=shape.change_notification,
    )


def _password(shape: BindShape, document: Document | None) -> BindPassword | None:
    if shape.password_file is not None:
        file = Path(shape.password_file)
        if document is not None:
            file = document.absolute((_SECTION, "bind", "password_file"), shape.password_file)
        return BindPassword(PasswordInFile(file))
    if shape.password_env is not None:
        return BindPassword(PasswordInEnvironment(shape.password_env))
    return None
