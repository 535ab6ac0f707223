"""The names behind EHLO and HELO: taken exactly where a naive reading takes them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from smtpd_anontls.protocol.addresses import is_hello_domain, is_hello_name
from tests.fuzz.choices import Choices

RUNS = 2_000_000
MAX_LENGTH = 300
WORDS = (
    b"edge.lab.test", b"[192.0.2.1]", b"[IPv6:::1]", b"[IPv6:fe80::1%eth0]", b"-", b"_", b".", b"..", b"xn--",
    b"a" * 63, b"a." * 40, "ü".encode(), "\u0661".encode(), b"[", b"]", b"\0",
)  # fmt: skip

_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")


def target(data: bytes) -> None:
    """Judge a name."""
    text = Choices(data).text()

    assert is_hello_name(text) == (_is_literal(text) or _is_domain(text))
    assert is_hello_domain(text) == (_is_domain(text) and not text.rstrip(".").split(".")[-1].isdigit())


def _is_domain(text: str) -> bool:
    labels = text.removesuffix(".").split(".")
    return len(text) <= 255 and all(map(_is_label, labels))


def _is_label(label: str) -> bool:
    return (
        0 < len(label) <= 63
        and set(label) <= _LETTERS | {"-"}
        and not label.startswith("-")
        and not label.endswith("-")
    )


def _is_literal(text: str) -> bool:
    if len(text) > 255 or not (text.startswith("[") and text.endswith("]")):
        return False
    inner = text[1:-1]
    try:
        if inner[:5].upper() == "IPV6:" and "%" not in inner:
            IPv6Address(inner[5:])
        else:
            IPv4Address(inner)
    except ValueError:
        return False
    return True
