"""What is tried with each model of the zoo, through the code that a peer runs.

A trial opens the model as a learner does, trains two learners two steps side by side, weighs the one by the other,
merges them and exports the result. It establishes that nothing is silently wrong: every factor of an adapter has moved,
the adapter changes the predictions, an export gives the same predictions in PEFT or in transformers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from gossipllm.config import (
    AdapterConfig,
    DataConfig,
    LayersConfig,
    LearnerConfig,
    ModelConfig,
    ReferenceConfig,
    TrainingConfig,
    choices,
)
from gossipllm.config.choices import TRAINS
from gossipllm.learning.learner import Learner
from gossipllm.learning.learner_pool import together
from gossipllm.learning.shared_model import SharedModel, load_shared_model, load_text
from gossipllm.model.adapter.export import export_adapter
from gossipllm.model.adapter.merged_model import export_model
from gossipllm.model.adapter.selection.coverage import Coverage
from gossipllm.model.adapter.sites import Site
from gossipllm.model.running import logits_of
from gossipllm.work import Merge, Merged, Open, Opened, Request, Train, Trained, Weigh, Weighed
from support.progress import silent
from support.zoo.folders import TEXT
from trust.errors import UserMistake
from wire.updates.units import Schema

TOKENS: Final = torch.arange(2 * 24).view(2, 24) * 7 % 300 + 4
FLOAT32: Final = 2e-4
"""Largest difference of logits between our sums and another program's, relative to the largest logit. The order of
summation differs; most families stay below 1e-5."""


@dataclass(frozen=True, slots=True)
class Trial:
    """`blocks` is the length of the block window, 0 for all blocks."""

    name: str
    train: choices.Train = "both"
    dtype: choices.Dtype = "float32"
    blocks: int = 0
    context: choices.ContextOperator = "none"
    exports: bool = False


TRIALS: Final = (
    Trial("both", exports=True),
    Trial("bfloat16", dtype="bfloat16"),
    Trial("b", train="b"),
    Trial("full", train="full", exports=True),
    Trial("all", train="all", exports=True),
    Trial("heads", train="heads", exports=True),
    Trial("window", blocks=1),
    Trial("int8", blocks=1, context="int8"),
    Trial("int4", blocks=1, context="int4"),
)


class Wrong(Exception):
    """A trial found what must not be: the text says what."""


def tried(trial: Trial, model: Path, folder: Path) -> tuple[str, Coverage | None]:
    """Perform a trial in an empty folder. Returns the line that refuses the model, empty where none does, and how much
    of the model the adapter covers. Raises `Wrong`."""
    config = _config(trial, model, folder)
    try:
        shared = load_shared_model(config, silent, alone=trial.context != "none")
        _perform(trial, shared, config, folder)
    except UserMistake as mistake:
        # Folders differ from run to run; what is said of them does not.
        return str(mistake).replace(str(model), "the folder"), None
    return "", shared.attached.coverage


def _perform(trial: Trial, shared: SharedModel, config: LearnerConfig, folder: Path) -> None:
    model = Path(config.model.name)
    texts = load_text(config, shared.base)
    one, other = (Learner(_seeded(config, seed), shared, texts) for seed in (0, 1))
    first, _ = (
        _asked(learner, Open(request=1, config=learner.config, snapshot=None), Opened)
        for learner in (one, other)
    )
    units = _units(first, layer=0 if trial.blocks else None)
    before = {name: value.copy() for name, value in one.state.items()}
    base = _logits(shared, None)
    done = _trained(one, other, units)
    _check_moved(one, before, units)
    if trial.dtype == "float32" and trial.context == "none":
        _check_alone(config, shared, texts, units, one)
    weighed = _asked(
        one, Weigh(request=3, author="other", update=done[1].update, evidence=done[1].evidence), Weighed
    )
    if not all(np.isfinite(distance) for distance in weighed.distances):
        raise Wrong("a distance to a neighbour is not finite")
    _asked(one, Merge(request=4, row=(0.5, 0.5), updates=(done[1].update,)), Merged)
    learned = _logits(shared, one)
    if not torch.isfinite(learned).all():
        raise Wrong("the merged adapter gives logits that are not finite")
    if torch.equal(base, learned):
        raise Wrong("the merged adapter changes no logit")
    if trial.exports:
        if TRAINS[trial.train].low_rank:
            export_adapter(one.snapshot().data, folder / "adapter")
            _check_equal("PEFT's logits", learned, _peft_logits(model, folder / "adapter"))
        export_model(one.snapshot().data, folder / "merged")
        _check_equal("the merged model's logits", learned, _plain_logits(folder / "merged"))


def _config(trial: Trial, model: Path, folder: Path) -> LearnerConfig:
    text = folder / "text.txt"
    text.write_text(TEXT, encoding="utf-8")
    return LearnerConfig(
        model=ModelConfig(name=str(model), device="cpu", dtype=trial.dtype),
        adapter=AdapterConfig(rank=4, alpha=8.0, train=trial.train),
        data=DataConfig(path=str(text), window_tokens=24, trust_windows=2, test_windows=2),
        training=TrainingConfig(batch_windows=2, learning_rate=1e-2, warmup_steps=0),
        reference=ReferenceConfig(source=str(text), windows=2, window_tokens=8, top=4),
        layers=LayersConfig(count=trial.blocks, context=trial.context),
    )


def _seeded(config: LearnerConfig, seed: int) -> LearnerConfig:
    return replace(config, training=replace(config.training, seed=seed))


def _units(opened: Opened, layer: int | None) -> bytes:
    """The bitmap of the units of a block and of no block; empty for all units."""
    if layer is None:
        return b""
    schema = Schema(opened.units, opened.codec)
    own = schema.indices(opened.offer)
    return schema.offer(
        [unit for unit in own if schema.units[unit].layer in (-1, layer)], opened.offer.rank
    ).units


def _trained(one: Learner, other: Learner, units: bytes) -> list[Trained]:
    request = Train(request=2, round=0, steps=2, units=units)
    done = together([(learner.answer(request, silent), learner) for learner in (one, other)])
    return [_of(reply, Trained) for reply in done]


def _check_moved(learner: Learner, before: Mapping[str, Any], units: bytes) -> None:
    blueprint = learner.shared.blueprint(learner.config.adapter)
    trained = {
        name for name in blueprint.tensors_of(blueprint.units_of(units)) if name in blueprint.anatomy.trained
    }
    still = sorted(name for name in trained if np.array_equal(before[name], learner.state[name]))
    if still:
        raise Wrong(f"two steps moved {len(trained) - len(still)} of {len(trained)} tensors, not {still[0]}")


def _check_alone(config: LearnerConfig, shared: SharedModel, texts: Any, units: bytes, one: Learner) -> None:
    """A learner trained by itself must be what it was trained beside another."""
    lone = Learner(_seeded(config, 0), shared, texts)
    _asked(lone, Open(request=1, config=lone.config, snapshot=None), Opened)
    _asked(lone, Train(request=2, round=0, steps=2, units=units), Trained)
    for name, value in lone.state.items():
        # Adam divides by the root of the gradient's square, so a gradient near zero doubles the rounding many times.
        apart = np.abs(value - one.state[name]).mean() / max(float(np.abs(value).mean()), 1e-6)
        if apart > 0.02:
            raise Wrong(f"beside another learner {name} becomes another, by {apart:.1%}")


def _asked(learner: Learner, request: Request, kind: type[Any]) -> Any:
    (reply,) = together([(learner.answer(request, silent), learner)])
    return _of(reply, kind)


def _of(reply: object, kind: type[Any]) -> Any:
    if not isinstance(reply, kind):
        raise Wrong(f"{kind.__name__} was expected, not {reply!r}"[:200])
    return reply


@torch.no_grad()
def _logits(shared: SharedModel, learner: Learner | None) -> torch.Tensor:
    """Of the model with what a learner has now, or of the base."""
    adapter = None if learner is None else learner.config.adapter
    if adapter is None or learner is None:
        return logits_of(shared.base.model, TOKENS).float()
    tensors = {
        name: torch.tensor(value, dtype=shared.base.dtype)[None] for name, value in learner.state.items()
    }
    sites = [module for module in shared.base.model.modules() if isinstance(module, Site)]
    for site in sites:
        site.mount(tensors, scale=shared.blueprint(adapter).scale)
    try:
        return logits_of(shared.base.model, TOKENS).float()
    finally:
        for site in sites:
            site.unmount()


@torch.no_grad()
def _plain_logits(model: Path) -> torch.Tensor:
    return logits_of(_loaded(model), TOKENS)


@torch.no_grad()
def _peft_logits(model: Path, adapter: Path) -> torch.Tensor:
    whole = cast("Any", PeftModel).from_pretrained(_loaded(model), adapter).eval()
    return logits_of(whole.base_model.model, TOKENS)


def _loaded(model: Path) -> Any:
    return cast("Any", AutoModelForCausalLM).from_pretrained(model, dtype=torch.float32).eval()


def _check_equal(what: str, ours: torch.Tensor, theirs: torch.Tensor) -> None:
    apart = float((ours - theirs).abs().max() / ours.abs().max())
    if not apart <= FLOAT32:
        raise Wrong(f"{what} differ from ours by {apart:.2g} of the largest")
