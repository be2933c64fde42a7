"""Exporting a learner's snapshot as a folder in PEFT's format, with a model card. Loads no torch.

`PeftModel.from_pretrained(base, folder)` reads the folder: `adapter_config.json`, `adapter_model.safetensors`, and a
`README.md` that says where the adapter comes from. The base's tokenizer lies beside them where it is on this device.
PEFT has no format for differences of weights and biases; `merged_model.py` writes the whole model instead.

An export is made to be given away, so it names a base by its name on the hub and never by a folder of this device.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from gossipllm import base as embedded
from gossipllm.config import EMBEDDED
from gossipllm.model.adapter.names import A, B
from gossipllm.model.adapter.peft_folder import CONFIG, TENSORS, peft_tensors
from gossipllm.model.adapter.snapshots import Snapshot, decode_snapshot
from gossipllm.model.loading.hub import cached_folder
from trust.errors import UserMistake
from trust.folders import written_folder

_TOKENIZER_FILES: Final = (
    "tokenizer*.json",
    "tokenizer*.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab*",
    "merges.txt",
    "spiece.model",
    "chat_template*",
)


def export_adapter(
    snapshot: bytes,
    out: Path,
    *,
    peers: Sequence[str] = (),
    row: Mapping[str, float] | None = None,
    overwrite: bool = False,
) -> None:
    """Write the folder. `peers` are the neighbours learnt from, `row` the last trust row by name.

    Raises `UserMistake` where the bytes are no snapshot, or `out` is not empty and `overwrite` is not set.
    """
    state = decode_snapshot(snapshot)
    if not state.header.rank:
        raise UserMistake(
            f'adapter.train = "{state.header.train}" has no form in PEFT, which knows low-rank factors; '
            "export the whole model with --merged"
        )
    check_folder(out, overwrite=overwrite)
    stretch = math.sqrt(state.header.rank) if state.header.scaling == "rslora" else 1.0
    # PEFT divides alpha by the root of the rank then, which is less than by the rank.
    factors = {name: v / np.float32(stretch) if name.endswith(B) else v for name, v in state.adapter.items()}
    config = json.dumps(_adapter_config(state), indent=2, sort_keys=True)
    with written_folder(out, key=CONFIG) as folder:
        (folder / TENSORS).write_bytes(peft_tensors(factors, state.header.base))
        (folder / CONFIG).write_text(config + "\n", encoding="utf-8")
        (folder / "README.md").write_text(card(state, peers, row or {}), encoding="utf-8")
        _copy_tokenizer(state.header.model_name, folder)


def rounds_of(snapshot: Snapshot) -> int:
    """The rounds of local steps in a snapshot. Its own count begins at 0."""
    return snapshot.header.round + 1 if snapshot.header.steps else 0


def _copy_tokenizer(model_name: str, out: Path) -> None:
    """Copy the base's tokenizer, if the base is on this device."""
    is_embedded = model_name in embedded.MODELS
    folder = embedded.model_folder(model_name) if is_embedded else Path(model_name).expanduser()
    if not folder.is_dir():
        cached = cached_folder(model_name)
        if cached is None:
            return
        folder = cached
    for pattern in _TOKENIZER_FILES:
        for path in folder.glob(pattern):
            if path.is_file():
                (out / path.name).write_bytes(path.read_bytes())


def check_folder(out: Path, *, overwrite: bool) -> None:
    """Raises `UserMistake` where `out` is a file, or not empty and `overwrite` is not set."""
    if out.exists() and not out.is_dir():
        raise UserMistake(f"{out} is a file, an export needs a folder")
    if out.is_dir() and any(out.iterdir()) and not overwrite:
        raise UserMistake(f"{out} is not empty; choose another folder, or write into it with --force")


