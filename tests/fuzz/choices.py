"""What a fuzzing target reads off its input: decisions at the front, octets behind them.

Without the fuzzer's own reader, so that seeds and finds can be replayed where there is no atheris.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

from smtpd_anontls.domain.connectors import Bytes, ReceiveConnector
from smtpd_anontls.domain.flags import AuthMechanism, SizeEnabled, UnknownMailParameters

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeVar

    T = TypeVar("T")

MAX_MESSAGE_SIZE = Bytes(1000)
_MOST_CUTS = 8


class Choices:
    """Reads an input from its front; what has run out is zero."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def number(self, below: int = 256) -> int:
        """Return a number made of one octet."""
        octet = self._data[self._at] if self._at < len(self._data) else 0
        self._at += 1
        return octet % below

    def flag(self) -> bool:
        """Return yes or no."""
        return self.number(2) == 1

    def one_of(self, values: Sequence[T]) -> T:
        """Return one of *values*."""
        return values[self.number(len(values))]

    def octets(self, count: int) -> bytes:
        """Return the next *count* octets, or as many as there are."""
        taken = self._data[self._at : self._at + count]
        self._at += count
        return taken

    def rest(self) -> bytes:
        """Return all that is left."""
        return self.octets(len(self._data))

    def text(self) -> str:
        """Return all that is left as a session reads the argument of a command."""
        return self.rest().decode("utf-8", "surrogateescape").strip(" \t")

    def cuts(self) -> list[int]:
        """Return where to cut, for ``pieces``."""
        return [self.number() for _ in range(self.number(_MOST_CUTS + 1))]

    def connector(self) -> ReceiveConnector:
        """Return a connector, made of two octets."""
        return _connector(self.number(), self.number())


def pieces(octets: bytes, cuts: Sequence[int]) -> list[bytes]:
    """Cut *octets* at places given in parts of 255 of their length."""
    places = [0, *sorted(cut * len(octets) // 255 for cut in cuts), len(octets)]
    return [octets[a:b] for a, b in pairwise(places)]


@cache
def _connector(low: int, high: int) -> ReceiveConnector:
    has = [bool(low & 1 << bit) for bit in range(8)]
    return ReceiveConnector(
        name="any",
        max_message_size=MAX_MESSAGE_SIZE,
        smtp_utf8_enabled=has[0],
        eight_bit_mime_enabled=has[1],
        binary_mime_enabled=has[2],
        delivery_status_notification_enabled=has[3],
        long_addresses_enabled=has[4],
        orar_enabled=has[5],
        auth_mechanism=AuthMechanism.ExchangeServer if has[6] else AuthMechanism.Tls,
        unknown_mail_parameters=UnknownMailParameters.refuse if has[7] else UnknownMailParameters.accept,
        size_enabled=list(SizeEnabled)[high % len(SizeEnabled)],
    )
