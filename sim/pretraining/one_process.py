"""One process that has all the text: what peers that pre-train together are held against.

Axes: W windows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import msgspec
import numpy as np

from sim.experiments.scenarios import Scenario


@dataclass(frozen=True, slots=True)
class OneTask:
    """A lone process on the text of all peers of a scenario, in `steps` steps of `batch_windows` windows."""

    scenario: Scenario
    steps: int
    batch_windows: int


class OneResult(msgspec.Struct, frozen=True):
    """`loss` is that of all peers' test windows, in nats a token, `trust_loss` of all their trust windows; `parameters`
    are those that were trained."""

    loss: float
    trust_loss: float
    first_loss: float
    parameters: int


def perform(task: OneTask, advanced: Callable[[int], None]) -> OneResult:
    """Train and measure, in a worker process. Raises `UserMistake`."""
    import torch
    from transformers.utils.logging import disable_progress_bar

    from gossipllm.learning.learner_pool import LearnerPool
    from gossipllm.work import Failed, Open, Opened, Train, Trained
    from sim.experiments.configurations import learner_config
    from sim.experiments.methods import method_named
    from sim.experiments.shares import shares_of
    from trust.errors import UserMistake

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    disable_progress_bar()
    scenario = task.scenario
    (seed,) = scenario.seeds
    config = learner_config(scenario, method_named("local"), seed, 0)
    pool = LearnerPool(config, lambda _phase, _step: None)
    shares = shares_of(scenario, seed, pool)
    splits = replace(
        shares[0].splits,
        train_WT=np.concatenate([share.splits.train_WT for share in shares]),
        trust_WT=np.concatenate([share.splits.trust_WT for share in shares]),
        test_WT=np.concatenate([share.splits.test_WT for share in shares]),
    )
    config = replace(
        config,
        training=replace(config.training, batch_windows=task.batch_windows, decay_steps=task.steps),
        data=replace(config.data, trust_windows=len(splits.trust_WT), test_windows=len(splits.test_WT)),
    )
    learner = pool.new_learner(config, splits)
    (opened,) = pool.answer([(learner, Open(request=1, config=config, snapshot=None))])
    (done,) = pool.answer([(learner, Train(request=2, round=0, steps=task.steps))])
    for answer in (opened, done):
        if isinstance(answer, Failed):
            raise UserMistake(answer.why)
    assert isinstance(opened, Opened)
    assert isinstance(done, Trained)
    (losses_W,) = pool.test_losses([learner])
    advanced(task.steps)
    parameters = sum(value.size for value in learner.state.values())
    return OneResult(float(losses_W.mean()), done.trust_loss, opened.test_loss, parameters)
