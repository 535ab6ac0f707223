"""The PROXY protocol header: whole and octet by octet come to the same, and it is never endless."""

from __future__ import annotations

from smtpd_anontls.protocol.proxy_header import (
    MAX_PROXY_HEADER,
    ProxyHeader,
    ProxyHeaderError,
    may_begin_proxy_header,
    read_proxy_header,
)
from smtpd_anontls.smtp.proxy import HeaderReader
from tests.fuzz.choices import Choices, pieces

RUNS = 200_000
MAX_LENGTH = 160
WORDS = (
    b"PROXY TCP4 ", b"PROXY TCP6 ", b"PROXY UNKNOWN", b"192.0.2.1 198.51.100.7 51234 25\r\n", b"2001:db8::1 ::ffff:192.0.2.1 ",
    b"\r\n\r\n\0\r\nQUIT\n", b"\x21\x11\0\x0c", b"\x21\x21\0\x24", b"\x20\0\0\0", b" 65535 ", b" 65536 ", b"\r\n",
)  # fmt: skip


def target(data: bytes) -> None:
    """Read the beginning of a connection."""
    choices = Choices(data)
    cuts, octets = choices.cuts(), choices.rest()
    whole = _read(octets)
    first = next(
        (found for end in range(len(octets) + 1) if (found := _read(octets[:end])) is not None), None
    )

    # As soon as it is a header it stays one, and what is none becomes none.
    assert isinstance(first, ProxyHeaderError) == isinstance(whole, ProxyHeaderError)
    if isinstance(whole, ProxyHeader):
        assert first == whole
        assert may_begin_proxy_header(octets)
        assert whole.length <= min(MAX_PROXY_HEADER, len(octets))
        assert _read(octets[: whole.length - 1]) is None
    assert _read(octets[:MAX_PROXY_HEADER] + bytes(MAX_PROXY_HEADER)) is not None
    _check_reader(octets, cuts, whole)


def _read(octets: bytes) -> ProxyHeader | ProxyHeaderError | None:
    try:
        return read_proxy_header(octets)
    except ProxyHeaderError as error:
        return error


def _check_reader(octets: bytes, cuts: list[int], whole: ProxyHeader | ProxyHeaderError | None) -> None:
    """Find the same header with the session's reader, which gives back all that is behind it."""
    reader = HeaderReader()
    coming = iter(pieces(octets, cuts))
    rest = next((rest for piece in coming if (rest := reader.feed(piece)) is not None), None)

    assert (rest is None) == (whole is None)
    if rest is None:
        return
    try:
        header = reader.header()
    except ProxyHeaderError:
        assert isinstance(whole, ProxyHeaderError)
        return
    assert header == whole
    assert rest + b"".join(coming) == octets[header.length :]
