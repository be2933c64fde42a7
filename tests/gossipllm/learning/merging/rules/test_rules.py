"""Merge rules: what a rule can do and what it computes stand in two tables of the same names."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pkgutil import iter_modules
from typing import Any, cast, get_args

import numpy as np
import pytest

from gossipllm.config import AdapterConfig, LearnerConfig
from gossipllm.config.choices import (
    MERGE_RULES,
    MIXINGS,
    MergeRule,
    Mixing,
    RuleTraits,
    rules_for_unequal_ranks,
)
from gossipllm.learning import merging
from gossipllm.learning.merging.neighbours import Neighbours
from gossipllm.learning.merging.products.products import F64, MergeError, Pair, Products
from gossipllm.learning.merging.rules.rules import RULE_FUNCTIONS, RuleFunctions, cut_off
from gossipllm.learning.merging.updates import Update, UpdateFormat
from gossipllm.model.adapter.blueprint import Blueprint
from gossipllm.model.adapter.names import State
from wire.digest import Content
from wire.errors import WireError

Shape = Callable[..., Blueprint]
Draw = Callable[..., State]
Offered = Callable[..., Update]

LARGEST = cast("MergeRule", "largest")


def test_every_allowed_rule_has_traits_and_functions() -> None:
    assert set(MERGE_RULES) == set(RULE_FUNCTIONS) == set(get_args(MergeRule))
    assert set(MIXINGS) == set(get_args(Mixing))


def largest(products: Products, weights_NV: F64) -> tuple[list[Pair], MergeError]:
    """The factors of the adapter of the largest weight."""
    return products.averaged(np.eye(weights_NV.shape[1])[np.argmax(weights_NV, axis=1)])


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> MergeRule:
    monkeypatch.setitem(MERGE_RULES, LARGEST, RuleTraits(unequal_ranks=False))
    monkeypatch.setitem(
        RULE_FUNCTIONS, LARGEST, RuleFunctions(pairs=largest, surplus=cut_off, by_factors=True)
    )
    return LARGEST


def test_a_rule_that_both_tables_have_merges(
    registered: MergeRule, shape: Shape, draw: Draw, offered: Offered, merge: Any
) -> None:
    form = shape()
    own, *others = (draw(form, seed) for seed in range(3))

    merged = merge(form, own, [offered(form, other) for other in others], [0.2, 0.3, 0.5], registered)

    for name, values in merged.state.items():
        np.testing.assert_array_equal(values, others[1][name], err_msg=name)


def test_a_rule_that_needs_equal_ranks_refuses_others_by_its_own_name(
    registered: MergeRule, shape: Shape, draw: Draw, sent: Callable[..., bytes]
) -> None:
    form, other = shape(rank=4), shape(rank=2)
    config = LearnerConfig(adapter=AdapterConfig(rank=4), merge=registered)
    neighbours = Neighbours(UpdateFormat(form, config.mixing), config)

    with pytest.raises(WireError, match=r'merge\.rule = "largest" needs; unequal ranks need "svd" or "pad"'):
        neighbours.decoded(Content.of(sent(other, draw(other, 1))))
    assert registered not in rules_for_unequal_ranks()


def test_pruning_needs_a_rule_that_merges_rank_by_rank(registered: MergeRule) -> None:
    with pytest.raises(ValueError, match=r'needs merge\.rule = "pad", got "largest"'):
        LearnerConfig(adapter=AdapterConfig(prune=0.5), merge=registered)


def test_merging_loads_no_torch() -> None:
    """A fresh process imports every module of the folder."""
    names = sorted(module.name for module in iter_modules(merging.__path__))
    program = (
        "import sys\n"
        + "".join(f"import {merging.__name__}.{name}\n" for name in names)
        + "print(*{name.partition('.')[0] for name in sys.modules} & {'torch', 'transformers', 'peft'})"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert len(names) > 8
    assert not done.stdout.split()
