"""Sessions, messages and events, as every surface shows them."""

from typing import Literal

from pydantic import Field

from smtpd_anontls.domain.records import Outcome
from smtpd_anontls.web.api.faults import FiredFault
from smtpd_anontls.web.api.selections import Selection, Thing, Verb

_TIME = "2026-11-25T12:00:00.000Z"
_SESSION = "0123456789abcdef"
_NEXT = "Goes into `cursor` for the items behind these; null: there are none."


class Message(Thing):
    """A message that was acknowledged."""

    id: int = Field(description="The InternalId of its 250.", examples=[1])
    time: str = Field(description="When it was taken, RFC 3339, UTC.", examples=[_TIME])
    server: str = Field(description="The server that took it.", examples=["MBX1"])
    connector: str = Field(description="The Receive connector.", examples=["Default Frontend MBX1"])
    session_id: str = Field(description="Its session.", examples=[_SESSION])
    run: str | None = Field(
        description="What X-Run-Id says, else the +tag of a recipient; null: neither.", examples=["ci-1234"]
    )
    sender: str = Field(description="Of MAIL FROM; empty: the null sender.", examples=["a@example.test"])
    recipients: list[str] = Field(description="Of RCPT TO, in their order.", examples=[["b@contoso.test"]])
    subject: str | None = Field(description="Subject, decoded; null: it has none.", examples=["Hello"])
    message_id: str | None = Field(
        description="Message-ID; null: no usable one.", examples=["<1@example.test>"]
    )
    size: int = Field(description="In octets.", examples=[512])
    verb: Verb | None = Field(description="The TLS verb under which it came; null: in clear.")


class Header(Thing):
    """One header field."""

    name: str = Field(description="As it was written.", examples=["Subject"])
    value: str = Field(description="Unfolded, not decoded.", examples=["Hello"])


class Part(Thing):
    """One part of a message that has no parts of its own."""

    number: int = Field(description="From 1 on, in the order of the message.", examples=[1])
    content_type: str = Field(description="As the part declares it.", examples=["text/plain"])
    charset: str | None = Field(description="As the part declares it.", examples=["utf-8"])
    filename: str | None = Field(description="As the part declares it.", examples=["report.pdf"])
    content_id: str | None = Field(description="Its Content-ID.", examples=["<logo@example.test>"])
    disposition: str | None = Field(description="inline, attachment, or what else it says.")
    size: int = Field(description="In octets, decoded.", examples=[128])


class WholeMessage(Message):
    """A message with its envelope's parameters, its header and its parts."""

    mail_parameters: dict[str, str | None] = Field(
        description="Parameters of MAIL FROM; null: one without a value.", examples=[{"SIZE": "512"}]
    )
    recipient_parameters: list[dict[str, str | None]] = Field(
        description="Parameters of RCPT TO, one for each recipient.", examples=[[{"NOTIFY": "NEVER"}]]
    )
    headers: list[Header] = Field(description="At most the first 1,000 fields.")
    parts: list[Part] | None = Field(description="null: too deep or too many to be taken apart.")


class Messages(Thing):
    """A page of messages, the newest first."""

    items: list[Message] = Field(description="The messages.")
    next: str | None = Field(description=_NEXT, examples=["17"])


class Removed(Thing):
    """What a removal came to."""

    removed: int = Field(description="How many messages are gone.", examples=[3])


class ClientHello(Thing):
    """What the peer offered in its ClientHello."""

    versions: list[str] = Field(description="TLS versions.", examples=[["TLSv1.3", "TLSv1.2"]])
    cipher_suites: list[str] = Field(description="Cipher suites, in the peer's order.")
    server_name: str | None = Field(description="SNI; null: none.")


class Tls(Thing):
    """A TLS handshake."""

    verb: Verb = Field(description="The verb that began it.")
    thumbprint: str = Field(description="Of the certificate that was presented, or was to be.")
    version: str | None = Field(description="Agreed on; null: the handshake failed.", examples=["TLSv1.2"])
    cipher: str | None = Field(description="Agreed on.", examples=["ECDHE-RSA-AES256-GCM-SHA384"])
    bits: int | None = Field(description="Of the cipher.", examples=[256])
    resumed: bool = Field(description="Whether an earlier session was resumed.")
    offered: ClientHello | None = Field(description="null: no complete ClientHello came.")
    failure: str | None = Field(description="Why it failed, in a sentence; null: it did not.")


