"""What holds for any input: the protocol answers or raises its own error, and nothing else."""

from __future__ import annotations

import re
import ssl
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING

from hypothesis import example, given
from hypothesis import strategies as st

from smtpd_anontls.domain.connectors import ReceiveConnector
from smtpd_anontls.domain.flags import SizeEnabled, UnknownMailParameters
from smtpd_anontls.domain.records import ClientHello, TlsVerb
from smtpd_anontls.protocol.addresses import AddressError, is_hello_name, parse_path
from smtpd_anontls.protocol.body import DataReader
from smtpd_anontls.protocol.client_hello import parse_client_hello
from smtpd_anontls.protocol.dialogue import OUT_OF_ORDER, Dialogue, Phase, out_of_order
from smtpd_anontls.protocol.parameters import (
    ParameterError,
    check_mail_parameters,
    check_recipient_parameters,
    parse_parameters,
)
from smtpd_anontls.protocol.replies import Reply

if TYPE_CHECKING:
    from collections.abc import Iterable

LINE = re.compile(rb"(?:[0-9]{3}-[\x20-\x7e]*\r\n)*[0-9]{3} [\x20-\x7e]*\r\n")

# Octets as the session decodes them, and text that is close to what means something.
OCTETS = st.binary(max_size=80).map(lambda octets: octets.decode("utf-8", "surrogateescape"))
PATH_LIKE = st.lists(
    st.sampled_from(
        [*'<>@."\\[]:,; \t=+-_%\0\r\n', "a", "Postmaster", "contoso.test", "IPv6:", "::1", "192.0.2.1"]
    ),
    max_size=20,
).map("".join)
PARAMETER_LIKE = st.lists(
    st.sampled_from(
        [*"=+- \t\0\x0b", "SIZE", "size", "BODY", "8BITMIME", "AUTH", "<>", "+40", "9", "\u0661"]
    ),
    max_size=20,
).map("".join)
ANY_TEXT = st.text(max_size=80) | OCTETS

LINE_PARTS = st.sampled_from(
    [b"\r", b"\n", b".", b"\0", b"a", b"\r\n", b"\r\n.", b"\n.\n", b"\r\n..", b"\r\n.\r\n"]
)
FLIGHT = st.lists(LINE_PARTS, max_size=30).map(b"".join) | st.binary(max_size=60)
CUTS = st.lists(st.integers(min_value=0, max_value=60), max_size=8)

# What Python's own client sends first.
_OUTGOING = ssl.MemoryBIO()
with suppress(ssl.SSLWantReadError):
    ssl.create_default_context().wrap_bio(
        ssl.MemoryBIO(), _OUTGOING, server_hostname="mbx1.contoso.test"
    ).do_handshake()
REAL_HELLO = _OUTGOING.read()

CONNECTOR = st.builds(
    ReceiveConnector,
    name=st.just("any"),
    max_message_size=st.integers(min_value=0, max_value=100),
    size_enabled=st.sampled_from(SizeEnabled),
    eight_bit_mime_enabled=st.booleans(),
    unknown_mail_parameters=st.sampled_from(UnknownMailParameters),
)


@given(ANY_TEXT | PATH_LIKE)
@example("<" + "@a," * 600)
@example('<"' + "\\a" * 1000)
def test_any_text_is_a_path_or_an_address_error(text: str) -> None:
    """An address is printable US-ASCII within the limits, and reads as itself again."""
    with suppress(AddressError):
        address, rest = parse_path(text)

        assert address == "" or re.fullmatch(r"[\x20-\x7e]{1,254}", address)
        assert rest == rest.strip(" \t")
        assert text.rstrip(" \t").endswith(rest)
        assert parse_path(f"<{address}> {rest}") == (address, rest)


@given(ANY_TEXT | PATH_LIKE)
def test_any_text_is_a_hello_name_or_not(text: str) -> None:
    """A hello name is short, printable US-ASCII without blanks."""
    if is_hello_name(text):
        assert re.fullmatch(r"[\x21-\x7e]{1,255}", text)


@given(ANY_TEXT | PARAMETER_LIKE, CONNECTOR)
def test_any_text_is_parameters_or_a_parameter_error(text: str, connector: ReceiveConnector) -> None:
    """What is refused carries a reply that refuses, and what is read is sound and complete."""
    refused: Reply | None = None
    try:
        parameters = parse_parameters(text)
        check_mail_parameters(parameters, connector)
        check_recipient_parameters(parameters, connector)
    except ParameterError as error:
        refused = error.reply

    if refused is not None:
        assert not refused.positive
    else:
        assert len(parameters) == len(re.findall(r"[^ \t]+", text))
        assert all(re.fullmatch(r"[A-Z0-9][A-Z0-9-]*", keyword) for keyword in parameters)
        assert all(v is None or re.fullmatch(r"[\x21-\x7e]+", v) for v in parameters.values())


