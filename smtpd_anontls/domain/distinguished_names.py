r"""X.500 names as text: written as Windows writes them, compared however they are written.

An administrator copies a name from Get-ExchangeCertificate (``O="GoDaddy.com, Inc.", S=Arizona``)
or from openssl (``O=GoDaddy.com\, Inc.,ST=Arizona``, RFC 4514); both are the same name.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography import x509

# Attribute types: Windows' own key first (CertNameToStr), then the others that are met.
_KEYS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "2.5.4.3": ("CN",),
        "2.5.4.4": ("SN", "SURNAME"),
        "2.5.4.5": ("SERIALNUMBER",),
        "2.5.4.6": ("C",),
        "2.5.4.7": ("L",),
        "2.5.4.8": ("S", "ST"),
        "2.5.4.9": ("STREET",),
        "2.5.4.10": ("O",),
        "2.5.4.11": ("OU",),
        "2.5.4.12": ("T", "TITLE"),
        "2.5.4.42": ("G", "GN", "GIVENNAME"),
        "2.5.4.43": ("I", "INITIALS"),
        "1.2.840.113549.1.9.1": ("E", "EMAIL", "EMAILADDRESS"),
        "0.9.2342.19200300.100.1.25": ("DC",),
    },
)
_TYPES = {key: dotted for dotted, keys in _KEYS.items() for key in keys}
# What Windows puts in quotes: special characters, a space at either end, nothing at all.
_QUOTED = re.compile(r'[,+="\n<>#;]|\A\s|\s\Z|\A\Z')
# RFC 4514 section 2.4: a backslash, then the character itself or the octets of its UTF-8.
_ESCAPED = re.compile(r"((?:\\[0-9A-Fa-f]{2})+)|\\(.)", re.DOTALL)

_Relative = tuple[tuple[str, str], ...]


def written(name: x509.Name) -> str:
    """Write *name* as Windows does: most specific part first, special values in quotes."""
    return ", ".join(
        " + ".join(_written_attribute(attribute) for attribute in relative)
        for relative in reversed(name.rdns)
    )


def same_distinguished_name(first: str, second: str) -> bool:
    """Whether two written X.500 names are the same; keys by meaning, white space and case aside."""
    return not _readings(first).isdisjoint(_readings(second))


def _written_attribute(attribute: x509.NameAttribute[str | bytes]) -> str:
    dotted = attribute.oid.dotted_string
    key = _KEYS[dotted][0] if dotted in _KEYS else f"OID.{dotted}"
    if isinstance(attribute.value, bytes):
        return f"{key}=#{attribute.value.hex().upper()}"
    if _QUOTED.search(attribute.value):
        doubled = attribute.value.replace('"', '""')
        return f'{key}="{doubled}"'
    return f"{key}={attribute.value}"


def _readings(name: str) -> set[tuple[_Relative, ...]]:
    """Return what a written name can mean: Windows takes a backslash as it is, RFC 4514 as an escape."""
    return {_relative_names(name, escapes=False), _relative_names(name, escapes=True)}


def _relative_names(name: str, *, escapes: bool) -> tuple[_Relative, ...]:
    """Split a written name into its relative names; a malformed part stays as it is."""
    relative = []
    for part in _split(name, ",;", escapes=escapes):
        pairs = []
        for attribute in _split(part, "+", escapes=escapes):
            key, _, value = attribute.partition("=")
            kind = key.strip().upper().removeprefix("OID.")
            plain = _plain(value, escapes=escapes)
            pairs.append((_TYPES.get(kind, kind), " ".join(plain.casefold().split())))
        relative.append(tuple(sorted(pairs)))
    return tuple(relative)


def _split(text: str, separators: str, *, escapes: bool) -> list[str]:
    """Split at separators that are neither quoted nor escaped."""
    parts, current, quoted, escaped = [], "", False, False
    for character in text:
        if escaped:
            escaped = False
        elif escapes and character == "\\":
            escaped = True
        elif character == '"':
            quoted = not quoted
        elif character in separators and not quoted:
            parts.append(current)
            current = ""
            continue
        current += character
    return [*parts, current]


def _plain(value: str, *, escapes: bool) -> str:
    """Return the value that was written: without its quotes, and without escapes where there can be some."""
    bare = value.strip()
    if len(bare) > 1 and bare[0] == bare[-1] == '"':
        value = bare[1:-1].replace('""', '"')
    return _ESCAPED.sub(_unescape, value) if escapes else value


def _unescape(found: re.Match[str]) -> str:
    if found[1]:
        return bytes.fromhex(found[1].replace("\\", "")).decode("utf-8", "replace")
    return found[2]
