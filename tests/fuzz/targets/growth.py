"""Whatever is repeated as often as fits, nothing takes longer than its size warrants.

What fails here is the time limit of an input: an expression or a loop that costs the square of its
input needs minutes for these.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from smtpd_anontls.protocol import addresses, headers, parameters
from smtpd_anontls.protocol.exchange_auth_blob import MAX_BLOB, describe
from smtpd_anontls.smtp.stream import LONGEST_COMMAND_WITH_LONG_ADDRESSES
from tests.fuzz.choices import Choices

if TYPE_CHECKING:
    from collections.abc import Callable

RUNS = 5_000
MAX_LENGTH = 60
WORDS = (
    b"@a,", b"<", b'"', b"\\", b"a.", b"a-", b"[", b"=?", b"=?utf-8?q?a?=", b"?=", b"(", b")", b"\r\n ", b"\n", b"A: ",
    b"Received: by a", b"Message-ID:", b" A=", b"\\x{", b"\x60\x80", b"NTLMSSP\0",
)  # fmt: skip

_MESSAGE = 64 * 1024


def target(data: bytes) -> None:
    """Read a beginning, something repeated, and an end."""
    choices = Choices(data)
    read, size = choices.one_of(_READERS)
    beginning, unit = choices.octets(choices.number(16)), choices.octets(1 + choices.number(16))
    end = choices.rest()
    read(beginning + unit * (size // max(1, len(unit))) + end)


def _path(octets: bytes) -> None:
    with suppress(addresses.AddressError):
        addresses.parse_path(
            octets.decode("utf-8", "surrogateescape"), utf8=True, limits=addresses.LONG_LIMITS
        )


def _parameters(octets: bytes) -> None:
    with suppress(parameters.ParameterError):
        parameters.parse_parameters(octets.decode("utf-8", "surrogateescape"), utf8=True)


def _hello(octets: bytes) -> None:
    addresses.is_hello_domain(octets.decode("utf-8", "surrogateescape"))


def _section(octets: bytes) -> None:
    headers.header_section_octets(octets)
    headers.has_bare_line_end(octets)
    fields = headers.parse_header_section(octets)
    headers.message_id(fields)
    headers.local_received_count(fields, "a")


def _field(octets: bytes) -> None:
    text = octets.decode("latin-1")
    headers.decoded_subject(text)
    headers.local_received_count((("Received", text),), "a")


def _blob(octets: bytes) -> None:
    str(describe(octets[:MAX_BLOB]))


_READERS: tuple[tuple[Callable[[bytes], None], int], ...] = (
    (_path, LONGEST_COMMAND_WITH_LONG_ADDRESSES),
    (_parameters, LONGEST_COMMAND_WITH_LONG_ADDRESSES),
    (_hello, LONGEST_COMMAND_WITH_LONG_ADDRESSES),
    (_section, _MESSAGE),
    (_field, _MESSAGE),
    (_blob, MAX_BLOB),
)
