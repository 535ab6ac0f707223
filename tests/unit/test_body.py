"""Bodies of DATA and BDAT: where they end, what they hold, and what they cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from smtpd_anontls.protocol.body import Chunk, ChunkReader, DataReader, parse_chunk

if TYPE_CHECKING:
    from collections.abc import Iterable

LIMIT = 1000
# What a client may send in the same flight behind the end.
BEHIND = {
    "nothing": b"",
    "commands": b"MAIL FROM:<>\r\nQUIT\r\n",
    "another end": b".\r\n",
    "an end after a line": b"\r\n.\r\n",
    "half a line end": b"\r",
}

# What comes behind "354" up to and with the end, and the message that it is.
BODIES: dict[str, tuple[bytes, bytes]] = {
    "no line": (b".\r\n", b""),
    "an empty line": (b"\r\n.\r\n", b"\r\n"),
    "two empty lines": (b"\r\n\r\n.\r\n", b"\r\n\r\n"),
    "a line": (b"Subject: x\r\n.\r\n", b"Subject: x\r\n"),
    "a message": (b"Subject: x\r\n\r\nHello\r\n.\r\n", b"Subject: x\r\n\r\nHello\r\n"),
    "a stuffed dot": (b"..\r\n.\r\n", b".\r\n"),
    "two stuffed dots": (b"...\r\n.\r\n", b"..\r\n"),
    "stuffed dots in a row": (b"..\r\n..\r\n..\r\n.\r\n", b".\r\n.\r\n.\r\n"),
    "a stuffed line": (b"a\r\n..b\r\n.\r\n", b"a\r\n.b\r\n"),
    # Section 4.5.2: a period and more on a line, and the period goes, stuffed or not.
    "a dot that was not stuffed": (b".a\r\n.\r\n", b"a\r\n"),
    "dots within a line": (b"a.b..c\r\n.\r\n", b"a.b..c\r\n"),
    "a dot and a blank": (b". \r\n.\r\n", b" \r\n"),
    "a blank and a dot": (b" .\r\n.\r\n", b" .\r\n"),
    "every octet but CR and LF": (
        bytes(n for n in range(256) if n not in b"\r\n") + b"\r\n.\r\n",
        bytes(n for n in range(256) if n not in b"\r\n") + b"\r\n",
    ),
    # Forms that some receiver took, or takes, for the end: SMTP smuggling lives on them.
    "LF.LF": (b"a\n.\nb\r\n.\r\n", b"a\n.\nb\r\n"),
    "LF.CRLF": (b"a\n.\r\nb\r\n.\r\n", b"a\n.\r\nb\r\n"),
    "CRLF.LF": (b"a\r\n.\nb\r\n.\r\n", b"a\r\n\nb\r\n"),
    "CR.CR": (b"a\r.\rb\r\n.\r\n", b"a\r.\rb\r\n"),
    "CR.CRLF": (b"a\r.\r\nb\r\n.\r\n", b"a\r.\r\nb\r\n"),
    "CRLF.CR": (b"a\r\n.\rb\r\n.\r\n", b"a\r\n\rb\r\n"),
    "LF.CR": (b"a\n.\rb\r\n.\r\n", b"a\n.\rb\r\n"),
    "CR.LF": (b"a\r.\nb\r\n.\r\n", b"a\r.\nb\r\n"),
    "LFCR.LFCR": (b"a\n\r.\n\rb\r\n.\r\n", b"a\n\r.\n\rb\r\n"),
    "CRLF.CRCRLF": (b"a\r\n.\r\r\nb\r\n.\r\n", b"a\r\n\r\r\nb\r\n"),
    "CRLF NUL.CRLF": (b"a\r\n\0.\r\nb\r\n.\r\n", b"a\r\n\0.\r\nb\r\n"),
    "CRLF.NUL CRLF": (b"a\r\n.\0\r\nb\r\n.\r\n", b"a\r\n\0\r\nb\r\n"),
    "CR NUL LF.CRLF": (b"a\r\0\n.\r\nb\r\n.\r\n", b"a\r\0\n.\r\nb\r\n"),
    "CRLF.CR NUL LF": (b"a\r\n.\r\0\nb\r\n.\r\n", b"a\r\n\r\0\nb\r\n"),
    "CRLF..CRLF": (b"a\r\n..\r\nb\r\n.\r\n", b"a\r\n.\r\nb\r\n"),
    "LF..LF": (b"a\n..\nb\r\n.\r\n", b"a\n..\nb\r\n"),
    "LF.LF at the very front": (b"\n.\n\r\n.\r\n", b"\n.\n\r\n"),
    ".LF at the very front": (b".\na\r\n.\r\n", b"\na\r\n"),
    ".CR at the very front": (b".\ra\r\n.\r\n", b"\ra\r\n"),
    "a CR of its own before the end": (b"a\r\r\n.\r\n", b"a\r\r\n"),
    "a LF of its own before the end": (b"a\n\r\n.\r\n", b"a\n\r\n"),
    "an NEL and a LS": ("a\u0085.\u2028.\r\n.\r\n".encode(), "a\u0085.\u2028.\r\n".encode()),
}
# None of these has come to its end, however often it looks so.
UNENDED = {
    name: body.removesuffix(b"\r\n.\r\n")
    for name, (body, _) in BODIES.items()
    if body.endswith(b"b\r\n.\r\n")
}


def read(pieces: Iterable[bytes], limit: int = LIMIT) -> tuple[bytes | None, bytes] | None:
    """Return the message and what is behind it, or None where the end has not come."""
    reader = DataReader(limit)
    flow = iter(pieces)
    for piece in flow:
        rest = reader.feed(piece)
        if rest is not None:
            return reader.content(), rest + b"".join(flow)
    return None


def cut(octets: bytes, size: int) -> list[bytes]:
    """Cut *octets* into pieces of *size*."""
    return [octets[at : at + size] for at in range(0, len(octets), size)]


@pytest.mark.parametrize("behind", BEHIND.values(), ids=BEHIND)
@pytest.mark.parametrize(("body", "message"), BODIES.values(), ids=BODIES)
def test_message_is_the_same_however_it_comes(body: bytes, message: bytes, behind: bytes) -> None:
    """Whole, octet by octet, by two and three, and cut once anywhere: one message, and nothing behind it is lost."""
    flight = body + behind
    ways = [[flight], *(cut(flight, size) for size in (1, 2, 3))]
    ways += [[flight[:at], flight[at:]] for at in range(1, len(flight))]

    results = {read(way) for way in ways}

    assert results == {(message, behind)}


@pytest.mark.parametrize("body", UNENDED.values(), ids=UNENDED)
def test_only_the_true_end_ends(body: bytes) -> None:
    """RFC 5321 section 4.1.1.4: CRLF "." CRLF, and no relative of it."""
    assert read([body]) is None
    assert read(cut(body, 1)) is None


@pytest.mark.parametrize("came", [b"", b".", b".\r", b"a\r\n", b"a\r\n.", b"a\r\n.\r"])
def test_half_an_end_is_none(came: bytes) -> None:
    """The reader waits for the last octet."""
    reader = DataReader(LIMIT)

    assert reader.feed(came) is None
    assert reader.feed(b"") is None


@pytest.mark.parametrize("limit", [*range(3, 15), 100])
@pytest.mark.parametrize("size", [1, 2, 3, 5000])
def test_limit_is_exact(limit: int, size: int) -> None:
    """A message of limit octets is kept, one of a single octet more is not, however it comes."""
    for length, kept in [(limit - 1, True), (limit, True), (limit + 1, False), (limit * 2, False)]:
        message = b"a" * (length - 2) + b"\r\n"

        assert read(cut(message + b".\r\nQUIT\r\n", size), limit) == (message if kept else None, b"QUIT\r\n")


@pytest.mark.parametrize("lines", [*range(1, 20), 99, 100, 101, 300])
@pytest.mark.parametrize("size", [1, 2, 3, 5000])
def test_stuffing_does_not_count(lines: int, size: int) -> None:
    """RFC 1870 section 3: the size is that of the message; lines of one dot grow the most on the wire."""
    message = b".\r\n" * lines
    flight = b"..\r\n" * lines + b".\r\n"

    assert read(cut(flight, size), len(message)) == (message, b"")
    assert read(cut(flight, size), len(message) - 1) == (None, b"")


@pytest.mark.parametrize("limit", [0, 1])
def test_a_limit_of_nothing_takes_the_empty_message(limit: int) -> None:
    """The line end put before the first line is not the message's own and is not counted."""
    assert read([b".\r\n"], limit) == (b"", b"")
    assert read([b"\r\n.\r\n"], limit) == (None, b"")


