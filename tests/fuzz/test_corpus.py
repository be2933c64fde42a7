"""Every input that fuzzing has kept runs through its target; `fuzz.py` looks for new ones."""

from __future__ import annotations

import importlib.util
import random
import sys
from pathlib import Path
from types import ModuleType

import pytest

HERE = Path(__file__).parent


def _loaded() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz_targets", HERE / "targets.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["fuzz_targets"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TARGETS = _loaded().TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_what_was_found_interesting_does_no_harm(name: str) -> None:
    kept = sorted((HERE / "corpus" / name).iterdir())
    assert kept
    for path in kept:
        TARGETS[name].run(path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_with_a_few_bytes_changed_do_no_harm(name: str) -> None:
    rng = random.Random(12)
    for seed in TARGETS[name].seeds:
        TARGETS[name].run(seed)
        for _ in range(100):
            data = bytearray(seed)
            for _ in range(rng.randint(1, 4)):
                data[rng.randrange(len(data))] = rng.randrange(256)
            TARGETS[name].run(bytes(data[: rng.randint(1, len(data))]))


def test_every_target_has_a_corpus_and_every_corpus_a_target() -> None:
    assert {path.name for path in (HERE / "corpus").iterdir()} == set(TARGETS)
