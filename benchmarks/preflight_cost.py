"""What the preflight costs: seconds and peak memory of `gossipllm init`, against those of importing its libraries.

    python benchmarks/preflight_cost.py [--text-mb 100] [--layers 16] [--width 2048] [--json]

The text is a folder of random words in files of 2 MB. The model is a Llama of the given shape (the default has 1.2
billion weights) whose weights file is a hole in the disk, because nothing may read it. Every figure is of a process of
its own, started cold but with warm files: `imports` loads the libraries as any program would and examines nothing;
`text` and `model` are the two halves of the preflight by themselves. The memory is the most that was resident, of which
the pages of libraries' files are a part that the system can take back.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

IMPORTS = """
import peers.commands.init
import gossipllm.learning.preflight.model, gossipllm.text.preflight, peft
from transformers import LlamaForCausalLM
"""
TEXT = """
from gossipllm.config import DataConfig
from gossipllm.model.loading.models import load_tokenizer
from gossipllm.text.preflight import examined
examined(DataConfig(path={text!r}), load_tokenizer({model!r}, "model"))
"""
MODEL = """
from gossipllm.config import LearnerConfig, ModelConfig
from gossipllm.learning.preflight.model import examined
examined(LearnerConfig(model=ModelConfig(name={model!r})))
"""
INIT = """
from gossipllm.cli import main
import sys
sys.argv = ["gossipllm", "init", {home!r}, "--data", {text!r}, "--model", {model!r}]
main()
"""


def write_text(folder: Path, megabytes: int) -> None:
    rng = random.Random(1)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(rng.choices(letters, k=rng.randint(2, 9))) for _ in range(20_000)]
    folder.mkdir()
    for number in range(megabytes // 2):
        parts: list[str] = []
        size = 0
        while size < 2_000_000:
            parts.append(" ".join(rng.choices(words, k=rng.randint(5, 120))) + ".\n\n")
            size += len(parts[-1])
        (folder / f"{number:03}.txt").write_text("".join(parts))


def write_model(folder: Path, *, layers: int, width: int) -> int:
    """A Llama's files, its weights unwritten. Returns the number of its weights."""
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig

    from gossipllm.base import model_folder

    shape = LlamaConfig(
        vocab_size=128_256,
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        num_key_value_heads=width // 256,
        max_position_embeddings=131_072,
        tie_word_embeddings=True,
        architectures=["LlamaForCausalLM"],
    )
    cast("Any", shape).save_pretrained(folder)
    for file in model_folder().glob("tokenizer*"):
        shutil.copy(file, folder)
    loader: Any = AutoModelForCausalLM
    with torch.device("meta"):
        model = loader.from_config(shape, dtype=torch.bfloat16)
    head: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, value in model.state_dict().items():
        if name != "lm_head.weight":
            head[name] = {
                "dtype": "BF16",
                "shape": list(value.shape),
                "data_offsets": [end, end + value.nbytes],
            }
            end += value.nbytes
    data = json.dumps(head).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(data)) + data)
        file.truncate(8 + len(data) + end)
    return end // 2


@dataclass(frozen=True, slots=True)
class Cost:
    """Wall seconds, processor seconds and peak resident MB of a process."""

    wall_s: float
    cpu_s: float
    mb: float


def cost(code: str) -> Cost:
    """Of a process that runs this."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    if status:
        assert process.stderr is not None, "it is a pipe"
        raise SystemExit(f"failed: {process.stderr.read()[-500:]}")
    usage: resource.struct_rusage = used
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--text-mb", type=int, default=100)
    parser.add_argument("--layers", type=int, default=16)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        text, model, home = (str(Path(place, name)) for name in ("text", "model", "home"))
        write_text(Path(text), options.text_mb)
        weights = write_model(Path(model), layers=options.layers, width=options.width)
        parts = {
            name: cost(code.format(text=text, model=model, home=home))
            # Twice, because the first run reads files that are not in the system's cache.
            for name, code in (
                ("", IMPORTS),
                ("imports", IMPORTS),
                ("text", TEXT),
                ("model", MODEL),
                ("init", INIT),
            )
        }
        del parts[""]
    if options.json:
        print(json.dumps({name: asdict(one) for name, one in parts.items()}))
        return
    print(f"{options.text_mb} MB of text, a model of {weights / 1e9:.2f} billion weights")
    print(f"{'':10}{'wall s':>8}{'cpu s':>8}{'MB':>7}{'MB / imports':>14}")
    for name, one in parts.items():
        print(f"{name:10}{one.wall_s:8.1f}{one.cpu_s:8.1f}{one.mb:7.0f}{one.mb / parts['imports'].mb:14.2f}")


if __name__ == "__main__":
    main()