@given(st.integers(min_value=200, max_value=599), ANY_TEXT, st.lists(ANY_TEXT, max_size=3))
def test_any_text_is_one_reply_or_none(code: int, text: str, more: list[str]) -> None:
    """Whatever text goes in, what leaves is one well-formed reply, or the mistake is raised."""
    with suppress(ValueError):
        wire = Reply(code, "", text, tuple(more)).encoded()

        assert LINE.fullmatch(wire)
        assert wire.count(b"\r\n") == 1 + len(more)


@given(st.lists(st.sampled_from([*OUT_OF_ORDER, "EHLO", "RSET", "TLS"]), max_size=12))
def test_no_dialogue_reaches_data_without_its_steps(verbs: list[str]) -> None:
    """DATA may come only where, since the last hello, reset or TLS, MAIL came first and RCPT behind it."""
    dialogue = Dialogue()
    transaction: list[str] = []
    for verb in verbs:
        if out_of_order(verb, dialogue.phase) is not None:
            continue
        match verb:
            case "MAIL":
                dialogue = dialogue.sender_given()
                transaction.append(verb)
            case "RCPT":
                dialogue = dialogue.recipient_given()
                transaction.append(verb)
            case "EHLO" | "DATA":
                dialogue, transaction = dialogue.greeted(), []
            case "RSET":
                dialogue, transaction = dialogue.reset(), []
            case "TLS":
                dialogue, transaction = dialogue.secured(TlsVerb.STARTTLS), []

        may_send = out_of_order("DATA", dialogue.phase) is None

        assert may_send == (transaction[:1] == ["MAIL"] and "RCPT" in transaction)
        assert transaction.count("MAIL") <= 1
        assert (dialogue.phase is Phase.RECIPIENTS) == may_send


def by_lines(flight: bytes, limit: int) -> tuple[bytes | None, bytes] | None:
    """Read a body line by line, as RFC 5321 section 4.5.2 tells it; None where it has no end."""
    message = b""
    while b"\r\n" in flight:
        line, _, flight = flight.partition(b"\r\n")
        if line == b".":
            return message if len(message) <= limit else None, flight
        if line.startswith(b"."):
            line = line[1:]
        message += line + b"\r\n"
    return None


def pieces(flight: bytes, cuts: list[int]) -> list[bytes]:
    """Cut *flight* at the places given."""
    places = [0, *sorted(min(cut, len(flight)) for cut in cuts), len(flight)]
    return [flight[a:b] for a, b in pairwise(places)]


def read(flow: Iterable[bytes], limit: int) -> tuple[bytes | None, bytes] | None:
    """Return the message and what is behind it, or None where the end has not come."""
    reader = DataReader(limit)
    coming = iter(flow)
    for piece in coming:
        rest = reader.feed(piece)
        if rest is not None:
            return reader.content(), rest + b"".join(coming)
    return None


@given(FLIGHT, CUTS, st.integers(min_value=0, max_value=60))
def test_body_is_what_its_lines_are(flight: bytes, cuts: list[int], limit: int) -> None:
    """The bulk reader and a naive one agree on the message, on what follows it, and on the limit."""
    expected = by_lines(flight, limit)

    assert read(pieces(flight, cuts), limit) == expected


@given(FLIGHT, CUTS, FLIGHT)
def test_stuffing_is_undone(body: bytes, cuts: list[int], behind: bytes) -> None:
    """A message of any octets, sent as section 4.5.2 asks, comes out as it went in."""
    message = body + b"\r\n"
    lines = message.split(b"\r\n")[:-1]
    flight = b"".join((b"." if line.startswith(b".") else b"") + line + b"\r\n" for line in lines)

    assert read(pieces(flight + b".\r\n" + behind, cuts), len(message)) == (message, behind)


@given(FLIGHT, CUTS)
def test_a_body_takes_bounded_memory(flight: bytes, cuts: list[int]) -> None:
    """Between two pieces no more is held than a message at the limit needs."""
    limit = 9
    reader = DataReader(limit)

    for piece in pieces(flight * 3, cuts):
        if reader.feed(piece) is not None:
            break
        assert len(reader._buffer) <= limit + limit // 3 + 5


@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda octets: b"\x16\x03\x01" + octets))
def test_any_octets_are_a_client_hello_or_none(octets: bytes) -> None:
    """No octets of a peer raise anything."""
    offered = parse_client_hello(octets)

    assert offered is None or isinstance(offered, ClientHello)


@given(st.lists(st.tuples(st.integers(min_value=0, max_value=600), st.integers(min_value=0, max_value=255))))
def test_a_damaged_client_hello_is_read_or_none(changes: list[tuple[int, int]]) -> None:
    """Octets changed anywhere in a real one raise nothing either."""
    octets = bytearray(REAL_HELLO)
    for place, octet in changes:
        octets[place % len(octets)] = octet

    offered = parse_client_hello(bytes(octets))

    assert offered is None or isinstance(offered, ClientHello)
