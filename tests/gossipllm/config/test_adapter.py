"""What an adapter's settings refuse, and that the published ones are allowed."""

from __future__ import annotations

import pytest

from gossipllm.config import AdapterConfig
from gossipllm.config.choices import Train


def test_the_published_rank_alpha_and_dropout_can_be_set() -> None:
    config = AdapterConfig(rank=4, alpha=32.0, dropout=0.1)

    assert (config.alpha / config.rank, config.dropout) == (8, 0.1)


@pytest.mark.parametrize("rate", [-0.1, 1.0, float("nan")])
def test_a_dropout_outside_its_range_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match=r"dropout must be in \[0, 1\)"):
        AdapterConfig(dropout=rate)


@pytest.mark.parametrize("train", ["full", "bias"])
def test_dropout_needs_a_factor_a(train: Train) -> None:
    with pytest.raises(ValueError, match="has no factor A"):
        AdapterConfig(dropout=0.1, train=train)
