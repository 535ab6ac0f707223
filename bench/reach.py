"""What was to be reached, and what was: ratios of server CPU within one run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.floor import NAME as OPENSSL
from bench.results import Spread, ratio

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.results import Results

_SELECTION_US = 50.0
_MIB = 50.0
_HANDSHAKE = "handshake/anonymoustls-rsa"


@dataclass(frozen=True, slots=True)
class Row:
    """A target, and how near it is."""

    work: str
    target: str
    reached: str  # With the spread of the rounds.
    met: bool  # By the median.


@dataclass(frozen=True, slots=True)
class _Speed:
    """So many times as cheap as a peer."""

    work: str
    title: str
    server: str
    least: float
    peer: str
    peer_work: str = ""  # Where the peer cannot do the same.


_OFF, _DURABLE, _STOCK = "receiver", "receiver-durable", "stock"
_SPEEDS = (
    _Speed("1kb-100/plain/data", "1 KB, 100 per connection, capture off", _OFF, 4, _STOCK),
    _Speed("1kb-100/plain/data", "1 KB, 100 per connection, capture off", _OFF, 0.8, "smtp-server"),
    _Speed("1kb-100/plain/data", "1 KB, 100 per connection, capture off", _OFF, 0.4, "smtp-sink"),
    _Speed("1kb-100/plain/data", "1 KB, 100 per connection, durable", _DURABLE, 2.5, _STOCK),
    _Speed("1kb-1/plain/data", "1 KB, 1 per connection, capture off", _OFF, 2.5, _STOCK),
    _Speed("1kb-1/plain/data", "1 KB, 1 per connection, durable", _DURABLE, 1.5, _STOCK),
    _Speed("50kb/plain/data", "50 KB, capture off", _OFF, 10, _STOCK),
    _Speed("50kb/plain/data", "50 KB, capture off", _OFF, 0.9, "smtp-server"),
    _Speed("50kb/plain/data", "50 KB, durable", _DURABLE, 6, _STOCK),
    _Speed("5mb/plain/data", "5 MB by DATA, capture off", _OFF, 12, _STOCK),
    _Speed("5mb/plain/bdat", "5 MB by BDAT, capture off", _OFF, 20, _STOCK, "5mb/plain/data"),
    _Speed("5mb/plain/data", "5 MB by DATA, durable", _DURABLE, 8, _STOCK),
)


def reach(results: Results) -> list[Row]:
    """Return a row for each target of which the run measured both sides."""
    return [*_speeds(results), *_handshakes(results), *_selection(results), *_memory(results)]


def _speeds(results: Results) -> Iterator[Row]:
    for each in _SPEEDS:
        ours = results.works.get(each.work, {}).get(each.server)
        theirs = results.works.get(each.peer_work or each.work, {}).get(each.peer)
        if ours and theirs:
            found = ratio(theirs.cpu_us, ours.cpu_us)
            what = f"{each.peer}'s DATA" if each.peer_work else each.peer
            yield Row(
                each.title, f"≥ {each.least:g}x {what}", in_words(found, "x"), found.median >= each.least
            )


def _handshakes(results: Results) -> Iterator[Row]:
    title = "X-ANONYMOUSTLS handshake, RSA-2048"
    ours = results.works.get(_HANDSHAKE, {}).get(_OFF)
    stock = results.works.get("handshake/starttls-rsa", {}).get(_STOCK)
    bare = results.works.get(_HANDSHAKE, {}).get(OPENSSL)
    plain = results.works.get("connect/plain", {}).get(_OFF)
    if ours and stock:
        found = ratio(ours.cpu_us, stock.cpu_us)
        yield Row(title, "≤ 1x stock's STARTTLS", in_words(found, "x"), found.median <= 1)
    if ours and bare and plain:
        upgrades = [with_tls - without for with_tls, without in zip(ours.cpu_us, plain.cpu_us, strict=True)]
        found = ratio(upgrades, bare.cpu_us)
        whole = ratio(ours.cpu_us, bare.cpu_us).median
        yield Row(
            title,
            "≤ 1.6x bare OpenSSL",
            f"{in_words(found, 'x')}; with the whole session around it {whole:.2f}x",
            found.median <= 1.6,  # noqa: PLR2004 - as the target says
        )


def _selection(results: Results) -> Iterator[Row]:
    if results.selection_us:
        found = Spread.of(results.selection_us)
        yield Row(
            "Both selections of a session, embedded directory",
            f"≤ {_SELECTION_US:g} µs CPU",
            f"{in_words(found, ' µs')}; run anew {Spread.of(results.selection_anew_us).median:.0f} µs",
            found.median <= _SELECTION_US,
        )


def _memory(results: Results) -> Iterator[Row]:
    for held in results.held:
        if held.server == _OFF and held.tls is not None:
            reached = held.mib_per_thousand
            yield Row(
                f"{held.sessions:,} idle TLS sessions, resident memory",
                f"≤ {_MIB:g} MiB per 1,000",
                f"{reached:.1f} MiB",
                reached <= _MIB,
            )


def in_words(spread: Spread, unit: str) -> str:
    """Return a spread as a table has it."""
    digits = 2 if unit == "x" else 1
    return f"{spread.median:.{digits}f}{unit} ({spread.low:.{digits}f} to {spread.high:.{digits}f})"
