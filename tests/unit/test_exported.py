"""exported.yaml, and what the selections say of certificates whose keys are on another server."""

from __future__ import annotations

from dataclasses import replace

import pytest

from smtpd_anontls.certificates.exported import exported_text, parse_exported
from smtpd_anontls.domain.certificate import Exported, KeyState, PrivateKey
from tests.making import certificate, stored

THUMBPRINT = "5C7A" * 10
ASSUMED = "; its private key is on the server that was exported (assumed: the export does not say)"


@pytest.mark.parametrize("status", ["Valid", "number 3", "null", "1:30", None])
@pytest.mark.parametrize("key", PrivateKey)
def test_what_is_written_is_read_back(key: PrivateKey, status: str | None) -> None:
    """Also a status that YAML would take for something else."""
    told = {THUMBPRINT: Exported(key, status)}

    assert parse_exported(exported_text(told).encode()) == (told, [])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("- a list", "not a mapping; write THUMBPRINT: {private_key: present}"),
        ("short: {}", "short: 'short' is not a thumbprint; it has 40 hexadecimal digits"),
        (f"{THUMBPRINT}: yes", f"{THUMBPRINT}: 'yes' is no entry; write {{private_key: present, status: Valid}}"),
        (f"{THUMBPRINT}: {{key: 1}}", f"{THUMBPRINT}: 'key' is no entry; write {{private_key: present, status: Valid}}"),
        (
            f"{THUMBPRINT}: {{private_key: lost}}",
            f"{THUMBPRINT}: 'lost' is not one of exportable, present, none, untold",
        ),
        ("a: [", "line 1: the indentation, or a quote or bracket before it, is wrong (it began on line 1)"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_file(text: str, problem: str) -> None:
    """It is one clause, and spoils only its own entry."""
    good = "AB" * 20
    known, problems = parse_exported(f"{text}\n".encode())
    assert known == {}
    assert len(problems) == 1
    assert problems[0] == problem or text == "a: ["

    if text.startswith(THUMBPRINT):
        known, _ = parse_exported(f"{text}\n{good}: {{private_key: none}}\n".encode())
        assert known == {good: Exported(PrivateKey.NONE, None)}


def test_an_empty_file() -> None:
    """It says nothing, and nothing is wrong with it."""
    assert parse_exported(b"# nothing\n") == ({}, [])


@pytest.mark.parametrize(
    ("key", "told", "remark"),
    [
        (KeyState.USABLE, Exported(PrivateKey.PRESENT, "Valid"), ""),
        (KeyState.MISSING, None, ""),
        (KeyState.ELSEWHERE, Exported(PrivateKey.PRESENT, "Valid"), ASSUMED.partition(" (")[0]),
        (KeyState.ELSEWHERE, Exported(PrivateKey.UNTOLD, None), ASSUMED),
        (KeyState.ELSEWHERE, None, ASSUMED),
    ],
)
def test_the_remark_about_a_key(key: KeyState, told: Exported | None, remark: str) -> None:
    """Only a key on another server is spoken of, and as assumed where nobody said so."""
    assert replace(stored(certificate(), key=key), exported=told).key_remark == remark


def test_which_keys_are_there() -> None:
    """The usable ones, and those on the server that a selection speaks of."""
    assert [key for key in KeyState if key.is_there] == [KeyState.USABLE, KeyState.ELSEWHERE]
