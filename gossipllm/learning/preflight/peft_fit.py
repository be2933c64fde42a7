"""Whether the installed peft takes the export of an adapter, found out on a model without numbers."""

from __future__ import annotations

from transformers import PreTrainedModel

from gossipllm.learning.preflight.account import PEFT_TAKES
from gossipllm.model.adapter.blueprint import Blueprint
from gossipllm.model.adapter.names import A

_MOST: int = 160
"""Characters of another library's message."""


def fit_with_peft(model: PreTrainedModel, blueprint: Blueprint) -> str:
    """`PEFT_TAKES`, or why not, for people. `model` has no sites and may be on the meta device; peft puts its
    layers into it."""
    if not blueprint.rank:
        return f'adapter.train = "{blueprint.config.train}" has no form in PEFT: export the whole model with --merged'
    import peft

    names = sorted(spec.name.removesuffix(A) for spec in blueprint.layout.tensors if spec.name.endswith(A))
    config = peft.LoraConfig(r=blueprint.rank, target_modules=names, fan_in_fan_out=blueprint.fan_in_fan_out)
    try:
        peft.inject_adapter_in_model(config, model, low_cpu_mem_usage=True)
    except Exception as error:  # noqa: BLE001  whatever peft raises is its refusal, and is told
        why = " ".join(str(error).split())[:_MOST]
        return f"peft {peft.__version__} does not take it ({why}); set adapter.modules to others, or export --merged"
    return PEFT_TAKES
