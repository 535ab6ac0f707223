"""Configurations with mistakes: each bad/*.yaml yields exactly the lines of its .expect.

A file called rule-*.yaml has the right shape and breaks rules between properties: it loads, and
the lines are findings.  Any other one does not load.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from smtpd_anontls.settings.load import ConfigError, load_config

BAD = Path(__file__).parent / "bad"
CASES = sorted(path.stem for path in BAD.glob("*.yaml"))


def test_there_is_a_case_for_every_expectation() -> None:
    """No expectation is left without its file, and the table is as long as it should be."""
    assert [path.stem for path in sorted(BAD.glob("*.expect"))] == CASES
    assert len(CASES) >= 25


@pytest.mark.parametrize("case", CASES)
def test_every_mistake_is_named_on_a_line_of_its_own(case: str) -> None:
    """The lines are those expected: no more, no fewer, in this order."""
    path = BAD / f"{case}.yaml"
    expected = (BAD / f"{case}.expect").read_text("utf-8").splitlines()

    if case.startswith("rule-"):
        loaded = load_config(path, environ={}, machine_fqdn="host.test")
        lines = [finding.line for finding in loaded.findings]
    else:
        with pytest.raises(ConfigError) as refused:
            load_config(path, environ={}, machine_fqdn="host.test")
        lines = list(refused.value.lines)

    assert [line.replace(str(path), "FILE") for line in lines] == expected
    assert expected


def test_no_line_repeats_a_password() -> None:
    """A database URL or a password in a wrong place is not shown."""
    lines = [line for path in BAD.glob("*.expect") for line in path.read_text("utf-8").splitlines()]

    assert not [line for line in lines if "secret" in line]


def test_a_finding_says_which_rule_and_server() -> None:
    """A broken rule carries its violation, with the event that Exchange would write."""
    loaded = load_config(BAD / "rule-require-tls.yaml", environ={}, machine_fqdn="host.test")

    (finding,) = loaded.findings
    assert finding.server == "MBX1"
    assert finding.violation.connector == "Default"
    assert finding.violation.event_id == 1032


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("missing.yaml", "there is no such file"),
        (".", "is a directory; name the file in it"),
        ("file.yaml/below.yaml", "cannot be read (not a directory)"),
        ("a\0b.yaml", "is not a file name"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path, name: str, says: str) -> None:
    """What is wrong with the file itself is said in one line that names it."""
    (tmp_path / "file.yaml").touch()
    path = f"{tmp_path}/{name}"

    with pytest.raises(ConfigError) as refused:
        load_config(path, environ={})

    (line,) = refused.value.lines
    assert line.endswith(f": {says}")


def test_a_file_of_endless_size_is_refused() -> None:
    """A file that never ends is not read to its end."""
    with pytest.raises(ConfigError, match=r"^/dev/zero: is larger than 16 MB$"):
        load_config("/dev/zero", environ={})