def _adapter_config(state: Snapshot) -> dict[str, object]:
    header = state.header
    # Names instead of "all-linear", whose meaning another version of peft may change. Whole names, because of layers
    # with the same last part of their names some may not be adapted.
    targets = sorted(name.removesuffix(A) for name in state.adapter if name.endswith(A))
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": hub_name(header.model_name) or None,
        "r": header.rank,
        "lora_alpha": header.alpha,
        "use_rslora": header.scaling == "rslora",
        "lora_dropout": header.dropout,
        "bias": "none",
        "fan_in_fan_out": header.fan_in_fan_out,
        "inference_mode": True,
        "target_modules": targets,
    }


def hub_name(model_name: str) -> str:
    """The name of a base on the hub, empty for one that is only known by a folder of this device."""
    is_folder = model_name.startswith(("/", ".", "~")) or Path(model_name).expanduser().exists()
    return "" if model_name in embedded.MODELS or is_folder else model_name


def card(state: Snapshot, peers: Sequence[str], row: Mapping[str, float], *, merged: bool = False) -> str:
    """The model card of an adapter, or of a whole model with the adapter merged in."""
    header = state.header
    base = hub_name(header.model_name)
    name = f"`{base}`" if base else "a model of its author's device"
    if header.model_name in embedded.MODELS:
        name = f"gossipllm's own `{header.model_name}`"
    lines = [
        "---",
        f"library_name: {'transformers' if merged else 'peft'}",
        *([f"base_model: {base}"] if base else []),
        f"tags: [{'gossipllm' if merged else 'lora, gossipllm'}]",
        "---",
        "",
        "# Model trained by gossip" if merged else "# LoRA adapter trained by gossip",
        "",
        f"- base model: {name}, fingerprint `{header.base.hex()}`",
        f"- {'merged in' if merged else 'adapter'}: {_form(state)}",
        f"- rounds: {rounds_of(state)}, local optimiser steps: {header.steps}",
        f"- neighbours learnt from: {', '.join(map(_plain, peers)) or 'none'}",
    ]
    if row:
        lines += ["", "Last trust row:", "", "| peer | weight |", "| --- | --- |"]
        lines += [f"| {_plain(peer)} | {weight:.3f} |" for peer, weight in row.items()]
    lines += [
        "",
        "```python",
        *(_loading_merged() if merged else _loading_adapter(header.model_name)),
        "```",
        "",
        "The training text never left the device"
        + ("." if merged else "; the base must have the fingerprint above."),
        "",
    ]
    return "\n".join(lines)


def _form(state: Snapshot) -> str:
    header = state.header
    if header.rank:
        scaling = " over the root of the rank (rsLoRA)" if header.scaling == "rslora" else ""
        return (
            f"rank {header.rank}, alpha {header.alpha:g}{scaling}, on {len(state.adapter) // 2} linear layers"
        )
    return (
        f"differences of {len(state.adapter)} {'biases' if header.train == 'bias' else 'weights and biases'}"
    )


def _loading_merged() -> tuple[str, ...]:
    return (
        "from transformers import AutoModelForCausalLM",
        "",
        'model = AutoModelForCausalLM.from_pretrained("this folder")',
    )


def _loading_adapter(model_name: str) -> tuple[str, ...]:
    return (
        "from peft import PeftModel",
        "from transformers import AutoModelForCausalLM",
        *_loading(model_name),
        'model = PeftModel.from_pretrained(base, "this folder")',
    )


def _loading(model_name: str) -> tuple[str, ...]:
    """Lines of Python that load the base. The embedded model's folder differs by device, so its path is looked up."""
    if model_name in embedded.MODELS:
        argument = "" if model_name == EMBEDDED else repr(model_name)
        return (
            "from gossipllm.base import model_folder",
            "",
            f"base = AutoModelForCausalLM.from_pretrained(model_folder({argument}))",
        )
    base = hub_name(model_name) or "the folder of the base model"
    return ("", f"base = AutoModelForCausalLM.from_pretrained({base!r})")


def _plain(name: str) -> str:
    """`name` without characters that Markdown could interpret, because peers choose their own names."""
    return "".join(c if c.isalnum() or c in " -_." else "?" for c in name)[:64]
