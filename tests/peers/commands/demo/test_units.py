"""The unit in which the demo shows losses."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from peers.commands.demo.demo_peers import make_demo_peers
from peers.commands.demo.scenarios import SCENARIOS
from peers.commands.demo.units import unit_of


def test_equal_models_are_compared_by_perplexity(tmp_path: Path) -> None:
    cast = make_demo_peers(SCENARIOS["ranks"], tmp_path / "demo", peers=2, rounds=2, steps=3, threads=1)
    unit = unit_of(cast)
    assert unit.name == "perplexity"
    assert unit.shown("amelie", math.log(50)) == pytest.approx(50)


def test_unlike_tokenizers_are_compared_by_bits_of_their_own_tokens(tmp_path: Path) -> None:
    cast = make_demo_peers(SCENARIOS["sizes"], tmp_path / "demo", peers=4, rounds=2, steps=3, threads=1)
    unit = unit_of(cast)
    assert unit.name == "bits a byte"
    laptop, foreign = (unit.shown(name, math.log(2)) for name in ("clara", "dirk"))
    # A bit a token; French takes 2 to 3 bytes a token of 4,096 and fewer of 1,024.
    assert 1 / 4 < laptop < foreign < 1
    assert unit.shown("clara", 2 * math.log(2)) == pytest.approx(2 * laptop)
