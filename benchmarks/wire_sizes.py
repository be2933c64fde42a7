"""What an update takes on the wire, packed as finely as there are ways to
(`wire.updates.packing`), and what that costs.

    python benchmarks/wire_sizes.py [--rounds 20] [--steps 10] [--rate 1e-3] [--seeds 0,1,2] [--packings normal,tight]
        [--json]

Three peers of one language train adapters of rank 4 on the embedded base and take the mean of all three after each
round, once for each packing and seed, on equal batches. So every adapter that is trained on has gone through what was
rounded.

    perplexity  on the peers' own test windows after the last merge, over that of updates that travel whole (bfloat16)

Bytes are those of the real encoders at the shapes of GPT-2 small: the numbers are those of the adapters that the first
peer announced in the first seed's run of whole updates, tensor by tensor stretched to GPT-2's A and B.

    key frame   without a base
    a round     mean over the rounds: a key frame first, differences then, and for one late joiner a second key frame
    entropy     of the differences alone, each tensor by itself: what no coder that knows one tensor's counts goes below
    MB/s        of float32 a second of one core, in the fastest round: rounding, packing differences, unpacking them

The dullest ways to take fewer bytes stand beside: Huffman's codes of bfloat16's bytes, and rounding blocks of 64
numbers to 8 or 4 bits, whose error (root mean square of what is off, over that of the numbers, after the last round)
is to be compared.
"""

from __future__ import annotations

import argparse
import json
import time
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from packed_learning import ADAPTER, Adapter, learned
from transformers import GPT2Config, GPT2LMHeadModel

from gossipllm.config import TrainingConfig
from gossipllm.learning.merging.rounded import finer
from gossipllm.model.adapter.placement import attach
from wire.floats import F32
from wire.updates.packing import FINENESS, Fineness, OnSteps, Packing, decode_packed, encode_packed, on_steps
from wire.updates.tensors import Layout, TensorSpec, encode_update

CURVE: Final = (16.0, 8.0, 4.0, 2.0, 1.0)
"""Steps in a tensor's root mean square, for the curve of dense differences."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """One way to send GPT-2's adapter. NaN stands for not measured."""

    way: str
    key_kb: float
    round_kb: float
    bits: float
    entropy_bits: float
    error: float
    mb_s: tuple[float, ...] = ()


# -- bytes ----------------------------------------------------------------------------------------------


def gpt2_layout() -> Layout:
    with torch.device("meta"):
        model = GPT2LMHeadModel(GPT2Config())
    return attach(model, ADAPTER).blueprint(ADAPTER).layout


def stretched(adapter: Adapter, layout: Layout) -> dict[str, F32]:
    """The adapter's numbers in GPT-2's shapes: each A of an A, each B of a B, the tensors in turn and repeated."""
    ends = {
        end: [value for name, value in adapter.items() if name.endswith(end)] for end in ("lora_A", "lora_B")
    }

    def of(spec: TensorSpec, index: int) -> F32:
        source = ends[spec.name[-6:]]
        return np.resize(source[index % len(source)], spec.shape)

    return {spec.name: of(spec, index) for index, spec in enumerate(layout.tensors)}


def packed_size(way: str, fineness: Fineness, adapters: Sequence[Adapter], layout: Layout) -> Size:
    keys: list[int] = []
    moves: list[int] = []
    entropies: list[float] = []
    seconds: list[tuple[float, float, float]] = []
    before: OnSteps | None = None
    for adapter in adapters:
        base = None if before is None else before.tensors
        begun = time.perf_counter()
        parts = finer(adapter) if fineness.share == 1 else None
        sent = on_steps(adapter, layout, fineness, before, finer=parts)
        rounded = time.perf_counter()
        moved = encode_packed(sent, layout, base)
        packed = time.perf_counter()
        body = decode_packed(moved, layout, base)
        seconds.append((rounded - begun, packed - rounded, time.perf_counter() - packed))
        key = encode_packed(sent, layout)
        assert body == encode_update(sent.tensors, layout)
        keys.append(len(key))
        moves.append(len(moved))
        entropies.append(entropy(sent, base or {}) / layout.count)
        before = sent
    assert before is not None, "there are rounds"
    mb = layout.count * 4 / 1e6
    each = (keys[0] + keys[-1] + sum(moves[1:])) / len(moves)
    return Size(
        way=way,
        key_kb=float(np.mean(keys)) / 1e3,
        round_kb=each / 1e3,
        bits=8 * float(np.mean(moves[1:])) / layout.count,
        entropy_bits=float(np.mean(entropies[1:])),
        error=error(before.tensors, adapters[-1]),
        mb_s=tuple(mb / fastest for fastest in np.min(seconds, axis=0).tolist()),
    )


