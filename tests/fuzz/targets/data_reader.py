"""A body of DATA in any pieces: what comes out is what its lines are, and memory stays bounded."""

from __future__ import annotations

from smtpd_anontls.protocol.body import DataReader
from tests.fuzz.choices import Choices, pieces

RUNS = 1_500_000
MAX_LENGTH = 400
WORDS = (
    b"\r\n.\r\n",
    b"\r\n..",
    b"\n.\n",
    b"\r.\r",
    b".\r\n",
    b"\r\n.\n",
    b"\n.\r\n",
    b"\0.\r\n",
    b"\r\n.\0\r\n",
)


def target(data: bytes) -> None:
    """Read a flight with a limit of a few octets."""
    choices = Choices(data)
    limit = choices.number()
    cuts, flight = choices.cuts(), choices.rest()
    coming = iter(pieces(flight, cuts))
    reader = DataReader(limit)
    got: tuple[bytes | None, bytes] | None = None
    for piece in coming:
        rest = reader.feed(piece)
        if rest is not None:
            got = reader.content(), rest + b"".join(coming)
            break
        # What a message at the limit needs, dots stuffed, and the beginning of an end.
        assert len(reader._buffer) <= limit + limit // 3 + 5

    assert got == _by_lines(flight, limit)


def _by_lines(flight: bytes, limit: int) -> tuple[bytes | None, bytes] | None:
    """Read a body line by line, as RFC 5321 section 4.5.2 tells it; None where it has no end."""
    message = b""
    while b"\r\n" in flight:
        line, _, flight = flight.partition(b"\r\n")
        if line == b".":
            return message if len(message) <= limit else None, flight
        message += line.removeprefix(b".") + b"\r\n"
    return None
