"""Training speed of one adapter: fused passes, plain passes and PEFT, and the share of what the processor can multiply.

    python benchmarks/training_speed.py [--sizes embedded 30M 135M] [--dtypes float32 bfloat16] [--steps 2] [--rounds 5]
        [--json]

For models of three sizes with random weights it prints tokens a second of local steps with LoRA of rank 8 on all linear
layers: with `training.arithmetic` "fused" and "plain", and through PEFT with torch's AdamW. They take turns, and a
figure is that of the best round, in processor time, because other programs only ever make a round slower. The share is
that of the least products that a step needs (each frozen weight once forward and once backward, 4 operations a weight
and token) in the rate of a product of two matrices of 1,024 x 1,024 in the same type and the same turns. What is left
of 100 % is LoRA's own products, attention, norms, the softmax of the loss and all movement of numbers.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, cast

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import torch
from fleet_throughput import ADAPTER, SIZES, TRAINING, by_peft, model_of, silent, texts

from gossipllm.config.choices import Arithmetic
from gossipllm.learning.jobs.jobs import StepsJob
from gossipllm.learning.jobs.moments import Moments
from gossipllm.learning.passes.fleet import Fleet
from gossipllm.model.attention import use_short_attention
from gossipllm.model.loading.models import Base, pick_device

WIDE: Final = {"layers": 30, "width": 576, "vocabulary": 49_152, "length": 128, "batch": 2}
"""The shape of SmolLM's smallest model but for its grouped keys."""
MEASURED: Final = {"embedded": SIZES["embedded"], "30M": SIZES["30M"], "135M": WIDE}
_SIDE: Final = 1024


def by_us(size: dict[str, int], steps: int, dtype: torch.dtype, arithmetic: Arithmetic) -> Callable[[], None]:
    device = pick_device("cpu")
    model = model_of(size, dtype, device)
    use_short_attention(model)
    fleet, texts_PWT = Fleet(Base(model, cast("Any", None), device, dtype), ADAPTER), texts(size, 1)
    order_SB = np.arange(steps * size["batch"]).reshape(steps, -1) % texts_PWT.shape[1]
    training = replace(TRAINING, arithmetic=arithmetic)
    job = StepsJob(fleet.blueprint.start(0), Moments(), texts_PWT[0], order_SB, training, silent)

    def run() -> None:
        fleet.perform([job])

    return run


def by_product(dtype: torch.dtype) -> Callable[[], None]:
    left, right = (torch.randn(_SIDE, _SIDE, dtype=dtype) for _ in range(2))

    def run() -> None:
        torch.mm(left, right)

    return run


def frozen_weights(size: dict[str, int]) -> int:
    """Weights of the linear layers, each of which is multiplied once forward and once backward, and of the head."""
    width = size["width"]
    return size["layers"] * (4 * width**2 + 3 * width * (width * 11 // 4)) + width * size["vocabulary"]


def best_of(rounds: int, runs: dict[str, Callable[[], None]]) -> dict[str, float]:
    """Least processor seconds of each, the runs taking turns after one that warms up."""
    for run in runs.values():
        run()
    seconds = dict.fromkeys(runs, float("inf"))
    for _ in range(rounds):
        for name, run in runs.items():
            began = time.process_time()
            run()
            seconds[name] = min(seconds[name], time.process_time() - began)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", nargs="+", choices=MEASURED, default=list(MEASURED))
    parser.add_argument(
        "--dtypes", nargs="+", choices=("float32", "bfloat16"), default=["float32", "bfloat16"]
    )
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    made: list[dict[str, object]] = []
    for name in options.sizes:
        size = MEASURED[name]
        for kind in options.dtypes:
            dtype: torch.dtype = getattr(torch, kind)
            runs = {
                "fused": by_us(size, options.steps, dtype, "fused"),
                "plain": by_us(size, options.steps, dtype, "plain"),
                "peft": by_peft(size, 1, options.steps, dtype),
                "product": by_product(dtype),
            }
            seconds = best_of(options.rounds, runs)
            tokens = options.steps * size["batch"] * size["length"]
            rate = 2 * _SIDE**3 / seconds["product"]
            made.append({"size": name, "dtype": kind, **seconds})
            if options.json:
                continue
            share = 4 * frozen_weights(size) * tokens / seconds["fused"] / rate
            print(
                f"{name:9} {kind:8}: fused {tokens / seconds['fused']:7,.0f} tokens/s, "
                f"{seconds['plain'] / seconds['fused']:.2f} times plain, "
                f"{seconds['peft'] / seconds['fused']:.2f} times PEFT; "
                f"{share:.0%} of {rate / 1e9:.0f} GFLOP/s",
                flush=True,
            )
    if options.json:
        print(json.dumps(made))


if __name__ == "__main__":
    main()
