"""What the pages about messages show, made from the message objects of the journal and the message itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from smtpd_anontls.protocol.headers import decoded_subject
from smtpd_anontls.web.pages.mail import MAX_HTML, MAX_TEXT, take_apart
from smtpd_anontls.web.pages.mail_html import remote_references

if TYPE_CHECKING:
    from smtpd_anontls.domain.records import Json
    from smtpd_anontls.web.pages.mail import Mail, Part

MAX_HEADERS = 200
_LONGEST_VALUE = 2_000
_RAW_SHOWN = 65_536
# Parts nested deeper are drawn as if they were so deep.
_DEEPEST = 8
_SHOWN_RECIPIENTS = 3


@dataclass(frozen=True, slots=True)
class MessageRow:
    """A line of the list."""

    id: int
    time: str
    sender: str
    recipients: tuple[str, ...]
    more_recipients: int
    subject: str
    size: int
    verb: str | None
    session_id: str
    connector: str
    run: str | None

    @classmethod
    def of(cls, message: Json) -> MessageRow:
        """Return the line of a message object."""
        recipients = tuple(message["recipients"])
        return cls(
            message["id"],
            message["time"],
            message["sender"] or "<>",
            recipients[:_SHOWN_RECIPIENTS],
            max(0, len(recipients) - _SHOWN_RECIPIENTS),
            message["subject"] or "",
            message["size"],
            message["verb"],
            message["session_id"],
            message["connector"],
            message["run"],
        )


@dataclass(frozen=True, slots=True)
class Address:
    """An address of the envelope, with the parameters that came with it."""

    text: str
    parameters: str

    @classmethod
    def of(cls, text: str, parameters: dict[str, str | None]) -> Address:
        """Return an address as MAIL or RCPT had it."""
        shown = (name if value is None else f"{name}={value}" for name, value in parameters.items())
        return cls(text, " ".join(shown))


@dataclass(frozen=True, slots=True)
class Header:
    """A header field."""

    name: str
    value: str
    left_out: int  # Characters that are not shown.


@dataclass(frozen=True, slots=True)
class PartRow:
    """A part of the message in its list."""

    number: int
    indent: int
    content_type: str
    file_name: str
    size: int
    role: str


@dataclass(frozen=True, slots=True)
class MessageView:
    """Everything about one message."""

    row: MessageRow
    found: Json
    sender: Address
    recipients: tuple[Address, ...]
    headers: tuple[Header, ...]
    headers_left_out: int
    text: str | None
    text_left_out: int
    has_html: bool
    html_left_out: int
    remote_references: int
    parts: tuple[PartRow, ...]
    notes: tuple[str, ...]
    raw: str
    raw_left_out: int

    @classmethod
    def of(cls, message: Json, raw: bytes) -> MessageView:
        """Take *raw* apart; that takes its time, so a thread does it."""
        mail = take_apart(raw)
        text, html = mail.text, mail.html
        given = message["recipient_parameters"]
        recipients = message["recipients"]
        headers = message["headers"]
        return cls(
            MessageRow.of(message),
            message,
            Address.of(message["sender"] or "<>", message["mail_parameters"]),
            tuple(
                Address.of(address, given[number] if number < len(given) else {})
                for number, address in enumerate(recipients)
            ),
            tuple(_header(each["name"], each["value"]) for each in headers[:MAX_HEADERS]),
            max(0, len(headers) - MAX_HEADERS),
            None if text is None else text.text(MAX_TEXT),
            0 if text is None else max(0, text.size - MAX_TEXT),
            html is not None,
            0 if html is None else max(0, html.size - MAX_HTML),
            0 if html is None else remote_references(html.text(MAX_HTML)),
            tuple(_row(part, mail) for part in mail.parts),
            mail.notes,
            raw[:_RAW_SHOWN].decode("utf-8", "backslashreplace"),
            max(0, len(raw) - _RAW_SHOWN),
        )


def _header(name: str, value: str) -> Header:
    cut = value[:_LONGEST_VALUE]
    return Header(name[:_LONGEST_VALUE], decoded_subject(cut), len(value) - len(cut))


def _row(part: Part, mail: Mail) -> PartRow:
    role = "not shown"
    if part is mail.text:
        role = "shown as text"
    elif part is mail.html:
        role = "shown as HTML"
    elif part.is_attachment:
        role = "attachment"
    return PartRow(part.number, min(part.depth, _DEEPEST), part.content_type, part.file_name, part.size, role)
