"""The state of a pretraining run, on disk and back.

A checkpoint replaces the one before it in a single rename, after its bytes have reached the disk,
so that a run killed at any moment finds one that is whole.
"""

from __future__ import annotations

import copy
import csv
import tempfile
from dataclasses import asdict, astuple, dataclass, field, fields
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from gossipllm.base.making.recipe import PretrainingConfig
from gossipllm.base.making.vocabulary import save_tokenizer
from trust.files import write_whole


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    step: int
    tokens: int
    training_nats: float
    """Exponential mean over about the last 20 steps, nats a token."""

    validation_nats: float
    bits_per_byte: float
    rate: float
    wall_s: float


@dataclass(slots=True, kw_only=True, eq=False)
class PretrainingRun:
    """All that the next step depends on, and the curve so far."""

    model: LlamaForCausalLM
    optimiser: torch.optim.AdamW
    config: PretrainingConfig
    step: int = 0
    """Steps done, and so the number of the next one."""

    training_nats: float = 0.0
    wall_s: float = 0.0
    curve: list[CurvePoint] = field(default_factory=list[CurvePoint])


def new_run(config: PretrainingConfig, model_config: LlamaConfig) -> PretrainingRun:
    torch.manual_seed(config.seed)  # pyright: ignore[reportUnknownMemberType]
    model = LlamaForCausalLM(model_config)
    matrices = [weight for weight in model.parameters() if weight.ndim >= 2]
    gains = [weight for weight in model.parameters() if weight.ndim < 2]
    optimiser = torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": config.weight_decay},
            {"params": gains, "weight_decay": 0.0},
        ],
        lr=config.peak_rate,
        betas=(0.9, 0.95),
        fused=True,
    )
    return PretrainingRun(model=model, optimiser=optimiser, config=config)


def save(run: PretrainingRun, path: Path) -> None:
    state = {
        "config": asdict(run.config),
        "model": run.model.state_dict(),
        "optimiser": run.optimiser.state_dict(),
        "step": run.step,
        "training_nats": run.training_nats,
        "wall_s": run.wall_s,
        "curve": [asdict(point) for point in run.curve],
    }
    write_whole(path, lambda file: torch.save(state, file), durable=True)


def restore(path: Path, model_config: LlamaConfig) -> PretrainingRun:
    state = torch.load(path, weights_only=True)
    run = new_run(PretrainingConfig(**state["config"]), model_config)
    run.model.load_state_dict(state["model"])
    run.optimiser.load_state_dict(state["optimiser"])
    run.step, run.wall_s = state["step"], state["wall_s"]
    run.training_nats = state["training_nats"]
    run.curve = [CurvePoint(**point) for point in state["curve"]]
    return run


def write_curve(curve: list[CurvePoint], path: Path) -> None:
    """As CSV, a point a line."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(column.name for column in fields(CurvePoint))
        writer.writerows(astuple(point) for point in curve)


def export(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """The folder that `from_pretrained` reads, in bfloat16, each file replaced whole."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        small = copy.deepcopy(model).bfloat16()
        small.save_pretrained(temporary)  # pyright: ignore[reportUnknownMemberType]
        save_tokenizer(tokenizer, Path(temporary))
        for file in sorted(Path(temporary).iterdir()):
            file.chmod(0o644)  # safetensors makes its file private
            file.replace(folder / file.name)
