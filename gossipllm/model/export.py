"""A learner's snapshot to a folder in PEFT's own format, with a model card. Loads no torch.

The folder is what `PeftModel.from_pretrained(base, folder)` reads: `adapter_config.json`,
`adapter_model.safetensors`, and a `README.md` that says where the adapter comes from.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from safetensors.numpy import save

from gossipllm import base as embedded
from gossipllm.config import EMBEDDED
from gossipllm.mistakes import UserMistake
from gossipllm.model.names import A
from gossipllm.model.snapshots import Snapshot, decode_snapshot

_PEFT_PREFIX: Final = "base_model.model."


def export_adapter(
    snapshot: bytes,
    out: Path,
    *,
    peers: Sequence[str] = (),
    row: Mapping[str, float] | None = None,
    overwrite: bool = False,
) -> None:
    """Write the folder. `peers` are the neighbours learnt from, `row` the last trust row by name.

    Raises `UserMistake` where the snapshot is none, or `out` holds something and `overwrite` is not set.
    """
    state = decode_snapshot(snapshot)
    if out.exists() and not out.is_dir():
        raise UserMistake(f"{out} is a file, an adapter needs a folder")
    if out.is_dir() and any(out.iterdir()) and not overwrite:
        raise UserMistake(f"{out} is not empty; choose another folder, or allow overwriting")
    out.mkdir(parents=True, exist_ok=True)
    tensors = {f"{_PEFT_PREFIX}{name}.weight": np.ascontiguousarray(v) for name, v in state.adapter.items()}
    (out / "adapter_model.safetensors").write_bytes(save(tensors, metadata={"format": "pt"}))
    config = json.dumps(_adapter_config(state), indent=2, sort_keys=True)
    (out / "adapter_config.json").write_text(config + "\n", encoding="utf-8")
    (out / "README.md").write_text(_card(state, peers, row or {}), encoding="utf-8")


def _adapter_config(state: Snapshot) -> dict[str, object]:
    header = state.header
    # Names rather than "all-linear": what that means is another version's to change. The last part
    # of a name is enough, since all layers of one name are adapted.
    targets = sorted({name.removesuffix(A).rpartition(".")[2] for name in state.adapter if name.endswith(A)})
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": _base_name(header.model_name),
        "r": header.rank,
        "lora_alpha": header.alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": header.fan_in_fan_out,
        "inference_mode": True,
        "target_modules": targets,
    }


def _base_name(model_name: str) -> str:
    return str(embedded.model_folder()) if model_name == EMBEDDED else model_name


def _card(state: Snapshot, peers: Sequence[str], row: Mapping[str, float]) -> str:
    header = state.header
    name = "gossipllm's embedded model" if header.model_name == EMBEDDED else f"`{header.model_name}`"
    base = "" if header.model_name == EMBEDDED or Path(header.model_name).exists() else header.model_name
    lines = [
        "---",
        "library_name: peft",
        *([f"base_model: {base}"] if base else []),
        "tags: [lora, gossipllm]",
        "---",
        "",
        "# LoRA adapter trained by gossip",
        "",
        f"- base model: {name}, fingerprint `{header.base.hex()}`",
        f"- adapter: rank {header.rank}, alpha {header.alpha:g}, on {len(state.adapter) // 2} linear layers",
        f"- rounds: {header.round + 1 if header.steps else 0}, local optimiser steps: {header.steps}",
        f"- neighbours learnt from: {', '.join(map(_plain, peers)) or 'none'}",
    ]
    if row:
        lines += ["", "Last trust row:", "", "| peer | weight |", "| --- | --- |"]
        lines += [f"| {_plain(peer)} | {weight:.3f} |" for peer, weight in row.items()]
    lines += [
        "",
        "```python",
        "from peft import PeftModel",
        "from transformers import AutoModelForCausalLM",
        *_loading(header.model_name),
        'model = PeftModel.from_pretrained(base, "this folder")',
        "```",
        "",
        "The training text never left the device; the base must have the fingerprint above.",
        "",
    ]
    return "\n".join(lines)


def _loading(model_name: str) -> tuple[str, ...]:
    """How the base is loaded. The embedded one lies where gossipllm is installed, which differs by device."""
    if model_name == EMBEDDED:
        return (
            "from gossipllm.base import model_folder",
            "",
            "base = AutoModelForCausalLM.from_pretrained(model_folder())",
        )
    return ("", f"base = AutoModelForCausalLM.from_pretrained({model_name!r})")


def _plain(name: str) -> str:
    """A peer chooses its own name: nothing in it may become markup."""
    return "".join(c if c.isalnum() or c in " -_." else "?" for c in name)[:64]