@pytest.mark.parametrize(
    "endless",
    [b"a" * 64, b"\r\n" * 32, b"..\r\n" * 16, b"\n.\n" * 20, b"\r" * 64, b"." * 64, b"\r\n.\r" * 16],
    ids=["one line", "empty lines", "dots", "LF.LF", "CR", "one line of dots", "half ends"],
)
@pytest.mark.parametrize("size", [1, 7, 64])
def test_an_endless_body_takes_bounded_memory(endless: bytes, size: int) -> None:
    """Past the limit nothing is kept but what may begin the end, and the end is still found."""
    reader = DataReader(LIMIT)
    largest = 0

    for _ in range(100):
        for piece in cut(endless, size):
            assert reader.feed(piece) is None
            largest = max(largest, len(reader._buffer))

    assert largest <= LIMIT + LIMIT // 3 + 5
    assert len(reader._buffer) <= 4
    assert reader.feed(b"\r\n.\r\nQUIT\r\n") == b"QUIT\r\n"
    assert reader.content() is None


def test_the_end_is_found_where_the_limit_cuts_it() -> None:
    """Whatever part of the end has come when the body is dropped, the rest completes it."""
    for length in (*range(LIMIT, LIMIT + 6), *range(LIMIT + LIMIT // 3 - 6, LIMIT + LIMIT // 3 + 12)):
        flight = b"a" * length + b"\r\n.\r\nQUIT\r\n"

        assert read(cut(flight, 1)) == (None, b"QUIT\r\n")


@pytest.mark.parametrize(
    ("argument", "chunk"),
    [
        ("0", Chunk(0, is_last=False)),
        ("86", Chunk(86, is_last=False)),
        ("86 LAST", Chunk(86, is_last=True)),
        ("0 last", Chunk(0, is_last=True)),
        ("86 \t LaSt", Chunk(86, is_last=True)),
        ("007", Chunk(7, is_last=False)),
        ("9" * 20, Chunk(int("9" * 20), is_last=False)),
        ("9" * 21, None),
        ("", None),
        ("LAST", None),
        ("-1", None),
        ("+1", None),
        ("1.5", None),
        ("0x10", None),
        ("86LAST", None),
        ("86 FIRST", None),
        ("86 LAST LAST", None),
        ("\N{ARABIC-INDIC DIGIT ONE}", None),
    ],
)
def test_the_argument_of_bdat(argument: str, chunk: Chunk | None) -> None:
    """RFC 3030 section 2: a decimal size, and LAST behind it; anything else says no size."""
    assert parse_chunk(argument) == chunk


@pytest.mark.parametrize("behind", BEHIND.values(), ids=BEHIND)
@pytest.mark.parametrize("step", [1, 2, 3, 1000])
@pytest.mark.parametrize("kept", [True, False])
def test_a_chunk_ends_at_its_last_octet(step: int, behind: bytes, *, kept: bool) -> None:
    """A chunk holds any octets, and what follows it is handed back untouched, whether it is kept or not."""
    chunk = b"\r\n.\r\nQUIT\r\n" + bytes(range(256))
    wire = chunk + behind
    content = bytearray(b"before")
    reader = ChunkReader(len(chunk), content if kept else None)
    rest: bytes | None = None
    at = 0
    while rest is None:
        rest = reader.feed(wire[at : at + step])
        at += step

    assert rest + wire[at:] == behind
    assert content == b"before" + (chunk if kept else b"")
