"""Certificates and selections, as every surface shows them."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Verb = Literal["X-ANONYMOUSTLS", "STARTTLS"]


class Thing(BaseModel):
    """An object of the API, all of whose fields are known."""

    model_config = ConfigDict(extra="forbid")


class Certificate(Thing):
    """A certificate."""

    thumbprint: str = Field(
        description="SHA-1 of the certificate, 40 upper-case hexadecimal digits, as Windows shows it.",
        examples=["5C7A0E6E6D9F0D3D7B5E4C1B2A39485766778899"],
    )
    subject: str = Field(description="Subject, in X.500 form.", examples=["CN=MBX1"])
    issuer: str = Field(description="Issuer, in X.500 form.", examples=["CN=MBX1"])
    serial_number: str = Field(description="Serial number, hexadecimal.", examples=["01"])
    not_before: str = Field(description="Valid from, RFC 3339.", examples=["2026-11-22T12:00:00Z"])
    not_after: str = Field(description="Valid to, RFC 3339.", examples=["2031-11-22T12:00:00Z"])
    subject_alternative_names: list[str] = Field(
        description="DNS names and addresses.", examples=[["MBX1", "mbx1.contoso.test"]]
    )
    self_signed: bool = Field(description="Whether subject and issuer are the same.")


class StoredCertificate(Certificate):
    """A certificate in the local computer store of a server."""

    server: str = Field(description="Whose store it is in.", examples=["MBX1"])
    file: str = Field(description="Its file, relative to the store.", examples=["mbx1.pem"])
    private_key: Literal["usable", "missing", "unreadable", "mismatch", "elsewhere"] = Field(
        description="Whether the store can sign with its private key."
    )
    services: list[str] | None = Field(
        description="Services that it is enabled for; null: services.yaml does not list it, which counts as SMTP.",
        examples=[["SMTP"]],
    )
    internal_transport: bool = Field(
        description="Whether the directory names it as the internal transport certificate of the server."
    )


class DirectoryAnswer(Thing):
    """What the directory says of a server's internal transport certificate."""

    server: str = Field(description="The server.", examples=["MBX1"])
    state: Literal["named", "unset", "unreadable"] = Field(
        description="Whether msExchServerInternalTLSCert names one, is not set, or could not be read."
    )
    thumbprint: str | None = Field(description="The one that it names; null unless the state is named.")
    detail: str | None = Field(description="Why it could not be read, or what else there is to know.")


class Certificates(Thing):
    """The certificates of all servers."""

    items: list[StoredCertificate] = Field(description="By server and file.")
    next: None = Field(description="Always null: the list is whole.")
    directory: list[DirectoryAnswer] = Field(description="What the directory says, one a server.")


class Step(Thing):
    """One step of a selection."""

    step: str = Field(description="Its name.", examples=["directory"])
    passed: bool = Field(description="The answer to the step's own question.")
    detail: str = Field(
        description="One readable sentence.", examples=["ExchangeServer is enabled in AuthMechanism"]
    )


class Selection(Thing):
    """How the certificate of a TLS verb was chosen, step by step."""

    server: str = Field(description="The server.", examples=["MBX1"])
    connector: str = Field(description="The Receive connector.", examples=["Default Frontend MBX1"])
    verb: Verb = Field(description="The verb whose certificate was asked for.")
    advertised: bool = Field(description="Whether EHLO offers the verb.")
    certificate: Certificate | None = Field(
        description="The one chosen; null exactly where nothing is offered."
    )
    steps: list[Step] = Field(description="In their order; a step that was never reached is absent.")
    event_ids: list[int] = Field(description="Events that the selection writes.", examples=[[12015]])
    duration_ms: float = Field(description="How long it took, what it asked of the directory included.")


class Selections(Thing):
    """Selections of several connectors and verbs."""

    items: list[Selection] = Field(description="By server, connector and verb.")
    next: None = Field(description="Always null: the list is whole.")
