"""Measures for seconds how fast a learner trains and how noisy its gradients are, and chooses what says "auto" by it.

The measurement is real local steps of this learner's adapter on its text, at few sizes, whose results are thrown away.
Of what a round takes beside its steps only the arithmetic is estimated: measuring a split takes a third of a training
pass over it.
"""

from __future__ import annotations

import time
from typing import Final

import torch

from gossipllm.config import LearnerConfig
from gossipllm.device.plan.choice import Chosen, SettingsToChoose, chosen
from gossipllm.device.plan.law import LAW
from gossipllm.device.plan.pace import StepPace, fitted
from gossipllm.device.plan.planner import Device, Work
from gossipllm.learning.choosing.gradient_noise import noise_of
from gossipllm.learning.choosing.step_forms import forms_of, with_batch
from gossipllm.learning.jobs.jobs import Task
from gossipllm.learning.learner import Learner
from gossipllm.learning.preflight.model import update_bytes
from gossipllm.learning.shared_model import SharedModel
from gossipllm.model.blocks import stated_width
from gossipllm.text.windows import Splits

SECONDS: Final = 2.0
"""Seconds that the passes should take, and then as many for the noise. The first ones are taken however long they
are."""
_GROWTH: Final = 4
_SIZES: Final = (1, _GROWTH, _GROWTH**2, _GROWTH**3)
"""Windows of the passes, at most."""
_TRIES: Final = 3
"""Steps of a size. Other programs only ever make a step slower, so the shortest counts. The first one of a process is
slow by itself."""
_MEASURED: Final = 2
"""How often a round measures the splits: after the local steps and after the merge."""


def choice_of(
    config: LearnerConfig, shared: SharedModel, splits: Splits, asked: SettingsToChoose
) -> Task[Chosen]:
    """Choose the settings that are asked for. Nothing is chosen where block windows or anything but both factors of all
    adapters are trained, because the laws were fitted to these."""
    if config.layers.partial or config.adapter.train != "both":
        return Chosen(settings={}, why="the defaults: other training than of whole adapters was not measured")
    device, blueprint = str(shared.base.device), shared.blueprint(config.adapter)
    form, memory_bytes = next(forms_of(config, shared, blueprint)), _free_memory(shared.base.device, asked)
    # A pass that the memory does not hold would end this process.
    most_tokens = (memory_bytes - form.held_bytes) / form.token_bytes
    pace = fitted((yield from _points(config, shared, splits, most_tokens=most_tokens)))
    learner = Learner(config, shared, splits)
    noise_tokens = yield from noise_of(learner.state, splits.train_WT, seconds=SECONDS)
    work = Work(
        window_tokens=config.data.window_tokens,
        update_bytes=update_bytes(blueprint),
        neighbours=asked.neighbours,
        text_tokens=int(splits.train_WT.size),
        width=stated_width(shared.base.model),
        law=LAW.at_noise(noise_tokens),
    )
    measured = Device(
        name=device,
        pace=pace,
        memory_bytes=memory_bytes,
        forms=(form,),
        watts=0.0,
        link_bytes_s=asked.link_bytes_s,
        other_s=_other_s(pace, splits),
    )
    return chosen(asked.keys, measured, work, config.training)


def _points(
    config: LearnerConfig, shared: SharedModel, splits: Splits, *, most_tokens: float
) -> Task[list[tuple[int, float]]]:
    """(tokens, seconds) of passes of at most so many tokens, in order of their size; at least of one window. The sizes
    take turns, so that what other programs do for a moment does not fall on one of them."""
    until = time.monotonic() + SECONDS
    learners: list[Learner] = []
    shortest: list[float] = []
    fits = min(len(splits.train_WT), most_tokens / config.data.window_tokens)
    for windows in _SIZES:
        # A size takes at most as many times as long as it has more windows.
        late = shortest and _GROWTH * shortest[-1] > (until - time.monotonic()) / _TRIES
        if late or windows > max(1, fits):
            break
        learners.append(Learner(with_batch(config, windows), shared, splits))
        shortest.append((yield from learners[-1].trial_step()))
    for _ in range(_TRIES - 1):
        for place, learner in enumerate(learners):
            if time.monotonic() + shortest[place] < until:
                shortest[place] = min(shortest[place], (yield from learner.trial_step()))
    return [
        (windows * config.data.window_tokens, step_s)
        for windows, step_s in zip(_SIZES, shortest, strict=False)
    ]


def _other_s(pace: StepPace, splits: Splits) -> float:
    """Seconds that a round takes to measure its splits, by the arithmetic alone."""
    tokens = splits.trust_WT.size + splits.test_WT.size
    return _MEASURED * tokens * pace.token_s / 3


def _free_memory(device: torch.device, asked: SettingsToChoose) -> float:
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    return asked.memory_bytes
