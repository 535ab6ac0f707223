"""Looking for secrets in what a run has written: in plain, and in every form in which one might have got there."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import TYPE_CHECKING

from smtpd_anontls.authentication.ntlm_messages import md4

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_SHORTEST = 8  # Octets by which a form is known; a shorter one is anywhere.
_PIECE = 24  # Of a long token each piece of this size is sought.


def forms_of_password(password: str) -> dict[str, bytes]:
    """Return what a password may look like, by the name of the form."""
    utf8, utf16, nt_hash = password.encode(), password.encode("utf-16-le"), md4(password.encode("utf-16-le"))
    texts = {
        "plain": utf8,
        "JSON": json.dumps(password)[1:-1].encode(),
        "escaped": password.encode("ascii", "backslashreplace"),
        "in windows-1252": password.encode("cp1252"),
    }
    binary = {"UTF-8": utf8, "UTF-16LE": utf16, "NT hash": nt_hash}
    return texts | {
        form: shown for name, octets in binary.items() for form, shown in _encoded(name, octets).items()
    }


def forms_of_token(token: bytes) -> dict[str, bytes]:
    """Return what pieces of a token or a key may look like: some of it is enough to guess at."""
    pieces = [token[start : start + _PIECE] for start in range(0, len(token), _PIECE)]
    return {
        form: shown
        for number, piece in enumerate(pieces)
        # What is all alike, or short, is anywhere.
        if len(piece) >= _SHORTEST and len(set(piece)) >= _SHORTEST
        for form, shown in _encoded(f"piece {number}", piece).items()
    }


def _encoded(name: str, octets: bytes) -> dict[str, bytes]:
    encoded = {
        f"{name} itself": octets,
        f"{name} in hex": octets.hex().encode(),
        f"{name} in HEX": octets.hex().upper().encode(),
        f"{name} escaped": octets.decode("ascii", "backslashreplace").encode(),
    }
    # Inside something longer base64 begins at any of three bits; its ends depend on the neighbours.
    for before in range(3):
        whole = b64encode(bytes(before) + octets)
        encoded[f"{name} in base64, {before} behind"] = whole[4 if before else 0 :][
            : len(octets) // 3 * 4 - 4
        ]
    return encoded


def found(secrets: Mapping[str, Mapping[str, bytes]], haystack: Mapping[str, bytes]) -> list[str]:
    """Return where a form of a secret is, as sentences that do not repeat it."""
    return [
        f"{place} has {secret}: {form}"
        for place, octets in haystack.items()
        for secret, forms in secrets.items()
        for form, shown in forms.items()
        if len(shown) >= _SHORTEST and shown in octets
    ]


def files_below(folder: Path, *, but: tuple[Path, ...]) -> Iterator[tuple[str, bytes]]:
    """Yield all files with what they hold, but those that are, or are below, one of *but*."""
    for path in folder.rglob("*"):
        if path.is_file() and not any(path.is_relative_to(each) for each in but):
            yield str(path.relative_to(folder)), path.read_bytes()
