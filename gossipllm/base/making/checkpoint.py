"""Checkpoints of a pretraining run: saving, restoring, and exporting the model.

A checkpoint replaces the previous one by a single rename, after its bytes have reached the disk, so that a run that is
killed at any moment leaves a complete checkpoint.
"""

from __future__ import annotations

import copy
import csv
import tempfile
from collections.abc import Callable
from dataclasses import asdict, astuple, dataclass, field, fields
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from gossipllm.base.making.recipe import PretrainingConfig
from gossipllm.base.making.vocabulary import save_tokenizer
from trust.files import write_whole


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """Losses and speed of a pretraining run at one step; a row of `curve.csv`."""

    step: int
    tokens: int
    training_nats: float
    """Training loss in nats per token, as an exponential mean over about the last 20 steps."""

    validation_nats: float
    bits_per_byte: float
    rate: float
    wall_s: float


@dataclass(slots=True, kw_only=True, eq=False)
class PretrainingRun:
    """The state of a pretraining run: everything that the next step depends on, and the loss curve so far."""

    model: LlamaForCausalLM
    optimiser: torch.optim.AdamW
    config: PretrainingConfig
    step: int = 0
    """The number of steps done, which is the index of the next step."""

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


def restore(path: Path, shape_of: Callable[[str], LlamaConfig]) -> PretrainingRun:
    """The run that was saved to `path`. `shape_of` gives the shape of the embedded model that the run makes."""
    state = torch.load(path, weights_only=True)
    config = PretrainingConfig(**state["config"])
    run = new_run(config, shape_of(config.model))
    run.model.load_state_dict(state["model"])
    run.optimiser.load_state_dict(state["optimiser"])
    run.step, run.wall_s = state["step"], state["wall_s"]
    run.training_nats = state["training_nats"]
    run.curve = [CurvePoint(**point) for point in state["curve"]]
    return run


def write_curve(curve: list[CurvePoint], path: Path) -> None:
    """Write the loss curve to `path` as CSV, one row for each point."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(column.name for column in fields(CurvePoint))
        writer.writerows(astuple(point) for point in curve)


def export(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write model and tokenizer, in bfloat16, to a folder that `from_pretrained` reads.

    Each file is replaced by a rename, so that the folder can be loaded while the run goes on.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        small = copy.deepcopy(model).bfloat16()
        small.save_pretrained(temporary)  # pyright: ignore[reportUnknownMemberType]
        save_tokenizer(tokenizer, Path(temporary))
        for file in sorted(Path(temporary).iterdir()):
            file.chmod(0o644)  # safetensors makes its file readable by its owner only
            file.replace(folder / file.name)
