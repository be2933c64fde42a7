"""What computes: torch, its devices, and how fast each type of number is. Loads torch, so it comes last."""

from __future__ import annotations

import os
import time
from typing import Any, Final, cast

from gossipllm.config import ModelConfig
from peers.doctor.finding import Finding, Findings, in_bytes

_SIZE: Final = 768
"""Width of the square matrices: that of a model of 0.1 billion parameters. Guess."""
_MEASURE_S: Final = 0.2
"""Seconds for each type of number. Guess: enough that one core's ratio repeats within a tenth."""


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
    """bfloat16 against float32 where `config` computes, and which of them it takes."""
    from gossipllm.mistakes import UserMistake
    from gossipllm.model.models import pick_device, pick_dtype

    try:
        device = pick_device(config.device)
    except UserMistake as error:
        yield Finding("fail", "device", str(error), "correct [model] device in peer.toml")
        return
    import torch

    single, half = (_products_s(device, dtype) for dtype in (torch.float32, torch.bfloat16))
    taken = str(pick_dtype(config.dtype, device)).removeprefix("torch.")
    value = (
        f"{half / single:.1f} times as fast as float32 on {device.type}; dtype {config.dtype!r} takes {taken}"
    )
    slow = taken == "bfloat16" and half < single
    cure = 'set [model] dtype = "float32" in peer.toml' if slow else ""
    yield Finding("warn" if slow else "ok", "bfloat16", value, cure)


def _products_s(device: Any, dtype: Any) -> float:
    """Products of two matrices a second."""
    import torch

    left, right = (torch.ones((_SIZE, _SIZE), device=device, dtype=dtype) for _ in range(2))
    wait = getattr(torch, device.type).synchronize
    _ = left @ right  # the first one allocates
    wait()
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < _MEASURE_S:
        _ = left @ right
        wait()
        count += 1
    return count / (time.perf_counter() - began)
