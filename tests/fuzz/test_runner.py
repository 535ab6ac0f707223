"""The fuzzing runner itself: a target that fails is found, kept and told; the others are counted.

Where there is no atheris these are left out; the inputs are replayed all the same.
"""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.command import PATIENCE, ROOT, environment
from tests.fuzz.catalogue import TARGETS

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

PLANTED = '''\
"""Fails where an input has the octet that the seed lacks."""

RUNS = 100_000
MAX_LENGTH = 8
WORDS = (b"!",)


def target(data: bytes) -> None:
    """Hold that there is no exclamation mark."""
    assert b"!" not in data
'''


@pytest.fixture
def fuzz(tmp_path: Path) -> Path:
    """Return a folder with a copy of the runner that has two targets of its own."""
    pytest.importorskip("atheris")
    copy = tmp_path / "tests" / "fuzz"
    (copy / "targets").mkdir(parents=True)
    for name in ("__main__.py", "catalogue.py", "engine.py"):
        (copy / name).write_text((ROOT / "tests" / "fuzz" / name).read_text())
    for name, text in {"fails": PLANTED, "holds": PLANTED.replace("assert b", "assert True or b")}.items():
        (copy / "targets" / f"{name}.py").write_text(text)
        (copy / "corpus" / name).mkdir(parents=True)
        (copy / "corpus" / name / "seed").write_bytes(b"abc")
    return copy


def run(fuzz: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the copy."""
    return subprocess.run(
        [sys.executable, "-m", "tests.fuzz", *words],
        cwd=fuzz.parents[1],
        env=environment(PYTHONPATH=f"{fuzz.parents[1]}:{ROOT}"),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_a_failure_is_kept_and_told(fuzz: Path) -> None:
    """The exit code is 1, the table says which target, and the input that fails it is in its finds."""
    done = run(fuzz, "all", "--runs", "100000")
    finds = list((fuzz / "finds" / "fails").iterdir())

    assert done.returncode == 1, done.stdout + done.stderr
    assert len(finds) == 1
    assert b"!" in finds[0].read_bytes()
    assert f"finds: {finds[0].name}" in done.stdout
    assert "AssertionError" in done.stdout
    assert not (fuzz / "finds" / "holds").exists()


def test_what_holds_is_counted(fuzz: Path) -> None:
    """The exit code is 0, and the table has as many executions as were asked for."""
    done = run(fuzz, "holds", "--runs", "3000")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "holds: 3,000 executions, finds: 0" in done.stdout
    assert "fails" not in done.stdout


def test_the_targets_add_up() -> None:
    """All targets together get ten million executions or more."""
    assert sum(target.runs for target in TARGETS) >= 10_000_000
