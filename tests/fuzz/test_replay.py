"""The seeds and the finds of the fuzzing targets, replayed; and a little of what the fuzzer does, without it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.catalogue import FOLDER, TARGETS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fuzz.catalogue import Target

EVERY_TARGET = pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
INPUTS = [(target, path) for target in TARGETS for path in target.inputs()]


@pytest.mark.parametrize(("target", "path"), INPUTS, ids=[f"{t.name}-{p.name}" for t, p in INPUTS])
def test_an_input_holds_what_its_target_asserts(target: Target, path: Path) -> None:
    """What was committed, whether as a seed or because it once failed, does not fail."""
    target.load()(path.read_bytes())


@EVERY_TARGET
def test_a_target_has_seeds(target: Target) -> None:
    """The fuzzer begins with what means something, and no input is longer than what it would make."""
    seeds = list(target.corpus.glob("*"))

    assert len(seeds) >= 3
    assert all(len(path.read_bytes()) <= target.max_length for path in seeds)


def test_no_input_is_left_alone() -> None:
    """Every folder of seeds or finds belongs to a target."""
    folders = {
        path.name for kind in ("corpus", "finds") for path in (FOLDER / kind).glob("*") if path.is_dir()
    }

    assert folders <= {target.name for target in TARGETS}


@EVERY_TARGET
def test_any_octets_hold_what_a_target_asserts(target: Target) -> None:
    """Seeds with octets changed, cut out and put in, and octets of any kind, do not fail either."""
    seeds = [path.read_bytes() for path in target.inputs()]
    pieces = st.sampled_from(target.words) | st.binary(max_size=4)
    check = target.load()

    @settings(max_examples=60, deadline=None, derandomize=True, database=None)
    @given(
        st.sampled_from(seeds),
        st.lists(st.tuples(st.integers(0, 255), st.integers(0, 4), pieces), max_size=4),
    )
    def run(seed: bytes, changes: list[tuple[int, int, bytes]]) -> None:
        for place, cut, piece in changes:
            at = place * len(seed) // 255
            seed = seed[:at] + piece + seed[at + cut :]
        check(seed)

    run()
