"""Chunks of BDAT in any pieces: their content is put together, and what follows each is left alone."""

from __future__ import annotations

from smtpd_anontls.protocol.body import ChunkReader, parse_chunk
from tests.fuzz.choices import Choices, pieces

RUNS = 1_500_000
MAX_LENGTH = 400
WORDS = (
    b"LAST",
    b" LAST",
    b"last",
    b"0",
    b"18446744073709551616",
    b"\t",
    b"\r\n",
    "\u0661".encode(),
    "\u017f".encode(),
)

_SPELLINGS = ("", " LAST", "\tLast", "  \t last")


def target(data: bytes) -> None:
    """Read an argument, and a series of chunks."""
    choices = Choices(data)
    _check_argument(choices.octets(choices.number(40)).decode("utf-8", "surrogateescape").strip(" \t"))
    content = bytearray()
    sent = b""
    for _ in range(choices.number(6)):
        spelling, is_kept, cuts = choices.one_of(_SPELLINGS), choices.flag(), choices.cuts()
        octets = choices.octets(choices.number())
        chunk = parse_chunk(f"{len(octets)}{spelling}")

        assert chunk is not None
        assert (chunk.size, chunk.is_last) == (len(octets), bool(spelling))
        if octets:
            _read_chunk(octets, cuts, content if is_kept else None)
            sent += octets if is_kept else b""

    assert content == sent


def _check_argument(argument: str) -> None:
    """Compare with words: a number of 20 digits at most, and maybe LAST."""
    words = argument.replace("\t", " ").split(" ")
    size, rest = words[0], [word for word in words[1:] if word]
    is_sound = 0 < len(size) <= 20 and size.isascii() and size.isdigit()
    is_sound = is_sound and (rest == [] or (len(rest) == 1 and rest[0] in _LASTS))
    chunk = parse_chunk(argument)

    assert (chunk is not None) == is_sound
    if chunk is not None:
        assert (chunk.size, chunk.is_last) == (int(size), bool(rest))


_LASTS = {"".join(letters) for letters in
          ((a, b, c, d) for a in "lL" for b in "aA" for c in "sS" for d in "tT")}  # fmt: skip


def _read_chunk(octets: bytes, cuts: list[int], content: bytearray | None) -> None:
    """Feed a chunk and a command behind it, which has to come back in order."""
    behind = b"BDAT 5\r\n"
    reader = ChunkReader(len(octets), content)
    coming = iter(pieces(octets + behind, cuts))
    for piece in coming:
        if (rest := reader.feed(piece)) is not None:
            assert rest + b"".join(coming) == behind
            return
    raise AssertionError("the chunk had no end")
