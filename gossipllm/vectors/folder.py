"""Writing a task vector as a folder in PEFT's format, with a card that says what it was made of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from gossipllm.model.adapter.export import check_folder, hub_name
from gossipllm.model.adapter.peft_folder import CONFIG, TENSORS, peft_tensors
from gossipllm.vectors.arithmetic import Combined
from gossipllm.vectors.vector import TaskVector
from trust.folders import written_folder


def write_folder(
    out: Path, result: Combined, sources: Sequence[TaskVector], formula: str, *, overwrite: bool
) -> None:
    """Write the folder; `formula` is one line on how the sources became the result.

    The base is that of the sources, which have passed `check_one_base`. Raises `UserMistake` where `out` is not empty
    and `overwrite` is not set, or cannot be written.
    """
    check_folder(out, overwrite=overwrite)
    base = next((name for one in sources if (name := hub_name(one.base))), "")
    fingerprint = next((one.fingerprint for one in sources if one.fingerprint), b"")
    factors = {
        f"{module}.lora_{letter}": values
        for module, one in result.products.items()
        for letter, values in (("A", one.a_RI), ("B", one.b_OR))
    }
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base or None,
        "r": result.rank,
        "lora_alpha": result.rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": sources[0].fan_in_fan_out,
        "inference_mode": True,
        "target_modules": list(result.products),
    }
    with written_folder(out, key=CONFIG) as folder:
        (folder / TENSORS).write_bytes(peft_tensors(factors, fingerprint))
        (folder / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        (folder / "README.md").write_text(_card(result, base, formula), encoding="utf-8")


def _card(result: Combined, base: str, formula: str) -> str:
    lines = [
        "---",
        "library_name: peft",
        *([f"base_model: {base}"] if base else []),
        "tags: [lora, task-vector, gossipllm]",
        "---",
        "",
        "# Task vector",
        "",
        f"- {formula}",
        f"- rank {result.rank}, on {len(result.products)} linear layers",
        f"- lacks {result.error.share:.2%} of the norm of the exact result, which the rank cuts off",
        "",
    ]
    return "\n".join(lines)
