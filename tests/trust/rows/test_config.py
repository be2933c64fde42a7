"""The [trust] settings: their ranges, and the evidence that they require."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from trust.rows.baselines.fixed import fixed_shares
from trust.rows.config import TrustConfig, alpha_of, evidence_of
from trust.rows.evidence_kinds import Evidence
from trust.rows.strategies import Form


@pytest.mark.parametrize(
    ("strategy", "form", "kinds"),
    [
        ("predictions", "ours", ("predictions",)),
        ("predictions", "paper-text", ("logits",)),
        ("predictions", "paper-code", ("logits",)),
        ("weights", "ours", ("weights",)),
        ("weights", "paper-text", ("parameters",)),
        ("weights", "paper-code", ("row-cosines",)),
        ("validation", "ours", ("validation",)),
        ("validation", "paper-text", ("validation",)),
        ("validation", "paper-code", ("perplexity",)),
        ("fomo", "ours", ("progress",)),
        ("product", "ours", ("weights", "validation")),
        ("learned", "ours", ()),
        ("fixed", "ours", ()),
        ("uniform", "ours", ()),
        ("local", "ours", ()),
    ],
)
def test_each_strategy_names_the_evidence_that_it_needs(
    strategy: str, form: Form, kinds: tuple[Evidence, ...]
) -> None:
    config = TrustConfig(strategy=strategy, form=form, product_of=("weights", "validation"))
    assert evidence_of(config) == kinds


@pytest.mark.parametrize("strategy", ["learned", "fomo", "product", "fixed", "uniform", "local"])
@pytest.mark.parametrize("form", ["paper-text", "paper-code"])
def test_an_unpublished_strategy_has_no_published_form(strategy: str, form: Form) -> None:
    with pytest.raises(ValueError, match='form must be "ours" for strategy'):
        TrustConfig(strategy=strategy, form=form)


@pytest.mark.parametrize(
    "wrong",
    [
        {"strategy": "fedavg"},
        {"form": "mine"},
        {"temperatures": ()},
        {"temperatures": (1.0,) * 17},
        {"temperatures": (1.0, 2.0)},
        {"temperatures": (1.0, 1.0)},
        {"temperatures": (0.0,)},
        {"temperatures": (math.nan,)},
        {"product_of": ()},
        {"product_of": ("weights",)},
        {"product_of": ("weights", "weights")},
        {"product_of": ("weights", "progress")},
        {"fixed": ("alice",)},
        {"fixed": ("=0.5",)},
        {"fixed": ("alice=much",)},
        {"fixed": ("alice=-0.1",)},
        {"fixed": ("alice=nan",)},
        {"fixed": ("alice=0.5", "alice=0.1")},
        {"fixed": ("alice=0.6", "bob=0.5")},
        {"learned_steps": 0},
        {"learned_steps": 1001},
        {"learned_rate": 0.0},
        {"learned_rate": math.nan},
        {"balance_reach": 0.0},
        {"balance_reach": math.nan},
        {"balance_decay": -0.1},
        {"balance_decay": math.nan},
        {"age_decay": -0.1},
        {"age_decay": math.nan},
        {"max_age": -1},
        {"max_age": 1001},
        {"tokens_power": -0.1},
        {"tokens_power": 8.5},
        {"tokens_power": math.nan},
        {"tokens_alpha": 1.1},
        {"tokens_alpha": math.nan},
        {"tokens_alpha": "automatic"},
        {"tokens_count": "unique"},
        {"tokens_cap": 0.9},
        {"tokens_cap": math.nan},
    ],
)
def test_a_configuration_out_of_range_names_its_field(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        replace(TrustConfig(), **wrong)


def test_alpha_follows_the_reduction_of_the_loss_unless_it_is_given() -> None:
    assert alpha_of(TrustConfig(), "tokens") == 1.0
    assert alpha_of(TrustConfig(), "sequences") == 0.0
    assert alpha_of(TrustConfig(tokens_alpha=0.25), "tokens") == 0.25


def test_shares_are_by_peer_and_names_may_hold_anything() -> None:
    assert fixed_shares(("a=b=0.5", "x y=1e-1")) == {"a=b": 0.5, "x y": 0.1}


def test_thirds_in_decimal_are_thirds() -> None:
    shares = fixed_shares(tuple(f"{name}=0.3333333334" for name in "abc"))
    assert math.fsum(shares.values()) == pytest.approx(1, abs=1e-12)
