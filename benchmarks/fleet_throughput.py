"""Training P adapters in one pass over a shared base, against training them one after the other through peft.

    python benchmarks/fleet_throughput.py [--peers 8] [--steps 6] [--threads 2] [--rounds 3]
    python benchmarks/fleet_throughput.py --memory

The first prints, for models of three sizes with random weights, tokens a second of training: P adapters one
after the other through peft and torch's AdamW (in float32, and in bfloat16 where the processor multiplies it
natively), and P at once by the fleet in the type that it chooses. They take turns, and the ratio is that of
their best rounds, because other programs only ever make a round slower. The second prints the peak memory of
training 1 and 16 adapters over a base of 30 million parameters, each in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, LlamaConfig

from gossipllm.config import AdapterConfig, TrainingConfig
from gossipllm.learning.jobs.jobs import StepsJob
from gossipllm.learning.jobs.moments import Moments
from gossipllm.learning.passes.fleet import Fleet
from gossipllm.model.attention import use_short_attention
from gossipllm.model.loading.models import Base, pick_device, pick_dtype

SIZES: dict[str, dict[str, int]] = {
    # layers, width, vocabulary, tokens of a window, windows of a batch
    "tiny": {"layers": 2, "width": 64, "vocabulary": 1024, "length": 64, "batch": 4},
    "embedded": {"layers": 4, "width": 256, "vocabulary": 4096, "length": 128, "batch": 8},
    "30M": {"layers": 8, "width": 512, "vocabulary": 8192, "length": 128, "batch": 8},
}
ADAPTER = AdapterConfig(rank=8, alpha=16.0)
TRAINING = TrainingConfig(learning_rate=1e-3)


def model_of(size: dict[str, int], dtype: torch.dtype, device: torch.device) -> Any:
    cast("Any", torch).manual_seed(0)
    width = size["width"]
    config = LlamaConfig(
        vocab_size=size["vocabulary"],
        hidden_size=width,
        intermediate_size=width * 11 // 4,
        num_hidden_layers=size["layers"],
        num_attention_heads=max(2, width // 64),
        max_position_embeddings=size["length"],
        tie_word_embeddings=True,
    )
    model: Any = cast("Any", AutoModelForCausalLM).from_config(config, dtype=dtype)
    return model.to(device).eval().requires_grad_(False)


def fleet_of(size: dict[str, int]) -> Fleet:
    device = pick_device("auto")
    dtype = pick_dtype("auto", device)
    model = model_of(size, dtype, device)
    use_short_attention(model)
    return Fleet(Base(model, cast("Any", None), device, dtype), ADAPTER)


def texts(size: dict[str, int], peers: int) -> Any:
    shape = (peers, 4 * size["batch"], size["length"])
    return np.random.default_rng(0).integers(1, size["vocabulary"], shape).astype(np.int32)


def by_fleet(size: dict[str, int], peers: int, steps: int) -> Callable[[], None]:
    fleet, texts_PWT = fleet_of(size), texts(size, peers)
    order_SB = np.arange(steps * size["batch"]).reshape(steps, -1) % texts_PWT.shape[1]
    start = fleet.blueprint.start(0)
    jobs = [StepsJob(start, Moments(), text, order_SB, TRAINING, silent) for text in texts_PWT]

    def run() -> None:
        fleet.perform(jobs)

    return run


def silent(*_: object) -> None:
    pass


def by_peft(size: dict[str, int], peers: int, steps: int, dtype: torch.dtype) -> Callable[[], None]:
    device = pick_device("auto")
    lora = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
    model: Any = cast("Any", get_peft_model)(model_of(size, dtype, device), lora)
    trained = [value for value in model.parameters() if value.requires_grad]
    texts_PWT, batch = texts(size, peers), size["batch"]

    def run() -> None:
        for peer in range(peers):
            optimiser = torch.optim.AdamW(trained, lr=1e-3)
            for step in range(steps):
                first = step * batch % texts_PWT.shape[1]
                tokens = torch.tensor(
                    texts_PWT[peer, first : first + batch], dtype=torch.int64, device=device
                )
                model(input_ids=tokens, labels=tokens).loss.backward()
                torch.nn.utils.clip_grad_norm_(trained, 1.0)
                cast("Any", optimiser).step()
                optimiser.zero_grad()

    return run


def best_of(rounds: int, runs: list[Callable[[], None]]) -> list[float]:
    """Least seconds of each, the runs taking turns after one that warms up."""
    for run in runs:
        run()
    seconds = [float("inf")] * len(runs)
    for _ in range(rounds):
        for index, run in enumerate(runs):
            began = time.perf_counter()
            run()
            seconds[index] = min(seconds[index], time.perf_counter() - began)
    return seconds


def throughput(peers: int, steps: int, rounds: int) -> None:
    chosen = pick_dtype("auto", pick_device("auto"))
    dtypes = [torch.float32] + ([torch.bfloat16] if chosen == torch.bfloat16 else [])
    print(f"{peers} adapters, {steps} steps each, {torch.get_num_threads()} threads, fleet in {chosen}")
    for name, size in SIZES.items():
        runs = [by_fleet(size, peers, steps), *(by_peft(size, peers, steps, dtype) for dtype in dtypes)]
        fleet_s, *peft_s = best_of(rounds, runs)
        tokens = peers * steps * size["batch"] * size["length"]
        line = f"{name:9} batch {size['batch']} x {size['length']:3}: fleet {tokens / fleet_s:8,.0f} tokens/s"
        for dtype, seconds in zip(dtypes, peft_s, strict=True):
            kind = str(dtype).removeprefix("torch.")
            line += f"; peft {kind} {tokens / seconds:7,.0f}, ratio {seconds / fleet_s:.2f}"
        print(line, flush=True)


def memory() -> None:
    peaks: dict[int, float] = {}
    for peers in (1, 16):
        command = [sys.executable, __file__, "--peak", str(peers)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks[peers], base_mb = json.loads(done.stdout.splitlines()[-1])
        print(f"{peers:2} adapters: peak {peaks[peers]:,.0f} MB, of which {base_mb:,.0f} MB before training")
    print(f"ratio {peaks[16] / peaks[1]:.2f}")


def peak(peers: int) -> None:
    """Peak resident memory in MB after two steps, and before them."""
    run = by_fleet(SIZES["30M"], peers, 2)
    before = _peak_mb()
    run()
    print(json.dumps([_peak_mb(), before]))


def _peak_mb() -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers", type=int, default=8)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--peak", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.peak:
        peak(options.peak)
    elif options.memory:
        memory()
    else:
        throughput(options.peers, options.steps, options.rounds)


if __name__ == "__main__":
    main()