def entropy(sent: OnSteps, base: Adapter) -> float:
    """Bits of all differences, at each tensor's own counts."""
    total = 0.0
    for name, value in sent.tensors.items():
        exponent = sent.exponents[name]
        start = np.rint(np.ldexp(base[name], -exponent)) if name in base else 0
        _, counts = np.unique(np.ldexp(value, -exponent) - start, return_counts=True)
        total -= float((counts * np.log2(counts / value.size)).sum())
    return total


def error(sent: Adapter, meant: Adapter) -> float:
    return float(
        np.median([_rms(sent[name] - value) / max(_rms(value), 1e-30) for name, value in meant.items()])
    )


def _rms(value: F32) -> float:
    return float(np.sqrt(np.mean(np.square(value))))


def plain_sizes(adapters: Sequence[Adapter], layout: Layout) -> list[Size]:
    """The dullest ways, which need no base."""
    whole, last = encode_update(adapters[-1], layout), adapters[-1]
    # No repeats are looked for: stretching makes them.
    packer = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zlib.Z_HUFFMAN_ONLY)
    ways: list[tuple[str, int, float]] = [
        ("bfloat16", len(whole), 0.0),
        ("bfloat16, deflated", len(packer.compress(whole) + packer.flush()), 0.0),
    ]
    for bits in (8, 4):
        rounded = {name: _blocks(value, bits) for name, value in last.items()}
        # Of each block of 64 numbers a scale of two bytes.
        ways.append(
            (
                f"blocks of 64, {bits} bits",
                layout.count * bits // 8 + layout.count // 32,
                error(rounded, last),
            )
        )
    nan = float("nan")
    return [
        Size(
            way=way,
            key_kb=size / 1e3,
            round_kb=size / 1e3,
            bits=8 * size / layout.count,
            entropy_bits=nan,
            error=off,
        )
        for way, size, off in ways
    ]


def _blocks(value: F32, bits: int) -> F32:
    flat_BN: NDArray[np.float32] = value.reshape(-1, 64)
    step_B1 = np.abs(flat_BN).max(axis=1, keepdims=True) / np.float32(2 ** (bits - 1) - 1)
    step_B1[step_B1 == 0] = 1
    return (np.rint(flat_BN / step_B1) * step_B1).astype(np.float32).reshape(value.shape)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rate", type=float, default=TrainingConfig().learning_rate)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--packings", default=",".join(name for name in FINENESS if name != "whole"))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    seeds = [int(seed) for seed in options.seeds.split(",")]
    layout = gpt2_layout()
    ratios: dict[str, list[float]] = {}
    adapters: list[Adapter] = []
    chosen: list[Packing] = [name for name in FINENESS if options.packings.split(",").count(name)]
    play = partial(learned, rounds=options.rounds, steps=options.steps, rate=options.rate)
    for seed in seeds:
        whole, announced = play("whole", seed)
        adapters = adapters or [stretched(one, layout) for one in announced]
        for packing in chosen:
            rounded, _ = play(packing, seed)
            ratios.setdefault(packing, []).append(rounded / whole)
    ways = [(name, fineness) for name, fineness in FINENESS.items() if fineness is not None]
    curve = [(f"rms/{steps:g}", Fineness(per_rms=steps)) for steps in CURVE]
    sizes = [packed_size(way, fineness, adapters, layout) for way, fineness in (*ways, *curve)]
    sizes += plain_sizes(adapters, layout)
    if options.json:
        print(json.dumps({"sizes": [asdict(one) for one in sizes], "perplexity": ratios}))
        return
    print(
        f"GPT-2 small, rank {ADAPTER.rank}: {layout.count:,} numbers, {options.rounds} rounds of {options.steps} steps"
    )
    print(
        f"{'':20}{'key frame':>11}{'a round':>10}{'bits':>7}{'entropy':>9}{'error':>8}{'MB/s':>14}   perplexity"
    )
    for one in sizes:
        speed = "/".join(f"{each:.0f}" for each in one.mb_s)
        told = " ".join(f"{100 * (ratio - 1):+.2f} %" for ratio in ratios.get(one.way, []))
        print(
            f"{one.way:20}{one.key_kb:8.1f} kB{one.round_kb:7.1f} kB{one.bits:7.2f}{one.entropy_bits:9.2f}"
            f"{one.error:8.3f}{speed:>14}   {told}"
        )


if __name__ == "__main__":
    main()