class Authentication(Thing):
    """One attempt of the sender to say who it is."""

    verb: str = Field(description="AUTH, X-EXPS, or X-ANONYMOUSTLS for a client certificate.")
    mechanism: str = Field(description="The mechanism.", examples=["NTLM"])
    identity: str | None = Field(description="Who it is or claimed to be.", examples=["CONTOSO\\MBX2$"])
    failure: str | None = Field(description="Why it failed; null: it did not.")
    detail: str = Field(description="One readable sentence.")


class Session(Thing):
    """A session."""

    id: str = Field(description="16 hexadecimal digits.", examples=[_SESSION])
    started: str = Field(description="RFC 3339, UTC.", examples=[_TIME])
    ended: str | None = Field(description="null: it is running.", examples=[_TIME])
    server: str | None = Field(description="null: nobody took it.", examples=["MBX1"])
    connector: str | None = Field(description="null: nobody took it.", examples=["Default Frontend MBX1"])
    connector_detail: str = Field(description="Why this connector, or why none.")
    local: str = Field(description="Where it arrived.", examples=["127.0.0.1:2525"])
    remote: str = Field(description="The peer.", examples=["127.0.0.1:50000"])
    verb: Verb | None = Field(description="The TLS verb that was used; null: none.")
    tls: Tls | None = Field(description="The handshake; null: there was none.")
    authenticated_as: str | None = Field(description="Who the sender is.", examples=["CONTOSO\\MBX2$"])
    outcome: Outcome | None = Field(description="How it ended; null: it is running.")
    outcome_detail: str = Field(description="The same in a sentence.")
    selections: list[Selection] = Field(description="The very selections that decided it.")
    event_ids: list[int] = Field(description="Events that it wrote.", examples=[[12015]])
    messages: list[int] = Field(description="Ids of the messages that it delivered.", examples=[[1]])
    proxy: str | None = Field(default=None, description="Who passed it on by the PROXY protocol.")
    limits: list[str] = Field(default=[], description="Limits that struck.")
    authentications: list[Authentication] = Field(default=[], description="Each attempt, in its order.")
    groups: list[str] = Field(default=[], description="Permission groups of the sender.")
    permissions: list[str] = Field(default=[], description="As they held at the end.")
    faults: list[FiredFault] = Field(default=[], description="Faults on demand that happened in it.")


class Row(Thing):
    """One line of the dialogue."""

    offset_ms: int = Field(description="Since the session began.", examples=[12])
    mark: Literal["C", "S", "*"] = Field(description="What the client said, what we said, what happened.")
    text: str = Field(description="The line; what is secret is masked.", examples=["EHLO client.test"])


class WholeSession(Session):
    """A session with its transcript."""

    transcript: list[Row] = Field(description="The dialogue.")


class Sessions(Thing):
    """A page of sessions, the newest first."""

    items: list[Session] = Field(description="The sessions.")
    next: str | None = Field(description=_NEXT, examples=[_SESSION])


class Event(Thing):
    """One event of the Application log."""

    id: int = Field(description="Increasing.", examples=[1795608000000000])
    time: str = Field(description="RFC 3339, UTC.", examples=[_TIME])
    event_id: int = Field(description="Exchange's number.", examples=[12013])
    level: Literal["Error", "Warning", "Information"] = Field(description="Its level.")
    source: str = Field(description="Which service writes it.", examples=["MSExchangeTransport"])
    category: str = Field(description="Its category.", examples=["TransportService"])
    symbol: str | None = Field(description="Its symbolic name; null where that is not known.")
    message: str = Field(description="The full text.")
    inserts: list[str] = Field(description="What was put into the text.")
    server: str | None = Field(description="The server it is about.", examples=["MBX1"])
    connector: str | None = Field(description="The connector it is about.")
    session_id: str | None = Field(description="null: of a start or of the daily check.")
    thumbprint: str | None = Field(description="The certificate it is about.")


class Events(Thing):
    """A page of events, the newest first."""

    items: list[Event] = Field(description="The events.")
    next: str | None = Field(description=_NEXT, examples=["1795608000000000"])
