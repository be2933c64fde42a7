"""Peak memory of LoRA on all layers: gradient accumulation, checkpoints, and a base held in 8 or 4 bits.

    python benchmarks/adapter_memory.py [--layers 8] [--width 512] [--batch 16] [--length 256] [--steps 2]

A Llama of random weights, float32, one thread. Every case is a process of its own that opens the learner of a peer and
takes the steps of one round, as `gossipllm run` does. `MB` is the most that was resident above a process that imports
the same and loads nothing; `estimate` is what the preflight says of it; `s` is the time of the steps. The dullest
explanation of a saving is that less is trained: every case trains the same adapter on the same batches, and the loss
after the steps is printed to show it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, cast

CASES: dict[str, dict[str, Any]] = {
    "whole batch": {},
    "micro-batches of 1": {"micro_windows": 1},
    "checkpoints": {"checkpoint": True},
    "both": {"micro_windows": 1, "checkpoint": True},
    "int8 base": {"held": "int8"},
    "int4 base": {"held": "int4"},
    "all three, int4": {"held": "int4", "micro_windows": 1, "checkpoint": True},
}


def write_model(folder: Path, *, layers: int, width: int) -> None:
    import shutil

    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from gossipllm.base import model_folder

    vocabulary = json.loads((model_folder() / "config.json").read_text())["vocab_size"]
    cast("Any", torch).manual_seed(0)
    shape = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        num_key_value_heads=width // 64,
        tie_word_embeddings=True,
    )
    cast("Any", LlamaForCausalLM(shape)).save_pretrained(folder)
    for file in model_folder().glob("tokenizer*"):
        shutil.copy(file, folder)


def run_case(settings: dict[str, Any], options: argparse.Namespace) -> dict[str, float]:
    """In a fresh process."""
    import peft as _  # noqa: F401  what a learner's account loads

    from gossipllm.base import corpus_file
    from gossipllm.config import (
        AdapterConfig,
        DataConfig,
        LayersConfig,
        LearnerConfig,
        ModelConfig,
        TrainingConfig,
    )
    from gossipllm.learning.learner_pool import answer
    from gossipllm.learning.preflight.model import examined
    from gossipllm.model.heap import SMALL_BYTES, release_tensors_at_once
    from gossipllm.work import Open, Train, Trained

    release_tensors_at_once(SMALL_BYTES)
    before = _peak()
    config = LearnerConfig(
        model=ModelConfig(
            name=options.model,
            device="cpu",
            dtype="float32",
            threads=1,
            held=settings.get("held", "whole"),
        ),
        adapter=AdapterConfig(rank=8),
        data=DataConfig(
            path=str(corpus_file("fr")), window_tokens=options.length, trust_windows=2, test_windows=2
        ),
        training=TrainingConfig(
            batch_windows=options.batch,
            micro_windows=settings.get("micro_windows", 0),
            learning_rate=1e-3,
            warmup_steps=0,
        ),
        layers=LayersConfig(checkpoint=settings.get("checkpoint", False)),
    )
    if settings.get("none"):
        return {"peak": before}
    learner, _opened = answer(None, Open(request=1, config=config, snapshot=None), _silent)
    _learner, done = answer(learner, Train(request=2, round=0, steps=options.steps), _silent)
    assert isinstance(done, Trained), done
    peak = _peak()
    return {
        "peak": peak,
        "estimate": examined(config).memory_bytes / 1e6,
        "seconds": done.seconds,
        "loss": done.trust_loss,
    }


def _silent(_progress: object) -> None:
    return None


def _peak() -> float:
    """MB of the most that was ever resident."""
    (line,) = (one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith("VmHWM"))
    return int(line.split()[1]) * 1.024e-3


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, value in (("layers", 8), ("width", 512), ("batch", 16), ("length", 256), ("steps", 2)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--case", help=argparse.SUPPRESS)
    parser.add_argument("--model", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        print(json.dumps(run_case(json.loads(options.case), options)))
        return
    with tempfile.TemporaryDirectory() as folder:
        write_model(Path(folder), layers=options.layers, width=options.width)
        idle = _case({"none": True}, folder)["peak"]
        print(f"{'':20}{'MB':>7}{'ratio':>7}{'estimate':>10}{'s':>7}{'loss':>9}")
        first = 0.0
        for name, settings in CASES.items():
            found = _case(settings, folder)
            grown = found["peak"] - idle
            first = first or grown
            print(
                f"{name:20}{grown:7.0f}{grown / first:7.2f}{found['estimate']:10.0f}{found['seconds']:7.1f}"
                f"{found['loss']:9.4f}",
                flush=True,
            )


def _case(settings: dict[str, Any], folder: str) -> dict[str, float]:
    command = [sys.executable, *sys.argv, "--model", folder, "--case", json.dumps(settings)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    if done.returncode:
        raise SystemExit(f"failed: {done.stderr[-800:]}")
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
