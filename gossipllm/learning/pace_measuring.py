"""Measures what training costs on this device: real steps of a real learner, at several batch sizes.

Each size is timed by a learner of its own on the shared model, by the shortest of a few steps: other programs only ever
make a step slower. Larger sizes follow until one takes too long for the time that is left.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

import torch
from transformers.utils.logging import disable_progress_bar

from gossipllm.config import LearnerConfig
from gossipllm.config.choices import Dtype
from gossipllm.device.memory import peak_memory
from gossipllm.device.plan.planner import Form
from gossipllm.learning.choosing.gradient_noise import noise_of
from gossipllm.learning.choosing.step_forms import forms_of, with_batch
from gossipllm.learning.learner import Learner
from gossipllm.learning.learner_pool import together
from gossipllm.learning.preflight.model import update_bytes
from gossipllm.learning.shared_model import SharedModel, load_shared_model, load_text
from gossipllm.model.blocks import stated_width
from gossipllm.text.windows import Splits
from gossipllm.work import Answer, Failed, Merge, Open, Progress, Request, Train, Trained
from trust.errors import UserMistake

SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128)
"""Windows of the passes that are timed, at most."""
_TRIES: Final = 3
_COMPARED: Final = 4
"""Windows of the passes by which types are compared."""
_FLOAT_TYPES: Final[tuple[Dtype, ...]] = ("bfloat16", "float32")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What was measured. `points` are (tokens, seconds) of steps in one pass; `dtype` is the fastest type."""

    points: tuple[tuple[int, float], ...]
    dtype: str
    others: dict[str, float]
    """Type -> windows a second of the same pass, of the types that were compared; the first is what "auto" takes."""
    device: str
    forms: tuple[Form, ...]
    other_s: float
    """Seconds of measuring and saving in a round without neighbours."""
    update_bytes: int
    text_tokens: int
    width: int
    """Of the model's hidden states."""
    noise_tokens: float
    """The noise scale of gradients where this peer begins (`gossipllm.learning.choosing.gradient_noise`)."""
    peak_bytes: int
    seconds: float

    @property
    def faster_dtype(self) -> str:
        """The fastest type where it is another than `model.dtype = "auto"` takes; empty otherwise."""
        return self.dtype if self.others and self.dtype != next(iter(self.others)) else ""


def measured(config: LearnerConfig, *, seconds: float, on_phase: Callable[[str, int], None]) -> Measured:
    """Measure for about `seconds`, of which loading the model is the first part. Raises `UserMistake`."""
    began = time.monotonic()
    # As the learner's process has it.
    torch.set_flush_denormal(True)
    disable_progress_bar()
    shared = load_shared_model(config, on_phase, alone=True)
    splits = load_text(config, shared.base)
    left = began + seconds
    rates: dict[str, float] = {}
    first = str(shared.base.dtype).removeprefix("torch.")
    if config.model.dtype == "auto" and config.model.held == "whole" and str(shared.base.device) == "cpu":
        load_s = time.monotonic() - began
        rates[first] = _rate(config, shared, splits)
        for other in (one for one in _FLOAT_TYPES if one != first):
            if load_s + 2 * _TRIES * _COMPARED / rates[first] > 0.3 * seconds:
                continue
            changed = replace(config, model=replace(config.model, dtype=other))
            another = load_shared_model(changed, on_phase, alone=True)
            rates[other] = _rate(changed, another, splits)
            if rates[other] > rates[first]:
                config, shared = changed, another
    points = tuple(_points(config, shared, splits, until=left, on_phase=on_phase))
    learner = _opened(config, shared, splits)
    blueprint = shared.blueprint(config.adapter)
    return Measured(
        points=points,
        dtype=str(shared.base.dtype).removeprefix("torch."),
        others=rates,
        device=str(shared.base.device),
        forms=tuple(forms_of(config, shared, blueprint)),
        other_s=_other_s(learner),
        update_bytes=update_bytes(blueprint),
        text_tokens=int(splits.train_WT.size),
        width=stated_width(shared.base.model),
        noise_tokens=_noise(learner, splits),
        peak_bytes=peak_memory(),
        seconds=time.monotonic() - began,
    )


def _points(
    config: LearnerConfig,
    shared: SharedModel,
    splits: Splits,
    *,
    until: float,
    on_phase: Callable[[str, int], None],
) -> Iterator[tuple[int, float]]:
    step_s = 0.0
    for number, windows in enumerate(SIZES):
        # A size takes as many steps as tries, and twice as long as the one before.
        if number >= 2 and time.monotonic() + 2 * (_TRIES + 1) * step_s > until:
            return
        on_phase("timing", windows)
        step_s = _step_s(with_batch(config, windows), shared, splits)
        yield windows * config.data.window_tokens, step_s


def _rate(config: LearnerConfig, shared: SharedModel, splits: Splits) -> float:
    """Windows a second in passes of `_COMPARED`."""
    return _COMPARED / _step_s(with_batch(config, _COMPARED), shared, splits)


def _step_s(config: LearnerConfig, shared: SharedModel, splits: Splits) -> float:
    learner = _opened(config, shared, splits)
    took = [_asked(learner, Train(request=1, round=number, steps=1)) for number in range(_TRIES)]
    return min(one.seconds for one in took if isinstance(one, Trained))


def _noise(learner: Learner, splits: Splits) -> float:
    (found,) = together([(noise_of(learner.state, splits.train_WT), learner)])
    return found


def _other_s(learner: Learner) -> float:
    """Seconds of a round without its steps: predictions, losses and a merge of nothing."""
    took: list[float] = []
    for number in range(_TRIES):
        began = time.perf_counter()
        _asked(learner, Train(request=1, round=number, steps=0))
        _asked(learner, Merge(request=2, row=(1.0,), updates=()))
        took.append(time.perf_counter() - began)
    return min(took)


def _opened(config: LearnerConfig, shared: SharedModel, splits: Splits) -> Learner:
    learner = Learner(config, shared, splits)
    _asked(learner, Open(request=0, config=config, snapshot=None))
    return learner


def _asked(learner: Learner, request: Request) -> Answer:
    (answer,) = together([(learner.answer(request, _silent), learner)])
    if isinstance(answer, Failed):
        raise UserMistake(answer.why)
    return answer


def _silent(_: Progress) -> None:
    pass
