"""Peak memory of one training step: one block in a compressed context, against LoRA on all layers.

    python benchmarks/layer_memory.py [--models gpt2,medium,large] [--batch 4] [--length 128] [--ratio 0.5] [--full]

Random weights of GPT-2's shapes, float32, AdamW, no dropout; 4 windows of 128 tokens are what a phone would take.
Every case is a process of its own: the model is built on the meta device, its blocks are filled and compressed one
after the other, and a step on a few tokens goes before, so that AdamW's moments are there when activations are. The
figure is the most that was resident (VmHWM) above a process that imports the same and builds nothing. The published
ratios of a window of one to LoRA on all layers are 0.69 for GPT-2 and 0.33 for GPT-2 Large (LEFF).

A block window trains the block's own weights and the final norm, or LoRA on the block. It stands at the first, the
middle or the last block. The first takes the most, because all blocks behind it keep something for the backward pass;
"kept" keeps all of that, "again" only their inputs, and computes the rest twice (recomputation, or checkpointing).
LoRA on all layers is measured both ways, and every case is given as a ratio to each: the published ratio is to LoRA
with activations kept, but recomputation alone saves two fifths of that, so only the second ratio shows what
the window and its context save.

"drop" and "distil" keep a share --ratio of the other blocks in full precision: half of GPT-2 Large's are too many to
come below the published ratio, 0.3 of them are not. --full adds full fine-tuning: 14 GB at GPT-2 Large's shape.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from transformers import GPT2Config, GPT2LMHeadModel

from gossipllm.learning.passes.losses import token_losses
from gossipllm.model.adapter.names import A, B
from gossipllm.model.adapter.sites import LoraSite
from gossipllm.model.blocks import blocks_of, final_norm_of, linears_of
from gossipllm.model.blocks import replace as put
from gossipllm.model.contexts.compressed import checkpointed, compressed
from gossipllm.model.contexts.config import BlockWindow, ContextConfig
from gossipllm.model.contexts.encoding import fitted_shapes

SHAPES = {"gpt2": (12, 768, 12), "medium": (24, 1024, 16), "large": (36, 1280, 20)}
"""Blocks, width, heads."""
PUBLISHED = {"gpt2": 0.69, "large": 0.33}
REFERENCES = ("ratio", "ratio_to_recomputed")
"""Names of the ratios to LoRA on all layers: with activations kept, and with activations computed again."""
CONTEXTS = ("none", "int8", "int4", "drop", "distil")
RANK = 8


@dataclass(frozen=True, kw_only=True)
class Case:
    model: str
    trains: str
    """What is trained: "all" weights, "lora" on all layers, the "window" or "lora on the window"."""

    context: str = "none"
    ratio: float = 0.5
    place: str = ""
    again: bool = False
    """Whether activations are computed twice rather than kept."""

    @property
    def block_window(self) -> BlockWindow:
        blocks = SHAPES[self.model][0]
        return BlockWindow({"first": 0, "middle": blocks // 2, "last": blocks - 1}[self.place])


def cases(model: str, *, ratio: float, full: bool) -> Iterator[Case]:
    yield Case(model=model, trains="lora")
    yield Case(model=model, trains="lora", again=True)
    if full:
        yield Case(model=model, trains="all")
    for context in CONTEXTS:
        block_window = Case(
            model=model, trains="window", context=context, ratio=ratio, place="first", again=True
        )
        yield from (
            block_window,
            replace(block_window, trains="lora on the window"),
            replace(block_window, again=False),
        )
        if context == "int4":
            yield from (replace(block_window, place="middle"), replace(block_window, place="last"))


def shell(shape: str) -> GPT2LMHeadModel:
    """All but the blocks, which stay on the meta device."""
    layers, width, heads = SHAPES[shape]
    with torch.device("meta"):
        model = GPT2LMHeadModel(GPT2Config(n_layer=layers, n_embd=width, n_head=heads))
    model.requires_grad_(False).eval()
    embeddings = cast("torch.nn.Embedding", model.get_input_embeddings())
    for part in (embeddings, model.transformer.wpe, final_norm_of(model)):
        fill("", part)
    model.lm_head.weight = embeddings.weight
    return model


def fill(_name: str, part: torch.nn.Module) -> None:
    part.to_empty(device="cpu")
    for value in part.parameters():
        if value.dim() == 2:
            value.copy_(
                torch.randn(value.shape[-1]) * 0.02
            )  # all rows alike, which is quick and changes no byte
        else:
            value.zero_()
    for inner in part.modules():
        if isinstance(inner, torch.nn.LayerNorm):
            inner.weight.fill_(1)


def lora(module: torch.nn.Module) -> list[torch.Tensor]:
    """Adapters beside every linear layer within; their tensors."""
    trained: list[torch.Tensor] = []
    for name, linear in linears_of(module).items():
        inputs, outputs = linear.weight.shape  # all are Conv1D
        site = LoraSite(name, linear)
        tensors = {
            name + A: torch.randn(1, RANK, inputs) / inputs**0.5,
            name + B: torch.zeros(1, outputs, RANK),
        }
        site.mount({key: value.requires_grad_() for key, value in tensors.items()}, scale=2.0)
        put(module, name, site)
        trained += tensors.values()
    return trained


def built(case: Case) -> tuple[GPT2LMHeadModel, list[torch.Tensor]]:
    """The model of a case, and what of it is trained."""
    model = shell(case.model)
    if not case.place:
        for index, block in enumerate(blocks_of(model)):
            fill(str(index), block)
        return model, (lora(blocks_of(model)) if case.trains == "lora" else whole(model))
    config = ContextConfig(operator=cast("Any", case.context), ratio=case.ratio)
    fitted = None
    if case.context == "distil":
        # What stands in the students changes no byte of what they take.
        shapes = fitted_shapes(model, case.block_window, config)
        fitted = {name: torch.full(shape, 0.01, dtype=torch.bfloat16) for name, shape in shapes.items()}
    compressed(model, case.block_window, config, fitted=fitted, consume=True, fill=fill)
    block = blocks_of(model)[case.block_window.first]
    return model, (whole(block, final_norm_of(model)) if case.trains == "window" else lora(block))


def whole(*modules: torch.nn.Module) -> list[torch.Tensor]:
    return [value for module in modules for value in module.requires_grad_().parameters()]


def peak(case: Case, batch: int, length: int) -> dict[str, float]:
    with torch.no_grad():
        model, trained = built(case)
    built_mb = _peak_mb()
    optimiser = torch.optim.AdamW(trained, lr=1e-4)
    block_window = case.block_window if case.place else BlockWindow(0)
    tokens_BT = torch.randint(50_000, (batch, length))
    for given_BT in (tokens_BT[:1, :8], tokens_BT):
        with checkpointed(model, block_window) if case.again else nullcontext():
            logits_BTV = cast("Any", model)(input_ids=given_BT, use_cache=False).logits
        loss = token_losses(logits_BTV, given_BT).mean()
        del logits_BTV
        cast("Any", loss).backward()
        cast("Any", optimiser).step()
        optimiser.zero_grad()
    return {"peak_mb": _peak_mb(), "built_mb": built_mb, "trained": sum(each.numel() for each in trained)}


def _peak_mb() -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6


def measured(*arguments: str) -> dict[str, float]:
    """What a process of its own prints. Freed tensors above 1 MB go back to the system at once: none counts twice."""
    environment = os.environ | {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "1000000"}
    command = [sys.executable, __file__, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


def compare(
    model: str, found: Iterator[Case], run: Callable[[Case], dict[str, float]], bare_mb: float
) -> list[Any]:
    """Print the table of one shape; its rows."""
    rows: list[Any] = []
    references_mb: list[float] = []
    held: list[tuple[Case, dict[str, float]]] = []
    print(f"\n{model}: {SHAPES[model][0]} blocks of width {SHAPES[model][1]}", flush=True)
    print(f"{'MB':>66}  {'MB':>10}  {'ratio to':>12}  {'ratio to':>13}")
    print(
        f"{'trains':<18}  {'context':<7}  {'place':<7} {'activations':<11} {'trained':>11}  {'peak':>8}  "
        f"{'with torch':>10}  {'LoRA, kept':>12}  {'LoRA, again':>13}"
    )
    for case in found:
        held.append((case, run(case)))
        if case.trains == "lora":
            references_mb.append(held[-1][1]["peak_mb"] - bare_mb)
        if len(references_mb) < len(REFERENCES):
            # Both kinds of LoRA come first, and no row can be printed before both are known.
            continue
        for each, figures in held:
            rows.append(row_of(each, figures, bare_mb, references_mb))
            print_row(each, rows[-1])
        held.clear()
    if model in PUBLISHED:
        print(f"published ratio of a window of one to LoRA (kept): {PUBLISHED[model]}")
    return rows


def row_of(
    case: Case, figures: dict[str, float], bare_mb: float, references_mb: list[float]
) -> dict[str, Any]:
    own_mb = figures["peak_mb"] - bare_mb
    ratios = {name: own_mb / mb for name, mb in zip(REFERENCES, references_mb, strict=True)}
    return {**asdict(case), **figures, "above_bare_mb": own_mb, **ratios}


def print_row(case: Case, row: dict[str, Any]) -> None:
    kept, again = (row[name] for name in REFERENCES)
    print(
        f"{case.trains:<18}  {case.context if case.place else '-':<7}  {case.place or '-':<7} "
        f"{'again' if case.again else 'kept':<10} {row['trained']:>12,.0f}  {row['above_bare_mb']:>8,.0f}  "
        f"{row['peak_mb']:>10,.0f}  {kept:>12.2f}  {again:>13.2f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", default="gpt2,medium,large")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--ratio", type=float, default=0.5, help="of blocks that drop and distil keep")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--case", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.case == "bare":
        print(json.dumps({"peak_mb": _peak_mb()}))
        return
    if options.case:
        print(json.dumps(peak(Case(**json.loads(options.case)), options.batch, options.length)))
        return
    sizes = [f"--{name}={getattr(options, name)}" for name in ("batch", "length", "threads")]
    bare_mb = measured("--case=bare")["peak_mb"]
    print(f"{options.batch} windows of {options.length} tokens; imports alone take {bare_mb:,.0f} MB")
    rows: list[Any] = []
    for model in options.models.split(","):
        rows += compare(
            model,
            cases(model, ratio=options.ratio, full=options.full),
            lambda case: measured(*sizes, f"--case={json.dumps(asdict(case))}"),
            bare_mb,
        )
    if options.json:
        print(json.dumps(rows))


if __name__ == "__main__":
    main()
