"""Checks of torch, its devices, and the speed of its number types. Loads torch, so they come last."""

from __future__ import annotations

import math
import os
import time
from typing import Any, Final, cast

from gossipllm.config import ModelConfig
from peers.commands.doctor.findings import Finding, Findings
from trust.counting import in_bytes

_SIZE: Final = 768
"""Width of the square matrices: that of a model of 0.1 billion parameters. Guess."""
_MEASURE_S: Final = 0.4
"""Seconds for both types of number. Guess: some dozens of products of each, of which the fastest count."""
_CLEARLY: Final = 0.9
"""Share of float32's speed below which bfloat16 is reported as slow. Guess: other programs disturb it by less."""


def torch_itself() -> Findings:
    try:
        import torch
    except (ImportError, OSError) as error:
        reason = " ".join(str(error).split())[:160]
        yield Finding("fail", "torch", f"cannot be loaded: {reason}", "install it again: see pytorch.org")
        return
    built = cast("Any", torch.version)
    kind = f"CUDA {built.cuda}" if built.cuda else f"ROCm {built.hip}" if built.hip else "without CUDA"
    yield Finding("ok", "torch", f"{torch.__version__}, {kind}")


def devices() -> Findings:
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Finding("ok", "cpu", f"{cores} cores, torch takes {torch.get_num_threads()} threads")
    cuda = cast("Any", torch.cuda)
    if cuda.is_available():
        for index in range(cuda.device_count()):
            free, total = cuda.mem_get_info(index)
            value = f"{cuda.get_device_name(index)}, {in_bytes(free)} of {in_bytes(total)} free"
            yield Finding("ok", f"cuda:{index}", value)
    elif cast("Any", torch.version).cuda:
        cure = "for a GPU, install NVIDIA's driver; without one, nothing"
        yield Finding("ok", "cuda", "torch knows CUDA, but finds no device", cure)
    if torch.backends.mps.is_available():
        yield Finding("ok", "mps", "there is one")


def speeds(config: ModelConfig) -> Findings:
    """The speed of bfloat16 against float32 on the device of `config`, and which of them `config` uses."""
    from gossipllm.model.loading.models import pick_device, pick_dtype
    from trust.errors import UserMistake

    try:
        device = pick_device(config.device)
    except UserMistake as error:
        yield Finding("fail", "device", str(error), "correct [model] device in peer.toml")
        return
    import torch

    single_s, half_s = _products_s(device, torch.float32, torch.bfloat16)
    taken = str(pick_dtype(config.dtype, device)).removeprefix("torch.")
    value = f"{single_s / half_s:.1f} times as fast as float32 on {device.type}; dtype {config.dtype!r} takes {taken}"
    slow = taken == "bfloat16" and single_s / half_s < _CLEARLY
    cure = 'set [model] dtype = "float32" in peer.toml' if slow else ""
    yield Finding("warn" if slow else "ok", "bfloat16", value, cure)


def _products_s(device: Any, *dtypes: Any) -> list[float]:
    """Least seconds of a product of two matrices, of each type. In turns, so that what else the machine does meets
    all of them alike."""
    import torch

    wait = getattr(torch, device.type).synchronize
    matrices = [torch.ones((_SIZE, _SIZE), device=device, dtype=dtype) for dtype in dtypes]
    least = [math.inf for _ in dtypes]
    end = math.inf
    while time.perf_counter() < end:
        for index, matrix in enumerate(matrices):
            began = time.perf_counter()
            _ = matrix @ matrix
            wait()
            if end < math.inf:  # the first ones allocate
                least[index] = min(least[index], time.perf_counter() - began)
        end = min(end, time.perf_counter() + _MEASURE_S)
    return least
