"""A neighbour whose update is far too large, over several rounds of training and merging."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from gossipllm.config import LearnerConfig, TrainingConfig
from gossipllm.config.choices import MergeRule
from gossipllm.learning.learner import Learner
from gossipllm.learning.learner_pool import answer
from gossipllm.work import Merge, Merged, Open, Train, Trained
from support.progress import silent
from wire.digest import Content
from wire.updates.units import decode_offered, encode_offered

Config = Callable[..., LearnerConfig]
ROUNDS = 3


def run(config: LearnerConfig, neighbour: Callable[[Learner, Trained], Content], weight: float) -> Learner:
    """A learner after rounds of local steps and a merge with what `neighbour` makes of its own update."""
    learner, _ = answer(None, Open(request=0, config=config, snapshot=None), silent)
    assert learner is not None
    for number in range(1, ROUNDS + 1):
        _, trained = answer(learner, Train(request=1, round=number, steps=4), silent)
        assert isinstance(trained, Trained), trained
        merge = Merge(request=2, row=(1 - weight, weight), updates=(neighbour(learner, trained),))
        _, merged = answer(learner, merge, silent)
        assert isinstance(merged, Merged), merged
    return learner


def loud(learner: Learner, trained: Trained) -> Content:
    """Random factors, each a hundred times as large as the learner's own: the product is 10^4 times as large."""
    schema = learner.shared.blueprint(learner.config.adapter).schema
    offer, tensors = decode_offered(trained.update.data, schema)
    rng = np.random.default_rng(0)
    drawn = {
        name: (100 * value.std() * rng.normal(size=value.shape)).astype(np.float32)
        for name, value in tensors.items()
    }
    return Content.of(encode_offered(drawn, schema, offer))


def quiet(_: Learner, trained: Trained) -> Content:
    return trained.update


def sizes(learner: Learner) -> dict[str, float]:
    return {name: float(np.sqrt(np.mean(value**2))) for name, value in learner.state.items()}


@pytest.mark.parametrize("rule", ["svd", "mean"])
def test_a_product_ten_thousand_times_too_large_at_a_hundredth_does_not_take_the_rank(
    config: Config, rule: MergeRule
) -> None:
    settings = config(
        merge=rule, training=TrainingConfig(batch_windows=4, learning_rate=1e-2, warmup_steps=2, seed=1)
    )

    alone, beside = sizes(run(settings, quiet, 0.01)), sizes(run(settings, loud, 0.01))

    for name, size in alone.items():
        assert size / 1.5 < beside[name] < 1.5 * size, name
